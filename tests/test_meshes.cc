// ranks: 1 3
#include "cases.h"
#include "dense_models.h"

#include <deal.II/base/quadrature_lib.h>
#include <deal.II/fe/fe_values.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <filesystem>
#include <unistd.h>
#include <varfield/mesh_file.h>

/// Meshes from files and generated ones: measure, ids, refinement, and a linear state, which elements of every shape
/// reproduce exactly.
BOOST_AUTO_TEST_SUITE(meshes)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  template <int dim>
  double measure(const Mesh<dim> &mesh)
  {
    double sum = 0.;
    for (const auto &cell : mesh.triangulation().active_cell_iterators())
      if (cell->is_locally_owned())
        sum += cell->measure();
    return dealii::Utilities::MPI::sum(sum, mesh.comm());
  }

  /// Diffusion on a mesh, the state given on the boundary, with the sensors of a text. Every field is log k, whose
  /// section gets the lines of `field`.
  template <int dim>
  std::string text_of(const std::string &mesh, const std::string &sensors, const std::string &dirichlet,
                      const std::string &field = "")
  {
    const std::string file = std::filesystem::absolute("mesh_sensors.csv").string();
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(file) << (dim == 2 ? "x,y,value\n" : "x,y,z,value\n") << sensors;
    MPI_Barrier(MPI_COMM_WORLD);
    return "set Dimension = " + std::to_string(dim) + "\nsubsection Mesh\n" + mesh +
           "end\nsubsection Fields\nset Names = m\nsubsection m\n" + field +
           "end\nend\nsubsection Physics\nset Dirichlet = " + dirichlet +
           "\nsubsection diffusion\nset Conductivity = m\nend\nend\nsubsection Measurements\nset Names = u\n"
           "subsection u\nset File = " +
           file + "\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n";
  }

  std::string from_file(const std::string &name, const std::string &more = "")
  {
    return "set Type = file\nset File = meshes/" + name + "\n" + more;
  }

  const std::string sensors_2d = "0.3,0.2,0\n1.2,0.9,0\n0.5,0.5,0\n", linear_2d = "all: 1+2*x-3*y";

  BOOST_AUTO_TEST_CASE(every_format_gives_the_same_mesh)
  {
    for (const std::string name : {"two_materials.msh", "two_materials.inp", "two_materials.vtk"})
      BOOST_TEST_CONTEXT(name)
      {
        const auto problem =
            case_from_text<2>(text_of<2>(from_file(name, "set Global refinements = 1\n"), sensors_2d, linear_2d));
        const auto &mesh = problem->mesh();
        BOOST_TEST(mesh.triangulation().n_global_active_cells() == 24u);
        BOOST_TEST(std::abs(measure(mesh) - 1.5) < 1e-14);
        BOOST_TEST((mesh.material_ids() == std::vector<dealii::types::material_id>{1, 2}));
        for (const std::string id : {"1", "2", "3", "4"})
          BOOST_TEST(mesh.boundary_ids(id, "test").size() == 1u);
        BOOST_CHECK_THROW(mesh.boundary_ids("0", "test"), UserError);
        BOOST_CHECK_THROW(mesh.boundary_ids("left", "test"), UserError);
        const auto state = problem->model().solve(Vector::Zero(problem->fields().prior().layout().n_local()));
        BOOST_REQUIRE(state);
        for (const auto &[i, expected] :
             {std::pair(0, 1. + 0.6 - 0.6), std::pair(1, 1. + 2.4 - 2.7), std::pair(2, 0.5)})
          BOOST_TEST(std::abs(state->predictions(i) - expected) < 1e-12);
      }
  }

  BOOST_AUTO_TEST_CASE(hexahedra_from_a_file)
  {
    const auto problem =
        case_from_text<3>(text_of<3>(from_file("two_hexahedra.msh", "set Global refinements = 1\n"),
                                     "0.3,0.2,0.7,0\n0.9,0.6,0.1,0\n", "0: x-y+2*z; 1: x-y; 2: x-y+2"));
    BOOST_TEST(problem->mesh().triangulation().n_global_active_cells() == 16u);
    BOOST_TEST(std::abs(measure(problem->mesh()) - 1.) < 1e-14);
    BOOST_TEST((problem->mesh().material_ids() == std::vector<dealii::types::material_id>{5, 6}));
    const auto state = problem->model().solve(Vector::Zero(problem->fields().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    BOOST_TEST(std::abs(state->predictions(0) - 1.5) < 1e-12);
    BOOST_TEST(std::abs(state->predictions(1) - 0.5) < 1e-12);
  }

  /// 261.0 km²: the area of the outline, USGS SIR 2016-5080. The state x has to come out at a well anywhere.
  BOOST_AUTO_TEST_CASE(a_real_aquifer)
  {
    const auto problem = case_from_text<2>(
        text_of<2>(from_file("wood_river_valley.msh"), "30015.2,20792.1,0\n", "1: x",
                   "subsection spde\nset Correlation length = 5000\nset Standard deviation = 1\nend\n"));
    BOOST_TEST(std::abs(measure(problem->mesh()) * 1e-6 - 261.0) < 0.1);
    BOOST_TEST(problem->mesh().triangulation().n_global_active_cells() == 5340u);
    const auto state = problem->model().solve(Vector::Zero(problem->fields().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    BOOST_TEST(std::abs(state->predictions(0) - 30015.2) < 1e-5);
  }

  BOOST_AUTO_TEST_CASE(one_value_for_each_material)
  {
    const auto problem = case_from_text<2>(text_of<2>(from_file("two_materials.msh", "set Global refinements = 2\n"),
                                                      sensors_2d, "4: 0; 2: 1",
                                                      "set Space = material ids\nset Prior = independent\nsubsection "
                                                      "independent\nset Standard deviation = 1\nend\n"));
    const auto &layout = problem->fields().prior().layout();
    BOOST_TEST(layout.n_global() == 2);
    // Nearly layers in series: k = 1 left of x = 1/2 and e³ right of it; the flux is known where the border is
    // straight.
    const Vector m   = local_rows(layout, Eigen::Vector2d(0., 3.));
    const auto state = problem->model().solve(m);
    BOOST_REQUIRE(state);
    const double flux = 1. / (0.5 + 1. / std::exp(3.));
    BOOST_TEST(std::abs(state->predictions(0) - 0.3 * flux) < 0.03 * flux);
    BOOST_TEST(std::abs(state->predictions(1) - (1. - 0.3 * flux / std::exp(3.))) < 0.02);
  }

  /// Layers of 100, 50 and 50 m below the aquifer: three materials, and the state is linear in z.
  BOOST_AUTO_TEST_CASE(layers_of_a_plane_mesh)
  {
    const auto problem = case_from_text<3>(
        text_of<3>(from_file("two_materials.msh", "set Layers = -1, 0.5, 0.75, 1\n"), "0.3,0.2,0.6,0\n",
                   "bottom: -1; top: 1", "set Space = blocks\nset Blocks = 1, 1, 1\nset Prior = independent\n"));
    const auto plane = case_from_text<2>(text_of<2>(from_file("two_materials.msh"), sensors_2d, linear_2d));
    BOOST_TEST(std::abs(measure(problem->mesh()) - 2. * measure(plane->mesh())) < 1e-12);
    BOOST_TEST(problem->mesh().triangulation().n_global_active_cells() ==
               3u * plane->mesh().triangulation().n_global_active_cells());
    // Materials of the plane are kept, for it has two.
    BOOST_TEST(problem->mesh().material_ids() == plane->mesh().material_ids(), boost::test_tools::per_element());
    const auto state = problem->model().solve(Vector::Zero(problem->fields().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    BOOST_TEST(std::abs(state->predictions(0) - 0.6) < 1e-10);

    const auto valley = case_from_text<3>(
        text_of<3>(from_file("wood_river_valley.msh", "set Layers = 0, 100, 150, 200\n"), "30015.2,20792.1,40,0\n",
                   "bottom: 0; top: 1", "set Space = material ids\nset Prior = independent\n"));
    BOOST_TEST(valley->mesh().material_ids() == std::vector<dealii::types::material_id>({0, 1, 2}),
               boost::test_tools::per_element());
    const auto &layout = valley->fields().prior().layout();
    // Layers in series: k = 1, e, e² from below.
    const auto in_layers = valley->model().solve(local_rows(layout, Eigen::Vector3d(0., 1., 2.)));
    BOOST_REQUIRE(in_layers);
    const double flux = 1. / (100. + 50. / std::exp(1.) + 50. / std::exp(2.));
    BOOST_TEST(std::abs(in_layers->predictions(0) - 40. * flux) < 1e-9);
  }

  BOOST_AUTO_TEST_CASE(one_value_for_the_whole_mesh)
  {
    const auto problem = case_from_text<2>(text_of<2>(
        from_file("two_materials.msh"), sensors_2d, "4: 0; 2: 1",
        "set Space = global\nset Mean = 2\nset Prior = independent\nsubsection independent\nset Standard deviation = "
        "0.5\nend\n"));
    const auto &prior  = problem->fields().prior();
    BOOST_TEST(prior.layout().n_global() == 1);
    BOOST_TEST(std::abs(prior.layout().gather(prior.covariance(prior.layout().identity()))(0, 0) - 0.25) < 1e-14);
    const Vector values = problem->fields().values(local_rows(prior.layout(), Matrix::Constant(1, 1, 0.25)), 0);
    BOOST_TEST((values.array() - 2.25).abs().maxCoeff() < 1e-14);
  }

  BOOST_AUTO_TEST_CASE(sides_of_a_box_have_the_numbers_given)
  {
    const auto problem = case_from_text<2>(text_of<2>("set Subdivisions = 4, 2\nset Boundary ids = left: 7; top: 7; "
                                                      "right: 3\n",
                                                      sensors_2d.substr(0, 10), "7: 0"));
    const auto &mesh   = problem->mesh();
    using Ids          = std::vector<dealii::types::boundary_id>;
    BOOST_TEST((mesh.boundary_ids("left", "test") == Ids{7}));
    BOOST_TEST((mesh.boundary_ids("top", "test") == Ids{7}));
    BOOST_TEST((mesh.boundary_ids("right", "test") == Ids{3}));
    BOOST_TEST((mesh.boundary_ids("bottom", "test") == Ids{2}));
    BOOST_TEST((mesh.boundary_ids("all", "test") == Ids{2, 3, 7}));
  }

  /// Cells at the sensors are halved as often as asked, cells far away are not, and nothing depends on the partition.
  BOOST_AUTO_TEST_CASE(refinement_towards_sensors)
  {
    const auto problem = case_from_text<2>(
        text_of<2>("set Subdivisions = 8, 8\nset Refinements towards sensors = 2\n", "0.3,0.2,0\n", "all: 0"));
    double at_sensor = 0., largest = 0.;
    for (const auto &cell : problem->mesh().triangulation().active_cell_iterators())
      if (cell->is_locally_owned())
      {
        largest = std::max(largest, cell->extent_in_direction(0));
        if (cell->point_inside(dealii::Point<2>(0.3, 0.2)))
          at_sensor = cell->extent_in_direction(0);
      }
    BOOST_TEST(std::abs(dealii::Utilities::MPI::max(at_sensor, MPI_COMM_WORLD) - 1. / 32.) < 1e-12);
    BOOST_TEST(std::abs(dealii::Utilities::MPI::max(largest, MPI_COMM_WORLD) - 1. / 8.) < 1e-12);
    BOOST_TEST(problem->mesh().triangulation().has_hanging_nodes());
  }

  BOOST_AUTO_TEST_CASE(a_reader_that_crashes_or_hangs_is_no_harm)
  {
    BOOST_TEST(try_in_child([] {}, 10) == "");
    BOOST_TEST(try_in_child([] { throw UserError("a message"); }, 10) == "a message");
    BOOST_TEST(try_in_child([] { std::abort(); }, 10) == "the reader crashed (Aborted).");
    const auto before       = std::signal(SIGALRM, SIG_IGN);
    const std::string found = try_in_child(
        []
        {
          for (;;)
            pause();
        },
        1);
    std::signal(SIGALRM, before);
    BOOST_TEST(found == "the reader did not come to an end within 1 seconds.");
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
