#ifndef varfield_newton_h
#define varfield_newton_h

#include <varfield/curvature.h>
#include <varfield/family.h>

namespace varfield
{
  /// The solution of a Newton system.
  struct NewtonStep
  {
    Vector primal; ///< δ
    Vector dual;   ///< C⁻¹δ
    unsigned int iterations = 0;
    bool negative_curvature = false; ///< stopped where H + C⁻¹ was found not to be positive
    /// (C⁻¹ + H)⁻¹ where an explicit factor gave it and it was asked for, to 5 %.
    std::optional<LowRankCorrection> inverse;
  };

  struct NewtonOptions
  {
    double tolerance              = 1e-10; ///< relative to the right-hand side, in the norm of the preconditioner
    unsigned int max_iterations   = 200;
    unsigned int max_data_columns = 600; ///< up to so many columns of an explicit factor: exact, by Woodbury
    bool keep_inverse             = false;
  };

  /// Solves (C⁻¹ + H) δ = −g for dual g. With an explicit factor, H = GGᵀ, exactly by the Woodbury identity; otherwise
  /// by conjugate gradients, preconditioned by the prior covariance C or, if `approximation` is given, by that
  /// covariance C − U diag(s) Uᵀ. C⁻¹ is never applied. At negative curvature the step so far is returned, the
  /// preconditioned gradient if there is none (Steihaug 1983). Collective over the world; the same step in all groups.
  NewtonStep solve_newton(const Curvature &curvature, const Vector &gradient, const NewtonOptions &options,
                          const LowRankCorrection *approximation = nullptr);

  /// The step −(C − U diag(s) Uᵀ) g with an inverse from elsewhere: no linear solve but the prior's. Collective over
  /// the world; the same step in all groups.
  NewtonStep approximate_step(const LogDensity &density, const Vector &gradient, const LowRankCorrection &inverse);

  /// A block C g − U diag(s) Uᵀg: the preconditioner of solve_newton(), the norm in which optimisers measure gradients.
  MultiVector apply_approximation(const GaussianPrior &prior, const MultiVector &dual,
                                  const LowRankCorrection *approximation);
} // namespace varfield

#endif
