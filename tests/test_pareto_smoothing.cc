// ranks: 1
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/pareto_smoothing.h>

/// Against the vectors of tests/reference/e3_psis_khat, which two independent implementations agree on.
BOOST_AUTO_TEST_SUITE(pareto_smoothing)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  Vector as_vector(const std::vector<double> &x)
  {
    return Eigen::Map<const Vector>(x.data(), static_cast<Index>(x.size()));
  }
} // namespace

BOOST_AUTO_TEST_CASE(reference_vectors)
{
  std::ifstream in(std::string(VARFIELD_SOURCE_DIR) + "/tests/reference/e3_psis_khat/expected_khat.csv");
  std::string line;
  std::getline(in, line);
  unsigned int n = 0;
  while (std::getline(in, line))
  {
    std::istringstream cells(line);
    std::string name, k, ess;
    std::getline(cells, name, ',');
    std::getline(cells, k, ',');
    std::getline(cells, ess, ',');
    const Vector log_ratios = as_vector(read_columns("e3_psis_khat/logratios_" + name + ".csv")["log_ratio"]);
    const auto smoothed     = pareto_smooth(log_ratios);
    BOOST_TEST(std::abs(smoothed.k - std::stod(k)) < 1e-6, name << ": k " << smoothed.k << ", expected " << k);
    BOOST_TEST(std::abs(smoothed.effective_size / std::stod(ess) - 1.) < 1e-5, name << ": " << smoothed.effective_size);
    BOOST_TEST(std::abs(smoothed.log_weights.array().exp().sum() - 1.) < 1e-12);
    // A constant factor of the ratios moves nothing but their mean.
    const auto shifted = pareto_smooth(log_ratios.array() + 700.);
    BOOST_TEST(std::abs(shifted.k - smoothed.k) < 1e-8);
    BOOST_TEST(std::abs(shifted.log_mean - smoothed.log_mean - 700.) < 1e-9);
    ++n;
  }
  BOOST_TEST(n == 7u);
}

BOOST_AUTO_TEST_CASE(rare_cases)
{
  // Equal ratios, as of a posterior that is exact: no tail, all draws count.
  const auto equal = pareto_smooth(Vector::Constant(1000, -3.));
  BOOST_TEST(equal.k < 0.);
  BOOST_TEST(std::abs(equal.effective_size - 1000.) < 1e-9);
  BOOST_TEST(std::abs(equal.log_mean + 3.) < 1e-12);
  BOOST_TEST(equal.log_mean_error < 1e-12);
  // Too few draws for a tail.
  BOOST_TEST(pareto_smooth(Vector::LinSpaced(10, 0., 1.)).k == std::numeric_limits<double>::infinity());
  BOOST_TEST(std::abs(largest_good_k(1000) - (1. - 1. / 3.)) < 1e-12);
  BOOST_TEST(largest_good_k(100000) == 0.7);
}

/// Draws of N(0,1) weighted to N(0.3, 1): the mean of h = m is 0.3, and the log mean of the ratios is 0.
BOOST_AUTO_TEST_CASE(a_shifted_gaussian)
{
  const Vector m = random_matrix(100000, 1, 4), log_ratios = 0.3 * m.array() - 0.045;
  const auto smoothed = pareto_smooth(log_ratios);
  BOOST_TEST(smoothed.k < 0.3);
  BOOST_TEST(std::abs(smoothed.log_mean) < 4. * smoothed.log_mean_error);
  BOOST_TEST(std::abs(smoothed.log_mean_error / std::sqrt(std::expm1(0.09) / 1e5) - 1.) < 0.05);
  BOOST_TEST(std::abs(smoothed.log_weights.array().exp().matrix().dot(m) - 0.3) < 4. / std::sqrt(9e4));
  BOOST_TEST(tail_shape(log_ratios, m) < 0.5);
  BOOST_TEST(tail_shape(log_ratios, m.array().square().square().square()) > smoothed.k);
}

BOOST_AUTO_TEST_SUITE_END()
