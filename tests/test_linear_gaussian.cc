// ranks: 1 3
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>

/// parameter_files/linear_gaussian: the answer in function space (a series), and all families against dense linear
/// algebra made of the same prior and the same Jacobian.
BOOST_AUTO_TEST_SUITE(linear_gaussian)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  constexpr double evidence_a = 89.05100, evidence_b = 51.57083;

  struct Errors
  {
    double mean      = 0.; ///< largest |mean − reference| in posterior standard deviations
    double deviation = 0.; ///< largest relative error of the posterior's standard deviation
    double prior     = 0.; ///< the same of the prior's
    double elbo      = 0.; ///< ELBO − log evidence
  };

  Errors errors(const std::string &name, const std::string &reference, double evidence, unsigned int n)
  {
    const std::string size = std::to_string(n);
    const auto problem     = shipped_case<2>("linear_gaussian/" + name, {"Mesh/Subdivisions=" + size + ", " + size});
    const auto &density    = problem->density();
    const auto &layout     = density.prior().layout();
    BOOST_TEST(density.is_quadratic());
    Family &family = *problem->inference().family;
    family.initialize(density.prior(), 1);
    const auto end = problem->inference().optimizer->maximize(density, family, 1, {});
    BOOST_TEST(end.converged, end.reason);

    const auto table = read_columns("d1_linear_gaussian/" + reference + "_reference.csv");
    std::vector<dealii::Point<2>> points;
    for (std::size_t i = 0; i < table.at("x").size(); ++i)
      points.emplace_back(table.at("x")[i], table.at("y")[i]);
    const auto &field         = problem->fields()[0];
    const MultiVector weights = interpolation_weights<2>(field.space(), points, 1. / n);
    const Vector mean =
        sum(weights.transpose() * problem->fields().values(family.mean(), 0), field.space().mesh().comm());
    const MultiVector dual      = field.restrict(weights);
    const Vector variance       = layout.column_dots(dual, family.covariance(dual));
    const Vector prior_variance = layout.column_dots(dual, density.prior().covariance(dual));
    Errors result;
    for (std::size_t i = 0; i < points.size(); ++i)
    {
      const Index k    = static_cast<Index>(i);
      const double sd  = table.at("posterior_sd")[i];
      result.mean      = std::max(result.mean, std::abs(mean[k] - table.at("posterior_mean")[i]) / sd);
      result.deviation = std::max(result.deviation, std::abs(std::sqrt(variance[k]) / sd - 1.));
      result.prior     = std::max(result.prior, std::abs(std::sqrt(prior_variance[k]) / table.at("prior_sd")[i] - 1.));
    }
    result.elbo = estimate_elbo(density, family, {1, Stream::evaluation, 0, 4, true}).elbo.value - evidence;
    BOOST_TEST_MESSAGE(name << " at " << n << ": mean " << result.mean << " sd, standard deviation " << result.deviation
                            << ", prior's " << result.prior << ", ELBO " << result.elbo);
    return result;
  }

  void check_against_series(const std::string &name, const std::string &reference, double evidence)
  {
    const Errors at_32 = errors(name, reference, evidence, 32);
    const Errors at_64 = errors(name, reference, evidence, 64);
    BOOST_TEST(at_64.mean < 0.02);
    BOOST_TEST(at_64.deviation < 0.04);
    BOOST_TEST(at_64.prior < 0.04);
    BOOST_TEST(std::abs(at_64.elbo) < 0.12);
    BOOST_TEST(std::abs(at_64.elbo) * 3. < std::abs(at_32.elbo));
    const Errors at_128 = errors(name, reference, evidence, 128);
    BOOST_TEST(at_128.mean < 0.005);
    BOOST_TEST(at_128.deviation < 0.016);
    BOOST_TEST(std::abs(at_128.elbo) < 0.03);
    BOOST_TEST(std::abs(at_128.elbo) * 3. < std::abs(at_64.elbo));
  }

  BOOST_AUTO_TEST_CASE(poisson_source_converges_to_the_series)
  {
    check_against_series("A", "A_poisson_source_2d_dirichlet", evidence_a);
  }

  BOOST_AUTO_TEST_CASE(reaction_diffusion_source_converges_to_the_series)
  {
    check_against_series("B", "B_reaction_diffusion_source_2d_neumann", evidence_b);
  }

  /// The dense problem in units in which the noise is one.
  LinearGaussian dense_problem(const Case<2> &problem)
  {
    const auto &layout      = problem.density().prior().layout();
    const Vector deviations = problem.measurements().standard_deviations();
    const auto state        = problem.model().solve(Vector::Zero(layout.n_local()));
    problem.model().linearize(*state);
    Matrix jacobian;
    MultiVector transpose;
    BOOST_REQUIRE(problem.model().tangent(*state, layout.identity(), jacobian));
    BOOST_REQUIRE(problem.model().adjoint(*state, Matrix::Identity(deviations.size(), deviations.size()), transpose));
    BOOST_TEST(relative_difference(layout.gather(transpose).transpose(), jacobian) < 1e-10);
    const Vector scale = deviations.cwiseInverse();
    return {layout.gather(problem.density().prior().covariance(layout.identity())), scale.asDiagonal() * jacobian,
            scale.cwiseProduct(problem.measurements().values() - state->predictions)};
  }

  double log_determinant(const Matrix &a)
  {
    return 2. * a.llt().matrixLLT().diagonal().array().log().sum();
  }

  /// The best q of a family that is diagonal in some coordinates: x with m = Bx, whose posterior precision is Λ, has
  /// σᵢ² = 1/Λᵢᵢ and an ELBO that is ½(Σ log Λᵢᵢ − log det Λ) below the log evidence.
  struct MeanFieldOptimum
  {
    MeanFieldOptimum(const Matrix &b, const Matrix &precision)
    {
      const Matrix lambda = b.transpose() * precision * b;
      covariance          = b * lambda.diagonal().cwiseInverse().asDiagonal() * b.transpose();
      gap                 = 0.5 * (lambda.diagonal().array().log().sum() - log_determinant(lambda));
    }
    Matrix covariance;
    double gap = 0.;
  };

  std::optional<MeanFieldOptimum> optimum(const std::string &name, const Family &family, const LinearGaussian &exact)
  {
    const GaussianPrior &prior = family.prior();
    // The family's own modes: those of a multiple eigenvalue are a matter of choice, and the optimum depends on it.
    if (name == "mean field")
      return MeanFieldOptimum(prior.layout().gather(family.low_rank_correction()->modes), exact.precision);
    if (name == "nodal mean field")
      return MeanFieldOptimum(Matrix::Identity(exact.c.rows(), exact.c.rows()), exact.precision);
    if (name == "white noise mean field")
      return MeanFieldOptimum(prior.layout().gather(prior.apply_factor(prior.noise_layout().identity())),
                              exact.precision);
    return {};
  }

  void check_family(const std::string &name, const Case<2> &problem, const LinearGaussian &exact)
  {
    const auto &density   = problem.density();
    const double units    = problem.measurements().standard_deviations().array().log().sum();
    const double evidence = exact.log_evidence - units;
    const auto family     = create<Family>(name, {{"Cutoff", "0"}, {"Rank", "100"}});
    family->initialize(density.prior(), 3);
    if (family->has_natural_step())
    {
      const auto end = create<Optimizer>("natural gradient", {})->maximize(density, *family, 3, {});
      BOOST_TEST(end.converged, name << ": " << end.reason);
    }
    else
      family->set_mean(local_rows(density.prior().layout(), exact.mean));

    // What q is, its distance from the posterior by dense algebra, and its ELBO by its own closed form.
    const Vector mean       = density.prior().layout().gather(family->mean());
    const Matrix covariance = covariance_matrix(*family);
    const double gap        = dense_kl(mean, covariance, exact.mean, exact.precision);
    const double potential  = density.potential(family->mean()).value();
    const double elbo       = -potential - 0.5 * (exact.g * covariance * exact.g.transpose()).trace() - family->kl();
    BOOST_TEST(std::abs(elbo - (evidence - gap)) < 1e-8 * (1. + std::abs(evidence) + gap), name);
    if (!family->has_natural_step())
      return;
    BOOST_TEST(relative_difference(mean, exact.mean) < 1e-8, name);
    if (const auto best = optimum(name, *family, exact))
    {
      BOOST_TEST(relative_difference(covariance, best->covariance) < 1e-8, name);
      BOOST_TEST(std::abs(gap - best->gap) < 1e-8 * (1. + best->gap), name);
      BOOST_TEST(best->gap > 0.01, name);
    }
    if (family->follows_curvature())
    {
      BOOST_TEST(relative_difference(covariance, exact.covariance) < 1e-8, name);
      BOOST_TEST(std::abs(gap) < 1e-8, name);
      const auto draws = estimate_elbo(density, *family, {1, Stream::evaluation, 0, 6, true});
      for (const double log_weight : draws.log_weights)
        BOOST_TEST(std::abs(log_weight - evidence) < 1e-8 * std::abs(evidence), name);
    }
  }

  const std::vector<std::string> small{"Mesh/Subdivisions=8, 8", "Fields/f/spde/Mass=lumped"};

  BOOST_AUTO_TEST_CASE(every_family_agrees_with_dense_algebra)
  {
    for (const std::string name : {"linear_gaussian/A", "linear_gaussian/B"})
    {
      const auto problem = shipped_case<2>(name, small);
      const auto exact   = dense_problem(*problem);
      for (const auto &family : Registry<Family>::names())
        BOOST_TEST_CONTEXT(name)
      check_family(family, *problem, exact);
    }
  }

  BOOST_AUTO_TEST_CASE(consistent_mass_agrees_with_dense_algebra)
  {
    const auto problem = shipped_case<2>("linear_gaussian/B", {small[0]});
    const auto exact   = dense_problem(*problem);
    for (const std::string family : {"low rank", "full", "mean field", "nodal mean field"})
      check_family(family, *problem, exact);
    for (const std::string family : {"white noise mean field", "factor"})
      BOOST_CHECK_THROW(create<Family>(family, {})->initialize(problem->density().prior(), 1), UserError);
  }

  /// Too many unknowns for the dense eigenproblem: the factor of the curvature, or a subspace iteration.
  BOOST_AUTO_TEST_CASE(both_routes_to_the_curvature_are_exact)
  {
    for (const std::string route : {"data space", "parameter space"})
    {
      const auto problem =
          shipped_case<2>("linear_gaussian/B", {"Mesh/Subdivisions=20, 20", "Inference/Curvature/Route=" + route});
      const auto exact = dense_problem(*problem);
      BOOST_TEST_CONTEXT(route)
      check_family("low rank", *problem, exact);
    }
  }

  BOOST_AUTO_TEST_CASE(truncation_loses_what_the_formula_says)
  {
    const auto problem  = shipped_case<2>("linear_gaussian/A", small);
    const auto &density = problem->density();
    const auto exact    = dense_problem(*problem);
    const Matrix factor =
        density.prior().layout().gather(density.prior().apply_factor(density.prior().noise_layout().identity()));
    const Eigen::SelfAdjointEigenSolver<Matrix> eigen(factor.transpose() * exact.g.transpose() * exact.g * factor);
    for (const unsigned int rank : {4u, 11u, 20u})
    {
      const auto family = create<Family>("low rank", {{"Cutoff", "0"}, {"Rank", std::to_string(rank)}});
      family->initialize(density.prior(), 3);
      create<Optimizer>("natural gradient", {})->maximize(density, *family, 3, {});
      BOOST_TEST(family->rank() == rank);
      double lost = 0.;
      for (Index i = 0; i < eigen.eigenvalues().size() - static_cast<Index>(rank); ++i)
        lost += 0.5 * (eigen.eigenvalues()[i] - std::log1p(eigen.eigenvalues()[i]));
      const Vector mean = density.prior().layout().gather(family->mean());
      const double gap  = dense_kl(mean, covariance_matrix(*family), exact.mean, exact.precision);
      BOOST_TEST(std::abs(gap - lost) < 1e-8 * (1. + lost), "rank " << rank << ": " << gap << " and " << lost);
    }
  }

} // namespace

BOOST_AUTO_TEST_SUITE_END()
