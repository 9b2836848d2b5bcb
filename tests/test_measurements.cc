// ranks: 1 3
#include "cases.h"
#include "dense_models.h"
#include "scratch_file.h"

#include <boost/test/unit_test.hpp>

/// Noise levels from every source that a file and a parameter can give, and Φ with all its constants.
BOOST_AUTO_TEST_SUITE(measurements)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  std::unique_ptr<Case<2>> case_with(const std::string &table, const std::string &noise)
  {
    const ScratchFile file("noise.csv", table);
    return case_from_text<2>("subsection Mesh\nset Subdivisions = 4, 4\nend\nsubsection Physics\nset Source = 1\n"
                             "set Dirichlet = all: 0\nsubsection diffusion\nset Conductivity = m\nend\nend\n"
                             "subsection Measurements\nset Names = u\nsubsection u\nset File = " +
                             file.path + "\nset Held out = group=C\nsubsection gaussian\n" + noise + "end\nend\nend\n");
  }

  const std::string table =
      "x,y,value,std,group\n0.2,0.2,10,0.5,A\n0.4,0.4,-20,0.25,B\n0.6,0.6,30,2,A\n0.8,0.8,40,1,C\n";

  void check(const std::string &noise, const std::vector<double> &expected)
  {
    const auto problem      = case_with(table, noise);
    const Vector deviations = problem->measurements().standard_deviations();
    for (Index i = 0; i < deviations.size(); ++i)
      BOOST_TEST(std::abs(deviations(i) - expected[static_cast<std::size_t>(i)]) < 1e-14, noise);

    // −log of a product of normal densities over the rows in use, the first three.
    const Vector predictions = Vector::LinSpaced(4, 1., 4.);
    double potential         = 0.;
    for (Index i = 0; i < 3; ++i)
    {
      const double s = expected[static_cast<std::size_t>(i)], r = predictions(i) - problem->measurements().values()(i);
      potential += 0.5 * r * r / (s * s) + std::log(s * std::sqrt(2. * M_PI));
    }
    BOOST_TEST(std::abs(problem->measurements().potential(predictions) - potential) < 1e-9, noise);
    BOOST_TEST(problem->measurements().n_used() == 3);
    BOOST_TEST(problem->measurements().gradient(predictions)(3) == 0.);
  }

  BOOST_AUTO_TEST_CASE(noise_levels)
  {
    check("", {0.5, 0.25, 2., 1.});
    check("set Standard deviation = 3\n", {3., 3., 3., 3.});
    check("set Standard deviation = 3\nset Relative standard deviation = 0.1\n",
          {std::sqrt(10.), std::sqrt(13.), std::sqrt(18.), 5.});
    check("set Group standard deviations = A: 7; C: 0.1\n", {7., 0.25, 7., 0.1});
    check("set Group standard deviations = B: 4\nset Relative standard deviation = 0.15\n",
          {std::hypot(0.5, 1.5), 5., std::hypot(2., 4.5), std::hypot(1., 6.)});
  }

  /// What a reference was measured differently from its prediction is added to the predictions, and a share of it to
  /// the standard deviations.
  BOOST_AUTO_TEST_CASE(difference_to_a_reference)
  {
    const ScratchFile rows("rows.csv", "x,y,value\n0.2,0.2,1\n0.4,0.4,2\n");
    const ScratchFile reference("reference.csv", "set,x,y,measured,predicted_mean\nu,0.2,0.2,1.5,1.1\nother,0.1,0.1,"
                                                 "9,9\nother,0.3,0.1,,9\nu,0.40,0.4,0.5,0.8\n");
    const ScratchFile wrong("wrong.csv", "set,x,y,measured,predicted_mean\nu,0.2,0.2,1.5,1.1\nu,0.4,0.5,0.5,0.8\n");
    const auto text = [&](const std::string &more, const std::string &noise)
    {
      return "subsection Mesh\nset Subdivisions = 4, 4\nend\nsubsection Physics\nset Source = 1\n"
             "set Dirichlet = all: 0\nsubsection diffusion\nset Conductivity = m\nend\nend\n"
             "subsection Measurements\nset Names = u\nsubsection u\nset File = " +
             rows.path + "\n" + more + "subsection gaussian\nset Standard deviation = 0.3\n" + noise +
             "end\nend\nend\n";
    };
    const auto predict = [](const Case<2> &problem)
    {
      const auto state = problem.model().solve(Vector::Zero(problem.density().prior().layout().n_local()));
      BOOST_REQUIRE(state);
      return state->predictions;
    };
    const auto with = case_from_text<2>(text("set Reference = " + reference.path + "\n", "set Relative to reference = "
                                                                                         "1\n")),
               without  = case_from_text<2>(text("", ""));
    const Vector change = predict(*with) - predict(*without), deviations = with->measurements().standard_deviations();
    BOOST_TEST(std::abs(change[0] - 0.4) < 1e-14);
    BOOST_TEST(std::abs(change[1] + 0.3) < 1e-14);
    BOOST_TEST(std::abs(deviations[0] - 0.5) < 1e-14);
    BOOST_TEST(std::abs(deviations[1] - std::hypot(0.3, 0.3)) < 1e-14);
    BOOST_CHECK_THROW(case_from_text<2>(text("set Reference = " + wrong.path + "\n", "")), UserError);
    BOOST_CHECK_THROW(case_from_text<2>(text("", "set Relative to reference = 1\n")), UserError);
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
