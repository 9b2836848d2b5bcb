#ifndef varfield_pareto_smoothing_h
#define varfield_pareto_smoothing_h

#include <varfield/vectors.h>

namespace varfield
{
  /// Importance weights whose largest are replaced by quantiles of the generalised Pareto distribution that is fitted
  /// to them: Vehtari, Simpson, Gelman, Yao, Gabry (2024), Journal of Machine Learning Research 25 (72), algorithm 1.
  struct SmoothedWeights
  {
    Vector log_weights;        ///< of the draws, in their order; the weights sum to one
    double k              = 0; ///< k-hat, the shape of the tail; −∞ where the largest ratios are equal to 1e-6
    double k_error        = 0; ///< its standard error (1 + k)/√M for a tail of M draws; infinite without a tail
    double effective_size = 0; ///< 1/Σw²
    double log_mean       = 0; ///< log of the mean of the smoothed ratios: an estimate of log E[exp(log ratio)]
    double log_mean_error = 0; ///< its standard error, sqrt(1/effective_size − 1/n)
  };

  /// Smooths `log_ratios`, at least one, all finite. Fewer than 5 in the tail are left as they are, with infinite k.
  SmoothedWeights pareto_smooth(const Vector &log_ratios);

  /// k-hat of the ratios times |h| for a quantity h of every draw: whether its mean can be estimated with these weights
  /// (the same paper, section 3.3). The larger of this and the k-hat of the ratios alone.
  double tail_shape(const Vector &log_ratios, const Vector &h);

  /// Up to which k-hat estimates from n draws can be relied upon: min(1 − 1/log₁₀ n, 0.7) (the same, eq. 13).
  double largest_good_k(Index n);
} // namespace varfield

#endif
