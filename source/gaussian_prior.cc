#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <varfield/exceptions.h>
#include <varfield/gaussian_prior.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    using BlockAction = std::function<MultiVector(const GaussianPrior &, const MultiVector &)>;
    using Blocks      = std::vector<std::shared_ptr<const GaussianPrior>>;

    /// One action of every block on its rows of x; rows are counted by the layouts named.
    MultiVector blockwise(const Blocks &blocks, const BlockAction &action, const MultiVector &x, bool from_noise,
                          bool to_noise)
    {
      const auto rows = [](const GaussianPrior &prior, bool noise)
      { return (noise ? prior.noise_layout() : prior.layout()).n_local(); };
      Index n_result = 0;
      for (const auto &block : blocks)
        n_result += rows(*block, to_noise);
      MultiVector result(n_result, x.cols());
      Index from = 0, to = 0;
      for (const auto &block : blocks)
      {
        const Index n_from = rows(*block, from_noise), n_to = rows(*block, to_noise);
        result.middleRows(to, n_to) = action(*block, x.middleRows(from, n_from));
        from += n_from;
        to += n_to;
      }
      return result;
    }

    std::vector<Layout> layouts(const Blocks &blocks, bool noise)
    {
      std::vector<Layout> result;
      for (const auto &block : blocks)
        result.push_back(noise ? block->noise_layout() : block->layout());
      return result;
    }
  } // namespace

  Vector GaussianPrior::draw(const DrawKey &key) const
  {
    return draws({key}).col(0);
  }

  MultiVector GaussianPrior::draws(const std::vector<DrawKey> &keys, double tolerance) const
  {
    MultiVector xi(noise_layout().n_local(), keys.size());
    for (std::size_t k = 0; k < keys.size(); ++k)
      xi.col(static_cast<Index>(k)) = standard_normal(noise_layout(), keys[k]);
    return apply_factor(xi, tolerance);
  }

  PrimalDual Transfer::prolongate(const MultiVector &coarse_dual) const
  {
    return fine().from_source(interpolate(coarse().source(coarse_dual)));
  }

  MultiVector Transfer::prolongate_dual(const MultiVector &coarse_dual) const
  {
    // C⁻¹ A⁻¹ M s = A s: the load of s, were it a parameter vector.
    return fine().load(interpolate(coarse().source(coarse_dual)));
  }

  MultiVector Transfer::restrict_primal(const MultiVector &fine_primal) const
  {
    return coarse().from_load(restrict_load(fine().load(fine_primal)));
  }

  BlockPrior::BlockPrior(MPI_Comm comm, std::vector<std::shared_ptr<const GaussianPrior>> blocks)
      : blocks_(std::move(blocks)),
        layout_(concatenate(comm, layouts(blocks_, false))),
        noise_layout_(concatenate(comm, layouts(blocks_, true)))
  {
  }

  bool BlockPrior::has_nested_loads() const
  {
    return std::all_of(blocks_.begin(), blocks_.end(), [](const auto &block) { return block->has_nested_loads(); });
  }

  bool BlockPrior::has_square_factor() const
  {
    for (const auto &block : blocks_)
      if (!block->has_square_factor())
        return false;
    return true;
  }

  MultiVector BlockPrior::apply_factor(const MultiVector &xi, double tolerance) const
  {
    const auto apply = [tolerance](const GaussianPrior &block, const MultiVector &part)
    { return block.apply_factor(part, tolerance); };
    return blockwise(blocks_, apply, xi, true, false);
  }

  MultiVector BlockPrior::apply_factor_transpose(const MultiVector &dual) const
  {
    return blockwise(blocks_, &GaussianPrior::apply_factor_transpose, dual, false, true);
  }

  MultiVector BlockPrior::covariance(const MultiVector &dual) const
  {
    return blockwise(blocks_, &GaussianPrior::covariance, dual, false, false);
  }

  MultiVector BlockPrior::precision(const MultiVector &primal) const
  {
    return blockwise(blocks_, &GaussianPrior::precision, primal, false, false);
  }

  MultiVector BlockPrior::load(const MultiVector &primal) const
  {
    return blockwise(blocks_, &GaussianPrior::load, primal, false, false);
  }

  MultiVector BlockPrior::from_load(const MultiVector &load) const
  {
    return blockwise(blocks_, &GaussianPrior::from_load, load, false, false);
  }

  MultiVector BlockPrior::random_load(const MultiVector &xi) const
  {
    return blockwise(blocks_, &GaussianPrior::random_load, xi, true, false);
  }

  PrimalDual BlockPrior::from_source(const MultiVector &source) const
  {
    PrimalDual result{MultiVector(source.rows(), source.cols()), MultiVector(source.rows(), source.cols())};
    Index row = 0;
    for (const auto &block : blocks_)
    {
      const Index n                    = block->layout().n_local();
      const PrimalDual part            = block->from_source(source.middleRows(row, n));
      result.primal.middleRows(row, n) = part.primal;
      result.dual.middleRows(row, n)   = part.dual;
      row += n;
    }
    return result;
  }

  double BlockPrior::log_determinant() const
  {
    return std::accumulate(blocks_.begin(), blocks_.end(), 0.,
                           [](double sum, const auto &block) { return sum + block->log_determinant(); });
  }

  Vector BlockPrior::precision_diagonal() const
  {
    Vector result(layout_.n_local());
    Index row = 0;
    for (const auto &block : blocks_)
    {
      result.segment(row, block->layout().n_local()) = block->precision_diagonal();
      row += block->layout().n_local();
    }
    return result;
  }

  MultiVector BlockPrior::leading_modes(unsigned int n) const
  {
    std::vector<MultiVector> modes;
    Index n_columns = 0;
    for (const auto &block : blocks_)
    {
      modes.push_back(block->leading_modes(n));
      n_columns += modes.back().cols();
    }
    MultiVector result = MultiVector::Zero(layout_.n_local(), n_columns);
    Index row = 0, column = 0;
    for (const MultiVector &u : modes)
    {
      result.block(row, column, u.rows(), u.cols()) = u;
      row += u.rows();
      column += u.cols();
    }
    return result;
  }

  namespace
  {
    /// Keys 0, 1, … on the first rank, none elsewhere.
    std::vector<std::uint64_t> keys_on_first_rank(MPI_Comm comm, Index n)
    {
      int rank = 0;
      MPI_Comm_rank(comm, &rank);
      std::vector<std::uint64_t> keys(rank == 0 ? static_cast<std::size_t>(n) : 0);
      std::iota(keys.begin(), keys.end(), std::uint64_t(0));
      return keys;
    }

    /// The covariance matrix, checked; positive definiteness shows when it is factorised.
    const Matrix &checked(const Matrix &covariance, const std::string &origin)
    {
      if (covariance.rows() == 0 || covariance.rows() != covariance.cols())
        throw UserError(origin + ": a covariance matrix must be square; this one has " +
                        std::to_string(covariance.rows()) + " rows and " + std::to_string(covariance.cols()) +
                        " columns.");
      if (!covariance.allFinite())
        throw UserError(origin + ": the covariance matrix has entries that are not finite numbers.");
      Index i = 0, j = 0;
      if ((covariance - covariance.transpose()).cwiseAbs().maxCoeff(&i, &j) > 1e-10 * covariance.cwiseAbs().maxCoeff())
        throw UserError(origin + ": the covariance matrix is not symmetric: row " + std::to_string(i + 1) +
                        ", column " + std::to_string(j + 1) + " has " + to_text(covariance(i, j)) + ", and row " +
                        std::to_string(j + 1) + ", column " + std::to_string(i + 1) + " has " +
                        to_text(covariance(j, i)) + ".");
      return covariance;
    }
  } // namespace

  DensePrior::DensePrior(MPI_Comm comm, const Matrix &covariance, const std::string &origin)
      : layout_(comm, keys_on_first_rank(comm, covariance.rows())),
        covariance_(checked(covariance, origin)),
        cholesky_(covariance_)
  {
    if (cholesky_.info() != Eigen::Success)
      throw UserError(origin + ": the covariance matrix is not positive definite.");
  }

  MultiVector DensePrior::apply_factor(const MultiVector &xi, double) const
  {
    return xi.rows() == 0 ? xi : MultiVector(cholesky_.matrixL() * xi);
  }

  MultiVector DensePrior::apply_factor_transpose(const MultiVector &dual) const
  {
    return dual.rows() == 0 ? dual : MultiVector(cholesky_.matrixU() * dual);
  }

  MultiVector DensePrior::covariance(const MultiVector &dual) const
  {
    return dual.rows() == 0 ? dual : MultiVector(covariance_ * dual);
  }

  MultiVector DensePrior::precision(const MultiVector &primal) const
  {
    return primal.rows() == 0 ? primal : MultiVector(cholesky_.solve(primal));
  }

  double DensePrior::log_determinant() const
  {
    return 2. * cholesky_.matrixLLT().diagonal().array().log().sum();
  }

  Vector DensePrior::precision_diagonal() const
  {
    return cholesky_.solve(Matrix::Identity(covariance_.rows(), covariance_.rows())).diagonal().head(layout_.n_local());
  }

  MultiVector DensePrior::leading_modes(unsigned int n) const
  {
    const Index n_modes = std::min<Index>(n, covariance_.rows());
    const Eigen::SelfAdjointEigenSolver<Matrix> eigen(covariance_);
    const Matrix modes = eigen.eigenvectors() * eigen.eigenvalues().cwiseSqrt().asDiagonal();
    return modes.rowwise().reverse().topLeftCorner(layout_.n_local(), n_modes);
  }
} // namespace varfield
