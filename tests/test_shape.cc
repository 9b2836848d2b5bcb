// ranks: 1 2
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/pareto_smoothing.h>
#include <varfield/shape.h>
#include <varfield/subspace_family.h>

/// The skewed family: its parts against finite differences and averages, and what it finds where it is exact.
BOOST_AUTO_TEST_SUITE(shape)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  constexpr Index n = 4;

  Shape skewed_along_two_directions()
  {
    Matrix directions(n, 2);
    directions << 1., 0., 0., 0., 0., 1., 0., 0.;
    return {directions, {SinhArcsinh(0.8, 0.1), SinhArcsinh(-0.5, -0.2)}};
  }

  const Vector point = Eigen::Vector4d(0.7, -1.1, 0.4, 2.);

  /// A posterior of this shape, with N(0, I) for a prior and evidence 1.
  DenseValues skewed_posterior(const Vector &m)
  {
    static const Shape shape   = skewed_along_two_directions();
    static const Vector scales = Eigen::Vector4d(0.3, 0.5, 0.4, 0.8), centre = Eigen::Vector4d(1., 0., -0.5, 0.2);
    constexpr double h   = 1e-4;
    const auto potential = [](const Vector &at)
    {
      const Vector w = shape.inverse((at - centre).cwiseQuotient(scales));
      return 0.5 * w.squaredNorm() + shape.log_det(w) + scales.array().log().sum() - 0.5 * at.squaredNorm();
    };
    DenseValues result{potential(m), Vector(n), Matrix(n, n)};
    for (Index i = 0; i < n; ++i)
    {
      const Vector e     = h * Vector::Unit(n, i);
      result.gradient[i] = (potential(m + e) - potential(m - e)) / (2. * h);
      for (Index j = 0; j < n; ++j)
      {
        const Vector f = h * Vector::Unit(n, j);
        result.hessian(i, j) =
            (potential(m + e + f) - potential(m + e - f) - potential(m - e + f) + potential(m - e - f)) / (4. * h * h);
      }
    }
    return result;
  }
} // namespace

/// Jones, Pewsey (2009): with mean 0 and variance 1; ε > 0 skews to the right.
BOOST_AUTO_TEST_CASE(sinh_arcsinh_is_standardised)
{
  for (const auto &[epsilon, eta] : {std::pair(0., 0.), std::pair(0.7, 0.), std::pair(-0.4, 0.3), std::pair(0.2, -0.3)})
  {
    const SinhArcsinh t(epsilon, eta);
    double mean = 0., square = 0., third = 0., slope = 0.;
    constexpr double step = 0.01;
    for (double w = -10.; w <= 10.; w += step)
    {
      const double weight = step * std::exp(-0.5 * w * w) / std::sqrt(2. * M_PI);
      mean += weight * t(w);
      square += weight * t(w) * t(w);
      third += weight * std::pow(t(w), 3);
      slope += weight * t.log_slope(w);
      BOOST_TEST(std::abs(t.inverse(t(w)) - w) < 1e-7 * (1. + std::abs(w)));
    }
    BOOST_TEST(std::abs(mean) < 1e-8);
    BOOST_TEST(std::abs(square - 1.) < 1e-8);
    BOOST_TEST(std::abs(slope - t.mean_log_slope()) < 1e-8);
    BOOST_TEST((epsilon == 0. ? std::abs(third) < 1e-8 : third * epsilon > 0.));

    constexpr double h = 1e-5;
    for (const double w : {-2., 0.1, 1.5})
    {
      BOOST_TEST(std::abs(std::log((t(w + h) - t(w - h)) / (2. * h)) - t.log_slope(w)) < 1e-8);
      const Eigen::Vector2d expected((SinhArcsinh(epsilon + h, eta)(w) - SinhArcsinh(epsilon - h, eta)(w)) / (2. * h),
                                     (SinhArcsinh(epsilon, eta + h)(w) - SinhArcsinh(epsilon, eta - h)(w)) / (2. * h));
      BOOST_TEST((t.derivatives(w) - expected).norm() < 1e-7);
      const Eigen::Vector2d of_slope(
          (SinhArcsinh(epsilon + h, eta).log_slope(w) - SinhArcsinh(epsilon - h, eta).log_slope(w)) / (2. * h),
          (SinhArcsinh(epsilon, eta + h).log_slope(w) - SinhArcsinh(epsilon, eta - h).log_slope(w)) / (2. * h));
      BOOST_TEST((t.log_slope_derivatives(w) - of_slope).norm() < 1e-7);
    }
  }
}

BOOST_AUTO_TEST_CASE(inverse_density_and_moments)
{
  const Shape shape = skewed_along_two_directions();
  const Vector u    = shape.apply(point);
  BOOST_TEST((shape.inverse(u) - point).norm() < 1e-12);
  constexpr double h = 1e-5;
  Matrix jacobian(n, n);
  for (Index i = 0; i < n; ++i)
  {
    const Vector step = h * Vector::Unit(n, i);
    jacobian.col(i)   = (shape.apply(point + step) - shape.apply(point - step)) / (2. * h);
  }
  BOOST_TEST(std::abs(std::log(std::abs(jacobian.determinant())) - shape.log_det(point)) < 1e-8);

  constexpr Index n_draws = 200000;
  Matrix draws(n, n_draws);
  double log_det = 0.;
  for (Index k = 0; k < n_draws; ++k)
  {
    const Vector w =
        standard_normal(block_layout(MPI_COMM_SELF, n), {3, Stream::verification, static_cast<std::uint32_t>(k), 1.});
    draws.col(k) = shape.apply(w);
    log_det += shape.log_det(w) / n_draws;
  }
  const Vector mean   = draws.rowwise().mean();
  const Matrix spread = (draws.colwise() - mean) * (draws.colwise() - mean).transpose() / double(n_draws);
  BOOST_TEST(mean.norm() < 0.02);
  BOOST_TEST(relative_difference(spread, Matrix(Matrix::Identity(n, n))) < 0.02);
  BOOST_TEST(std::abs(log_det - shape.mean_log_det()) < 0.01);
}

/// The skewed family has the posterior among its members.
BOOST_AUTO_TEST_CASE(finds_a_posterior_of_its_own_form)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), Matrix::Identity(n, n));
        const DenseDensity density(groups, prior, skewed_posterior);
        auto family = create<Family>("skewed", {{"Rank", "4"}, {"Cutoff", "0"}, {"Skew draws", "4000"}});
        family->initialize(prior, 1);
        const Vector mean = local_rows(prior.layout(), Eigen::Vector4d(1., 0., -0.5, 0.2));
        family->set_mean(mean);
        family->natural_step(Curvature(density, *density.linearize(mean)), 1.);
        create<Optimizer>("natural gradient", {{"Draws", "1024"}, {"Maximum iterations", "40"}})
            ->maximize(density, *family, 5, {});
        DrawRange draws;
        draws.seed                  = 9;
        draws.count                 = 4000;
        const ElboEstimate gaussian = estimate_elbo(density, *family, draws);
        const std::string found     = family->refine(density, 5);
        BOOST_TEST_MESSAGE(gaussian.elbo.value << " -> " << found);
        const ElboEstimate skewed = estimate_elbo(density, *family, draws);
        BOOST_TEST(gaussian.elbo.value < -0.1);
        BOOST_TEST(skewed.elbo.value > 0.05 * gaussian.elbo.value, gaussian.elbo.value << " to " << skewed.elbo.value);

        // Closed forms against averages over the draws, and a density that is one.
        double log_ratio = 0.;
        Matrix shifts(n, draws.count);
        for (unsigned int k = 0; k < draws.count; ++k)
        {
          const Draw draw = family->sample(draws.key(k));
          log_ratio += draw.log_ratio / draws.count;
          shifts.col(k) = prior.layout().gather(draw.m - family->mean());
          if (k < 10)
            BOOST_TEST(std::abs(family->log_ratio(draw.m) - draw.log_ratio) < 1e-8);
        }
        BOOST_TEST(std::abs(family->kl() + log_ratio) < 0.02 * family->kl());
        BOOST_TEST(shifts.rowwise().mean().norm() < 0.03);
        BOOST_TEST(relative_difference(Matrix(shifts * shifts.transpose() / double(draws.count)),
                                       covariance_matrix(*family)) < 0.06);
        const auto frozen   = family->frozen();
        const DrawKey key   = draws.key(0);
        const Draw expected = family->sample(key),
                   same     = frozen->draw(prior.random_load(standard_normal(prior.noise_layout(), key)));
        BOOST_TEST((same.m - expected.m).norm() < 1e-10);
        BOOST_TEST(std::abs(same.log_ratio - expected.log_ratio) < 1e-10);

        // Another curvature, and the shape is forgotten.
        family->natural_step(Curvature(density, *density.linearize(mean)), 1.);
        BOOST_TEST(std::abs(family->kl() - dense_kl(prior.layout().gather(family->mean()), covariance_matrix(*family),
                                                    Vector::Zero(n), prior.p)) < 1e-9);
      });
}

BOOST_AUTO_TEST_SUITE_END()
