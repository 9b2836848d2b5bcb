#ifndef varfield_verification_h
#define varfield_verification_h

#include <varfield/case.h>

namespace varfield
{
  /// One check of `varfield verify`.
  struct Verification
  {
    std::string name;
    double observed = 0.; ///< an observed order, or a relative error
    std::string wanted;   ///< in words
    bool passed = false;
  };

  /// The slope of log error(h) over log h, over the last two halvings of h whose errors are above `floor`, where
  /// rounding begins to rule; `wanted` where fewer than two errors are above it, nan where one is not finite.
  double observed_order(const std::function<double(double)> &error, double h, double floor, double wanted);

  /// Derivatives and symmetries of a problem at a prior draw: Taylor tests of gradient (order 2), of the Jacobian's
  /// action (order 2) and, for quadratic and Gauss–Newton models, of the curvature; the adjoint identity; symmetry of
  /// the Gauss–Newton action and of the prior, C⁻¹C = I and LLᵀ = C. Collective over the world.
  template <int dim>
  std::vector<Verification> verify(const Case<dim> &problem);
} // namespace varfield

#endif
