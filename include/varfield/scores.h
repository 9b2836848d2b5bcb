#ifndef varfield_scores_h
#define varfield_scores_h

#include <cmath>
#include <varfield/vectors.h>

namespace varfield
{
  /// A mixture of normal distributions with one mean; weights sum to one.
  struct NormalMixture
  {
    Vector deviations, weights;
    /// Of the mixture.
    double standard_deviation() const { return std::sqrt(weights.dot(deviations.cwiseAbs2())); }
    /// Φ⁻¹ of the probability of less than the mean plus x.
    double normal_score(double x) const;
  };

  /// How good predictions of numbers were: averages over these.
  struct Scores
  {
    Index n           = 0;
    double rmse       = 0;                 ///< root mean square of value − mean
    double coverage50 = 0, coverage95 = 0; ///< share of the values in the central intervals
    double nlpd = 0;                       ///< −log density at the value
    double crps = 0; ///< continuous ranked probability score, as a loss: Gneiting, Raftery (2007), eq. 21
  };

  /// `spreads`: of new measurements around `mean`, noise included; deviations are positive. The CRPS of a mixture of
  /// normals: Grimit, Gneiting, Berrocal, Johnson (2006), Quarterly Journal of the Royal Meteorological Society 132,
  /// eq. 5.
  Scores score(const Vector &values, const Vector &mean, const std::vector<NormalMixture> &spreads);
} // namespace varfield

#endif
