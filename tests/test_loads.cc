// ranks: 1 3
#include "cases.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <varfield/verification.h>

/// Fields in sources, Neumann conditions and references of Robin conditions; fluxes as measurements.
BOOST_AUTO_TEST_SUITE(loads)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  std::string table_file(const std::string &name, const std::string &text)
  {
    MPI_Barrier(MPI_COMM_WORLD); // what was in the file has been read
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(name) << text;
    MPI_Barrier(MPI_COMM_WORLD);
    return std::filesystem::absolute(name).string();
  }

  const std::string fields =
      "set Names = k, a, b, c, zones\n"
      "subsection k\nset Mean = 0.3*x\nsubsection spde\nset Standard deviation = 0.3\nend\nend\n"
      "subsection a\nset Mean = 0.2 - x + y\nset Transform = identity\nend\n"
      "subsection b\nset Mean = 0.1\nsubsection spde\nset Standard deviation = 0.4\nend\nend\n"
      "subsection c\nset Space = global\nset Prior = independent\nset Mean = 2\nset Transform = identity\nend\n"
      "subsection zones\nset Space = blocks\nset Blocks = 2, 2\nset Prior = independent\nset Mean = -0.4\n"
      "set Transform = identity\nend\n";

  std::string text_of(const std::string &law, const std::string &loads, const std::string &mesh = "")
  {
    const std::string points = table_file("points.csv", "x,y,value\n0.2,0.3,0\n0.6,0.41,0\n0.92,0.7,0\n"),
                      fluxes = table_file("fluxes.csv", "boundary,value\nleft,0\ntop,0\nall,0\n");
    return "set Dimension = 2\nsubsection Mesh\nset Subdivisions = 6, 6\n" + mesh + "end\nsubsection Fields\n" +
           fields + "end\nsubsection Physics\nset Equation = " + law + "\n" + loads + "subsection " + law +
           "\nset Conductivity = k\nend\nend\nsubsection Measurements\nset Names = u, q\nsubsection u\nset File = " +
           points +
           "\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nsubsection q\nset Type = boundary "
           "fluxes\nset File = " +
           fluxes + "\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n";
  }

  const std::string with_fields = "set Source = 1 + field(a)*(1 + x) + field(zones)\nset Dirichlet = left: 0.5\n"
                                  "set Neumann = top: x*field(a) + field(b); bottom: field(zones)\n"
                                  "set Robin = right: 2 + y, 1 + field(c)*y\n";

  Vector predict(const std::string &text, double share, MPI_Comm comm = MPI_COMM_WORLD)
  {
    const auto problem = case_from_text<2>(text, {}, comm);
    const auto draw    = problem->density().prior().draw({3, Stream::verification, 0, 0.5});
    const auto state   = problem->model().solve(share * draw);
    BOOST_REQUIRE(state);
    return state->predictions;
  }

  BOOST_AUTO_TEST_CASE(a_field_is_what_its_mean_is)
  {
    // At the prior mean every field is a known function; e^0.1 is that of b.
    std::string known = "set Source = 1 + (0.2 - x + y)*(1 + x) - 0.4\nset Dirichlet = left: 0.5 + 0*field(b) + "
                        "0*field(a) + 0*field(c) + 0*field(zones)\n"
                        "set Neumann = top: x*(0.2 - x + y) + exp(0.1); bottom: -0.4\n"
                        "set Robin = right: 2 + y, 1 + 2*y\n";
    for (const std::string law : {"diffusion", "nonlinear conduction"})
    {
      const Vector found = predict(text_of(law, with_fields), 0.), expected = predict(text_of(law, known), 0.);
      BOOST_TEST((found - expected).norm() < 1e-9 * expected.norm());
      // What flows in through the boundary and comes from the source is nothing together.
      if (law == "diffusion")
      {
        const double source = 1. - 0.4 + 0.2 - 0.5 + 0.5 + 0.1 - 1. / 3. + 0.25; // ∫ (0.2 − x + y)(1 + x)
        BOOST_TEST(std::abs(found[5] + source) < 1e-9);
      }
    }
  }

  BOOST_AUTO_TEST_CASE(derivatives)
  {
    for (const std::string law : {"diffusion", "nonlinear conduction"})
      for (const std::string mesh : {"", "set Refinements towards boundaries = right: 1\n"})
        BOOST_TEST_CONTEXT(law << ' ' << mesh)
        {
          const auto problem = case_from_text<2>(text_of(law, with_fields, mesh));
          for (const auto &result : verify(*problem))
            BOOST_TEST(result.passed, result.name << ": " << result.observed << ", wanted " << result.wanted);
        }
  }

  BOOST_AUTO_TEST_CASE(predictions_do_not_depend_on_the_partition)
  {
    const std::string text = text_of("diffusion", with_fields);
    const Vector whole = predict(text, 1.), alone = predict(text, 1., MPI_COMM_SELF);
    BOOST_TEST((whole - alone).norm() < 1e-11 * alone.norm());
  }

  /// The error of an equation has the covariance s²M of white noise in its residual, M the mass matrix: its integral
  /// over the square that of s times a standard normal number.
  BOOST_AUTO_TEST_CASE(white_noise)
  {
    const auto problem = case_from_text<2>(
        "set Dimension = 2\nsubsection Mesh\nset Subdivisions = 6, 6\nend\nsubsection Fields\nset Names = "
        "e\nsubsection "
        "e\nset Transform = identity\nset Prior = white noise\nsubsection white noise\nset Standard deviation = "
        "0.7\nend\nend\nend\nsubsection Physics\nset Source = field(e)\nset Dirichlet = all: 0\nsubsection "
        "diffusion\nset Conductivity = 1\nend\nend\nsubsection "
        "Measurements\nset Names = q\nsubsection q\nset Type = boundary fluxes\nset File = " +
        table_file("whole.csv", "boundary,value\nall,0\n") +
        "\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n");
    const auto &prior = problem->density().prior();
    const auto at     = problem->model().solve(Vector::Zero(prior.layout().n_local()));
    BOOST_REQUIRE(at);
    problem->model().linearize(*at);
    MultiVector gradient;
    BOOST_REQUIRE(problem->model().adjoint(*at, Matrix::Identity(1, 1), gradient));
    const double variance = prior.layout().dot(gradient.col(0), prior.covariance(gradient).col(0));
    BOOST_TEST(std::abs(variance - 0.49) < 1e-10);
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
