// ranks: 1 2 4
#include "linear_case.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(cross_validation)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  /// Mean and standard deviation of each measurement given those of the other folds, noise included, and the data, all
  /// in units of the noise: with d ~ N(0, K + I) and the rows S of the other folds,
  /// K_tS (I + K_SS)⁻¹ d_S and 1 + K_tt − K_tS (I + K_SS)⁻¹ K_St.
  struct FoldPredictions
  {
    FoldPredictions(const DataDistribution &data, const std::vector<int> &fold_of)
        : mean(data.residuals.size()), deviation(data.residuals.size())
    {
      for (Index t = 0; t < mean.size(); ++t)
      {
        std::vector<Index> rest;
        for (Index i = 0; i < mean.size(); ++i)
          if (fold_of[static_cast<std::size_t>(i)] != fold_of[static_cast<std::size_t>(t)])
            rest.push_back(i);
        const auto n        = static_cast<Index>(rest.size());
        const Vector k      = data.k(rest, std::vector<Index>{t});
        const Vector solved = (Matrix::Identity(n, n) + data.k(rest, rest)).llt().solve(k);
        mean[t]             = solved.dot(Vector(data.residuals(rest)));
        deviation[t]        = std::sqrt(1. + data.k(t, t) - k.dot(solved));
      }
    }
    Vector mean, deviation;
  };

  /// CRPS of N(0, 1) at z (Gneiting, Raftery 2007, Journal of the American Statistical Association 102, eq. 21).
  double standard_crps(double z)
  {
    const double density = std::exp(-0.5 * z * z) / std::sqrt(2. * M_PI);
    return z * std::erf(z / M_SQRT2) + 2. * density - 1. / std::sqrt(M_PI);
  }
} // namespace

/// Linear and Gaussian: what each fold is predicted to be from the others is known in closed form, and so are the
/// scores.
BOOST_AUTO_TEST_CASE(scores_of_a_linear_problem)
{
  int n_ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
  auto problem = linear_case({"Mesh/Subdivisions=8, 8", "Cross-validation/Folds=4", "Inference/ELBO error=0",
                              "Inference/Minimum draws=4000", "Inference/Maximum draws=4000",
                              "Inference/Coarse to fine=false", "Parallel/Sample groups=" + std::to_string(n_ranks)});
  const DataDistribution data = data_distribution(*problem);
  Results<2> results;
  {
    const Silence silence;
    Report report(problem->groups(), 0.);
    results = infer(problem, report, {false, true});
  }
  BOOST_REQUIRE(results.cross_validation.has_value());
  const CrossValidation &found = *results.cross_validation;
  BOOST_TEST(found.folds.size() == 4u);
  BOOST_TEST(found.not_converged.empty());
  const FoldPredictions exact(data, found.fold_of);

  const Vector offset = problem->measurements().values() - data.sigma.cwiseProduct(data.residuals);
  const Vector mean   = data.sigma.cwiseProduct(exact.mean) + offset;
  const Vector spread = data.sigma.cwiseProduct(exact.deviation);
  BOOST_TEST((found.mean - mean).cwiseAbs().maxCoeff() < 1e-6 * mean.cwiseAbs().maxCoeff());
  // 4000 draws in antithetic pairs: the relative error of a standard deviation is 1/sqrt(4000).
  for (Index i = 0; i < spread.size(); ++i)
    BOOST_TEST(std::abs(found.deviation[i] / spread[i] - 1.) < 4. / std::sqrt(4000.));

  double square = 0., nlpd = 0., crps = 0., in50 = 0., in95 = 0.;
  const auto n = static_cast<double>(spread.size());
  for (Index i = 0; i < spread.size(); ++i)
  {
    const double error = problem->measurements().values()[i] - mean[i], z = error / spread[i];
    square += error * error / n;
    nlpd += (0.5 * z * z + std::log(spread[i]) + 0.5 * std::log(2. * M_PI)) / n;
    crps += spread[i] * standard_crps(z) / n;
    in50 += std::abs(z) < 0.67448975 ? 1. / n : 0.;
    in95 += std::abs(z) < 1.95996398 ? 1. / n : 0.;
  }
  const Scores &scores = found.all;
  BOOST_TEST(scores.n == 36u);
  BOOST_TEST(std::abs(scores.rmse / std::sqrt(square) - 1.) < 1e-6);
  BOOST_TEST(std::abs(scores.nlpd - nlpd) < 0.02);
  BOOST_TEST(std::abs(scores.crps / crps - 1.) < 0.01);
  // One datum may be at the border of the interval.
  BOOST_TEST(std::abs(scores.coverage50 - in50) < 1.01 / n);
  BOOST_TEST(std::abs(scores.coverage95 - in95) < 1.01 / n);
}

/// A fold that fails is named, and the others are predicted.
BOOST_AUTO_TEST_CASE(a_fold_that_fails)
{
  int n_ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
  auto problem = linear_case(
      {"Mesh/Subdivisions=8, 8", "Cross-validation/Folds=3", "Parallel/Sample groups=" + std::to_string(n_ranks)});
  const CrossValidation folds   = assign_folds(*problem);
  const Refit<2> fails_at_first = [&](Case<2> &, const std::vector<bool> &used, Report &)
  {
    for (std::size_t i = 0; i < used.size(); ++i)
      if (folds.fold_of[i] == 0 && !used[i])
        throw ComputationError("no.");
    FoldFit fit;
    fit.end.converged = true;
    fit.mean          = Vector::Zero(36);
    fit.deviation = fit.noise = Vector::Ones(36);
    return fit;
  };
  const Silence silence;
  Report report(problem->groups(), 0.);
  const CrossValidation found = cross_validate<2>(*problem, fails_at_first, report);
  BOOST_TEST((found.failed == std::vector<std::string>{"1"}));
  BOOST_TEST(found.of_folds.size() == 3u);
  BOOST_TEST(found.all.n == 24);
  for (Index i = 0; i < 36; ++i)
    BOOST_TEST(found.deviation[i] == (folds.fold_of[static_cast<std::size_t>(i)] == 0 ? 0. : std::sqrt(2.)));
  BOOST_TEST(found.lines().size() == 5u);
  BOOST_TEST(problem->measurements().n_used() == 36);
}

BOOST_AUTO_TEST_SUITE_END()
