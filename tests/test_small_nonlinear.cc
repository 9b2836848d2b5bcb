// ranks: 1 2
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/pareto_smoothing.h>

BOOST_AUTO_TEST_SUITE(small_nonlinear)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  /// −(eᵐu′)′ = 1 on (0,1), u = 0 at both ends: u(½) = e⁻ᵐ/8, observed as y with Gaussian noise. Full Hessian.
  DenseValues one_parameter(double y, double sigma, double m)
  {
    const double u = std::exp(-m) / 8., r = (u - y) / sigma, du = -u / sigma;
    return {0.5 * r * r + std::log(sigma) + 0.5 * std::log(2. * M_PI), Vector::Constant(1, r * du),
            Matrix::Constant(1, 1, du * du - r * du)};
  }

  /// The ELBO of N(mean, sd²) with the prior N(0,1) by the trapezoidal rule.
  double elbo_by_quadrature(double y, double sigma, double mean, double sd)
  {
    double misfit   = 0.;
    const double dz = 1e-3;
    for (double z = -9.; z <= 9.; z += dz)
      misfit += dz * std::exp(-0.5 * z * z) / std::sqrt(2. * M_PI) * one_parameter(y, sigma, mean + sd * z).potential;
    return -misfit - 0.5 * (sd * sd + mean * mean - 1. - 2. * std::log(sd));
  }
} // namespace

BOOST_AUTO_TEST_CASE(optimal_gaussians)
{
  auto reference = read_columns("d3_small_nonlinear_vi/one_parameter_reference.csv");
  BOOST_REQUIRE(reference["y"].size() == 4u);
  for_each_split(
      [&](const SampleGroups &groups)
      {
        const DensePrior prior(groups.space(), Matrix::Identity(1, 1), "test");
        for (std::size_t k = 0; k < 4; ++k)
          for (const std::string name : {"low rank", "full", "nodal mean field"})
            BOOST_TEST_CONTEXT("case " << k << ", family " << name)
            {
              const double y = reference["y"][k], sigma = reference["sigma"][k];
              const DenseDensity density(groups, prior, [=](const Vector &m) { return one_parameter(y, sigma, m[0]); });
              auto family = create<Family>(name, {{"Cutoff", "0"}});
              family->initialize(prior, 1);
              // From the Laplace approximation, as the program does.
              Vector map = prior.layout().identity() * Vector::Constant(1, reference["map"][k]);
              family->set_mean(map);
              const auto at = density.linearize(map);
              family->natural_step(Curvature(density, *at), 1.);
              BOOST_TEST(std::abs(std::sqrt(covariance_matrix(*family)(0, 0)) - reference["laplace_sd"][k]) < 2e-6);

              const Termination result =
                  create<Optimizer>("natural gradient",
                                    {{"Draws", "8192"}, {"Tolerance", "3e-6"}, {"Maximum iterations", "60"}})
                      ->maximize(density, *family, 5, {});
              BOOST_TEST(result.converged, result.reason);
              const double mean = prior.layout().gather(family->mean())(0, 0),
                           sd   = std::sqrt(covariance_matrix(*family)(0, 0));
              // An ELBO lower by ε in the mean is an error of sd·sqrt(2ε): three of these, if larger than 1e-3.
              const double limit = std::max(1e-3, 3. * sd * std::sqrt(2. * 3e-6));
              BOOST_TEST(std::abs(mean - reference["vi_mean"][k]) < limit);
              BOOST_TEST(std::abs(sd - reference["vi_sd"][k]) < limit);
              BOOST_TEST(std::abs(elbo_by_quadrature(y, sigma, mean, sd) - reference["elbo_max"][k]) < 1e-4);

              const ElboEstimate elbo = estimate_elbo(density, *family, {6, Stream::evaluation, 0, 20000, true});
              BOOST_TEST(std::abs(elbo.elbo.value - reference["elbo_max"][k]) < 5. * elbo.elbo.error + 1e-4);
              BOOST_TEST(reference["elbo_max"][k] < reference["log_evidence"][k]);
              const Vector log_weights = Eigen::Map<const Vector>(elbo.log_weights.data(), 20000);
              BOOST_TEST(std::abs(pareto_smooth(log_weights).log_mean - reference["log_evidence"][k]) < 1e-2);
            }
      });
}

BOOST_AUTO_TEST_SUITE_END()
