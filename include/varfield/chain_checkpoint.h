#ifndef varfield_chain_checkpoint_h
#define varfield_chain_checkpoint_h

#include <optional>
#include <varfield/batch_means.h>

namespace varfield
{
  /// A chain as it is between two draws.
  struct SavedChain
  {
    unsigned int id = 0;
    double step = 0, accepted = 0, proposals = 0, failed = 0;
    double potential = 0, log_ratio = 0; ///< Φ(m) and log p(m) − log q(m): the data and the prior that it is of
    Vector m;
    Matrix trace;     ///< draws × numbers, the same on all ranks of the group
    MultiVector kept; ///< judged values of kept draws
    BatchMeans moments;
  };

  /// Chains after their warm-up, enough to go on with them.
  struct SavedRun
  {
    std::uint64_t seed     = 0;
    unsigned int chains    = 0; ///< of all groups
    unsigned int draws     = 0; ///< of each chain
    unsigned int iteration = 0, thinning = 1;
    unsigned int next_look = 0; ///< draws at which the chains are judged next
    std::string sampler;
    std::vector<std::string> names; ///< of the numbers
    MultiVector reference;          ///< mean and U of the reference, primal columns
    Matrix factor;                  ///< T of it
    std::vector<SavedChain> own;    ///< of this group
  };

  /// Of m, of the values that are watched, and of those of them that are judged and kept.
  struct ChainLayouts
  {
    const Layout &parameters, &values, &judged;
  };

  /// Writes into the folder `path`, made where it is not: files of a new generation first, then `state`, which names
  /// them; after that the generation before is removed. At any moment the folder holds a whole state. Collective over
  /// the world; ComputationError.
  void save_chains(const std::string &path, const SampleGroups &groups, const ChainLayouts &layouts, SavedRun &run);

  /// Nothing where there is no state. Any number of ranks and groups may go on with it; UserError that names what
  /// differs where it is of another mesh, other fields or quantities, another sampler or number of chains, another
  /// seed, or which file is damaged, on all ranks together. `expected` has these. Whether it is of the same data and
  /// prior shows when the densities at the points are evaluated: other_density(). Collective over the world.
  std::optional<SavedRun> load_chains(const std::string &path, const SampleGroups &groups, const ChainLayouts &layouts,
                                      const SavedRun &expected);

  /// What to say of a chain at whose point Φ and log ratio are not those that were saved, but for rounding; empty where
  /// they are.
  std::string other_density(const std::string &path, const SavedChain &saved, double potential, double log_ratio);
} // namespace varfield

#endif
