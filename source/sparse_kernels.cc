#include <varfield/sparse_kernels.h>

// Compiled with -O3 (CMakeLists.txt): the loops over the lanes of a pack have to become vector instructions.

namespace varfield
{
  namespace
  {
    inline void add(Pack &y, double a, const Pack &x)
    {
      for (int i = 0; i < Pack::size; ++i)
        y.lanes[i] += a * x.lanes[i];
    }
    inline void add(double &y, double a, double x)
    {
      y += a * x;
    }
    inline void add(Pack &y, const Pack &a, const Pack &x)
    {
      for (int i = 0; i < Pack::size; ++i)
        y.lanes[i] += a.lanes[i] * x.lanes[i];
    }
    inline void subtract(Pack &y, const Pack &a, const Pack &x)
    {
      for (int i = 0; i < Pack::size; ++i)
        y.lanes[i] -= a.lanes[i] * x.lanes[i];
    }
    inline void subtract(double &y, double a, double x)
    {
      y -= a * x;
    }
    inline Pack times(double a, const Pack &x)
    {
      Pack y;
      for (int i = 0; i < Pack::size; ++i)
        y.lanes[i] = a * x.lanes[i];
      return y;
    }
    inline double times(double a, double x)
    {
      return a * x;
    }

    /// y − (row of A) x.
    template <class N>
    inline void subtract_row(const int *__restrict column, const double *__restrict value, int n, const N *x, N &y)
    {
      for (int k = 0; k < n; ++k)
        add(y, -value[k], x[column[k]]);
    }

    template <class N>
    inline void subtract_row(const RowsView &a, int i, const N *x, N &y)
    {
      subtract_row(a.column + a.start[i], a.value + a.start[i], a.start[i + 1] - a.start[i], x, y);
    }
  } // namespace

  template <class N>
  void add_product(const RowsView &a, const N *x, N *y)
  {
    const int n = a.n_rows;
    for (int i = 0; i < n; ++i)
    {
      N sum = y[i];
      for (int k = a.start[i]; k < a.start[i + 1]; ++k)
        add(sum, a.value[k], x[a.column[k]]);
      y[i] = sum;
    }
  }

  template <class N>
  void add_transposed_product(const RowsView &a, const N *x, N *y)
  {
    const int n = a.n_rows;
    for (int i = 0; i < n; ++i)
      for (int k = a.start[i]; k < a.start[i + 1]; ++k)
        add(y[a.column[k]], a.value[k], x[i]);
  }

  template <class N>
  void multiply(const SplitRows &a, const N *x, const N *ghosts, N *y)
  {
    const RowsView lower = a.lower.view(), upper = a.upper.view(), ghost = a.ghost.view();
    const int n            = lower.n_rows;
    const double *diagonal = a.diagonal.data();
    for (int i = 0; i < n; ++i)
    {
      N sum = times(-diagonal[i], x[i]);
      subtract_row(lower, i, x, sum);
      subtract_row(upper, i, x, sum);
      subtract_row(ghost, i, ghosts, sum);
      y[i] = times(-1., sum);
    }
  }

  template <class N>
  void sweep_forward(const SplitRows &a, const N *b, N *x)
  {
    const RowsView lower  = a.lower.view();
    const int n           = lower.n_rows;
    const double *inverse = a.inverse_diagonal.data();
    for (int i = 0; i < n; ++i)
    {
      N sum = b[i];
      subtract_row(lower, i, x, sum);
      x[i] = times(inverse[i], sum);
    }
  }

  template <class N>
  void residual_after_forward(const SplitRows &a, const N *x, const N *ghosts, N *r)
  {
    const RowsView upper = a.upper.view(), ghost = a.ghost.view();
    const int n = upper.n_rows;
    for (int i = 0; i < n; ++i)
    {
      N sum{};
      subtract_row(upper, i, x, sum);
      subtract_row(ghost, i, ghosts, sum);
      r[i] = sum;
    }
  }

  template <class N>
  void sweep_backward(const SplitRows &a, const N *b, const N *ghosts, N *x)
  {
    const RowsView lower = a.lower.view(), upper = a.upper.view(), ghost = a.ghost.view();
    const double *inverse = a.inverse_diagonal.data();
    for (int i = lower.n_rows; i-- > 0;)
    {
      N sum = b[i];
      subtract_row(ghost, i, ghosts, sum);
      subtract_row(lower, i, x, sum);
      subtract_row(upper, i, x, sum);
      x[i] = times(inverse[i], sum);
    }
  }

  template <class N>
  N dot(std::size_t n, const N *x, const N *y)
  {
    N sum{};
    for (std::size_t i = 0; i < n; ++i)
      add(sum, x[i], y[i]);
    return sum;
  }

  template <class N>
  void scale(std::size_t n, const double *s, const N *y, N *x)
  {
    for (std::size_t i = 0; i < n; ++i)
      x[i] = times(s[i], y[i]);
  }

  template <class N>
  void update_direction(std::size_t n, const N *z, N beta, N *p)
  {
    for (std::size_t i = 0; i < n; ++i)
    {
      N sum = z[i];
      add(sum, beta, p[i]);
      p[i] = sum;
    }
  }

  template <class N>
  N step(std::size_t n, N alpha, const N *p, const N *q, N *x, N *r)
  {
    N sum{};
    for (std::size_t i = 0; i < n; ++i)
    {
      add(x[i], alpha, p[i]);
      N residual = r[i];
      subtract(residual, alpha, q[i]);
      r[i] = residual;
      add(sum, residual, residual);
    }
    return sum;
  }

  template <class N>
  void solve_unit_lower(const RowsView &columns, N *x)
  {
    for (int j = 0; j < columns.n_rows; ++j)
    {
      const N xj = x[j];
      for (int k = columns.start[j]; k < columns.start[j + 1]; ++k)
        add(x[columns.column[k]], -columns.value[k], xj);
    }
  }

  template <class N>
  void solve_unit_upper(const RowsView &columns, N *x)
  {
    for (int j = columns.n_rows; j-- > 0;)
      subtract_row(columns, j, x, x[j]);
  }

#define VARFIELD_INSTANTIATE(N)                                                                                        \
  template void add_product(const RowsView &, const N *, N *);                                                         \
  template void add_transposed_product(const RowsView &, const N *, N *);                                              \
  template void multiply(const SplitRows &, const N *, const N *, N *);                                                \
  template void sweep_forward(const SplitRows &, const N *, N *);                                                      \
  template void residual_after_forward(const SplitRows &, const N *, const N *, N *);                                  \
  template void sweep_backward(const SplitRows &, const N *, const N *, N *);                                          \
  template void solve_unit_lower(const RowsView &, N *);                                                               \
  template void solve_unit_upper(const RowsView &, N *);                                                               \
  template N dot(std::size_t, const N *, const N *);                                                                   \
  template void scale(std::size_t, const double *, const N *, N *);                                                    \
  template void update_direction(std::size_t, const N *, N, N *);                                                      \
  template N step(std::size_t, N, const N *, const N *, N *, N *);
  VARFIELD_INSTANTIATE(double)
  VARFIELD_INSTANTIATE(Pack)
#undef VARFIELD_INSTANTIATE
} // namespace varfield
