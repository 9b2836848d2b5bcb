// ranks: 1 2 3 4
#include "dense_models.h"
#include <boost/test/unit_test.hpp>
#include <varfield/exceptions.h>

BOOST_AUTO_TEST_SUITE(prior_blocks)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  Matrix covariance_3()
  {
    Matrix c(3, 3);
    c << 2., 0.5, 0., 0.5, 1., 0.3, 0., 0.3, 1.5;
    return c;
  }

  std::shared_ptr<BlockPrior> three_blocks()
  {
    Matrix rectangular(4, 6);
    rectangular << Matrix(Matrix::Identity(4, 4)), random_matrix(4, 2, 3);
    return std::make_shared<BlockPrior>(MPI_COMM_WORLD,
                                        std::vector<std::shared_ptr<const GaussianPrior>>{
                                            std::make_shared<FactorPrior>(MPI_COMM_WORLD, smooth_factor(9)),
                                            std::make_shared<DensePrior>(MPI_COMM_WORLD, covariance_3(), "test"),
                                            std::make_shared<FactorPrior>(MPI_COMM_WORLD, rectangular)});
  }

  /// The identities that any prior has to satisfy.
  void check_prior(const GaussianPrior &prior)
  {
    const Layout &layout = prior.layout(), &noise = prior.noise_layout();
    const MultiVector unit = layout.identity();
    const Matrix one       = Matrix::Identity(layout.n_global(), layout.n_global());
    const Matrix c         = layout.gather(prior.covariance(unit));
    const Matrix l         = layout.gather(prior.apply_factor(noise.identity()));
    BOOST_TEST(relative_difference(l * l.transpose(), c) < 1e-12);
    BOOST_TEST(relative_difference(noise.gather(prior.apply_factor_transpose(unit)), l.transpose()) < 1e-12);
    BOOST_TEST(relative_difference(layout.gather(prior.precision(prior.covariance(unit))), one) < 1e-11);
    const Matrix p = layout.gather(prior.precision(unit));
    BOOST_TEST(relative_difference(layout.gather(prior.precision_diagonal()), p.diagonal()) < 1e-11);
    BOOST_TEST(std::abs(prior.log_determinant() - std::log(c.determinant())) < 1e-9);
    BOOST_TEST(prior.has_square_factor() == (noise.n_global() == layout.n_global()));

    const MultiVector modes = prior.leading_modes(2);
    const Matrix gram       = layout.gram(modes, prior.precision(modes));
    BOOST_TEST(relative_difference(gram, Matrix::Identity(modes.cols(), modes.cols())) < 1e-11);

    const DrawKey key{11, Stream::prior_draw, 2, -1.};
    const Vector draw = layout.gather(prior.draw(key)).col(0),
                 xi   = -noise.gather(standard_normal(noise, {11, Stream::prior_draw, 2, 1.}));
    BOOST_TEST(relative_difference(draw, l * xi) < 1e-13);
  }
} // namespace

BOOST_AUTO_TEST_CASE(dense_prior)
{
  const DensePrior prior(MPI_COMM_WORLD, covariance_3(), "test");
  check_prior(prior);
  BOOST_TEST(relative_difference(prior.layout().gather(prior.covariance(prior.layout().identity())), covariance_3()) <
             1e-15);
  // Modes by falling variance, each of length sqrt(variance).
  const MultiVector modes = prior.leading_modes(5);
  BOOST_TEST(modes.cols() == 3);
  const Vector variances = prior.layout().column_dots(modes, modes);
  BOOST_TEST(std::abs(variances.sum() - covariance_3().trace()) < 1e-12);
  BOOST_TEST((variances[0] > variances[1] && variances[1] > variances[2]));
}

BOOST_AUTO_TEST_CASE(block_prior)
{
  const auto prior = three_blocks();
  BOOST_TEST(prior->layout().n_global() == 16);
  BOOST_TEST(prior->noise_layout().n_global() == 18);
  check_prior(*prior);
  BOOST_TEST(prior->leading_modes(2).cols() == 6);
}

BOOST_AUTO_TEST_CASE(block_draws_do_not_depend_on_the_partition)
{
  const auto prior = three_blocks();
  // By key: the blocks one after the other.
  const Vector draw = prior->draw({3, Stream::prior_draw, 0, 1.});
  Vector by_key     = Vector::Zero(16);
  for (Index i = 0; i < draw.size(); ++i)
    by_key[static_cast<Index>(prior->layout().keys()[static_cast<std::size_t>(i)])] = draw[i];
  MPI_Allreduce(MPI_IN_PLACE, by_key.data(), 16, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  const Vector xi = standard_normal(block_layout(MPI_COMM_SELF, 18), {3, Stream::prior_draw, 0, 1.});
  BOOST_TEST(relative_difference(by_key.head(9), smooth_factor(9) * xi.head(9)) < 1e-13);
  BOOST_TEST(relative_difference(by_key.segment(9, 3), Matrix(covariance_3().llt().matrixL()) * xi.segment(9, 3)) <
             1e-13);
}

BOOST_AUTO_TEST_CASE(bad_covariances_are_refused)
{
  const auto says = [](const std::string &word)
  {
    return [word](const UserError &error) {
      return std::string(error.what()).find(word) != std::string::npos && std::string(error.what()).find("origin") == 0;
    };
  };
  Matrix c = covariance_3();
  c(0, 2)  = 0.1;
  BOOST_CHECK_EXCEPTION(DensePrior(MPI_COMM_WORLD, c, "origin"), UserError, says("not symmetric"));
  BOOST_CHECK_EXCEPTION(DensePrior(MPI_COMM_WORLD, c.leftCols(2), "origin"), UserError, says("square"));
  c(2, 0) = 0.1;
  c(1, 1) = -1.;
  BOOST_CHECK_EXCEPTION(DensePrior(MPI_COMM_WORLD, c, "origin"), UserError, says("positive definite"));
  c(1, 1) = std::nan("");
  BOOST_CHECK_EXCEPTION(DensePrior(MPI_COMM_WORLD, c, "origin"), UserError, says("finite"));
}

BOOST_AUTO_TEST_CASE(groups_must_divide_the_ranks)
{
  int n_ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
  BOOST_CHECK_THROW(SampleGroups(MPI_COMM_WORLD, static_cast<unsigned int>(n_ranks) + 1), UserError);
  BOOST_CHECK_THROW(SampleGroups(MPI_COMM_WORLD, 0), UserError);
  for_each_split(
      [&](const SampleGroups &groups)
      {
        int n_space = 0;
        MPI_Comm_size(groups.space(), &n_space);
        BOOST_TEST(static_cast<unsigned int>(n_space) * groups.n_groups() == static_cast<unsigned int>(n_ranks));
        BOOST_TEST(groups.sum(1. + groups.group()) == 0.5 * groups.n_groups() * (groups.n_groups() + 1.));
        BOOST_TEST(groups.broadcast(7. + groups.group()) == 7.);
      });
}

BOOST_AUTO_TEST_SUITE_END()
