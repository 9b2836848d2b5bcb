#ifndef varfield_chains_h
#define varfield_chains_h

#include <array>
#include <functional>
#include <varfield/batch_means.h>
#include <varfield/chain_statistics.h>
#include <varfield/sampler.h>

namespace varfield
{
  /// What is recorded of every draw of a chain.
  class Watch
  {
  public:
    virtual ~Watch() = default;
    /// Numbers that are kept for all draws: quantities of interest, values of zones.
    virtual std::vector<std::string> names() const = 0;
    /// Layout of the values of which means, variances and quantiles are kept: fields, states.
    virtual const Layout &layout() const = 0;
    /// Of so many of the first local values the effective sizes count for the end of a run, and draws are kept.
    virtual Index n_judged() const { return layout().n_local(); }
    /// The numbers, the same on all ranks of the group, and the local values at m, where the model was solved last.
    /// Collective in the group.
    virtual void evaluate(const Vector &m, Vector &numbers, Vector &values) const = 0;
  };

  struct ChainSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);
    /// UserError.
    void check(const std::string &section) const;
    /// UserError where groups would have no chain.
    void check_groups(unsigned int n_groups) const;

    Choice<Sampler> sampler{"Sampler", "hamiltonian"};
    unsigned int chains = 4, warm_up = 500, minimum = 500, maximum = 200000;
    unsigned int kept  = 1000; ///< draws kept for quantiles, over all chains
    double ess         = 1000.;
    double rhat        = 1.01;
    double dispersion  = 2.;
    double time_budget = 0.;
    std::string checkpoint; ///< a folder; empty: none
    double interval = 300.; ///< seconds between two states written there
  };

  constexpr std::array<double, 5> quantile_levels{{0.025, 0.05, 0.5, 0.95, 0.975}};

  /// One number in the end.
  struct NumberSummary
  {
    std::string name;
    double mean = 0, deviation = 0, mean_error = 0;
    std::array<double, 5> quantiles{}; ///< of quantile_levels
    Convergence convergence;
  };

  /// How far the chains are.
  struct ChainProgress
  {
    bool warming_up         = false;
    unsigned int iterations = 0; ///< of each chain, without warm-up
    double acceptance = 0, step = 0;
    double rhat = 0, ess = 0; ///< the worst of all numbers and values; 0: not looked at
    std::string worst;        ///< what the smallest effective size belongs to
    Cost cost;                ///< of all groups
  };

  struct ChainResults
  {
    std::vector<NumberSummary> numbers;
    ChainMoments values;
    MultiVector kept; ///< judged values of kept draws, the same in all groups
    ChainProgress end;
    unsigned int chains = 0, failed = 0;
    unsigned int modes = 0; ///< of those given, the first so many are where chains began
    bool converged = false, interrupted = false;
    std::string reason;
  };

  /// Chains of a sampler with the same reference q, spread over the sample groups: group g has chains g, g + n_groups,
  /// …. Each begins at its own draw of q that is `dispersion` times as far from the mean in q's own directions; where
  /// there are other `modes`, every second one at a draw around one of these, the first ones where there are more. In
  /// warm-up steps are adapted by dual averaging (Hoffman, Gelman 2014, Journal of Machine Learning Research 15, sec.
  /// 3.2) and in windows of growing length, as in Stan, mean and covariance of q in its own directions are replaced by
  /// those of the draws of all chains, shrunk towards what they were. Random numbers depend on (seed, chain,
  /// iteration) only. After that, all chains have one step, nothing changes any more and draws count.
  ///
  /// The end: every number has rank-normalised split R-hat at most `rhat` and bulk and tail effective sizes of at least
  /// `ess`, and every judged value has so by its batch means; or the most iterations, the time budget or a signal.
  /// Where a folder for checkpoints is given, in the settings or else by `checkpoint`, the state is written there after
  /// the warm-up, at intervals and in the end, and a state that is there already is gone on with, on any number of
  /// ranks.
  ///
  /// `progress` returns whether to stop; it is called alike on all ranks. References must outlive the call. Collective
  /// over the world; ComputationError where no chain can begin.
  ChainResults run_chains(const LogDensity &density, const FrozenGaussian &q, const Watch &watch,
                          const std::vector<Vector> &modes, const ChainSettings &settings, std::uint64_t seed,
                          const std::function<bool(const ChainProgress &)> &progress,
                          const std::string &checkpoint = "");
} // namespace varfield

#endif
