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
    Vector m;
    Matrix trace;     ///< draws × numbers, the same on all ranks of the group
    MultiVector kept; ///< values of kept draws
    BatchMeans moments;
  };

  /// Chains after their warm-up, enough to go on with them.
  struct SavedRun
  {
    std::uint64_t seed     = 0;
    unsigned int chains    = 0; ///< of all groups
    unsigned int draws     = 0; ///< of each chain
    unsigned int iteration = 0, thinning = 1;
    std::string sampler;
    std::vector<std::string> names; ///< of the numbers
    MultiVector reference;          ///< mean and U of the reference, primal columns
    Matrix factor;                  ///< T of it
    std::vector<SavedChain> own;    ///< of this group
  };

  /// Writes into the folder `path`, made where it is not: files of a new generation first, then `state.json`, which
  /// names them; after that the generation before is removed. At any moment the folder holds a whole state.
  /// `parameters` and `values` are the layouts of m and of the values that are watched. Collective over the world;
  /// ComputationError.
  void save_chains(const std::string &path, const SampleGroups &groups, const Layout &parameters, const Layout &values,
                   const SavedRun &run);

  /// Nothing where there is no state. Any number of ranks and groups may go on with it; UserError that names what
  /// differs where it is of another mesh, other fields or quantities, another sampler or number of chains, another
  /// seed. `expected` has these. Collective over the world.
  std::optional<SavedRun> load_chains(const std::string &path, const SampleGroups &groups, const Layout &parameters,
                                      const Layout &values, const SavedRun &expected);
} // namespace varfield

#endif
