#ifndef varfield_trust_h
#define varfield_trust_h

#include <varfield/pareto_smoothing.h>
#include <varfield/run.h>

namespace varfield
{
  enum class Colour
  {
    none,  ///< a figure without a judgement
    green, ///< as it should be
    amber, ///< to be looked at
    red    ///< the answer cannot be relied upon as it is
  };
  const char *name_of(Colour colour);

  /// One thing that was looked at.
  struct Finding
  {
    std::string name;
    Colour colour = Colour::none;
    std::string text;                                    ///< what was found and what that means, one sentence or two
    std::string advice;                                  ///< what to do; empty where green
    std::vector<std::pair<std::string, double>> figures; ///< for summary.json
  };

  /// What a run says about how far its answer can be trusted.
  struct TrustReport
  {
    std::vector<Finding> findings;
    /// The worst of all findings.
    Colour colour() const;
    std::vector<std::string> lines() const;
  };

  /// Bounds on how far means and standard deviations of q are from those of the posterior p, in standard deviations s
  /// of q, for every number x that is normal under q, after Huggins, Kasprzak, Campbell, Broderick (2020), Validated
  /// variational inference via practical posterior error bounds, AISTATS: from the evidence bounds, with weights w,
  ///
  ///     D₂(p‖q) = log E_q[(p/q)²] ≤ log E_q[w²] − 2 ELBO,
  ///     |E_p x − E_q x| ≤ s sqrt(exp(D₂) − 1)                        (Cauchy, Schwarz),
  ///     W₂² ≤ 2 E_q[|x − E_q x|² |p/q − 1|] ≤ 2 √3 s² sqrt(exp(D₂) − 1)   (Villani 2009, Theorem 6.15),
  ///
  /// and standard deviations differ by at most W₂. Only where the weights have a variance, k-hat < ½.
  struct DivergenceBounds
  {
    double divergence = 0; ///< the bound on D₂ [nat]
    double mean = 0, deviation = 0;
  };
  DivergenceBounds divergence_bounds(const Vector &log_weights);

  /// Judges the results of a run.
  template <int dim>
  TrustReport judge(const Case<dim> &problem, const Results<dim> &results);
} // namespace varfield

#endif
