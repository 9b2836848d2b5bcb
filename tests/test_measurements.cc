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
} // namespace

BOOST_AUTO_TEST_SUITE_END()
