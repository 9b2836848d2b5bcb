// ranks: 1 2 3 4
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/exceptions.h>

BOOST_AUTO_TEST_SUITE(families)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  constexpr Index n = 9;

  const Settings everything{{"Rank", "9"}, {"Cutoff", "0"}, {"Modes", "9"}, {"Factors", "3"}};

  /// A random direction in the space of the parameters η.
  Vector direction(const Family &family, std::uint64_t seed)
  {
    const Index size = family.parameters().size(), n_noise = family.prior().noise_layout().n_local();
    Vector result(size);
    result.head(n_noise) = standard_normal(family.prior().noise_layout(), {seed, Stream::verification, 0, 1.});
    int rank             = 0;
    MPI_Comm_rank(family.prior().layout().comm(), &rank);
    result.tail(size - n_noise) =
        random_matrix(std::max<Index>(size - n_noise, 1), 1, seed + 1 + static_cast<unsigned>(rank))
            .topRows(size - n_noise);
    return result;
  }

  /// All numbers that describe a family moved away from the prior, deterministically.
  std::unique_ptr<Family> informed_family(const std::string &name, const LogDensity &density)
  {
    const Layout &layout = density.prior().layout();
    auto family          = create<Family>(name, everything);
    family->initialize(density.prior(), 1);
    const Vector mean = local_rows(layout, 0.7 * random_matrix(n, 1, 21));
    family->set_mean(mean);
    if (family->has_natural_step())
    {
      const auto at = density.linearize(mean);
      family->natural_step(Curvature(density, *at), 0.8);
    }
    else
      family->set_parameters(family->parameters() + 0.3 * direction(*family, 41));
    family->set_mean(mean);
    return family;
  }

  double dot(const Family &family, const Vector &x, const Vector &y)
  {
    double result = x.dot(y);
    MPI_Allreduce(MPI_IN_PLACE, &result, 1, MPI_DOUBLE, MPI_SUM, family.prior().layout().comm());
    return result;
  }

  /// Calls the body for every registered family in a state away from the prior, for every split of the ranks.
  void for_each_family(
      const std::function<void(const std::string &, Family &, const FactorPrior &, const LogDensity &)> &body)
  {
    for_each_split(
        [&](const SampleGroups &groups)
        {
          const FactorPrior prior(groups.space(), smooth_factor(n));
          const DenseDensity density(groups, prior, dense_linear_gaussian(prior, 5));
          for (const std::string &name : Registry<Family>::names())
            BOOST_TEST_CONTEXT("family " << name << ", groups " << groups.n_groups())
            {
              const auto family = informed_family(name, density);
              body(name, *family, prior, density);
            }
        });
  }

  const DrawKey key{5, Stream::evaluation, 3, 1.};
} // namespace

BOOST_AUTO_TEST_CASE(all_are_registered)
{
  const std::vector<std::string> expected{
      "factor", "full", "low rank", "mean field", "nodal mean field", "skewed", "white noise mean field"};
  BOOST_TEST(Registry<Family>::names() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(log_ratio_and_kl_agree_with_dense_gaussians)
{
  for_each_family(
      [](const std::string &, Family &family, const FactorPrior &prior, const LogDensity &)
      {
        const Layout &layout = prior.layout();
        const Matrix s = covariance_matrix(family), s_inverse = s.llt().solve(Matrix::Identity(n, n));
        const Vector mean = layout.gather(family.mean());
        BOOST_TEST(relative_difference(s, s.transpose()) < 1e-12);
        BOOST_TEST(relative_difference(s, prior.c) > 0.001);

        const Draw draw = family.sample(key);
        const Vector m = layout.gather(draw.m), shift = m - mean;
        const double expected = 0.5 * (shift.dot(s_inverse * shift) - m.dot(prior.p * m)) +
                                0.5 * std::log(s.determinant() / prior.c.determinant());
        BOOST_TEST(std::abs(draw.log_ratio - expected) < 1e-9);
        BOOST_TEST(std::abs(family.log_ratio(draw.m) - expected) < 1e-9);
        BOOST_TEST(std::abs(family.kl() - dense_kl(mean, s, Vector::Zero(n), prior.p)) < 1e-9);

        const Draw partner = family.sample({key.seed, key.stream, key.draw, -1.});
        BOOST_TEST((0.5 * (draw.m + partner.m) - family.mean()).norm() < 1e-12);
      });
}

BOOST_AUTO_TEST_CASE(sample_moments)
{
  for_each_family(
      [](const std::string &, Family &family, const FactorPrior &prior, const LogDensity &)
      {
        // Antithetic draws: the second moments of one half are those of the other, and the means are exact.
        const unsigned int n_draws = 3000;
        const Matrix s             = covariance_matrix(family);
        MultiVector shifts(prior.layout().n_local(), n_draws);
        Vector log_ratios(n_draws);
        for (unsigned int k = 0; k < n_draws; ++k)
        {
          const Draw draw = family.sample({8, Stream::evaluation, k, 1.});
          shifts.col(k)   = draw.m - family.mean();
          log_ratios[k]   = draw.log_ratio;
        }
        const Matrix x         = prior.layout().gather(shifts);
        const Matrix empirical = x * x.transpose() / n_draws;
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < n; ++j)
            BOOST_TEST(std::abs(empirical(i, j) - s(i, j)) <
                       5.5 * std::sqrt((s(i, i) * s(j, j) + s(i, j) * s(i, j)) / n_draws));
        // KL(q‖p) = −E_q[log p − log q].
        const Estimate kl = mean_and_error({log_ratios.data(), log_ratios.data() + n_draws}, false);
        BOOST_TEST(std::abs(kl.value + family.kl()) < 5. * kl.error + 1e-12);
      });
}

BOOST_AUTO_TEST_CASE(path_gradients_against_differences)
{
  for_each_family(
      [](const std::string &name, Family &family, const FactorPrior &prior, const LogDensity &density)
      {
        family.set_parameters(family.parameters() + 0.1 * direction(family, 31));
        // log q keeps the parameters of `frozen` while the draw moves.
        const auto frozen   = family.clone();
        const Vector origin = family.parameters(), along = direction(family, 77);
        const auto objective = [&](double h)
        {
          family.set_parameters(origin + h * along);
          const Vector m = family.sample(key).m;
          return frozen->log_ratio(m) - *density.potential(m);
        };
        const double h = 1e-4;
        const double expected =
            (8. * (objective(h) - objective(-h)) - objective(2. * h) + objective(-2. * h)) / (12. * h);
        const auto at       = density.linearize(frozen->sample(key).m);
        const double actual = dot(*frozen, frozen->path_gradient(key, at->gradient), along);
        BOOST_TEST(std::abs(actual - expected) < 1e-7 * (1. + std::abs(expected)));
        BOOST_TEST(std::abs(expected) > 1e-3);
        BOOST_TEST(name.size() > 0u);
        BOOST_TEST(prior.layout().n_global() == n);
      });
}

BOOST_AUTO_TEST_CASE(parameters_there_and_back)
{
  for_each_family(
      [](const std::string &, Family &family, const FactorPrior &prior, const LogDensity &)
      {
        const Matrix s    = covariance_matrix(family);
        const Vector mean = family.mean(), eta = family.parameters();
        const auto copy = family.clone();
        family.set_parameters(eta);
        BOOST_TEST(relative_difference(covariance_matrix(family), s) < 1e-12);
        BOOST_TEST((family.mean() - mean).norm() < 1e-12 * (1. + mean.norm()));
        family.set_parameters(eta + direction(family, 3));
        BOOST_TEST(relative_difference(covariance_matrix(family), s) > 0.01);
        BOOST_TEST(relative_difference(covariance_matrix(*copy), s) < 1e-14);
        family.assign(*copy);
        BOOST_TEST(relative_difference(covariance_matrix(family), s) < 1e-14);
        BOOST_TEST(std::abs(family.kl() - copy->kl()) == 0.);
        if (const auto correction = family.low_rank_correction())
        {
          const Layout &layout = prior.layout();
          const Matrix u       = layout.gather(correction->modes);
          BOOST_TEST(relative_difference(prior.c - u * correction->shrinkage.asDiagonal() * u.transpose(), s) < 1e-12);
          BOOST_TEST(relative_difference(layout.gather(correction->dual), prior.p * u) < 1e-11);
        }
      });
}

BOOST_AUTO_TEST_CASE(natural_steps_are_stationary_and_blend)
{
  for_each_family(
      [](const std::string &name, Family &family, const FactorPrior &, const LogDensity &density)
      {
        if (!family.has_natural_step())
        {
          BOOST_TEST(name == "factor");
          return;
        }
        const auto at = density.linearize(family.mean());
        const Curvature h(density, *at);
        BOOST_TEST(family.covariance_residual(h).value > 0.01);
        family.natural_step(h, 1.);
        BOOST_TEST(family.covariance_residual(h).value < 1e-9);
        BOOST_TEST(family.covariance_residual(h).sampling_loss == 0.);
        const Matrix s = covariance_matrix(family);
        // S is a fixed point, whatever the weight.
        family.natural_step(h, 0.3);
        BOOST_TEST(relative_difference(covariance_matrix(family), s) < 1e-9);
      });
}

BOOST_AUTO_TEST_CASE(kl_between_two_given_gaussians)
{
  // Reference value by an independent computation.
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  Matrix a(3, 3), c(3, 3);
  a << 2., .5, 0., .5, 1., .3, 0., .3, 1.5;
  c << 1., 0., .2, 0., 1.5, 0., .2, 0., .8;
  const FactorPrior prior(MPI_COMM_WORLD, c.llt().matrixL());
  const Matrix h = a.inverse() - c.inverse();
  const DenseDensity density(groups, prior, [&](const Vector &m) { return DenseValues{0.5 * m.dot(h * m), h * m, h}; });
  const auto at = density.linearize(Vector::Zero(prior.layout().n_local()));
  for (const std::string name : {"full", "low rank"})
  {
    auto family = create<Family>(name, everything);
    family->initialize(prior, 1);
    family->natural_step(Curvature(density, *at), 1.);
    family->set_mean(local_rows(prior.layout(), Eigen::Vector3d(0.1, -0.6, 0.4)));
    BOOST_TEST(relative_difference(covariance_matrix(*family), a) < 1e-12);
    BOOST_TEST(std::abs(family->kl() - 0.711298587283644) < 1e-13);
  }
}

BOOST_AUTO_TEST_CASE(rectangular_factors)
{
  Matrix factor(n, 2 * n);
  factor << smooth_factor(n), 0.5 * random_matrix(n, n, 2);
  for_each_split(
      [&](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), factor);
        const DenseDensity density(groups, prior, dense_linear_gaussian(prior, 4));
        for (const std::string &name : Registry<Family>::names())
          BOOST_TEST_CONTEXT("family " << name)
          {
            if (name == "factor" || name == "white noise mean field")
            {
              BOOST_CHECK_THROW(create<Family>(name, everything)->initialize(prior, 1), UserError);
              continue;
            }
            const auto family = informed_family(name, density);
            const Matrix s    = covariance_matrix(*family);
            BOOST_TEST(std::abs(family->kl() -
                                dense_kl(prior.layout().gather(family->mean()), s, Vector::Zero(n), prior.p)) < 1e-9);
            const Vector eta = family->parameters(), along = direction(*family, 7);
            const auto frozen = family->clone();
            const auto value  = [&](double h)
            {
              family->set_parameters(eta + h * along);
              const Vector m = family->sample(key).m;
              return frozen->log_ratio(m) - *density.potential(m);
            };
            const double difference = (value(1e-4) - value(-1e-4)) / 2e-4;
            const auto at           = density.linearize(frozen->sample(key).m);
            BOOST_TEST(std::abs(dot(*frozen, frozen->path_gradient(key, at->gradient), along) - difference) <
                       1e-5 * (1. + std::abs(difference)));
          }
      });
}

BOOST_AUTO_TEST_CASE(full_refuses_large_vectors)
{
  const FactorPrior prior(MPI_COMM_WORLD, smooth_factor(n));
  const auto family = create<Family>("full", {{"Maximum size", "8"}});
  BOOST_CHECK_EXCEPTION(family->initialize(prior, 1), UserError,
                        [](const UserError &error)
                        { return std::string(error.what()).find("low rank") != std::string::npos; });
}

BOOST_AUTO_TEST_SUITE_END()
