// ranks: 1 2 3 4
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/exceptions.h>
#include <varfield/map.h>

BOOST_AUTO_TEST_SUITE(map)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  /// Poisson counts with log intensity Bm: Φ = Σ e^η − yη, convex; fails where the intensity overflows.
  DenseValues poisson(const Matrix &b, const Vector &y, const Vector &m)
  {
    const Vector eta = b * m, e = eta.array().exp();
    if (eta.maxCoeff() > 20.)
      return {std::numeric_limits<double>::quiet_NaN(), {}, {}};
    return {e.sum() - y.dot(eta), b.transpose() * (e - y), b.transpose() * e.asDiagonal() * b};
  }
} // namespace

BOOST_AUTO_TEST_CASE(linear_problem_takes_one_step)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(30));
        const LinearGaussian model = dense_linear_gaussian(prior, 5);
        for (const bool with_factor : {true, false})
        {
          DenseDensity density(groups, prior, model);
          density.quadratic = true;
          if (with_factor)
            density.factor = model.g.transpose();
          Vector m                 = Vector::Zero(prior.layout().n_local());
          const Termination result = MapSolver().minimize(density, m, {});
          BOOST_TEST(result.converged);
          BOOST_TEST(result.iterations == 1u);
          BOOST_TEST(density.n_linearizations == 2u);
          BOOST_TEST(relative_difference(prior.layout().gather(m), model.mean) < 1e-9);
        }
      });
}

BOOST_AUTO_TEST_CASE(nonlinear_problem_with_failures_on_the_way)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), 3. * smooth_factor(25));
        const Matrix b = random_matrix(10, 25, 1);
        const Vector y = Vector::LinSpaced(10, 0., 400.);
        const DenseDensity density(groups, prior, [&](const Vector &m) { return poisson(b, y, m); });
        Vector m                 = Vector::Zero(prior.layout().n_local());
        double last_objective    = 1e300;
        unsigned int n_reports   = 0;
        const Termination result = MapSolver().minimize(density, m,
                                                        [&](const IterationReport &line)
                                                        {
                                                          BOOST_TEST(line.objective <= last_objective + 1e-9);
                                                          last_objective = line.objective;
                                                          BOOST_TEST(line.phase == "MAP");
                                                          BOOST_TEST(line.iteration == n_reports++);
                                                          return false;
                                                        });
        BOOST_TEST(result.converged);
        BOOST_TEST(result.iterations < 20u);
        const Vector whole = prior.layout().gather(m);
        BOOST_TEST((poisson(b, y, whole).gradient + prior.p * whole).norm() < 1e-4);
      });
}

BOOST_AUTO_TEST_CASE(negative_curvature_and_a_bad_start)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  const FactorPrior prior(MPI_COMM_WORLD, Matrix::Identity(3, 3));
  // A double well along the first coordinate: at the start the full Hessian is not positive.
  const auto well = [](const Vector &m)
  {
    DenseValues v{4. * std::pow(m[0] * m[0] - 1., 2) + 0.1 * m[0], Vector::Zero(3), Matrix::Zero(3, 3)};
    v.gradient[0]   = 16. * m[0] * (m[0] * m[0] - 1.) + 0.1;
    v.hessian(0, 0) = 48. * m[0] * m[0] - 16.;
    return v;
  };
  const DenseDensity density(groups, prior, well);
  Vector m             = local_rows(prior.layout(), Vector::Constant(3, 0.05));
  const auto result    = MapSolver().minimize(density, m, {});
  const Vector minimum = prior.layout().gather(m);
  BOOST_TEST(result.converged);
  BOOST_TEST((well(minimum).gradient + minimum).norm() < 1e-6);
  BOOST_TEST(well(minimum).hessian(0, 0) > 0.);

  const DenseDensity broken(groups, prior, [](const Vector &) { return DenseValues{std::nan(""), {}, {}}; });
  BOOST_CHECK_THROW(MapSolver().minimize(broken, m, {}), ComputationError);
}

BOOST_AUTO_TEST_CASE(the_monitor_stops_the_iteration)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(25));
        const Matrix b = random_matrix(10, 25, 1);
        const Vector y = Vector::LinSpaced(10, 0., 40.);
        const DenseDensity density(groups, prior, [&](const Vector &m) { return poisson(b, y, m); });
        Vector m = Vector::Zero(prior.layout().n_local());
        const Termination result =
            MapSolver().minimize(density, m, [](const IterationReport &line) { return line.iteration == 2; });
        BOOST_TEST(result.interrupted);
        BOOST_TEST(!result.converged);
        BOOST_TEST(result.iterations == 2u);

        MapSolver two_steps;
        two_steps.max_iterations = 2;
        m.setZero();
        const Termination limited = two_steps.minimize(density, m, {});
        BOOST_TEST(!limited.converged);
        BOOST_TEST(limited.reason.find("maximum number") != std::string::npos);
      });
}

BOOST_AUTO_TEST_SUITE_END()
