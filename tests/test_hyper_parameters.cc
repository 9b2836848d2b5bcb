// ranks: 1 2
#include "dense_models.h"
#include "linear_case.h"

#include <boost/test/unit_test.hpp>
#include <varfield/hyper_inference.h>
#include <varfield/response_surface.h>

BOOST_AUTO_TEST_SUITE(hyper_parameters)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  std::unique_ptr<HyperPrior> hyper_prior(const std::string &name, const Settings &settings, unsigned int dim)
  {
    auto prior = create<HyperPrior>(name, settings);
    prior->check("test", dim);
    return prior;
  }

  const std::vector<std::string> two_scales{
      "Hyperparameters/Names=sigma, noise",
      "Hyperparameters/sigma/Parameter=Fields/f/spde/Standard deviation",
      "Hyperparameters/sigma/Prior=pc upper",
      "Hyperparameters/sigma/pc upper/Limit=30",
      "Hyperparameters/noise/Parameter=Measurements/u/gaussian/Standard deviation",
      "Hyperparameters/noise/Prior=pc upper",
      "Hyperparameters/noise/pc upper/Limit=0.1"};
} // namespace

/// Densities of log θ integrate to one, and quantiles are those of the stated probabilities.
BOOST_AUTO_TEST_CASE(priors_of_scales)
{
  const Settings limits{{"Limit", "3"}, {"Probability", "0.05"}, {"Median", "2"}, {"Factor", "1.5"}};
  for (const unsigned int dim : {2u, 3u})
    for (const auto &[name, below] : std::map<std::string, std::pair<double, double>>{
             {"pc upper", {3., 0.95}}, {"pc lower", {3., 0.05}}, {"lognormal", {3., 0.8413447460685429}}})
    {
      const auto prior = hyper_prior(name, limits, dim);
      double all = 0., part = 0.;
      for (double t = -30.; t < 30.; t += 1e-3)
      {
        const double mass = 1e-3 * std::exp(prior->log_density(t));
        all += mass;
        part += t < std::log(below.first) ? mass : 0.;
      }
      BOOST_TEST(std::abs(all - 1.) < 1e-4, name);
      BOOST_TEST(std::abs(part - below.second) < 2e-3, name << ": " << part);
      BOOST_TEST(std::abs(prior->quantile(below.second) / below.first - 1.) < 1e-9, name);
    }
}

/// A skewed peak with correlation, from a start far away.
BOOST_AUTO_TEST_CASE(peaks_and_surfaces)
{
  unsigned int n    = 0;
  const auto height = [](const Vector &x)
  {
    const double a = x[0] - 1., b = x[1] + 0.5 - 0.3 * a;
    return -(std::exp(a) - a) * 4. - 6. * b * b;
  };
  std::vector<Vector> points;
  std::vector<double> values;
  const Peak peak = find_peak(
      [&](const Vector &x)
      {
        ++n;
        points.push_back(x);
        values.push_back(height(x));
        return values.back();
      },
      Eigen::Vector2d(-2., 2.), 0.4, 1.2, 10);
  BOOST_TEST((peak.x - Eigen::Vector2d(1., -0.5)).norm() < 0.15);
  BOOST_TEST(n < 60u);
  // −∂² at the peak: 4 + 12 · 0.09, −12 · 0.3; 12.
  Matrix expected(2, 2);
  expected << 5.08, -3.6, -3.6, 12.;
  BOOST_TEST((peak.precision - expected).norm() < 0.35 * expected.norm());

  for (double x = -0.6; x < 1.; x += 0.3)
    for (double y = -0.6; y < 1.; y += 0.3)
    {
      points.push_back(peak.x + Eigen::Vector2d(x, y));
      values.push_back(height(points.back()));
    }
  std::vector<Index> near;
  for (std::size_t k = 0; k < points.size(); ++k)
    if (values[k] > -20.)
      near.push_back(static_cast<Index>(k));
  Matrix at(2, static_cast<Index>(near.size()));
  Vector heights(at.cols());
  for (Index k = 0; k < at.cols(); ++k)
  {
    at.col(k)  = 2.5 * (points[static_cast<std::size_t>(near[static_cast<std::size_t>(k)])] - peak.x);
    heights[k] = values[static_cast<std::size_t>(near[static_cast<std::size_t>(k)])];
  }
  const ResponseSurface surface(at, heights, 1e-6);
  for (const Eigen::Vector2d &x : {Eigen::Vector2d(0.1, 0.2), Eigen::Vector2d(-0.5, 0.3), Eigen::Vector2d(0.7, -0.4)})
    BOOST_TEST(std::abs(surface(2.5 * x) - height(peak.x + x)) < 0.02);
}

/// Given θ the posterior of a linear problem is exact and its ELBO the evidence: the posterior of two scales against
/// the exact evidences on a fine grid.
BOOST_AUTO_TEST_CASE(scales_of_a_linear_problem)
{
  auto problem = linear_case(two_scales);
  Results<2> results;
  {
    const Silence silence;
    Report report(problem->groups(), 0.);
    results = infer_with_hyper_parameters(problem, {}, report);
  }
  BOOST_REQUIRE(results.hyper.has_value());
  const HyperPosterior &found = *results.hyper;
  BOOST_TEST(std::abs(found.weights.sum() - 1.) < 1e-12);

  const auto &hyper = problem->hyper_parameters();
  const auto exact  = [&](const Vector &t) { return exact_log_evidence(*problem->with_overrides(hyper.overrides(t))); };
  for (Index k = 0; k < found.points.cols(); k += 7)
    BOOST_TEST(std::abs(found.elbo[k] - exact(found.points.col(k))) < 1e-6);

  // The exact posterior on a grid of 15 × 15 points over four standard deviations.
  const Vector centre(
      Eigen::Vector2d(std::log(found.parameters[0].quantiles[2]), std::log(found.parameters[1].quantiles[2])));
  const Vector width(Eigen::Vector2d(found.parameters[0].log_deviation, found.parameters[1].log_deviation));
  constexpr int n = 15;
  std::vector<Vector> points;
  std::vector<double> heights;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j)
    {
      const Vector z = Eigen::Vector2d(-4. + 8. * i / (n - 1.), -4. + 8. * j / (n - 1.));
      points.push_back(centre + width.cwiseProduct(z));
      heights.push_back(exact(points.back()) + hyper.log_prior(points.back()));
    }
  const double top = *std::max_element(heights.begin(), heights.end());
  double sum       = 0.;
  Vector mean = Vector::Zero(2), square = mean;
  for (std::size_t k = 0; k < points.size(); ++k)
  {
    const double mass = std::exp(heights[k] - top);
    sum += mass;
    mean += mass * points[k];
    square += mass * points[k].cwiseAbs2();
  }
  mean /= sum;
  const Vector deviation = (square / sum - mean.cwiseAbs2()).cwiseSqrt();
  const double evidence  = top + std::log(sum * (8. / (n - 1.) * width[0]) * (8. / (n - 1.) * width[1]));
  BOOST_TEST(std::abs(found.log_evidence - evidence) < 0.05);
  for (Index i = 0; i < 2; ++i)
  {
    const Vector log_theta = found.grid.row(i);
    BOOST_TEST(std::abs(log_theta.dot(found.mass) - mean[i]) < 0.05 * deviation[i]);
    BOOST_TEST(std::abs(found.parameters[static_cast<std::size_t>(i)].log_deviation / deviation[i] - 1.) < 0.05);
    BOOST_TEST(std::abs(found.below(i, found.parameters[static_cast<std::size_t>(i)].quantiles[3]) - 0.95) < 0.01);
  }
}

BOOST_AUTO_TEST_CASE(mistakes_are_named)
{
  const auto message = [](const std::vector<std::string> &changes)
  {
    auto overrides = two_scales;
    overrides.insert(overrides.end(), changes.begin(), changes.end());
    try
    {
      linear_case(overrides);
    }
    catch (const UserError &error)
    {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto contains = [](const std::string &text, const std::string &part)
  { return text.find(part) != std::string::npos; };
  BOOST_TEST(message({}).empty());
  BOOST_TEST(contains(message({"Hyperparameters/noise/Parameter=Measurements/u/Noise"}), "no number"));
  BOOST_TEST(
      contains(message({"Hyperparameters/noise/Parameter=Measurements/v/gaussian/Standard deviation"}), "no number"));
  BOOST_TEST(contains(message({"Hyperparameters/sigma/pc upper/Limit=0"}), "positive Limit"));
  BOOST_TEST(contains(message({"Inference/Method=map"}), "Hyperparameters/Names"));
}

BOOST_AUTO_TEST_SUITE_END()
