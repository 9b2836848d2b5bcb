#ifndef varfield_vectors_h
#define varfield_vectors_h

#include <Eigen/Dense>
#include <algorithm>
#include <cstdint>
#include <memory>
#include <mpi.h>
#include <vector>

namespace varfield
{
  /// The entries of a distributed vector that this rank owns.
  using Vector = Eigen::VectorXd;
  /// The rows that this rank owns of a block of distributed column vectors.
  using MultiVector = Eigen::MatrixXd;
  /// A small dense matrix that every rank holds whole.
  using Matrix = Eigen::MatrixXd;
  using Index  = Eigen::Index;

  /// Σ over the ranks in place, and what the first rank has on every rank, of any number of entries (MPI counts end at
  /// 2³¹). Collective; the number of entries must agree.
  void sum_over(MPI_Comm comm, double *values, std::size_t n);
  void broadcast_over(MPI_Comm comm, double *values, std::size_t n);

  /// How a vector of coefficients is spread over the ranks of a communicator.
  ///
  /// `keys` has one number for every local entry. It names the entry independently of the partition (a hierarchically
  /// numbered degree of freedom, say): random numbers are keyed by it, so that every number of ranks sees the same
  /// draws. The communicator is borrowed: it must outlive the layout.
  class Layout
  {
  public:
    Layout() = default;
    /// Collective.
    Layout(MPI_Comm comm, std::vector<std::uint64_t> keys);

    MPI_Comm comm() const { return comm_; }
    Index n_local() const { return static_cast<Index>(keys_.size()); }
    Index n_global() const { return n_global_; }
    /// Number of entries on the ranks before this one.
    Index offset() const { return offset_; }
    const std::vector<std::uint64_t> &keys() const { return keys_; }
    /// The largest key on any rank, plus one: keys may have gaps.
    std::uint64_t key_bound() const { return key_bound_; }

    /// Σᵢ xᵢyᵢ over all ranks. Collective; the same number on every rank.
    double dot(const Vector &x, const Vector &y) const;
    /// XᵀY over all ranks, one reduction for the block. Collective.
    Matrix gram(const MultiVector &x, const MultiVector &y) const;
    /// Column-wise Σᵢ XᵢⱼYᵢⱼ. Collective.
    Vector column_dots(const MultiVector &x, const MultiVector &y) const;

    /// How many columns are worked on at once where there are many: as many as take 128 MB over all ranks, at least 8.
    Index block_columns() const;

    /// The local rows of the identity matrix, a block of n_global() columns: for small vectors only.
    MultiVector identity() const;
    /// All rows on every rank, in the order of the ranks. Collective.
    Matrix gather(const MultiVector &x) const;
    /// What the first rank has, on every rank; sizes must agree. Collective.
    void broadcast(double *values, std::size_t n) const;

  private:
    MPI_Comm comm_  = MPI_COMM_SELF;
    Index n_global_ = 0, offset_ = 0;
    std::vector<std::uint64_t> keys_;
    std::uint64_t key_bound_ = 0;
  };

  /// Calls action(first, count) for the columns `begin` … `end` − 1, `width` at a time.
  template <class Action>
  void by_blocks(Index begin, Index end, Index width, const Action &action)
  {
    for (Index first = begin; first < end; first += width)
      action(first, std::min(width, end - first));
  }

  /// A B for small B, and for ranks that own no rows of A (for which BLAS is not to be asked).
  MultiVector product(const MultiVector &a, const Matrix &b);

  /// A block of columns that is never changed once it is made: copies share it.
  class SharedBlock
  {
  public:
    SharedBlock() : SharedBlock(MultiVector()) {}
    SharedBlock(MultiVector columns) : columns_(std::make_shared<const MultiVector>(std::move(columns))) {}
    const MultiVector &operator*() const { return *columns_; }
    const MultiVector *operator->() const { return columns_.get(); }
    operator const MultiVector &() const { return *columns_; }
    Index cols() const { return columns_->cols(); }

  private:
    std::shared_ptr<const MultiVector> columns_;
  };

  /// The layouts of several blocks one after the other: on every rank the local entries of the first block, then those
  /// of the second, and so on. Keys are shifted by the key bounds of the blocks before, which keeps them apart.
  /// Collective.
  Layout concatenate(MPI_Comm comm, const std::vector<Layout> &blocks);
} // namespace varfield

#endif
