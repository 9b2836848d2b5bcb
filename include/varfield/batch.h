#ifndef varfield_batch_h
#define varfield_batch_h

#include <mpi.h>
#include <string>
#include <vector>

namespace varfield
{
  /// Many runs, as the command line asks for them.
  struct BatchCommand
  {
    std::string list;                   ///< a table: name, case, and entries that change
    std::string folder;                 ///< of all results; empty: the name of the list without its ending
    std::vector<std::string> overrides; ///< “Section/Name=value”, of all members
    bool resume = false, retry_failed = false, dry_run = false;
    unsigned int ranks_per_member = 1;
    unsigned int part = 1, parts = 1; ///< of a job array: every parts-th member, from the one with this number
    double time_budget = 0.;          ///< seconds; 0: none
  };

  /// Runs the members of a list, each by a group of `ranks_per_member` ranks; groups take one member after the other.
  /// What a member finds is in `folder`/<name>, what it says in <name>.log, why it failed in <name>.error: a bad member
  /// does not stop the rest. In the end batch.csv has a row for every member of the list, whoever ran it. What has
  /// ended is not run again with `resume`, unless it failed, or did not converge, and `retry_failed` is set; what was
  /// stopped or killed goes on from its state. Returns the exit code: converged, not_converged (some members failed or
  /// did not converge) or stopped_early. UserError for a list or a folder that is not in order. Collective over the
  /// world.
  int run_batch(const BatchCommand &command, MPI_Comm world);
} // namespace varfield

#endif
