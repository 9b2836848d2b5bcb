// ranks: 1
#include "cases.h"

#include <boost/test/unit_test.hpp>

/// Gross errors in 5 % of the data: Student-t noise does without them, Gaussian noise does not.
BOOST_AUTO_TEST_SUITE(outliers)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  constexpr double share = 0.05, size = 20.; ///< of gross errors: of the data, in standard deviations of the noise

  /// ‖posterior mean − truth‖² over the nodes.
  double squared_error(const Case<2> &problem, const Vector &values, const Vector &truth, const std::string &noise)
  {
    auto again = problem.with_overrides(
        {"Measurements/u/Noise=" + noise, "Measurements/u/" + noise + "/Standard deviation=0.02"});
    again->set_measured(values);
    const Results<2> results = infer_silently(again);
    BOOST_TEST((results.map.converged && results.optimization.converged), noise);
    return (results.fields[0].mean - truth).squaredNorm();
  }
} // namespace

/// parameter_files/calibration/linear.prm: truths from the prior, each inferred from clean data with Gaussian noise,
/// and from the same data with gross errors with both. In all data each of these has its own sign.
BOOST_AUTO_TEST_CASE(heavy_tails_keep_the_field)
{
  const unsigned int n_truths = is_long() ? 200 : 8;
  const auto problem          = shipped_case<2>("calibration/linear", {"Inference/ELBO error=1"});
  const auto &measurements    = problem->measurements();
  const Vector sigma          = measurements.standard_deviations();
  double clean = 0., gaussian = 0., student = 0.;
  unsigned int n_gross = 0;
  for (unsigned int k = 0; k < n_truths; ++k)
  {
    const Vector m   = problem->fields().prior().draw({2, Stream::prior_draw, k, 1.});
    const auto state = problem->model().solve(m);
    BOOST_REQUIRE(state);
    const Vector values = measurements.simulated(state->predictions, {2, Stream::data_noise, k, 1.});
    Vector gross        = values;
    for (Index i = 0; i < gross.size(); ++i)
    {
      const double lot = uniform_number({2, Stream::verification, k, 1.}, static_cast<std::uint32_t>(i));
      if (lot > share)
        continue;
      gross[i] += (lot < 0.5 * share ? size : -size) * sigma[i];
      ++n_gross;
    }
    const Vector truth = problem->fields().values(m, 0);
    clean += squared_error(*problem, values, truth, "gaussian");
    gaussian += squared_error(*problem, gross, truth, "gaussian");
    student += squared_error(*problem, gross, truth, "student t");
  }
  BOOST_TEST_MESSAGE(n_truths << " truths, " << n_gross << " gross errors; error of the field against that from clean "
                              << "data: Gaussian " << std::sqrt(gaussian / clean) << ", Student-t "
                              << std::sqrt(student / clean));
  BOOST_TEST(std::sqrt(student / clean) < 1.15);
  BOOST_TEST(std::sqrt(gaussian / clean) > 1.15);
}

BOOST_AUTO_TEST_SUITE_END()
