#ifndef varfield_normal_distribution_h
#define varfield_normal_distribution_h

namespace varfield
{
  /// φ(z) of N(0, 1).
  double normal_density(double z);
  /// Φ(z), the probability below z; digits are kept in the lower tail.
  double normal_probability(double z);
  /// Φ⁻¹(p), 0 < p < 1.
  double normal_quantile(double p);
} // namespace varfield

#endif
