// ranks: 1 2 3 4
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/newton.h>

BOOST_AUTO_TEST_SUITE(curvature)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  /// H with the generalised eigenvalues `values` (zeros after them), H = C⁻¹U diag(values) UᵀC⁻¹ for a random U.
  Matrix curvature_with(const FactorPrior &prior, const Vector &values)
  {
    const Index n = prior.c.rows(), r = values.size();
    const Matrix q = Eigen::HouseholderQR<Matrix>(random_matrix(n, r, 17)).householderQ() * Matrix::Identity(n, r);
    const Matrix v = prior.l.transpose().triangularView<Eigen::Upper>().solve(q);
    return v * values.asDiagonal() * v.transpose();
  }

  DenseDensity::Function constant_hessian(const Matrix &h)
  {
    return [h](const Vector &m) { return DenseValues{0.5 * m.dot(h * m), h * m, h}; };
  }

  void check_pairs(const Curvature &h, const Eigenpairs &pairs, const Vector &expected, double tolerance)
  {
    const Layout &layout = h.layout();
    BOOST_REQUIRE(pairs.values.size() == expected.size());
    BOOST_TEST(((pairs.values - expected).array() / (1. + expected.array().abs())).abs().maxCoeff() < tolerance);
    const Matrix one = Matrix::Identity(expected.size(), expected.size());
    BOOST_TEST((layout.gram(pairs.modes, h.prior().precision(pairs.modes)) - one).cwiseAbs().maxCoeff() < 1e-11);
    BOOST_TEST((layout.gram(pairs.modes, pairs.dual) - one).cwiseAbs().maxCoeff() < 1e-13);
    const Matrix ritz = layout.gram(pairs.modes, h.apply(pairs.modes));
    BOOST_TEST((ritz - Matrix(pairs.values.asDiagonal())).cwiseAbs().maxCoeff() <
               tolerance * (1. + expected.cwiseAbs().maxCoeff()));
  }

  Vector geometric(Index n, double first, double ratio)
  {
    Vector result(n);
    for (Index i = 0; i < n; ++i)
      result[i] = first * std::pow(ratio, double(i));
    return result;
  }
} // namespace

BOOST_AUTO_TEST_CASE(three_routes_to_the_same_pairs)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(60));
        const Vector values = geometric(12, 1e5, 0.2);
        const Matrix h      = curvature_with(prior, values);
        DenseDensity density(groups, prior, constant_hessian(h));
        const auto at = density.linearize(Vector::Zero(prior.layout().n_local()));
        EigenOptions options;
        options.rank = 8;
        const Curvature dense(density, *at);
        const Eigenpairs exact = eigenpairs(dense, options);
        BOOST_TEST(exact.exact);
        check_pairs(dense, exact, values.head(8), 1e-9);
        BOOST_TEST(std::abs(exact.first_dropped - values[8]) < 1e-6);

        // Data space: an explicit factor.
        const Eigen::SelfAdjointEigenSolver<Matrix> eigen(h);
        density.factor = eigen.eigenvectors().rightCols(12) * eigen.eigenvalues().tail(12).cwiseSqrt().asDiagonal();
        const auto with_factor = density.linearize(Vector::Zero(prior.layout().n_local()));
        const Curvature factored(density, *with_factor);
        BOOST_TEST(factored.factor(12).cols() == 12);
        BOOST_TEST(factored.factor(11).cols() == 0);
        check_pairs(factored, eigenpairs(factored, options), values.head(8), 1e-9);

        // Subspace iteration.
        options.dense_size        = 0;
        options.oversampling      = 10;
        options.passes            = 8;
        const Eigenpairs iterated = eigenpairs(dense, options);
        BOOST_TEST(!iterated.exact);
        check_pairs(dense, iterated, values.head(8), 1e-8);
      });
}

BOOST_AUTO_TEST_CASE(subspace_iteration_with_slow_decay_and_warm_start)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  const FactorPrior prior(MPI_COMM_WORLD, smooth_factor(300));
  const Vector values = geometric(300, 50., 0.93);
  const DenseDensity density(groups, prior, constant_hessian(curvature_with(prior, values)));
  const auto at = density.linearize(Vector::Zero(prior.layout().n_local()));
  const Curvature h(density, *at);
  EigenOptions options;
  options.rank          = 30;
  options.dense_size    = 0;
  options.passes        = 12;
  const Eigenpairs cold = eigenpairs(h, options);
  check_pairs(h, cold, values.head(30), 1e-8);
  options.passes = 2;
  check_pairs(h, eigenpairs(h, options, cold.modes), values.head(30), 1e-8);
}

BOOST_AUTO_TEST_CASE(indefinite_and_singular_curvature)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  const FactorPrior prior(MPI_COMM_WORLD, smooth_factor(80));
  Vector values(5);
  values << 30., -7., 3., -0.8, 0.2;
  DenseDensity density(groups, prior, constant_hessian(curvature_with(prior, values)));
  const auto at = density.linearize(Vector::Zero(prior.layout().n_local()));
  const Curvature h(density, *at);
  for (const unsigned int dense_size : {0u, 400u})
  {
    EigenOptions options;
    options.rank       = 20;
    options.cutoff     = 1e-6;
    options.dense_size = dense_size;
    check_pairs(h, eigenpairs(h, options), values, 1e-9);
    options.cutoff         = 0.5;
    const Eigenpairs fewer = eigenpairs(h, options);
    BOOST_TEST(fewer.values.size() == 4);
    BOOST_TEST(std::abs(fewer.first_dropped - 0.2) < 1e-9);
  }
  const DenseDensity flat(groups, prior, constant_hessian(Matrix::Zero(80, 80)));
  const auto nothing = flat.linearize(Vector::Zero(prior.layout().n_local()));
  EigenOptions options;
  options.dense_size = 0;
  BOOST_TEST(eigenpairs(Curvature(flat, *nothing), options).values.size() == 0);
}

BOOST_AUTO_TEST_CASE(orthonormalization_of_badly_scaled_columns)
{
  const SampleGroups groups(MPI_COMM_WORLD, 1);
  const FactorPrior prior(MPI_COMM_WORLD, smooth_factor(50));
  // Columns that share their longest part to five digits in two ways, and one that is a copy.
  Matrix y = random_matrix(50, 1, 1) * Matrix::Ones(1, 6);
  y.rightCols(5) += 1e-5 * random_matrix(50, 5, 2);
  y.rightCols(3) += 10. * random_matrix(50, 1, 3) * Matrix::Ones(1, 3);
  y.col(5)                     = y.col(4);
  const MultiVector dual       = local_rows(prior.layout(), y);
  const OrthonormalBlock basis = orthonormalize(groups, prior.layout(), prior.covariance(dual), dual);
  BOOST_TEST(basis.modes.cols() == 5);
  BOOST_TEST((prior.layout().gram(basis.modes, basis.dual) - Matrix::Identity(5, 5)).cwiseAbs().maxCoeff() < 1e-9);
}

BOOST_AUTO_TEST_CASE(averages_do_not_depend_on_the_split)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(20));
        // H(m) = diag(exp m)
        const DenseDensity density(groups, prior,
                                   [](const Vector &m)
                                   {
                                     const Vector e = m.array().exp();
                                     return DenseValues{e.sum(), e, e.asDiagonal()};
                                   });
        const Matrix points = random_matrix(20, 6, 4);
        std::vector<std::unique_ptr<Linearization>> all;
        std::vector<const Linearization *> local;
        for (Index k = 0; k < 6; ++k)
          if (static_cast<unsigned int>(k / 2) % groups.n_groups() == groups.group())
          {
            all.push_back(density.linearize(local_rows(prior.layout(), points.col(k))));
            local.push_back(all.back().get());
          }
        const Curvature h(density, local, 6);
        const Matrix x = random_matrix(20, 3, 8), weights = points.array().exp();
        const Vector mean_weight = weights.rowwise().mean();
        const Matrix expected    = mean_weight.asDiagonal() * x;
        BOOST_TEST(relative_difference(prior.layout().gather(h.apply(local_rows(prior.layout(), x))), expected) <
                   1e-14);

        const Spread diagonal = h.diagonal(false, 1, 0);
        BOOST_TEST(relative_difference(prior.layout().gather(diagonal.mean), mean_weight) < 1e-14);
        const Vector deviations = (weights.colwise() - mean_weight).rowwise().squaredNorm() / 30.;
        BOOST_TEST(relative_difference(prior.layout().gather(diagonal.variance), deviations) < 1e-10);
        const Matrix whitened = prior.l.transpose() * mean_weight.asDiagonal() * prior.l;
        BOOST_TEST(relative_difference(prior.noise_layout().gather(h.diagonal(true, 1, 0).mean), whitened.diagonal()) <
                   1e-13);

        const MultiVector u = local_rows(prior.layout(), x);
        const Matrix uhu    = x.transpose() * expected;
        const Spread matrix = h.form_matrix(u), forms = h.forms(u);
        BOOST_TEST(relative_difference(matrix.mean, uhu) < 1e-13);
        BOOST_TEST(relative_difference(forms.mean, uhu.diagonal()) < 1e-13);
        BOOST_TEST(relative_difference(forms.variance, matrix.variance.diagonal()) < 1e-10);

        const Vector lambda = Vector::Constant(3, -0.5);
        const Matrix blend  = 0.25 * expected + 0.75 * x * lambda.asDiagonal() * (x.transpose() * x);
        BOOST_TEST(relative_difference(prior.layout().gather(h.blended(0.25, u, lambda).apply(u)), blend) < 1e-13);
      });
}

BOOST_AUTO_TEST_CASE(newton_systems)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(40));
        const LinearGaussian model = dense_linear_gaussian(prior, 7);
        DenseDensity density(groups, prior, model);
        const Vector zero = Vector::Zero(prior.layout().n_local());
        const auto at     = density.linearize(zero);
        NewtonOptions options;
        options.tolerance         = 1e-13;
        const NewtonStep iterated = solve_newton(Curvature(density, *at), at->gradient, options);
        BOOST_TEST(iterated.iterations > 0u);
        BOOST_TEST(relative_difference(prior.layout().gather(iterated.primal), model.mean) < 1e-9);
        BOOST_TEST(relative_difference(prior.layout().gather(iterated.dual), prior.p * model.mean) < 1e-9);

        density.factor         = model.g.transpose();
        const auto with_factor = density.linearize(zero);
        const NewtonStep exact = solve_newton(Curvature(density, *with_factor), at->gradient, options);
        BOOST_TEST(exact.iterations == 0u);
        BOOST_TEST(relative_difference(prior.layout().gather(exact.primal), model.mean) < 1e-11);
        BOOST_TEST(relative_difference(prior.layout().gather(exact.dual), prior.p * model.mean) < 1e-10);

        // With the exact eigenpairs the preconditioner is the inverse.
        const Eigenpairs pairs = eigenpairs(Curvature(density, *with_factor), EigenOptions());
        const LowRankCorrection correction{pairs.modes, pairs.dual, pairs.values.array() / (1. + pairs.values.array())};
        options.tolerance = 1e-8;
        BOOST_TEST(solve_newton(Curvature(density, *at), at->gradient, options, &correction).iterations <= 2u);
      });
}

BOOST_AUTO_TEST_SUITE_END()
