#ifndef varfield_certification_h
#define varfield_certification_h

#include <varfield/chains.h>
#include <varfield/posterior_averages.h>

namespace varfield
{
  /// q against the chains at one number or pointwise value.
  struct Agreement
  {
    double shift = 0; ///< |mean of q − mean| in standard deviations of the posterior, less two standard errors
    double ratio = 1; ///< standard deviation of q over that of the posterior, two standard errors nearer to 1
    /// Whether q is as good as asked for.
    bool holds(const CertificationSettings &settings) const
    {
      return shift <= settings.mean_tolerance && std::abs(std::log(ratio)) <= std::log1p(settings.spread_tolerance);
    }
  };

  /// A mean and a standard deviation, of q or from chains with their standard errors.
  struct Moment
  {
    double mean = 0, deviation = 0, mean_error = 0, deviation_error = 0;
  };
  Agreement compare(const Moment &q, const Moment &posterior);

  enum class Verdict
  {
    passed,      ///< the chains have converged, and q is as good as asked for
    failed,      ///< the chains have converged, and q is not
    inconclusive ///< the chains have not converged
  };

  /// What the chains say about a variational posterior.
  struct Certificate
  {
    Verdict verdict = Verdict::inconclusive;
    ChainResults chains;
    std::vector<ChainMoments> fields;        ///< at the owned degrees of freedom of each field
    std::vector<MultiVector> kept;           ///< the same of the draws that were kept
    MultiVector state_mean, state_deviation; ///< owned degrees of freedom × ForwardModel::n_columns()
    Vector prediction_mean, prediction_deviation;
    std::vector<Vector> mean_shift, deviation_ratio; ///< q against the chains, of each field, without allowance
    double share_agreeing = 0;                       ///< of all pointwise values
    double largest_shift = 0, smallest_ratio = 1, largest_ratio = 1; ///< of the pointwise values, with allowance
    std::vector<std::string> disagreeing;                            ///< names of numbers
    std::string sampler;                                             ///< empty: weighted draws in the place of chains
    /// “the chains”, for sentences.
    std::string source() const { return sampler.empty() ? "the weighted draws" : "the chains"; }
  };

  /// The numbers of the chains are the misfit, the quantities of interest from this index on, values of zones and
  /// coordinates of directions.
  constexpr std::size_t first_quantity = 1;

  /// Runs chains of the posterior of `problem` with q as their reference, or weighs draws of q, and compares.
  /// `deviations`: pointwise standard deviations of q, of each field; `averages`: over its draws, for the quantities of
  /// interest; `modes`: other points where chains begin; `checkpoint`: a folder for the state of the chains where the
  /// settings name none, or empty. Collective over the world; UserError where q's covariance is no low-rank correction
  /// of the prior's.
  template <int dim>
  Certificate certify(const Case<dim> &problem, const Family &family, const std::vector<Vector> &deviations,
                      const Averages &averages, const std::vector<Vector> &modes, Report &report,
                      const std::string &checkpoint = "");
} // namespace varfield

#endif
