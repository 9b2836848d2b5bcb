#include <algorithm>
#include <varfield/timing.h>
#include <varfield/vectors.h>

namespace varfield
{
  namespace
  {
    /// Calls `action` for pieces that an MPI count can hold.
    template <typename Action>
    void in_pieces(double *values, std::size_t n, const Action &action)
    {
      const Timed timed(Work::communication);
      constexpr std::size_t most = std::size_t(1) << 28;
      for (std::size_t begin = 0; begin < n; begin += most)
        action(values + begin, static_cast<int>(std::min(most, n - begin)));
    }
  } // namespace

  void sum_over(MPI_Comm comm, double *values, std::size_t n)
  {
    in_pieces(values, n,
              [&](double *piece, int count) { MPI_Allreduce(MPI_IN_PLACE, piece, count, MPI_DOUBLE, MPI_SUM, comm); });
  }

  void broadcast_over(MPI_Comm comm, double *values, std::size_t n)
  {
    in_pieces(values, n, [&](double *piece, int count) { MPI_Bcast(piece, count, MPI_DOUBLE, 0, comm); });
  }

  MultiVector product(const MultiVector &a, const Matrix &b)
  {
    const Timed timed(Work::dense_algebra);
    if (a.rows() == 0 || a.cols() == 0)
      return MultiVector::Zero(a.rows(), b.cols());
    return a * b;
  }

  Layout::Layout(MPI_Comm comm, std::vector<std::uint64_t> keys) : comm_(comm), keys_(std::move(keys))
  {
    const long long n = static_cast<long long>(keys_.size());
    long long total = 0, up_to_here = 0;
    MPI_Allreduce(&n, &total, 1, MPI_LONG_LONG, MPI_SUM, comm_);
    MPI_Scan(&n, &up_to_here, 1, MPI_LONG_LONG, MPI_SUM, comm_);
    n_global_ = total;
    for (const std::uint64_t key : keys_)
      key_bound_ = std::max(key_bound_, key + 1);
    MPI_Allreduce(MPI_IN_PLACE, &key_bound_, 1, MPI_UINT64_T, MPI_MAX, comm_);
    offset_ = up_to_here - n;
  }

  double Layout::dot(const Vector &x, const Vector &y) const
  {
    double result = x.dot(y);
    sum_over(comm_, &result, 1);
    return result;
  }

  Matrix Layout::gram(const MultiVector &x, const MultiVector &y) const
  {
    const Timed timed(Work::dense_algebra);
    Matrix result = Matrix::Zero(x.cols(), y.cols());
    if (x.rows() > 0)
      result.noalias() = x.transpose() * y;
    sum_over(comm_, result.data(), static_cast<std::size_t>(result.size()));
    return result;
  }

  Vector Layout::column_dots(const MultiVector &x, const MultiVector &y) const
  {
    const Timed timed(Work::dense_algebra);
    Vector result = x.cwiseProduct(y).colwise().sum();
    sum_over(comm_, result.data(), static_cast<std::size_t>(result.size()));
    return result;
  }

  Index Layout::block_columns() const
  {
    return std::max<Index>(8, 16000000 / std::max<Index>(1, n_global_));
  }

  MultiVector Layout::identity() const
  {
    MultiVector result = MultiVector::Zero(n_local(), n_global());
    result.middleCols(offset_, n_local()).setIdentity();
    return result;
  }

  Matrix Layout::gather(const MultiVector &x) const
  {
    Matrix result                         = Matrix::Zero(n_global(), x.cols());
    result.middleRows(offset_, n_local()) = x;
    sum_over(comm_, result.data(), static_cast<std::size_t>(result.size()));
    return result;
  }

  void Layout::broadcast(double *values, std::size_t n) const
  {
    broadcast_over(comm_, values, n);
  }

  Layout concatenate(MPI_Comm comm, const std::vector<Layout> &blocks)
  {
    std::vector<std::uint64_t> keys;
    std::uint64_t shift = 0;
    for (const Layout &block : blocks)
    {
      for (const std::uint64_t key : block.keys())
        keys.push_back(key + shift);
      shift += block.key_bound();
    }
    return Layout(comm, std::move(keys));
  }
} // namespace varfield
