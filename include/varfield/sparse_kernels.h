#ifndef varfield_sparse_kernels_h
#define varfield_sparse_kernels_h

#include <cstddef>
#include <vector>

/// Loops over sparse matrices and vectors on one rank, for one right-hand side or for eight side by side, of which each
/// entry of a matrix is loaded once.
namespace varfield
{
  /// Eight numbers, one for each of eight right-hand sides; arithmetic is entry by entry.
  struct Pack
  {
    static constexpr int size = 8;
    double lanes[size]        = {};
  };

  /// Rows of a sparse matrix in somebody's memory: row i has the entries start[i] … start[i+1].
  struct RowsView
  {
    int n_rows       = 0;
    const int *start = nullptr, *column = nullptr;
    const double *value = nullptr;
  };

  /// The same in memory of its own.
  struct CompressedRows
  {
    std::vector<int> start{0}, column;
    std::vector<double> value;
    RowsView view() const { return {static_cast<int>(start.size()) - 1, start.data(), column.data(), value.data()}; }
  };

  /// The rows of a square matrix that a rank owns: A = L + D + U on its own columns, and the columns of other ranks.
  /// U has descending columns: a backward sweep then needs the newest value last.
  struct SplitRows
  {
    CompressedRows lower, upper, ghost;
    std::vector<double> diagonal, inverse_diagonal;
  };

  /// y += A x, y += Aᵀ x.
  template <class N>
  void add_product(const RowsView &a, const N *x, N *y);
  template <class N>
  void add_transposed_product(const RowsView &a, const N *x, N *y);
  /// y = A x.
  template <class N>
  void multiply(const SplitRows &a, const N *x, const N *ghosts, N *y);
  /// A forward Gauss–Seidel sweep from zero: (L + D) x = b.
  template <class N>
  void sweep_forward(const SplitRows &a, const N *b, N *x);
  /// The residual after it, r = −U x − ghosts.
  template <class N>
  void residual_after_forward(const SplitRows &a, const N *x, const N *ghosts, N *r);
  /// A backward Gauss–Seidel sweep: (D + U) x_new = b − L x − ghosts.
  template <class N>
  void sweep_backward(const SplitRows &a, const N *b, const N *ghosts, N *x);

  /// x ← L⁻¹x and x ← L⁻ᵀx for a lower triangular matrix with ones on the diagonal, whose other entries are given
  /// column by column.
  template <class N>
  void solve_unit_lower(const RowsView &columns, N *x);
  template <class N>
  void solve_unit_upper(const RowsView &columns, N *x);

  /// Σ xᵢyᵢ over the local entries.
  template <class N>
  N dot(std::size_t n, const N *x, const N *y);
  /// x = s y entry by entry.
  template <class N>
  void scale(std::size_t n, const double *s, const N *y, N *x);
  /// p = z + βp.
  template <class N>
  void update_direction(std::size_t n, const N *z, N beta, N *p);
  /// x += αp, r −= αq; returns Σ rᵢ² over the local entries.
  template <class N>
  N step(std::size_t n, N alpha, const N *p, const N *q, N *x, N *r);
} // namespace varfield

#endif
