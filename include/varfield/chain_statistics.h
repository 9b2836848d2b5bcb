#ifndef varfield_chain_statistics_h
#define varfield_chain_statistics_h

#include <varfield/vectors.h>

namespace varfield
{
  /// How well several chains have explored one number: Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Bayesian
  /// Analysis 16, 667–718.
  struct Convergence
  {
    double rhat = 0; ///< the larger of the rank-normalised split R-hats of x and of |x − median| (eq. 14 and sec. 4.2)
    double ess_bulk = 0; ///< effective sample size of the rank-normalised split chains (sec. 4.1)
    double ess_tail = 0; ///< the smaller of those of the indicators x ≤ 5 % and x ≤ 95 % quantile (sec. 4.3)
    double ess_mean = 0; ///< that of x itself: the standard error of the mean is deviation/√ess_mean
  };

  /// `draws`: one column for each chain, in the order in which they were made, at least four rows. A number that never
  /// changes has R-hat 1 and the size of the sample; one that changes in some chains only has infinite R-hat.
  Convergence convergence(const Matrix &draws);

  /// Split R-hat of the columns as they are: sqrt(((n−1)/n W + B/n)/W) over the halves of the chains.
  double split_rhat(const Matrix &draws);

  /// The quantile p of numbers in any order, interpolated linearly between order statistics (type 7).
  double quantile(std::vector<double> values, double p);
  /// The smallest of the values up to which the masses, whose sum is one, sum up to at least p.
  double weighted_quantile(const Vector &values, const Vector &mass, double p);
} // namespace varfield

#endif
