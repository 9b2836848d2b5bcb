#ifndef varfield_multigrid_h
#define varfield_multigrid_h

#include <varfield/hierarchy.h>
#include <varfield/linear_solver.h>

namespace varfield
{
  /// Makes the solver of a coarsest level.
  using CoarseSolver = std::function<std::unique_ptr<LinearSolver>()>;

  /// Conjugate gradients (kind spd) or GMRES with V-cycles on the meshes of a hierarchy: coarse matrices PᵀAP, one
  /// Gauss–Seidel sweep before and one after, in opposite directions. Conjugate gradients run on eight right-hand sides
  /// at a time, for which every matrix is read once. Without a hierarchy: conjugate gradients with Jacobi.
  std::unique_ptr<LinearSolver> make_multigrid(const SolverSettings &settings, MatrixKind kind,
                                               std::shared_ptr<const Hierarchy> hierarchy,
                                               const CoarseSolver &coarse_solver);
} // namespace varfield

#endif
