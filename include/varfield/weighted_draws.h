#ifndef varfield_weighted_draws_h
#define varfield_weighted_draws_h

#include <varfield/chains.h>

namespace varfield
{
  /// Draws of q with Pareto-smoothed importance weights in the place of chains: what is watched, averaged with the
  /// weights, with standard errors Σw²(x − mean)² and effective size 1/Σw². Twice as many draws are taken, and again,
  /// until the effective size is that of the settings, their most iterations of all chains are reached, or k-hat does
  /// not fall below 0.7. `converged` means the first with k-hat below min(1 − 1/log₁₀ n, 0.7) (Vehtari, Simpson,
  /// Gelman, Yao, Gabry 2024, eq. 13). Every draw is solved twice: the weights are known after all of them only.
  /// Collective over the world.
  ChainResults weigh_draws(const LogDensity &density, const Family &q, const Watch &watch,
                           const ChainSettings &settings, std::uint64_t seed,
                           const std::function<bool(const ChainProgress &)> &progress);
} // namespace varfield

#endif
