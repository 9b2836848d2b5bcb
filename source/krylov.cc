#include <varfield/krylov.h>

namespace varfield
{
  KSP make_krylov(Mat a, MatrixKind kind)
  {
    KSP ksp = nullptr;
    KSPCreate(PetscObjectComm(reinterpret_cast<PetscObject>(a)), &ksp);
    KSPSetType(ksp, kind == MatrixKind::general ? KSPGMRES : KSPCG);
    if (kind == MatrixKind::general)
      KSPSetPCSide(ksp, PC_RIGHT);
    KSPSetNormType(ksp, KSP_NORM_UNPRECONDITIONED);
    return ksp;
  }

  bool solve_columns(KSP ksp, MultiVector &x, bool transpose, unsigned int &iterations)
  {
    const MPI_Comm comm = PetscObjectComm(reinterpret_cast<PetscObject>(ksp));
    const MultiVector b = x;
    bool converged      = true;
    iterations          = 0;
    x.setZero();
    for (Index j = 0; j < x.cols(); ++j)
    {
      const ColumnVec bj(comm, b.rows(), b.col(j).data()), xj(comm, x.rows(), x.col(j).data());
      transpose ? KSPSolveTranspose(ksp, bj.vec(), xj.vec()) : KSPSolve(ksp, bj.vec(), xj.vec());
      KSPConvergedReason reason;
      KSPGetConvergedReason(ksp, &reason);
      PetscInt n = 0;
      KSPGetIterationNumber(ksp, &n);
      converged  = converged && reason > 0;
      iterations = std::max(iterations, static_cast<unsigned int>(n));
    }
    return converged;
  }
} // namespace varfield
