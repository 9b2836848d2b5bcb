#ifndef varfield_results_h
#define varfield_results_h

#include <cmath>
#include <functional>
#include <varfield/certification.h>
#include <varfield/cross_validation.h>
#include <varfield/pointwise.h>
#include <varfield/prior_check.h>
#include <varfield/scores.h>
#include <varfield/starts.h>

namespace varfield
{
  /// One field's part of the answer, at its owned degrees of freedom.
  struct FieldResult
  {
    Vector mean, map, truth; ///< of the field m, the prior mean included; truth: empty where unknown
    PointwiseVariance variance, prior_variance;
    /// Of the variational posterior, where chains have corrected the answer; else empty.
    Vector variational_mean, variational_deviation;
    MultiVector modes, draws; ///< leading directions of the covariance's change; draws of the posterior
    Vector state_mean_field;  ///< standard deviations, see varfield::state_mean_field(); else empty
  };

  /// A quantity of interest.
  struct QuantityResult
  {
    std::string name, unit;
    double mean = 0, deviation = 0;
    double mean_error = 0;             ///< standard error of the mean
    std::array<double, 5> quantiles{}; ///< 2.5, 5, 50, 95, 97.5 %
    double k = 0;                      ///< k-hat of the importance weights times the quantity (see tail_shape())
    /// Of the variational posterior, where the numbers above are those of chains.
    std::optional<std::pair<double, double>> variational;
  };

  /// What the data say about one hyper-parameter θ.
  struct HyperSummary
  {
    std::string name, parameter;
    double mean = 0, deviation = 0;
    std::array<double, 5> quantiles{}; ///< of quantile_levels
    double log_deviation = 0;          ///< standard deviation of log θ
  };

  /// The posterior of all of them, q(θ) ∝ p(θ) exp(ELBO(θ)), by points with masses.
  struct HyperPosterior
  {
    std::vector<HyperSummary> parameters;
    Matrix correlation;      ///< of the logarithms
    double log_evidence = 0; ///< log ∫ p(θ) exp(ELBO(θ)) dθ, a lower bound on the log evidence of the model
    /// ELBO at normal scores of θ, one column for each.
    std::function<Vector(const Matrix &)> elbo_at;
    /// Standard deviation of what is not known of ELBO(θ) between the values at which it was computed, the root of the
    /// posterior mean of its square.
    double surface_error        = 0;
    unsigned int failed         = 0; ///< inferences
    double weight_not_converged = 0; ///< in the mixture, of inferences that did not converge
    /// log_evidence with what importance weights add to each ELBO.
    double weighted_log_evidence = 0;
    Matrix population;      ///< log θ, one column for each point
    Vector mass;            ///< of these, sum 1
    Matrix points;          ///< log θ at which the posterior of the fields was inferred
    Matrix scores;          ///< the same as normal scores
    Vector elbo, log_prior; ///< there
    Vector weights;         ///< of these posteriors in the mixture, sum 1
    /// The `n` of `scores` with the most weight, or as many as have any.
    Matrix heaviest(Index n) const;
    /// P(Σ directionᵢ log θᵢ < log_value).
    double below(const Vector &direction, double log_value) const;
    /// P(θᵢ < value).
    double below(Index i, double value) const { return below(Vector::Unit(population.rows(), i), std::log(value)); }
  };

  /// What a run found.
  template <int dim>
  struct Results
  {
    std::vector<FieldResult> fields;
    Vector parameters; ///< the mean as a parameter vector
    Averages averages;
    std::vector<QuantityResult> quantities;
    std::optional<Scores> scores; ///< of the measurements held out
    Vector eigenvalues;           ///< of the low-rank families: λ
    double first_dropped = 0.;
    double map_objective = 0., map_misfit = 0., map_regularisation = 0.;
    Termination map, optimization;
    std::optional<PriorCheck> prior_check;
    std::optional<SeveralStarts> starts;
    std::string starts_mesh; ///< on which these were made
    std::optional<Certificate> certificate;
    bool corrected = false; ///< the answer is that of the chains
    std::optional<CrossValidation> cross_validation;
    std::optional<HyperPosterior> hyper;
    Vector noise_deviation;   ///< of the measurements; with hyper-parameters the root of the mean square
    bool interrupted = false; ///< by a signal or the time budget, before the fields were collected
    bool has_spread  = true;  ///< false where there is a MAP point only
    double seconds   = 0.;
    Cost other_work; ///< of inferences whose cases are gone
    /// Means, variances, leading directions and draws of the fields, by the posterior that is the family of `problem`
    /// where it has a spread, else at `map_point`. Coarse variances where the run was interrupted; what is left of
    /// their draws is left out where `stop` says so. Collective over the world, as the next.
    void collect_fields(const Case<dim> &problem, const Vector &map_point, const StopCheck &stop);
    /// From `averages`. Quantiles are those of the draws of the mesh with most of them, shifted and stretched to the
    /// mean and the standard deviation on the finest.
    void collect_quantities(const Case<dim> &problem);
    /// Means and standard deviations of the chains take the place of the variational ones.
    void correct_by_chains();
    /// To and from a file; what chains and folds have found is not in it. Collective over the world.
    void keep(Archive &archive, const Case<dim> &problem);
    /// Whether what is written has been judged by the exact posterior, or is of it.
    bool is_certified() const { return corrected || (certificate && certificate->verdict == Verdict::passed); }
    /// Draws of quantities of interest, one row for each, and their weights, which sum to one; from all posteriors
    /// where there is a mixture of them.
    Matrix quantity_draws;
    Vector quantity_weights;
    /// Of these draws, the share of quantity i below a value.
    double share_of_draws_below(Index i, double value) const
    {
      return (quantity_draws.col(i).array() < value).select(quantity_weights.array(), 0.).sum();
    }
  };

  /// Scores of predictions of the measurements that are not in use; `noise`: standard deviations of all measurements.
  /// Nothing where all are.
  template <int dim>
  std::optional<Scores> score_held_out(const Measurements<dim> &measurements, const Averages &predicted,
                                       const Vector &noise);
} // namespace varfield

#endif
