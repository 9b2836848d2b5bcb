// ranks: 1 2 3 4
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/exceptions.h>

BOOST_AUTO_TEST_SUITE(optimizers)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  constexpr Index n = 12;

  const Settings everything{{"Rank", "12"}, {"Cutoff", "0"}, {"Modes", "12"}, {"Factors", "3"}};

  std::unique_ptr<Family> new_family(const std::string &name, const GaussianPrior &prior,
                                     const Settings &settings = everything)
  {
    auto family = create<Family>(name, settings);
    family->initialize(prior, 1);
    return family;
  }

  /// The coordinates x, m = Ax, in which a mean field family has a diagonal covariance; empty for families with any.
  Matrix own_coordinates(const std::string &name, const FactorPrior &prior)
  {
    if (name == "mean field")
      return prior.layout().gather(prior.leading_modes(n));
    if (name == "white noise mean field")
      return prior.l;
    if (name == "nodal mean field")
      return Matrix::Identity(n, n);
    return Matrix(n, 0);
  }

  /// Smallest KL(q‖posterior) of a family with a diagonal covariance diag(1/Λᵢᵢ), and that covariance of m.
  std::pair<double, Matrix> mean_field_optimum(const Matrix &a, const Matrix &precision)
  {
    const Matrix lambda = a.transpose() * precision * a;
    const double gap    = 0.5 * (lambda.diagonal().array().log().sum() - std::log(lambda.determinant()));
    return {gap, a * lambda.diagonal().cwiseInverse().asDiagonal() * a.transpose()};
  }

  double kl_to(const Family &family, const LinearGaussian &model)
  {
    return dense_kl(family.prior().layout().gather(family.mean()), covariance_matrix(family), model.mean,
                    model.precision);
  }

  /// Poisson counts: log-concave, not Gaussian.
  DenseDensity::Function poisson(Index n_data)
  {
    const Matrix b = 0.7 * random_matrix(n_data, n, 1);
    const Vector y = Vector::LinSpaced(n_data, 0., 8.);
    return [b, y](const Vector &m)
    {
      const Vector eta = b * m, e = eta.array().exp();
      return DenseValues{e.sum() - y.dot(eta), b.transpose() * (e - y), b.transpose() * e.asDiagonal() * b};
    };
  }
} // namespace

BOOST_AUTO_TEST_CASE(all_are_registered)
{
  const std::vector<std::string> expected{"natural gradient", "stochastic"};
  BOOST_TEST(Registry<Optimizer>::names() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(linear_gaussian_closed_forms)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(n));
        const LinearGaussian model = dense_linear_gaussian(prior, 5);
        for (const bool with_factor : {true, false})
          for (const std::string &name : Registry<Family>::names())
            BOOST_TEST_CONTEXT("family " << name << ", explicit factor " << with_factor)
            {
              DenseDensity density(groups, prior, model);
              density.quadratic = true;
              if (with_factor)
                density.factor = model.g.transpose();
              auto family    = new_family(name, prior);
              auto optimizer = create<Optimizer>("natural gradient", {});
              if (!family->has_natural_step())
              {
                BOOST_CHECK_THROW(optimizer->check(*family), UserError);
                continue;
              }
              double residual          = 1.;
              const Termination result = optimizer->maximize(density, *family, 3,
                                                             [&](const IterationReport &line)
                                                             {
                                                               residual = line.gradient;
                                                               return false;
                                                             });
              BOOST_TEST(result.converged);
              BOOST_TEST(residual < 1e-8);
              BOOST_TEST(density.n_linearizations <= 2u);
              BOOST_TEST(relative_difference(prior.layout().gather(family->mean()), model.mean) < 1e-8);

              const Matrix coordinates = own_coordinates(name, prior);
              const bool exact         = coordinates.cols() == 0;
              const auto [gap, s] =
                  exact ? std::pair(0., model.covariance) : mean_field_optimum(coordinates, model.precision);
              BOOST_TEST(relative_difference(covariance_matrix(*family), s) < 1e-8);
              BOOST_TEST(std::abs(kl_to(*family, model) - gap) < 1e-8);

              // ELBO = log evidence − KL(q‖posterior), by draws; without scatter where the family is exact.
              const ElboEstimate elbo = estimate_elbo(density, *family, {7, Stream::evaluation, 0, 400, true});
              BOOST_TEST(std::abs(elbo.elbo.value - (model.log_evidence - gap)) < 5. * elbo.elbo.error + 1e-8);
              if (exact)
                BOOST_TEST(elbo.elbo.error < 1e-9);
              else
                BOOST_TEST(gap > 0.01);
            }
      });
}

BOOST_AUTO_TEST_CASE(truncation_gap_of_low_rank)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  const FactorPrior prior(MPI_COMM_WORLD, smooth_factor(n));
  const LinearGaussian model = dense_linear_gaussian(prior, 6);
  DenseDensity density(groups, prior, model);
  density.quadratic     = true;
  const Matrix whitened = prior.l.transpose() * model.g.transpose() * model.g * prior.l;
  const Vector lambda   = Eigen::SelfAdjointEigenSolver<Matrix>(whitened).eigenvalues().reverse();
  for (Index rank = 1; rank <= 6; ++rank)
  {
    auto family = new_family("low rank", prior, {{"Rank", std::to_string(rank)}, {"Cutoff", "0"}});
    BOOST_TEST(create<Optimizer>("natural gradient", {})->maximize(density, *family, 3, {}).converged);
    const Eigen::ArrayXd dropped = lambda.segment(rank, n - rank).array();
    BOOST_TEST(std::abs(kl_to(*family, model) - 0.5 * (dropped - (1. + dropped).log()).sum()) < 1e-8);
    BOOST_TEST(std::abs(family->first_dropped() - lambda[rank]) < 1e-8);
  }
}

BOOST_AUTO_TEST_CASE(natural_gradient_without_knowing_that_the_problem_is_linear)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(n));
        const LinearGaussian model = dense_linear_gaussian(prior, 5);
        const DenseDensity density(groups, prior, model);
        for (const std::string name : {"low rank", "full", "mean field", "white noise mean field", "nodal mean field"})
          BOOST_TEST_CONTEXT("family " << name)
          {
            auto family              = new_family(name, prior);
            const Termination result = create<Optimizer>("natural gradient", {})->maximize(density, *family, 3, {});
            BOOST_TEST(result.converged, result.reason);
            const Matrix coordinates = own_coordinates(name, prior);
            const double gap = coordinates.cols() == 0 ? 0. : mean_field_optimum(coordinates, model.precision).first;
            // Antithetic pairs leave no sampling error in the gradient of a linear problem.
            BOOST_TEST(std::abs(kl_to(*family, model) - gap) < 1e-5);
          }
      });
}

BOOST_AUTO_TEST_CASE(stochastic_with_every_family)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(n));
        const LinearGaussian model = dense_linear_gaussian(prior, 2);
        const DenseDensity density(groups, prior, model);
        for (const std::string &name : Registry<Family>::names())
          BOOST_TEST_CONTEXT("family " << name)
          {
            auto family = new_family(name, prior);
            if (family->follows_curvature())
            {
              // As from a Laplace approximation that is wrong by a factor.
              const auto at = density.linearize(family->mean());
              family->natural_step(Curvature(density, *at), 0.3);
            }
            const double start = kl_to(*family, model);
            const Termination result =
                create<Optimizer>("stochastic", {{"Maximum iterations", "4000"}})->maximize(density, *family, 3, {});
            BOOST_TEST(result.converged, result.reason);
            const std::string bound  = name == "factor" ? "white noise mean field" : name;
            const Matrix coordinates = own_coordinates(bound, prior);
            const double gap = coordinates.cols() == 0 ? 0. : mean_field_optimum(coordinates, model.precision).first;
            BOOST_TEST(kl_to(*family, model) < gap + 0.1);
            BOOST_TEST(start > gap + 0.3);
          }
      });
}

BOOST_AUTO_TEST_CASE(natural_gradient_on_a_nonlinear_problem)
{
  // The optimum satisfies S⁻¹ = C⁻¹ + E_q[H] and E_q[∇Φ] + C⁻¹mean = 0, for Poisson counts in closed form:
  // E_q[exp(bᵀm)] = exp(bᵀmean + ½bᵀSb).
  const Matrix b = 0.7 * random_matrix(6, n, 1);
  const Vector y = Vector::LinSpaced(6, 0., 8.);
  std::vector<Vector> means;
  for_each_split(
      [&](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(n));
        const DenseDensity density(groups, prior, poisson(6));
        for (const std::string name : {"low rank", "full"})
          BOOST_TEST_CONTEXT("family " << name)
          {
            auto family = new_family(name, prior);
            const Termination result =
                create<Optimizer>("natural gradient",
                                  {{"Draws", "64"}, {"Tolerance", "0.0005"}, {"Maximum iterations", "100"}})
                    ->maximize(density, *family, 3, {});
            BOOST_TEST(result.converged, result.reason);
            const Matrix s      = covariance_matrix(*family);
            const Vector mean   = prior.layout().gather(family->mean());
            const Vector e      = (b * mean + 0.5 * (b * s * b.transpose()).diagonal()).array().exp();
            const Vector g      = b.transpose() * (e - y) + prior.p * mean;
            const Matrix wanted = prior.p + b.transpose() * e.asDiagonal() * b;
            BOOST_TEST(0.5 * g.dot(wanted.llt().solve(g)) < 0.003);
            BOOST_TEST(dense_kl(mean, s, mean, wanted) < 0.003);
            means.push_back(mean);
          }
      });
  // The same draws, whatever the split.
  for (std::size_t k = 2; k < means.size(); ++k)
    BOOST_TEST(relative_difference(means[k], means[k - 2]) < 1e-7);
}

BOOST_AUTO_TEST_CASE(elbo_does_not_depend_on_the_split_and_replaces_failures)
{
  std::vector<ElboEstimate> results;
  for_each_split(
      [&](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(n));
        // Fails in the far tail of the first white noise number.
        unsigned int solved     = 0;
        const auto fails_beyond = [&](double limit)
        {
          return DenseDensity(groups, prior,
                              [limit, &solved](const Vector &m)
                              {
                                solved += m[0] > limit ? 0 : 1;
                                const double bad = m[0] > limit ? std::nan("") : 0.;
                                return DenseValues{0.5 * m.squaredNorm() + bad, m, Matrix::Identity(n, n)};
                              });
        };
        const auto family = new_family("low rank", prior);
        const DrawRange draws{11, Stream::evaluation, 0, 200, true};
        const double sd = std::sqrt(prior.c(0, 0));
        results.push_back(estimate_elbo(fails_beyond(2. * sd), *family, draws));
        BOOST_TEST(groups.sum(double(solved)) == 200.);
        BOOST_TEST(results.back().elbo.failed > 0u);
        BOOST_TEST(results.back().elbo.failed < 20u);
        BOOST_TEST(results.back().log_weights.size() == 200u);
        BOOST_CHECK_THROW(estimate_elbo(fails_beyond(0.), *family, draws), ComputationError);
        for (const std::string &name : Registry<Optimizer>::names())
        {
          auto start = new_family("low rank", prior);
          BOOST_CHECK_THROW(create<Optimizer>(name, {{"Draws", "16"}})->maximize(fails_beyond(-sd), *start, 1, {}),
                            ComputationError);
        }
      });
  for (const ElboEstimate &result : results)
  {
    BOOST_TEST(result.elbo.failed == results[0].elbo.failed);
    BOOST_TEST(std::abs(result.elbo.value - results[0].elbo.value) < 1e-10);
    BOOST_TEST(std::abs(result.elbo.error - results[0].elbo.error) < 1e-10);
  }
}

BOOST_AUTO_TEST_CASE(an_error_in_one_group_is_one_in_all)
{
  for_each_split(
      [&](const SampleGroups &groups)
      {
        const bool bad = groups.group() == groups.n_groups() - 1;
        BOOST_CHECK_EXCEPTION(groups.together(
                                  [&]
                                  {
                                    if (bad)
                                      throw ComputationError("of one group");
                                  }),
                              ComputationError,
                              [](const ComputationError &error)
                              { return std::string(error.what()) == "of one group"; });
        const FactorPrior prior(groups.space(), smooth_factor(n));
        const DenseDensity density(groups, prior,
                                   [bad](const Vector &m)
                                   {
                                     if (bad)
                                       throw ComputationError("a solve failed");
                                     return DenseValues{0.5 * m.squaredNorm(), m, Matrix::Identity(n, n)};
                                   });
        auto family = new_family("low rank", prior);
        struct Broken : Linearization
        {
          MultiVector apply_curvature(const MultiVector &x) const override
          {
            if (bad)
              throw ComputationError("a tangent solve failed");
            return x;
          }
          bool bad = false;
        } broken;
        broken.bad              = bad;
        const MultiVector block = MultiVector::Zero(prior.layout().n_local(), 2 * groups.n_groups());
        const Curvature average(density, {&broken}, groups.n_groups()), shared(density, broken);
        BOOST_CHECK_THROW(average.apply(block), ComputationError);
        BOOST_CHECK_THROW(shared.apply(block), ComputationError);
        BOOST_CHECK_THROW(average.forms(block), ComputationError);
        BOOST_CHECK_THROW(estimate_elbo(density, *family, {1, Stream::evaluation, 0, 20, true}), ComputationError);
        for (const std::string &name : Registry<Optimizer>::names())
          BOOST_CHECK_THROW(create<Optimizer>(name, {})->maximize(density, *family, 1, {}), ComputationError);
      });
}

BOOST_AUTO_TEST_CASE(error_of_the_elbo_is_honest)
{
  // The scatter of many estimates is what one says of itself.
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  const FactorPrior prior(MPI_COMM_WORLD, smooth_factor(n));
  const DenseDensity density(groups, prior, dense_linear_gaussian(prior, 3));
  const auto family = new_family("low rank", prior);
  std::vector<double> values;
  double stated                = 0.;
  const unsigned int n_repeats = 60;
  for (unsigned int k = 0; k < n_repeats; ++k)
  {
    const ElboEstimate elbo = estimate_elbo(density, *family, {4, Stream::evaluation, 40 * k, 40, true});
    values.push_back(elbo.elbo.value);
    stated += elbo.elbo.error * elbo.elbo.error / n_repeats;
  }
  const double scatter = mean_and_error(values, false).error * std::sqrt(double(n_repeats));
  BOOST_TEST(scatter / std::sqrt(stated) > 0.7);
  BOOST_TEST(scatter / std::sqrt(stated) < 1.4);
}

BOOST_AUTO_TEST_CASE(monitors_stop_and_limits_are_told)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(n));
        const DenseDensity density(groups, prior, poisson(6));
        for (const std::string &name : Registry<Optimizer>::names())
          BOOST_TEST_CONTEXT("optimizer " << name)
          {
            auto family              = new_family("low rank", prior);
            const Termination result = create<Optimizer>(name, {})->maximize(
                density, *family, 3, [](const IterationReport &) { return true; });
            BOOST_TEST(result.interrupted);
            BOOST_TEST(!result.converged);
            family = new_family("low rank", prior);
            const Termination limited =
                create<Optimizer>(name, {{"Maximum iterations", "1"}})->maximize(density, *family, 3, {});
            BOOST_TEST(!limited.converged);
            BOOST_TEST(limited.reason.find("maximum number") != std::string::npos);
          }
      });
}

BOOST_AUTO_TEST_SUITE_END()
