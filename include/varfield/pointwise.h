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

  struct FieldVariances
  {
    PointwiseVariance prior, posterior;
  };

  /// How pointwise variances are found.
  struct VarianceSettings
  {
    unsigned int exact_limit = 6000; ///< one solve for every degree of freedom where there are at most so many
    unsigned int n_draws     = 1000; ///< of the estimate otherwise
    std::uint64_t seed       = 0;
    StopCheck stop; ///< what is left of the draws is left out
  };

  /// diag(E C Eᵀ) of the prior and, unless `family` is nullptr, diag(E S Eᵀ) of the posterior.
  ///
  /// Exact: column norms of LᵀEᵀ, one solve for each. Else means of squares over draws, unbiased, with relative
  /// standard error of at most sqrt(2/n_draws). Where S = C − U diag(s) Uᵀ, the draws are those of the prior's
  /// complement, C − UUᵀ, and diag(EUUᵀEᵀ), diag(EU(I − s)UᵀEᵀ) are added exactly: the same error however narrow the
  /// posterior is. The sample groups share the work. Collective over the world.
  template <int dim>
  FieldVariances pointwise_variances(const FieldSet<dim> &fields, unsigned int field, const SampleGroups &groups,
                                     const Family *family, const VarianceSettings &settings);
} // namespace varfield

#endif
