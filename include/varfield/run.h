#ifndef varfield_run_h
#define varfield_run_h

#include <cmath>
#include <functional>
#include <varfield/certification.h>
#include <varfield/checkpoints.h>
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

  /// What comes after the posterior.
  struct Extras
  {
    bool chains = false, cross_validation = false;
    Checkpoints *checkpoints            = nullptr; ///< for the state of the run; nullptr: none is kept
    std::function<void(Archive &)> head = nullptr; ///< what a state begins with
    Archive *go_on_from                 = nullptr; ///< the state of an earlier run, behind its head
    const FinishedParts *parts          = nullptr; ///< inferences of this run that are done; nullptr: none are kept
  };

  /// Check of the prior, MAP point and searches for other modes, Laplace approximation, variational posterior, averages
  /// over fresh draws, then the extras. Where the mesh is refined on
  /// the way, `problem` is replaced by the same case on the last mesh, to which the results belong. Collective over the
  /// world.
  template <int dim>
  Results<dim> infer(std::unique_ptr<Case<dim>> &problem, Report &report, const Extras &extras = {});
} // namespace varfield

#endif
