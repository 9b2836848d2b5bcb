// ranks: 1 2
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>
#include <varfield/certification.h>
#include <varfield/scores.h>
#include <varfield/starts.h>
#include <varfield/trust.h>

BOOST_AUTO_TEST_SUITE(trust)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  const Finding *find(const TrustReport &report, const std::string &name)
  {
    for (const Finding &finding : report.findings)
      if (finding.name == name)
        return &finding;
    return nullptr;
  }

  double figure(const Finding &finding, const std::string &name)
  {
    for (const auto &[key, value] : finding.figures)
      if (key == name)
        return value;
    return std::nan("");
  }

  /// Two wells in the first coordinate of m at ±2, the left one deeper by `tilt`.
  DenseValues two_wells(const Vector &m, double tilt)
  {
    const double x = m[0], s = 0.3, a = -0.5 * std::pow((x - 2.) / s, 2), b = tilt - 0.5 * std::pow((x + 2.) / s, 2);
    const double top = std::max(a, b), ea = std::exp(a - top), eb = std::exp(b - top);
    const double slope = (-(x - 2.) / (s * s) * ea - (x + 2.) / (s * s) * eb) / (ea + eb);
    DenseValues v{-top - std::log(ea + eb), Vector::Zero(m.size()), Matrix::Zero(m.size(), m.size())};
    v.gradient[0]   = -slope;
    v.hessian(0, 0) = 1. / (s * s);
    return v;
  }
} // namespace

/// Searches from prior draws find the other well, and say which is deeper.
BOOST_AUTO_TEST_CASE(other_modes_are_found)
{
  for_each_split(
      [&](const SampleGroups &groups)
      {
        const DensePrior prior(groups.space(), 4. * Matrix::Identity(3, 3), "test");
        for (const double tilt : {1., -1.})
        {
          const DenseDensity density(groups, prior, [=](const Vector &m) { return two_wells(m, tilt); });
          Vector right = prior.layout().identity() * Vector(Eigen::Vector3d(2., 0., 0.));
          MapSolver().minimize(density, right, {});
          const SeveralStarts starts = search_from_prior(density, MapSolver(), right, 8, 1);
          BOOST_TEST(starts.n_converged() == 8u);
          BOOST_TEST(starts.at_the_same() > 0u);
          BOOST_TEST(starts.at_the_same() < 8u);
          // Without overlap the wells differ by the tilt in full, the prior being symmetric.
          BOOST_TEST(std::abs(starts.best_elsewhere() + tilt) < 1e-6);
          BOOST_TEST(starts.better.has_value() == (tilt > 0.));
          if (starts.better)
          {
            const Vector better = prior.layout().gather(*starts.better);
            BOOST_TEST(std::abs(better[0] + 2. * 4. / (4. + 0.09)) < 1e-5);
          }
        }
      });
}

/// For the weights of N(μ, 1) against N(0, 1), log w = μx − μ²/2: D₂ is μ² and the bound with the ELBO in place of the
/// evidence 0 is μ² + μ².
BOOST_AUTO_TEST_CASE(divergence_bound_of_a_shift)
{
  const double mu = 0.3;
  const Vector x  = random_matrix(400000, 1, 8);
  const auto bound = divergence_bounds(mu * x.array() - 0.5 * mu * mu);
  BOOST_TEST(std::abs(bound.divergence - 2. * mu * mu) < 0.01);
  // What is bounded.
  BOOST_TEST(bound.mean > mu);
  BOOST_TEST(bound.mean < 2. * mu);
  BOOST_TEST(bound.deviation > mu);
}

BOOST_AUTO_TEST_CASE(agreement_allows_for_sampling_errors)
{
  const Agreement same = compare({1., 2., 0., 0.}, {1.05, 2.05, 0.05, 0.05});
  BOOST_TEST(same.shift == 0.);
  BOOST_TEST(same.ratio == 1.);
  const Agreement other = compare({1., 1., 0., 0.}, {3., 2., 0.1, 0.});
  BOOST_TEST(std::abs(other.shift - 0.9) < 1e-12);
  BOOST_TEST(std::abs(other.ratio - 0.5) < 1e-12);
}

/// Gneiting, Raftery (2007): the CRPS of N(0,1) at 0 is (√2 − 1)/√π; at the mean, −log density is ½ log 2π.
BOOST_AUTO_TEST_CASE(scores_of_normal_predictions)
{
  const Scores scores = score(Eigen::Vector2d(0., 3.), Eigen::Vector2d(0., 0.), Eigen::Vector2d(1., 1.));
  BOOST_TEST(scores.n == 2);
  BOOST_TEST(std::abs(scores.rmse - std::sqrt(4.5)) < 1e-12);
  BOOST_TEST(scores.coverage95 == 0.5);
  BOOST_TEST(std::abs(scores.nlpd - 0.5 * (std::log(2. * M_PI) + 4.5)) < 1e-12);
  const double at_three = 3. * std::erf(3. / std::sqrt(2.)) + 2. * std::exp(-4.5) / std::sqrt(2. * M_PI) - 1. / std::sqrt(M_PI);
  BOOST_TEST(std::abs(scores.crps - 0.5 * ((std::sqrt(2.) - 1.) / std::sqrt(M_PI) + at_three)) < 1e-12);
}

/// A linear-Gaussian case, where the posterior is exact: all green; then with noise a tenth of what the data have, with an
/// outlier, with a prior that excludes the data.
BOOST_AUTO_TEST_CASE(reports_of_a_linear_case)
{
  const std::string name = "linear_gaussian/A";
  const auto run         = [&](const std::vector<std::string> &overrides)
  {
    auto problem       = shipped_case<2>(name, overrides);
    const auto results = infer_silently(problem);
    return judge(*problem, results);
  };
  const TrustReport good = run({});
  for (const std::string expected : {"optimisation", "ELBO", "k-hat", "prior and data", "outliers"})
    BOOST_TEST(find(good, expected) != nullptr, expected);
  BOOST_TEST(good.colour() == Colour::green, good.lines().front());
  BOOST_TEST(figure(*find(good, "k-hat"), "k") < 0.5);
  BOOST_TEST(std::abs(figure(*find(good, "evidence"), "gap")) < 0.05);

  const TrustReport narrow = run({"Measurements/u/gaussian/Standard deviation=0.0001"});
  for (const Finding &finding : narrow.findings)
    if (finding.name.rfind("data fit", 0) == 0)
      BOOST_TEST((finding.colour == Colour::red), finding.text);
  BOOST_TEST((narrow.colour() == Colour::red));
}

BOOST_AUTO_TEST_SUITE_END()
