#ifndef varfield_direct_solver_h
#define varfield_direct_solver_h

#include <varfield/linear_solver.h>

namespace varfield
{
  /// A sparse factorisation over all ranks of the matrix: LDLᵀ (kinds spd and mass) or LU, by MUMPS (Amestoy, Duff,
  /// L'Excellent, Koster, A fully asynchronous multifrontal solver using distributed dynamic scheduling, SIAM J. Matrix
  /// Anal. Appl. 23 (2001) 15).
  ///
  /// MUMPS is called directly. Right-hand sides stay where they are, the solution is sent home by a plan that lives as
  /// long as the factor, and blocks that are nearly empty (adjoints of sensors) are given as sparse ones, for which
  /// MUMPS leaves out the branches of its tree without an entry. Through PETSc, two ranks are no faster than one.
  ///
  /// `quick_ordering`: by minimum degree (QAMD) in place of MUMPS's own choice.
  std::unique_ptr<LinearSolver> make_direct(MatrixKind kind, bool quick_ordering);

  /// For matrices that one rank owns whole, of at most so many unknowns, a factorisation without MUMPS (LDLᵀ for the
  /// kinds spd and mass, else LU by KLU), whose fixed cost is most of the time there; for all others `beyond`.
  std::unique_ptr<LinearSolver> make_small_direct(MatrixKind kind, Index most_unknowns,
                                                  std::unique_ptr<LinearSolver> beyond);
} // namespace varfield

#endif
