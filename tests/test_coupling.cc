// ranks: 2
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>
#include <varfield/newton.h>
#include <varfield/sweep.h>
#include <varfield/transfer.h>

/// Averages over draws with the posterior on a coarser mesh as control variate.
BOOST_AUTO_TEST_SUITE(coupling)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  constexpr Index n = 24, n_coarse = 12;

  /// Between dense priors; loads of such a prior are C⁻¹m.
  class DenseTransfer : public Transfer
  {
  public:
    DenseTransfer(const FactorPrior &coarse, const FactorPrior &fine, const Matrix &p) : Transfer(coarse, fine), p(p) {}
    MultiVector restrict_load(const MultiVector &fine_load) const override
    {
      return local_rows(coarse().layout(), p.transpose() * fine().layout().gather(fine_load));
    }

  private:
    MultiVector interpolate(const MultiVector &source) const override
    {
      return local_rows(fine().layout(), p * coarse().layout().gather(source));
    }
    const Matrix p;
  };

  /// A fine and a coarse problem, the coarse prior such that the restricted loads of the fine one are its own.
  struct Pair
  {
    Pair(const SampleGroups &groups, const DenseDensity::Function &fine_function,
         const DenseDensity::Function &coarse_function)
        : p(interpolation()),
          fine_prior(groups.space(), smooth_factor(n, 1.)),
          coarse_prior(groups.space(), (p.transpose() * fine_prior.p * p).inverse().llt().matrixL()),
          transfer(std::make_shared<DenseTransfer>(coarse_prior, fine_prior, p)),
          fine(groups, fine_prior, fine_function),
          coarse(groups, coarse_prior, coarse_function)
    {
    }

    static Matrix interpolation()
    {
      Matrix p = Matrix::Zero(n, n_coarse);
      for (Index i = 0; i < n; ++i)
      {
        const double x = double(i) * double(n_coarse - 1) / double(n - 1);
        const Index j  = std::min<Index>(n_coarse - 2, static_cast<Index>(x));
        p(i, j)        = 1. - (x - double(j));
        p(i, j + 1)    = x - double(j);
      }
      return p;
    }

    const Matrix p;
    const FactorPrior fine_prior, coarse_prior;
    const std::shared_ptr<const Transfer> transfer;
    DenseDensity fine, coarse;
  };

  std::unique_ptr<Family> low_rank(const GaussianPrior &prior)
  {
    auto family = create<Family>("low rank", {{"Rank", "12"}, {"Cutoff", "1e-6"}});
    family->initialize(prior, 1);
    return family;
  }

  Vector observed()
  {
    return 2. * random_matrix(5, 1, 6);
  }

  LinearGaussian linear(const Matrix &prior_covariance, const Matrix &g)
  {
    return {prior_covariance, g, observed()};
  }

  /// d = f(Gm) + noise, f(y) = y + y³/10, with the Gauss–Newton matrix.
  DenseDensity::Function nonlinear(const Matrix &g)
  {
    return [g, d = observed()](const Vector &m)
    {
      const Vector y = g * m, slope = 1. + 0.3 * y.array().square(), r = y + 0.1 * Vector(y.array().cube()) - d;
      const Matrix j = slope.asDiagonal() * g;
      return DenseValues{0.5 * r.squaredNorm(), j.transpose() * r, j.transpose() * j};
    };
  }

  /// Weighted averages of the nodal values.
  Matrix fine_map()
  {
    Matrix g(5, n);
    for (Index i = 0; i < g.rows(); ++i)
      for (Index j = 0; j < n; ++j)
        g(i, j) = 4. / double(n) * std::cos(M_PI * double(i) * double(j) / double(n - 1));
    return g;
  }
  /// What the coarse mesh makes of it, with an error.
  Matrix coarse_map()
  {
    return fine_map() * Pair::interpolation() + 0.01 * random_matrix(5, n_coarse, 9);
  }
} // namespace

BOOST_AUTO_TEST_CASE(gradients_go_up_by_the_transpose_of_how_fields_go_down)
{
  const auto fine   = shipped_case<2>("ld100/ld100", {"Mesh/Refinements towards boundaries=left: 1"});
  const auto coarse = fine->coarser(4);
  const FieldTransfer<2> transfer(coarse->fields(), fine->fields());
  const GaussianPrior &from = coarse->fields().prior(), &to = fine->fields().prior();
  MultiVector dual(from.layout().n_local(), 2), primal(to.layout().n_local(), 2);
  for (std::uint32_t j = 0; j < 2; ++j)
  {
    dual.col(j)   = from.precision(from.draw({1, Stream::verification, j, 1.}));
    primal.col(j) = to.draw({2, Stream::verification, j, 1.});
  }
  const MultiVector up = transfer.prolongate_dual(dual);
  const Matrix left = to.layout().gram(up, primal), right = from.layout().gram(dual, transfer.restrict_primal(primal));
  BOOST_TEST(relative_difference(left, right) < 1e-9);
  BOOST_TEST((transfer.prolongate(dual).dual - up).norm() <= 1e-12 * up.norm());
}

/// A linear-Gaussian problem leaves nothing to the draws: four of them give gradient and curvature exactly.
BOOST_AUTO_TEST_CASE(averages_of_a_quadratic_are_exact)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const Pair shape(groups, {}, {});
        const LinearGaussian fine   = linear(shape.fine_prior.c, fine_map()),
                             coarse = linear(shape.coarse_prior.c, coarse_map());
        const Pair pair(groups, fine, coarse);
        const auto settled = low_rank(pair.coarse_prior);
        const auto at      = pair.coarse.linearize(Vector::Zero(pair.coarse_prior.layout().n_local()));
        settled->natural_step(Curvature(pair.coarse, *at), 1.);
        settled->set_mean(local_rows(pair.coarse_prior.layout(), coarse.mean));
        const auto partner = CoarsePosterior::create(pair.coarse, *settled, pair.transfer, {});
        BOOST_REQUIRE(partner);
        // Where directions that matter are left out the average of the curvature is not known.
        auto truncated = create<Family>("low rank", {{"Rank", "2"}});
        truncated->initialize(pair.coarse_prior, 1);
        truncated->natural_step(Curvature(pair.coarse, *at), 1.);
        BOOST_TEST(truncated->first_dropped() > 0.3);
        BOOST_TEST(!CoarsePosterior::create(pair.coarse, *truncated, pair.transfer, {}));

        const auto family = low_rank(pair.fine_prior);
        const Vector m    = local_rows(pair.fine_prior.layout(), Vector(0.5 * fine.mean));
        const auto at_m   = pair.fine.linearize(m);
        family->natural_step(Curvature(pair.fine, *at_m), 0.7);
        family->set_mean(m);
        const Sweep sweep(pair.fine, *family, {3, Stream::optimization, 0, 4, true}, partner.get());
        const Layout &layout = pair.fine_prior.layout();
        BOOST_TEST(relative_difference(layout.gather(sweep.gradient()), -0.5 * fine.precision * fine.mean) < 1e-8);
        const MultiVector u = family->low_rank_correction()->modes;
        BOOST_TEST(u.cols() == 5);
        const Spread form  = sweep.curvature().form_matrix(u);
        const Matrix whole = layout.gather(u);
        BOOST_TEST(relative_difference(form.mean, whole.transpose() * fine.g.transpose() * fine.g * whole) < 1e-8);
        BOOST_TEST(form.variance.norm() < 1e-8 * form.mean.norm());
        // A natural step with it ends at the posterior.
        family->natural_step(sweep.curvature(), 1.);
        BOOST_TEST(relative_difference(covariance_matrix(*family), fine.covariance) < 1e-6);
      });
}

/// Of a nonlinear problem: as without the control variate but for sampling error, which is smaller.
BOOST_AUTO_TEST_CASE(averages_agree_with_plain_ones)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const Pair pair(groups, nonlinear(fine_map()), nonlinear(coarse_map()));
        const auto settled = low_rank(pair.coarse_prior);
        const auto optimizer =
            create<Optimizer>("natural gradient", {{"Draws", "1024"}, {"Tolerance", "1e-3"}, {"Judging draws", "0"}});
        OptimizerMemory memory;
        BOOST_TEST(optimizer->maximize(pair.coarse, *settled, 3, {}, &memory).converged);
        const auto partner = CoarsePosterior::create(pair.coarse, *settled, pair.transfer, memory.elbo);

        const auto family = low_rank(pair.fine_prior);
        family->prolongate(*settled, *pair.transfer);
        const DrawRange draws{7, Stream::optimization, 0, 4096, true};
        const Sweep plain(pair.fine, *family, draws), coupled(pair.fine, *family, draws, partner.get());
        const auto metric      = family->low_rank_correction();
        const MeanResidual one = plain.residual(&*metric), two = coupled.residual(&*metric);
        BOOST_TEST_MESSAGE("noise " << one.noise << " and " << two.noise << ", ELBO " << plain.elbo().elbo.value
                                    << " +- " << plain.elbo().elbo.error << " and " << coupled.elbo().elbo.value
                                    << " +- " << coupled.elbo().elbo.error);
        BOOST_TEST(two.uncoupled_noise == one.noise, boost::test_tools::tolerance(1e-9));
        BOOST_TEST(two.noise < 0.3 * one.noise);
        // Twice the ELBO that the coarse posterior was allowed to be off, and the sampling errors of both.
        const Vector difference = plain.gradient() - coupled.gradient();
        const double distance =
            pair.fine_prior.layout().dot(difference, apply_approximation(pair.fine_prior, difference, &*metric));
        BOOST_TEST(distance < 4e-3 + 6. * (one.noise + two.noise));
        const MultiVector u = metric->modes;
        const Spread a = plain.curvature().form_matrix(u), b = coupled.curvature().form_matrix(u);
        for (Index i = 0; i < u.cols(); ++i)
          BOOST_TEST(std::abs(a.mean(i, i) - b.mean(i, i)) <
                     0.05 * (1. + a.mean(i, i)) + 5. * std::sqrt(a.variance(i, i) + b.variance(i, i)));
        BOOST_TEST(b.variance.diagonal().sum() < 0.3 * a.variance.diagonal().sum());
        BOOST_TEST(std::abs(plain.elbo().elbo.value - coupled.elbo().elbo.value) <
                   5. * (plain.elbo().elbo.error + coupled.elbo().elbo.error));
      });
}

/// From coarse to fine with a few draws, and on the fine mesh alone with many: the same posterior within what the
/// tolerance allows each of them.
BOOST_AUTO_TEST_CASE(the_posterior_is_that_of_many_draws)
{
  auto coupled      = shipped_case<2>("ld100/ld100", {"Mesh/Subdivisions=48,48", "Inference/ELBO error=0.3"});
  const auto by_few = infer_silently(coupled);
  auto alone        = shipped_case<2>(
      "ld100/ld100", {"Mesh/Subdivisions=48,48", "Inference/ELBO error=0.3", "Inference/Coarse to fine=false"});
  const auto by_many = infer_silently(alone);
  BOOST_TEST((by_few.optimization.converged && by_many.optimization.converged));
  BOOST_TEST(by_few.optimization.iterations < by_many.optimization.iterations);
  BOOST_TEST(alone->density().cost().factorizations > 2. * coupled->density().cost().factorizations);
  const auto &prior = alone->fields().prior();
  const Family &q   = *alone->inference().family;
  Vector shift      = by_few.parameters - by_many.parameters;
  const auto metric = q.low_rank_correction();
  const Vector b    = prior.layout().gram(metric->dual, shift);
  const Vector dual = prior.precision(shift);
  // S⁻¹ = C⁻¹ + V diag(s/(1−s)) Vᵀ.
  const Vector lambda   = metric->shrinkage.array() / (1. - metric->shrinkage.array());
  const double distance = prior.layout().dot(shift, dual) + b.cwiseAbs2().dot(lambda);
  BOOST_TEST_MESSAGE("distance of the means " << distance);
  BOOST_TEST(0.5 * distance < 0.2); // 0.05 nat each, on average
  const Vector &few = by_few.eigenvalues, &many = by_many.eigenvalues;
  Vector a = Vector::Zero(std::max(few.size(), many.size())), c = a;
  a.head(few.size())  = few;
  c.head(many.size()) = many;
  const double spread = 0.25 * ((a - c).array() / (1. + c.array())).square().sum();
  BOOST_TEST_MESSAGE("distance of the eigenvalues " << spread);
  BOOST_TEST(spread < 0.2);
}

BOOST_AUTO_TEST_SUITE_END()
