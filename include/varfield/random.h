#ifndef varfield_random_h
#define varfield_random_h

#include <varfield/vectors.h>

namespace varfield
{
  /// What a random number is for; every purpose has a stream of its own, so that adding draws to one never moves
  /// another.
  enum class Stream : std::uint32_t
  {
    prior_draw,           ///< synthetic truths
    data_noise,           ///< noise added to synthetic data
    optimization,         ///< draws of the variational posterior inside an optimiser
    evaluation,           ///< fresh draws on which the final posterior is judged
    probing,              ///< random probing vectors: start of eigenvalue iterations, signs of diagonal estimates
    verification,         ///< directions of derivative checks
    posterior_draw,       ///< draws written as samples of the posterior
    variances,            ///< estimates of pointwise variances
    sketch,               ///< random directions of curvatures that are averaged draw by draw
    starts,               ///< starts of the searches for other modes
    prior_check,          ///< draws of the prior whose predictions are compared with the data
    folds,                ///< lots of a cross-validation
    truths,               ///< hyper-parameters of synthetic truths
    chain,                ///< the first of the chains; see chain_stream()
    faults = 0xFFFFFFFFu, ///< solves that fail on purpose
  };

  /// The stream of the chain with this number.
  inline Stream chain_stream(unsigned int chain)
  {
    return static_cast<Stream>(static_cast<std::uint32_t>(Stream::chain) + chain);
  }

  /// Names one random vector: the numbers depend on (seed, stream, draw, key of the entry) and on nothing else.
  /// With `sign` −1 the vector is the antithetic partner of the one with sign +1.
  struct DrawKey
  {
    std::uint64_t seed = 0;
    Stream stream      = Stream::prior_draw;
    std::uint32_t draw = 0;
    double sign        = 1.;
  };

  /// Standard normal numbers for all local entries of `layout` by the counter-based generator Philox4x32-10
  /// (Salmon, Moraes, Dror, Shaw 2011) and the Box–Muller transform. Not collective.
  Vector standard_normal(const Layout &layout, const DrawKey &key);

  /// A number of the uniform distribution on (0, 1), the `index`-th of this key, independent of the normal numbers. Not
  /// collective; the same on all ranks.
  double uniform_number(const DrawKey &key, std::uint32_t index);
} // namespace varfield

#endif
