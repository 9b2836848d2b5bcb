#ifndef varfield_modes_h
#define varfield_modes_h

#include <petscmat.h>
#include <varfield/vectors.h>

namespace varfield
{
  struct GeneralizedModes
  {
    Vector values;       ///< ascending
    MultiVector vectors; ///< columns e with eᵢᵀMeⱼ = δᵢⱼ
  };

  /// The `n` smallest eigenpairs of A e = αMe, A and M symmetric positive definite, by Krylov–Schur with shift and
  /// invert (SLEPc), multiple eigenvalues included; there are `n_all` of interest. Throws ComputationError if fewer
  /// were found. Collective over the matrices' communicator.
  GeneralizedModes smallest_modes(Mat a, Mat mass, Index n, Index n_all);
} // namespace varfield

#endif
