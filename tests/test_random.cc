// ranks: 1 2 3 4
#include "dense_models.h"
#include <boost/test/unit_test.hpp>

// Inside a namespace: the C library has a function of the name of the suite.
namespace varfield::tests
{
  BOOST_AUTO_TEST_SUITE(random)

  BOOST_AUTO_TEST_CASE(moments_of_a_million_numbers)
  {
    const Index n       = 1000000;
    const Layout layout = block_layout(MPI_COMM_WORLD, n);
    const Vector x      = standard_normal(layout, {42, Stream::verification, 7, 1.});
    const Vector ones   = Vector::Ones(x.size());
    const auto mean_of  = [&](const Eigen::ArrayXd &y) { return layout.dot(y.matrix(), ones) / double(n); };
    // Five standard errors of each moment: Var(x) = 1, Var(x²) = 2, Var(x³) = 15, Var(x⁴) = 96.
    const double unit = 5. / std::sqrt(double(n));
    BOOST_TEST(std::abs(mean_of(x.array())) < unit);
    BOOST_TEST(std::abs(mean_of(x.array().square()) - 1.) < unit * std::sqrt(2.));
    BOOST_TEST(std::abs(mean_of(x.array().cube())) < unit * std::sqrt(15.));
    BOOST_TEST(std::abs(mean_of(x.array().square().square()) - 3.) < unit * std::sqrt(96.));
    BOOST_TEST(x.array().isFinite().all());
  }

  BOOST_AUTO_TEST_CASE(neighbours_and_draws_are_uncorrelated)
  {
    const Index n       = 200000;
    const Layout layout = block_layout(MPI_COMM_SELF, n);
    const Vector x      = standard_normal(layout, {1, Stream::prior_draw, 0, 1.}),
                 y      = standard_normal(layout, {1, Stream::prior_draw, 1, 1.}),
                 z      = standard_normal(layout, {1, Stream::probing, 0, 1.});
    const double limit  = 5. / std::sqrt(double(n));
    BOOST_TEST(std::abs(x.head(n - 1).dot(x.tail(n - 1)) / double(n)) < limit);
    BOOST_TEST(std::abs(x.dot(y) / double(n)) < limit);
    BOOST_TEST(std::abs(x.dot(z) / double(n)) < limit);
  }

  BOOST_AUTO_TEST_CASE(draws_depend_on_keys_only)
  {
    const Index n          = 1001;
    const Layout spread    = block_layout(MPI_COMM_WORLD, n);
    const Layout alone     = block_layout(MPI_COMM_SELF, n);
    const DrawKey key      = {0x123456789abcdefull, Stream::data_noise, 3, 1.};
    const Vector whole     = standard_normal(alone, key);
    const Vector from_rows = spread.gather(standard_normal(spread, key));
    BOOST_TEST((whole - from_rows).cwiseAbs().maxCoeff() == 0.);

    std::vector<std::uint64_t> reversed(alone.keys().rbegin(), alone.keys().rend());
    BOOST_TEST((standard_normal(Layout(MPI_COMM_SELF, reversed), key).reverse() - whole).cwiseAbs().maxCoeff() == 0.);
  }

  BOOST_AUTO_TEST_CASE(sign_makes_the_antithetic_partner)
  {
    const Layout layout = block_layout(MPI_COMM_WORLD, 100);
    const Vector plus   = standard_normal(layout, {9, Stream::evaluation, 5, 1.});
    const Vector minus  = standard_normal(layout, {9, Stream::evaluation, 5, -1.});
    BOOST_TEST((plus + minus).norm() == 0.);
  }

  BOOST_AUTO_TEST_CASE(layouts_reduce_over_the_ranks)
  {
    const Layout layout = block_layout(MPI_COMM_WORLD, 23);
    const Matrix a = random_matrix(23, 3, 1), b = random_matrix(23, 2, 2);
    const MultiVector x = local_rows(layout, a), y = local_rows(layout, b);
    BOOST_TEST((layout.gram(x, y) - a.transpose() * b).norm() < 1e-13);
    BOOST_TEST(std::abs(layout.dot(x.col(0), y.col(1)) - a.col(0).dot(b.col(1))) < 1e-13);
    BOOST_TEST((layout.gather(x) - a).norm() == 0.);
    BOOST_TEST((layout.gather(layout.identity()) - Matrix::Identity(23, 23)).norm() == 0.);

    const Layout both = concatenate(MPI_COMM_WORLD, {layout, block_layout(MPI_COMM_WORLD, 5)});
    BOOST_TEST(both.n_global() == 28);
    for (Index i = 0; i < both.n_local(); ++i)
      BOOST_TEST((i < layout.n_local()) == (both.keys()[static_cast<std::size_t>(i)] < 23));
  }

  BOOST_AUTO_TEST_SUITE_END()
} // namespace varfield::tests
