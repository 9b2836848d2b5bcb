// ranks: 2
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>
#include <sstream>

/// parameter_files/aristoff_bangerth against the forward tests that come with the benchmark.
BOOST_AUTO_TEST_SUITE(aristoff_bangerth)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  const std::string folder = "aristoff_bangerth/";

  /// Lines of numbers without a header.
  std::vector<Vector> read_rows(const std::string &file)
  {
    std::ifstream in(source_folder() + "/tests/reference/" + file);
    BOOST_REQUIRE(in);
    std::vector<Vector> rows;
    for (std::string line; std::getline(in, line);)
    {
      std::istringstream cells(line);
      std::vector<double> numbers;
      for (std::string cell; std::getline(cells, cell, ',');)
        numbers.push_back(std::stod(cell));
      rows.push_back(Eigen::Map<const Vector>(numbers.data(), static_cast<Index>(numbers.size())));
    }
    return rows;
  }

  /// The parameter vector of 64 values θ: the first rank owns them all.
  Vector parameters_of(const Case<2> &problem, const Vector &theta)
  {
    const Vector m = theta.array().log() - 4.;
    return m.head(problem.density().prior().layout().n_local());
  }

  BOOST_AUTO_TEST_CASE(forward_tests_and_likelihoods_of_the_benchmark)
  {
    const auto problem    = shipped_case<2>("aristoff_bangerth/aristoff_bangerth");
    const auto theta      = read_rows(folder + "forward_tests_theta_10x64.csv");
    const auto z          = read_rows(folder + "forward_tests_z_10x169.csv");
    const auto densities  = read_columns(folder + "forward_tests_logdens.csv");
    const auto &prior     = problem->density().prior();
    const double constant = noise_constants(*problem);
    BOOST_REQUIRE_EQUAL(theta.size(), 10u);
    BOOST_REQUIRE_EQUAL(z.size(), 10u);
    double worst = 0.;
    for (std::size_t k = 0; k < theta.size(); ++k)
    {
      const Vector m         = parameters_of(*problem, theta[k]);
      const double potential = problem->density().potential(m).value();
      const double error     = (problem->density().last()->predictions - z[k]).cwiseAbs().maxCoeff();
      worst                  = std::max(worst, error);
      BOOST_TEST(error < 1e-9, "forward test " << k << ": " << error);
      const double expected = densities.at("log_likelihood_unnormalised")[k];
      BOOST_TEST(std::abs(-(potential - constant) / expected - 1.) < 1e-6, "likelihood " << k);

      // exp(−x²/8), the paper's density with respect to θ, is N(4, 2²) in x = ln θ: times θ.
      const double log_prior = -0.5 * prior.layout().dot(m, Vector(prior.precision(m)));
      const double shift     = theta[k].array().log().sum() - 8. * static_cast<double>(theta[k].size()) / 4.;
      BOOST_TEST(std::abs(log_prior - shift - densities.at("log_prior_unnormalised")[k]) < 1e-6);
    }
    BOOST_TEST_MESSAGE("largest difference of the ten forward tests: " << worst);
  }

  BOOST_AUTO_TEST_CASE(truth_is_that_of_the_benchmark)
  {
    const auto problem = shipped_case<2>("aristoff_bangerth/aristoff_bangerth");
    const auto truth   = problem->truth(0);
    BOOST_REQUIRE(truth.has_value());
    const Vector coefficients = problem->fields()[0].coefficients(*truth);
    const auto theta          = read_columns(folder + "theta_true_and_published_mean_64.csv").at("theta_true");
    for (Index k = 0; k < coefficients.size(); ++k)
      BOOST_TEST(std::abs(std::exp(coefficients[k] + 4.) - theta[static_cast<std::size_t>(k)]) < 1e-12);
  }

  BOOST_AUTO_TEST_CASE(gradient_agrees_with_central_differences)
  {
    const auto problem  = shipped_case<2>("aristoff_bangerth/aristoff_bangerth");
    const auto &density = problem->density();
    const auto theta    = read_rows(folder + "forward_tests_theta_10x64.csv");
    const auto &layout  = density.prior().layout();
    const Vector m      = parameters_of(*problem, theta[3]);
    const auto at       = density.linearize(m);
    BOOST_REQUIRE(at);
    for (const std::uint32_t k : {0u, 1u, 2u})
    {
      const Vector v        = standard_normal(layout, {1, Stream::verification, k, 1.});
      const double expected = layout.dot(at->gradient, v);
      const auto difference = [&](double h)
      { return (density.potential(m + h * v).value() - density.potential(m - h * v).value()) / (2. * h); };
      const double extrapolated = (4. * difference(5e-4) - difference(1e-3)) / 3.;
      BOOST_TEST(std::abs(extrapolated / expected - 1.) < 1e-6, "direction " << k);
    }
  }

  struct Optimum
  {
    double elbo = 0., error = 0.;
    Vector mean; ///< of ln θ, on every rank
  };

  Optimum optimum(const std::string &family)
  {
    auto problem =
        shipped_case<2>("aristoff_bangerth/aristoff_bangerth",
                        {"Inference/Family=" + family, "Parallel/Sample groups=0", "Inference/ELBO error=0.5",
                         "Inference/natural gradient/Draws=32", "Inference/natural gradient/Tolerance=0.5"});
    const auto results = infer_silently(problem);
    BOOST_TEST(results.map.converged, results.map.reason);
    BOOST_TEST(results.optimization.converged, results.optimization.reason);
    const Vector mean = problem->density().prior().layout().gather(results.parameters).array() + 4.;
    BOOST_TEST_MESSAGE(family << ": ELBO " << results.averages.elbo.elbo.value << " +- "
                              << results.averages.elbo.elbo.error);
    return {results.averages.elbo.elbo.value, results.averages.elbo.elbo.error, mean};
  }

  /// With all 64 directions free, `low rank` is `full`; mean field is clearly below. The data are symmetric in x and y,
  /// and so is the posterior; the blocks of the truth 0.1 are recovered.
  BOOST_AUTO_TEST_CASE(gaussians_in_ln_theta)
  {
    const Optimum low_rank = optimum("low rank"), full = optimum("full"), mean_field = optimum("mean field");
    BOOST_TEST(std::abs(low_rank.elbo - full.elbo) < 4. * std::hypot(low_rank.error, full.error));
    BOOST_TEST(low_rank.elbo - mean_field.elbo > 10. * std::hypot(low_rank.error, mean_field.error));
    for (const Optimum *q : {&low_rank, &full, &mean_field})
    {
      double asymmetry = 0.;
      for (Index i = 0; i < 8; ++i)
        for (Index j = 0; j < 8; ++j)
          asymmetry = std::max(asymmetry, std::abs(q->mean(i + 8 * j) - q->mean(j + 8 * i)));
      BOOST_TEST(asymmetry < 0.5); // standard deviations are from 0.3 to 1.8
      for (const Index k : {9, 10, 17, 18})
        BOOST_TEST(std::abs(q->mean(k) - std::log(0.1)) < 1.);
    }
  }

} // namespace

BOOST_AUTO_TEST_SUITE_END()
