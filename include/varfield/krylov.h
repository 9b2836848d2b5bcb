#ifndef varfield_krylov_h
#define varfield_krylov_h

#include <varfield/linear_solver.h>

namespace varfield
{
  /// PETSc's solver for a matrix, conjugate gradients or GMRES, which measures true residuals: its own choice of norm
  /// flatters by two to three digits. Collective.
  KSP make_krylov(Mat a, MatrixKind kind);

  /// Solves for one column after the other in place, from zero. Returns whether all converged, and in `iterations` the
  /// most that a column took. Collective.
  bool solve_columns(KSP ksp, MultiVector &x, bool transpose, unsigned int &iterations);
} // namespace varfield

#endif
