// ranks: 1
#include "cases.h"

#include <boost/math/special_functions/expint.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>

/// Forward models and posteriors against formulas.
BOOST_AUTO_TEST_SUITE(closed_forms)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  std::string file(const std::string &name, const std::string &text)
  {
    const std::string path = std::filesystem::absolute(name).string();
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(path) << text;
    MPI_Barrier(MPI_COMM_WORLD);
    return path;
  }

  template <int dim>
  Vector predict(const std::string &text)
  {
    const auto problem = case_from_text<dim>(text);
    const auto state   = problem->model().solve(Vector::Zero(problem->density().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    return state->predictions;
  }

  void check(const Vector &found, const std::vector<double> &expected, double tolerance)
  {
    BOOST_REQUIRE_EQUAL(found.size(), static_cast<Index>(expected.size()));
    for (Index i = 0; i < found.size(); ++i)
    {
      const double exact = expected[static_cast<std::size_t>(i)];
      BOOST_TEST(std::abs(found[i] / exact - 1.) < tolerance, "row " << i << ": " << found[i] << ", exact " << exact);
    }
  }

  /// The drawdown around a well, Q/(4πT) E₁(r²S/(4Tt)) (C. V. Theis, Eos Trans. AGU 16 (1935) 519), from four cells on.
  BOOST_AUTO_TEST_CASE(pumping_of_a_confined_aquifer)
  {
    const double T = 0.02, S = 0.05, Q = 0.005;
    std::string rows = "x,y,time,value\n";
    std::vector<double> exact;
    for (const double r : {8., 10., 20.})
      for (const double t : {100., 300., 1000.})
      {
        rows += to_text(0.6 * r) + "," + to_text(0.8 * r) + "," + to_text(t) + ",0\n";
        exact.push_back(Q / (4. * M_PI * T) * boost::math::expint(1, r * r * S / (4. * T * t)));
      }
    check(
        predict<2>(
            "subsection Mesh\nset Lower corner = -256, -256\nset Upper corner = 256, 256\nset Subdivisions = 16, 16\n"
            "set Refinements in boxes = -64,-64, 64,64: 2; -28,-28, 28,28: 4\nend\nsubsection Fields\nset Names = T, "
            "S\nsubsection T\nset Mean = log(0.02)\nend\nsubsection S\nset Space = global\nset Prior = "
            "independent\nset "
            "Mean = log(0.05)\nend\nend\nsubsection Physics\nset Degree = 2\nset Dirichlet = all: 0\nset Wells = " +
            file("well.csv", "x,y,rate\n0,0,0.005\n") +
            "\nsubsection diffusion\nset Conductivity = T\nend\nsubsection Time\nset Scheme = BDF2\nset Steps = 1000: "
            "80\nset First step = 0.5\nset Storage = S\nend\nend\nsubsection Measurements\nset Names = s\nsubsection "
            "s\nset File = " +
            file("drawdowns.csv", rows) + "\nsubsection gaussian\nset Standard deviation = 0.01\nend\nend\nend\n"),
        exact, 0.01);
  }

  /// A disk of conductivity σ₀ with a concentric one of σ₁ and half its radius: for the flux cos nθ the potential at
  /// the boundary is R/(σ₀n) (1 − μρ²ⁿ)/(1 + μρ²ⁿ) cos nθ, μ = (σ₁ − σ₀)/(σ₁ + σ₀), the inverse of the
  /// Dirichlet-to-Neumann eigenvalue.
  BOOST_AUTO_TEST_CASE(eigenvalues_of_a_concentric_disk)
  {
    const double R = 0.15, rho = 0.5, r = 0.998;
    const std::string points =
        file("ring.csv", "x,y,value,experiment\n0.1497,0,0,one\n0.1497,0,0,two\n0.1497,0,0,three\n");
    const auto flux = [](const std::string &name, const std::string &polynomial)
    { return "subsection " + name + "\nset Neumann = all: " + polynomial + "\nend\n"; };
    for (const double sigma : {2., 0.5})
    {
      const Vector found = predict<2>(
          "subsection Mesh\nset Type = file\nset File = meshes/rpi_disk_32el_quads.msh\nend\nsubsection Fields\nset "
          "Names = "
          "m\nsubsection m\nset Transform = identity\nset Space = global\nset Prior = "
          "independent\nend\nend\nsubsection "
          "Physics\nset Equation = reaction diffusion\nset Robin = all: 1e-7, 0\nsubsection reaction diffusion\nset "
          "Conductivity = "
          "(x^2 + y^2 < 0.075^2) ? " +
          to_text(sigma) +
          " : 1\nset Source density = m\nend\nend\nsubsection Experiments\nset Names = one, two, three\n" +
          flux("one", "x/0.15") + flux("two", "(x^2 - y^2)/0.15^2") + flux("three", "(x^3 - 3*x*y^2)/0.15^3") +
          "end\nsubsection Measurements\nset Names = u\nsubsection u\nset File = " + points +
          "\nsubsection gaussian\nset Standard deviation = 1\nend\nend\nend\n");
      const double mu = (sigma - 1.) / (sigma + 1.);
      std::vector<double> exact;
      for (const int n : {1, 2, 3})
        exact.push_back(R / n * (std::pow(r, n) - mu * std::pow(rho, 2 * n) * std::pow(r, -n)) /
                        (1. + mu * std::pow(rho, 2 * n)));
      check(found, exact, 0.005);
    }
  }

  /// Four electrodes in a row on a half-space (F. Wenner, 1915): the voltage of the inner two is ρI/(2πa).
  BOOST_AUTO_TEST_CASE(resistivity_of_a_half_space)
  {
    const double rho = 100., a = 8.;
    const Vector found = predict<3>(
        "set Dimension = 3\nsubsection Mesh\nset Lower corner = -256, -256, -256\nset Upper corner = 256, 256, 0\nset "
        "Subdivisions "
        "= 8, 8, 4\nset Refinements in boxes = -64,-64,-64, 64,64,0: 2; -24,-16,-16, 24,16,0: 4; -16,-5,-5, 16,5,0: 6\n"
        "end\n"
        "subsection Fields\nset Names = k\nsubsection k\nset Space = global\nset Prior = independent\nset Mean = "
        "-log(100)\nend\nend\nsubsection Physics\nset Dirichlet = left: 0; right: 0; front: 0; back: 0; bottom: 0\nset "
        "Wells = " +
        file("current.csv", "x,y,z,rate\n-12,0,0,1\n12,0,0,-1\n") +
        "\nsubsection diffusion\nset Conductivity = k\nend\nend\nsubsection Measurements\nset Names = V\nsubsection "
        "V\nset Type = "
        "differences\nset File = " +
        file("voltage.csv", "x,y,z,x_ref,y_ref,z_ref,value\n-4,0,0,4,0,0,0\n") +
        "\nsubsection gaussian\nset Standard deviation = 1\nend\nend\nend\n");
    check(found, {rho / (2. * M_PI * a)}, 0.02);
  }

  /// The linear-Gaussian posteriors of four temperature logs; parameter_files/borehole_gst/README.md has the formula.
  BOOST_AUTO_TEST_CASE(ground_surface_temperatures)
  {
    const std::string folder = source_folder() + "/parameter_files/borehole_gst/";
    const Table exact        = Table::read(folder + "exact_posterior.csv", MPI_COMM_WORLD);
    const auto sites = exact.strings("site"), names = exact.strings("parameter");
    const auto means = exact.numbers("mean"), deviations = exact.numbers("std");
    for (const auto &[site, evidence] : {std::pair("AU-4", 46.783978), std::pair("AU-6", 71.339443),
                                         std::pair("AU-11", 75.189291), std::pair("AU-42", 152.316182)})
      BOOST_TEST_CONTEXT(site)
      {
        auto problem       = shipped_case<2>("borehole_gst/borehole_gst",
                                       {"Measurements/log/File=" + folder + site + ".csv", "Inference/Method=laplace",
                                              "Inference/Minimum draws=20", "Inference/Maximum draws=20"});
        const auto results = infer_silently(problem);
        BOOST_TEST(std::abs(results.averages.elbo.elbo.value - evidence) < 0.05);
        std::vector<std::pair<double, double>> found; // as in the table: the latest interval first
        for (unsigned int f = 0; f < problem->fields().size(); ++f)
        {
          const auto &space = problem->fields()[f].space();
          const auto &owned = space.dof_handler().locally_owned_dofs();
          const auto zones  = static_cast<unsigned int>(space.zone_centres().size());
          for (unsigned int z = zones; z-- > 0;)
          {
            double values[2] = {0., 0.};
            if (const auto dof = space.dof_of_zone(z); owned.is_element(dof))
            {
              const auto i = static_cast<Index>(owned.index_within_set(dof));
              values[0]    = results.fields[f].mean[i];
              values[1]    = std::sqrt(results.fields[f].variance.values[i]);
            }
            sum_over(MPI_COMM_WORLD, values, 2);
            found.emplace_back(values[0], values[1]);
          }
        }
        std::size_t i = 0;
        for (unsigned int row = 0; row < exact.n_rows(); ++row)
          if (sites[row] == site)
          {
            BOOST_REQUIRE(i < found.size());
            BOOST_TEST(std::abs(found[i].first - means[row]) < 0.02 * deviations[row], names[row]);
            BOOST_TEST(std::abs(found[i].second / deviations[row] - 1.) < 0.02, names[row]);
            ++i;
          }
        BOOST_TEST(i == 22u);
      }
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
