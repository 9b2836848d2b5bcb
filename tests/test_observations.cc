// ranks: 1 3
#include "cases.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <varfield/verification.h>

/// What can be measured: of a state that is linear in space the answers are known.
BOOST_AUTO_TEST_SUITE(observations)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  void write_file(const std::string &name, const std::string &text)
  {
    MPI_Barrier(MPI_COMM_WORLD); // what was in the file has been read
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(name) << text;
    MPI_Barrier(MPI_COMM_WORLD);
  }

  /// u = 1 + 2x + 3y on the unit square with k = 1 + x.
  std::string text_of(const std::string &type, const std::string &file, const std::string &parameters = "",
                      const std::string &set = "", const std::string &mesh = "")
  {
    return "subsection Mesh\nset Subdivisions = 8, 8\n" + mesh +
           "end\nsubsection Fields\nset Names = k, b\nsubsection k\nset Transform = identity\nset Mean = 1 + x\n"
           "subsection spde\nset Standard deviation = 0.1\nend\nend\nsubsection b\nset Transform = identity\nset Mean "
           "= 1 + 2*x + 3*y\nend\nend\n"
           "subsection Physics\nset Source = -2\nset Dirichlet = all: field(b)\nsubsection diffusion\nset Conductivity "
           "= "
           "k\nend\nend\nsubsection Measurements\nset Names = u\nsubsection u\n" +
           set + "set File = " + std::filesystem::absolute(file).string() + "\nset Type = " + type + "\nsubsection " +
           type + "\n" + parameters + "end\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n";
  }

  Vector predict(const std::string &text, MPI_Comm comm = MPI_COMM_WORLD)
  {
    const auto problem = case_from_text<2>(text, {}, comm);
    const auto state   = problem->model().solve(Vector::Zero(problem->density().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    return state->predictions;
  }

  void check(const std::string &type, const std::string &table, const std::vector<double> &expected,
             double tolerance = 1e-10, const std::string &parameters = "", const std::string &set = "")
  {
    write_file("table.csv", table);
    for (const std::string mesh : {"", "set Refinements towards boundaries = left: 1\n"})
    {
      const Vector found = predict(text_of(type, "table.csv", parameters, set, mesh));
      BOOST_REQUIRE_EQUAL(found.size(), static_cast<Index>(expected.size()));
      for (Index i = 0; i < found.size(); ++i)
        BOOST_TEST(std::abs(found[i] - expected[static_cast<std::size_t>(i)]) < tolerance,
                   type << ", row " << i << ": " << found[i] << ", expected " << expected[static_cast<std::size_t>(i)]);
    }
  }

  BOOST_AUTO_TEST_CASE(of_a_linear_state)
  {
    check("point values", "x,y,value\n0.3,0.2,0\n", {2.2});
    check("derivatives", "x,y,n_x,n_y,value\n0.3,0.2,1,0,0\n0.3,0.2,0.6,0.8,0\n0.3,0.2,0,-2,0\n", {2., 3.6, -6.});
    check("differences", "x,y,x_ref,y_ref,value\n0.3,0.2,0.1,0.7,0\n0.3,0.2,0.3,0.1,0\n", {-1.1, 0.3});
    check("line means", "x,y,x_end,y_end,value\n0.1,0.1,0.9,0.3,0\n", {2.6});
    check("line means", "x,y,x_end,y_end,value\n0.1,0.1,0.5,0.4,0\n", {0.5 * 2.35}, 1e-10, "set Integral = true\n");
    // Around nodes the points of the midpoint rule are symmetric.
    check("ball means", "x,y,radius,value\n0.5,0.5,0.21,0\n0.625,0.25,0.1,0\n", {3.5, 3.});
    check("box means", "x,y,width_x,width_y,value\n0.5,0.5,0.3,0.2,0\n0.625,0.375,0.25,0.5,0\n", {3.5, 3.375});
    check("kernel means", "x,y,width,value\n0.5,0.5,0.09,0\n", {3.5});
    check("boundary means", "boundary,value\nright,0\ntop,0\n2,0\n", {4.5, 5., 2.});
    check("boundary fluxes", "boundary,value\nall,0\n", {2.}); // the source is −2
    write_file("points.csv", "x,y\n0.1,0.1\n0.5,0.2\n0.9,0.9\n");
    write_file("matrix.csv", "row,column,weight\n1,1,0.5\n1,3,0.5\n2,2,-2\n");
    check("combinations", "value\n0\n0\n", {0.5 * (1.5 + 5.5), -2. * 2.6}, 1e-10,
          "set Points = " + std::filesystem::absolute("points.csv").string() +
              "\nset Matrix = " + std::filesystem::absolute("matrix.csv").string() + "\n");
  }

  /// What has no place is measured nowhere: not at the origin.
  BOOST_AUTO_TEST_CASE(without_a_place)
  {
    write_file("table.csv", "boundary,value\nright,0\n");
    const auto problem =
        case_from_text<2>(text_of("boundary means", "table.csv", "", "", "set Refinements towards sensors = 1\n"));
    BOOST_TEST(std::isnan(problem->measurements().locations()[0][0]));
    BOOST_TEST(problem->mesh().triangulation().n_global_active_cells() == 64u);
  }

  BOOST_AUTO_TEST_CASE(of_a_field)
  {
    const std::string table = "x,y,value\n0.5,0.25,0\n0.125,1,0\n";
    check("point values", table, {1.5, 1.125}, 1e-10, "", "set Of = k\n");
    check("differences", "x,y,x_ref,y_ref,value\n0.5,0.25,0.125,1,0\n", {0.375}, 1e-10, "", "set Of = k\n");
    write_file("table.csv", table);
    for (const auto &[transformed, expected] : {std::pair("true", 3.), std::pair("false", std::log(3.))})
    {
      std::string text =
          text_of("point values", "table.csv", "", "set Of = k\nset Transformed = " + std::string(transformed) + "\n");
      const std::string linear = "set Transform = identity\nset Mean = 1 + x";
      text.replace(text.find(linear), linear.size(), "set Transform = exp\nset Mean = log(3)");
      BOOST_TEST(std::abs(predict(text)[0] - expected) < 1e-12);
    }
    check("ball means", "x,y,radius,value\n0.5,0.5,0.2,0\n", {3.5}, 1e-10, "", "set Of = b\n");
  }

  /// Derivatives, and the same on any number of ranks, with everything in one table.
  BOOST_AUTO_TEST_CASE(derivatives_of_every_type)
  {
    write_file("points.csv", "x,y\n0.1,0.1\n0.5,0.2\n0.9,0.9\n");
    write_file("matrix.csv", "row,column,weight\n1,1,0.5\n1,3,0.5\n2,2,-2\n");
    for (const std::string &type : Registry<Observation<2>>::names())
      for (const std::string set : {"", "set Of = k\n"})
        BOOST_TEST_CONTEXT(type << ' ' << set)
        {
          if (type == "voltages" || type == "material means")
            continue; // of electrodes, and of meshes from files
          if (type == "boundary fluxes" && !set.empty())
            continue; // of the state only
          write_file("all.csv", "x,y,x_ref,y_ref,x_end,y_end,n_x,n_y,radius,width,width_x,width_y,boundary,value\n"
                                "0.31,0.22,0.6,0.7,0.7,0.9,1,0.5,0.15,0.08,0.3,0.2,left,1\n"
                                "0.61,0.52,0.2,0.3,0.1,0.4,0,2,0.1,0.05,0.2,0.4,top,2\n");
          const std::string parameters =
              type == "combinations" ? "set Points = " + std::filesystem::absolute("points.csv").string() +
                                           "\nset Matrix = " + std::filesystem::absolute("matrix.csv").string() + "\n"
                                     : "";
          const std::string text =
              text_of(type, "all.csv", parameters, set, "set Refinements towards boundaries = left: 1\n");
          for (const auto &result : verify(*case_from_text<2>(text)))
            BOOST_TEST(result.passed, result.name << ": " << result.observed << ", wanted " << result.wanted);
          const Vector whole = predict(text), alone = predict(text, MPI_COMM_SELF);
          BOOST_TEST((whole - alone).norm() < 1e-11 * alone.norm());
        }
  }

  /// The two parts of a mesh, see meshes/README.md.
  BOOST_AUTO_TEST_CASE(of_materials)
  {
    write_file("table.csv", "material,value\n1,0\n2,0\n");
    const std::string text =
        "subsection Mesh\nset Type = file\nset File = meshes/two_materials.msh\nend\nsubsection Fields\nset Names = "
        "b\nsubsection b\nset Transform = identity\nset Mean = 1 + 2*x + 3*y\nend\nend\nsubsection Physics\nset "
        "Dirichlet = all: field(b)\nsubsection diffusion\nset Conductivity = 1\nend\nend\nsubsection "
        "Measurements\nset Names = u\nsubsection u\nset File = " +
        std::filesystem::absolute("table.csv").string() +
        "\nset Type = material means\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n";
    const Vector found = predict(text);
    // Of the polygon (0, 0), (1/2, 0), (0.55, 0.45), (1/2, 1), (0, 1) and the rest of [0, 3/2] × [0, 1]: areas a and
    // moments by the shoelace formula.
    const double a = 0.525, x1 = (0.125 + 0.025 * 1.55 / 3.) / a, y1 = (0.25 + 0.025 * 1.45 / 3.) / a;
    const double b = 1.5 - a, x2 = (1.125 - a * x1) / b, y2 = (0.75 - a * y1) / b;
    BOOST_TEST(std::abs(found[0] - (1. + 2. * x1 + 3. * y1)) < 1e-10);
    BOOST_TEST(std::abs(found[1] - (1. + 2. * x2 + 3. * y2)) < 1e-10);
    for (const auto &result : verify(*case_from_text<2>(text)))
      BOOST_TEST(result.passed, result.name << ": " << result.observed << ", wanted " << result.wanted);
  }

  /// A bar with an electrode on each end: U₁ − U₂ = I (L/(kW) + 2z/W), exact for linear elements; so is the voltage
  /// against the mean of all electrodes.
  BOOST_AUTO_TEST_CASE(a_bar_between_electrodes)
  {
    write_file("currents.csv", "experiment,electrode,current\none,0,3\none,1,-3\ntwo,1,1\ntwo,0,-1\n");
    write_file("voltages.csv", "experiment,electrode,reference,value\none,0,1,0\none,1,0,0\none,0,,0\ntwo,0,1,0\n");
    const double length = 2., width = 0.5, k = 4., z = 0.3;
    const std::string text =
        "subsection Mesh\nset Upper corner = 2, 0.5\nset Subdivisions = 8, 4\nend\nsubsection Fields\nset Names = k\n"
        "subsection k\nset Mean = log(4)\nend\nend\nsubsection Physics\nsubsection diffusion\nset Conductivity = "
        "k\nend\n"
        "subsection Electrodes\nset Boundaries = 0-1\nset Contact impedances = 0.3\nset Currents = " +
        std::filesystem::absolute("currents.csv").string() +
        "\nend\nend\nsubsection Measurements\nset Names = U\nsubsection U\nset Type = voltages\nset File = " +
        std::filesystem::absolute("voltages.csv").string() +
        "\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n";
    const double resistance = length / (k * width) + 2. * z / width;
    const Vector found      = predict(text);
    BOOST_REQUIRE_EQUAL(found.size(), 4);
    for (const auto &[i, expected] :
         {std::pair(0, 3. * resistance), {1, -3. * resistance}, {2, 1.5 * resistance}, {3, -resistance}})
      BOOST_TEST(std::abs(found[i] - expected) < 1e-10, i << ": " << found[i] << ", expected " << expected);
    for (const auto &result : verify(*case_from_text<2>(text)))
      BOOST_TEST(result.passed, result.name << ": " << result.observed << ", wanted " << result.wanted);
    // A nonlinear law with the same linear part.
    std::string nonlinear = text;
    nonlinear.replace(nonlinear.find("subsection diffusion"), 20,
                      "set Equation = nonlinear conduction\nsubsection nonlinear conduction");
    BOOST_TEST((predict(nonlinear) - found).norm() < 1e-9 * found.norm());
    const auto multigrid = case_from_text<2>(text, {"Linear solver/Type=multigrid"});
    const auto state     = multigrid->model().solve(Vector::Zero(multigrid->density().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    BOOST_TEST((state->predictions - found).norm() < 1e-7 * found.norm());
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
