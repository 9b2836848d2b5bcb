#ifndef varfield_scores_h
#define varfield_scores_h

#include <varfield/vectors.h>

namespace varfield
{
  /// How good normal predictions N(mean, deviation²) of numbers were: averages over these.
  struct Scores
  {
    Index n           = 0;
    double rmse       = 0;                 ///< root mean square of value − mean
    double coverage50 = 0, coverage95 = 0; ///< share of the values in the central intervals
    double nlpd = 0;                       ///< −log density at the value
    double crps = 0; ///< continuous ranked probability score, as a loss: Gneiting, Raftery (2007), eq. 21
  };

  /// `deviation`: of a new measurement, noise included; positive.
  Scores score(const Vector &values, const Vector &mean, const Vector &deviation);
} // namespace varfield

#endif
