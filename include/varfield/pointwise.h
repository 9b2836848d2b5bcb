#ifndef varfield_pointwise_h
#define varfield_pointwise_h

#include <varfield/family.h>
#include <varfield/field.h>

namespace varfield
{
  /// Variances at the owned degrees of freedom of a field, and how they were found.
  struct PointwiseVariance
  {
    Vector values;
    double relative_error = 0; ///< bound on the standard error of each value relative to it; 0: exact
  };

  /// diag(E C Eᵀ) = column norms of LᵀEᵀ: one solve for every degree of freedom where there are at most `exact_limit`,
  /// else the mean of (E L ξ)² over `n_draws` draws, unbiased, with relative standard error sqrt(2/n_draws).
  /// Collective.
  template <int dim>
  PointwiseVariance prior_variance(const FieldSet<dim> &fields, unsigned int field, unsigned int exact_limit,
                                   unsigned int n_draws, std::uint64_t seed);

  /// The same for the covariance S of a variational posterior. Where S is a low-rank correction of C, the exact
  /// variance of the prior is corrected exactly; if it is not known, diag(E(C − UUᵀ)Eᵀ) is estimated by draws and the
  /// exact diag(EU(I − shrinkage)UᵀEᵀ) added, so that the relative error is at most sqrt(2/n_draws) however narrow the
  /// posterior is. Else by solves or draws as above. Collective.
  template <int dim>
  PointwiseVariance posterior_variance(const FieldSet<dim> &fields, unsigned int field, const Family &family,
                                       const PointwiseVariance &prior, unsigned int exact_limit, unsigned int n_draws,
                                       std::uint64_t seed);
} // namespace varfield

#endif
