#ifndef varfield_elbo_h
#define varfield_elbo_h

#include <functional>
#include <varfield/family.h>

namespace varfield
{
  /// A mean with its Monte-Carlo standard error.
  struct Estimate
  {
    double value = 0, error = 0;
    unsigned int draws  = 0; ///< used
    unsigned int failed = 0; ///< draws at which the model could not be solved; each was replaced by another
  };

  /// The mean of numbers and its standard error, that of the means of consecutive pairs where these are `antithetic`.
  /// The error of a single number is infinite.
  Estimate mean_and_error(const std::vector<double> &values, bool antithetic);

  /// The evidence lower bound and its parts from one set of draws.
  struct ElboEstimate
  {
    Estimate elbo;   ///< mean of log p(d,m) − log q(m) = log_ratio − Φ, with all normalising constants
    Estimate misfit; ///< E_q[Φ]
    double kl = 0;   ///< KL(q‖p), closed form
    /// log p(d,m) − log q(m) and Φ(m) of every draw, on every rank, in the order of the draws.
    std::vector<double> log_weights, potentials;

    /// Sets elbo and misfit from the numbers of the draws; the number of failures stays.
    void estimate(bool antithetic);
    /// Takes in more draws of the same q.
    void add(const ElboEstimate &more, bool antithetic);
    /// To and from a file.
    void keep(Archive &archive);
  };

  /// ELBO of `after` less that of `before`, estimated from the same draws.
  Estimate gain(const ElboEstimate &before, const ElboEstimate &after, bool antithetic);

  /// Draws `first`, `first`+1, … of a stream: draw k is pair k/2 with sign (−1)^k when `antithetic`.
  struct DrawRange
  {
    std::uint64_t seed = 0;
    Stream stream      = Stream::evaluation;
    unsigned int first = 0, count = 0;
    bool antithetic    = true;
    double most_failed = 0.1; ///< share of the draws that may fail
    DrawKey key(unsigned int k) const;
    /// The group that works on draw k: pairs stay together.
    unsigned int group(unsigned int k, unsigned int n_groups) const;
  };

  /// What averages over draws are made from.
  struct DrawValue
  {
    double log_ratio = 0; ///< log p(m) − log q(m)
    double potential = 0; ///< Φ(m)
  };

  /// Takes the draw of a key and solves the model there; nothing where that fails. `k` counts from 0. Collective in its
  /// group.
  using DrawSolver = std::function<std::optional<DrawValue>(unsigned int k, const DrawKey &key)>;

  /// log p(d,m) − log q(m) at a draw, or nothing where the model or a linear solve fails. Collective in its group.
  std::optional<double> log_weight_at(const LogDensity &density, const Family &family, const DrawKey &key);

  /// Throws ComputationError if more than a `share` of the draws (and one in a few) failed, or any replacement did.
  void refuse_failures(unsigned int failed, unsigned int draws, double share = 0.1, unsigned int lost = 0);

  /// Averages over draws of q, which are spread over the sample groups. A draw whose model fails is replaced (draw
  /// index + 2³¹, then other seeds, three in all), at most a share of `draws.most_failed` (and one in a few); more
  /// failures, or replacements that all fail, throw ComputationError in all groups together. Collective over the world.
  ElboEstimate average_over_draws(const SampleGroups &groups, const Family &family, const DrawRange &draws,
                                  const DrawSolver &solver);

  /// ELBO by fresh draws. Collective over the world.
  ElboEstimate estimate_elbo(const LogDensity &density, const Family &family, const DrawRange &draws);
} // namespace varfield

#endif
