#ifndef varfield_state_mean_field_h
#define varfield_state_mean_field_h

#include <varfield/case.h>

namespace varfield
{
  /// For comparison with q(m) q(u|m): standard deviations of the fields in the best normal q(u) q(m) in which state and
  /// fields are independent, where an equation R(u, m) − ℓ = η has an error η of white noise of density s, by the
  /// linearisation at `parameters`. Of a normal density p(u, m) it is the one with the blocks of the precision
  /// (C. Bishop, Pattern Recognition and Machine Learning, 2006, eq. 10.12 ff.), of m
  ///   C⁻¹ + GᵀWG,   G = ∂(R − ℓ)/∂m with u held,   W = 1/(s² ∫φᵢ dx),
  /// so the standard deviations fall in proportion to s as the scale s of the residual goes to zero, whatever the data
  /// say. By dense algebra, for at most `most_unknowns` coefficients. At the owned degrees of freedom of every field;
  /// that of the error is left empty. Collective over the world; UserError.
  template <int dim>
  std::vector<Vector> state_mean_field(const Case<dim> &problem, const Vector &parameters);

  /// UserError for a field of that setting that is no error of an equation, or for too many unknowns.
  template <int dim>
  void check_state_mean_field(const Case<dim> &problem);
} // namespace varfield

#endif
