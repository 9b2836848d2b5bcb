// ranks: 1 2
#include "cases.h"
#include "dense_models.h"
#include "scratch_file.h"

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
          Vector right = local_rows(prior.layout(), Eigen::Vector3d(2., 0., 0.));
          MapSolver().minimize(density, right, {});
          const SeveralStarts starts = search_from_prior(density, MapSolver(), right, 8, 1);
          BOOST_TEST(starts.n_converged() == 8u);
          BOOST_TEST(starts.before.has_value() == (tilt > 0.));
          BOOST_TEST(starts.at_the_same() > 0u);
          BOOST_TEST(starts.at_the_same() < 8u);
          // Without overlap the wells differ by the tilt in full, the prior being symmetric.
          BOOST_TEST(std::abs(starts.best_elsewhere() - std::abs(tilt)) < 1e-6);
          BOOST_TEST(std::abs(starts.gained - std::max(0., tilt)) < 1e-6);
          BOOST_TEST(starts.better.has_value() == (tilt > 0.));
          BOOST_TEST(starts.elsewhere.size() == 1u);
          if (starts.better)
          {
            const Vector better = prior.layout().gather(*starts.better);
            BOOST_TEST(std::abs(better[0] + 2. * 4. / (4. + 0.09)) < 1e-5);
          }
        }
      });
}

/// Wells of the same depth are told apart by where they are.
BOOST_AUTO_TEST_CASE(equally_deep_modes_are_two)
{
  for_each_split(
      [&](const SampleGroups &groups)
      {
        const DensePrior prior(groups.space(), 4. * Matrix::Identity(3, 3), "test");
        const DenseDensity density(groups, prior, [](const Vector &m) { return two_wells(m, 0.); });
        Vector right = local_rows(prior.layout(), Eigen::Vector3d(2., 0., 0.));
        MapSolver().minimize(density, right, {});
        const SeveralStarts starts = search_from_prior(density, MapSolver(), right, 8, 1);
        BOOST_TEST(starts.elsewhere.size() == 1u);
        BOOST_TEST(std::abs(starts.best_elsewhere()) < 1e-6);
        BOOST_TEST(!starts.better.has_value());
      });
}

/// For the weights of N(μ, 1) against N(0, 1), log w = μx − μ²/2: D₂ is μ² and the bound with the ELBO in place of the
/// evidence 0 is μ² + μ².
BOOST_AUTO_TEST_CASE(divergence_bound_of_a_shift)
{
  const double mu  = 0.3;
  const Vector x   = random_matrix(400000, 1, 8);
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
  const Scores scores = score(Eigen::Vector2d(0., 3.), Eigen::Vector2d(0., 0.),
                              std::vector<NormalMixture>(2, {Vector::Ones(1), Vector::Ones(1)}));
  BOOST_TEST(scores.n == 2);
  BOOST_TEST(std::abs(scores.rmse - std::sqrt(4.5)) < 1e-12);
  BOOST_TEST(scores.coverage95 == 0.5);
  BOOST_TEST(std::abs(scores.nlpd - 0.5 * (std::log(2. * M_PI) + 4.5)) < 1e-12);
  const double at_three =
      3. * std::erf(3. / std::sqrt(2.)) + 2. * std::exp(-4.5) / std::sqrt(2. * M_PI) - 1. / std::sqrt(M_PI);
  BOOST_TEST(std::abs(scores.crps - 0.5 * ((std::sqrt(2.) - 1.) / std::sqrt(M_PI) + at_three)) < 1e-12);
}

namespace
{
  TrustReport report_of(const std::string &name, std::vector<std::string> overrides)
  {
    overrides.insert(overrides.end(), {"Inference/Prior draws=100", "Inference/Starts=4"});
    auto problem       = shipped_case<2>(name, overrides);
    const auto results = infer_silently(problem);
    return judge(*problem, results);
  }

  /// The sensors of ld100 with the value of the one in this line of the file changed.
  std::string sensors_with(unsigned int changed_line, double change)
  {
    std::ifstream in(source_folder() + "/parameter_files/ld100/sensors.csv");
    std::ostringstream out;
    std::string line;
    for (unsigned int number = 1; std::getline(in, line); ++number)
    {
      std::vector<std::string> cells = split(line, ',');
      if (number == changed_line)
        cells[2] = to_text(std::stod(cells[2]) + change);
      out << join(cells, ",") << "\n";
    }
    return out.str();
  }
} // namespace

/// A linear-Gaussian case, where the variational posterior is exact: all green, the ELBO is the evidence.
BOOST_AUTO_TEST_CASE(all_is_well_with_an_exact_posterior)
{
  const TrustReport report = report_of("linear_gaussian/A", {"Mesh/Subdivisions=32, 32"});
  for (const std::string expected :
       {"optimisation", "ELBO", "k-hat", "error bounds", "prior and data", "data fit, u", "outliers", "failed solves"})
    BOOST_TEST(find(report, expected) != nullptr, expected);
  BOOST_TEST(std::string(name_of(report.colour())) == "green");
  BOOST_TEST(figure(*find(report, "k-hat"), "effective_size") > 199.9);
  BOOST_TEST(std::abs(figure(*find(report, "evidence"), "gap")) < 1e-6);
  BOOST_TEST(figure(*find(report, "error bounds"), "mean") < 1e-3);
}

/// A single number cannot explain the data of a field; the prior for it excludes them.
BOOST_AUTO_TEST_CASE(a_model_that_cannot_fit_is_red)
{
  const TrustReport report =
      report_of("ld100/ld100", {"Mesh/Subdivisions=16, 16", "Fields/log k/Space=global",
                                "Fields/log k/Prior=independent", "Fields/log k/independent/Standard deviation=1",
                                "Fields/log k/Truth file=", "Inference/ELBO error=0.5"});
  const Finding &fit = *find(report, "data fit, u");
  BOOST_TEST(std::string(name_of(fit.colour)) == "red", fit.text);
  BOOST_TEST(std::abs(figure(fit, "freedom") - 99.) < 0.5);
  BOOST_TEST(std::string(name_of(report.colour())) == "red");
  BOOST_TEST(!fit.advice.empty());
}

BOOST_AUTO_TEST_CASE(an_outlier_is_named)
{
  // The noise of these data has the standard deviation 0.0119.
  const ScratchFile file("sensors_with_an_outlier.csv", sensors_with(38, 0.12));
  const TrustReport report = report_of(
      "ld100/ld100", {"Mesh/Subdivisions=16, 16", "Inference/ELBO error=0.5", "Measurements/u/File=" + file.path});
  const Finding &outliers = *find(report, "outliers");
  BOOST_TEST(std::string(name_of(outliers.colour)) == "amber");
  BOOST_TEST(outliers.text.find("sensors_with_an_outlier.csv, line 38") != std::string::npos, outliers.text);
  // Less than ten: the field bends towards it.
  BOOST_TEST(figure(outliers, "largest") > 3.5);
}

/// With heavy tails it is named with what it counts for, and z is its normal score: |t₂| > 25 has a probability of
/// 0.0016.
BOOST_AUTO_TEST_CASE(an_outlier_of_heavy_tails_counts_for_little)
{
  const ScratchFile file("sensors_with_an_outlier.csv", sensors_with(38, 25. * 0.0119));
  const TrustReport report =
      report_of("ld100/ld100", {"Mesh/Subdivisions=16, 16", "Inference/ELBO error=0.5",
                                "Measurements/u/Noise=student t", "Measurements/u/student t/Standard deviation=0.0119",
                                "Measurements/u/student t/Degrees of freedom=2", "Measurements/u/File=" + file.path});
  const Finding &outliers = *find(report, "outliers");
  const std::size_t place = outliers.text.find("sensors_with_an_outlier.csv, line 38, 3.");
  BOOST_REQUIRE(place != std::string::npos);
  BOOST_TEST(outliers.text.find("(counts for 0.0", place) != std::string::npos, outliers.text);
  BOOST_TEST(figure(outliers, "largest") < 5.);
  // The variance of a squared residual is 2ν/(ν+3).
  const Finding &fit = *find(report, "data fit, u");
  BOOST_TEST(std::abs(figure(fit, "spread") - std::sqrt(0.8 / figure(fit, "freedom"))) < 1e-12);
}

BOOST_AUTO_TEST_SUITE_END()
