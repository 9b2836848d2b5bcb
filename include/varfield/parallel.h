#ifndef varfield_parallel_h
#define varfield_parallel_h

#include <functional>
#include <string>
#include <utility>
#include <varfield/exceptions.h>
#include <varfield/vectors.h>

namespace varfield
{
  /// Says what happened and calls MPI_Abort.
  [[noreturn]] void end_all_ranks(const std::exception &error);

  /// world = space × samples: the ranks are split into groups of equal size; each group holds the whole mesh over its
  /// `space` communicator and works on draws of its own. The same mesh gets the same partition in each group, so an
  /// average over draws is a sum of local arrays over the `cross` communicator, which links the ranks of equal place in
  /// all groups.
  ///
  /// Owns the communicators it splits off: it must be destroyed after everything that uses them and before
  /// MPI_Finalize.
  class SampleGroups
  {
  public:
    /// One group, whatever the communicator of the vectors: for problems that are not split.
    SampleGroups() = default;
    /// Collective over `world`. `n_groups` must divide the number of ranks.
    SampleGroups(MPI_Comm world, unsigned int n_groups);
    ~SampleGroups();
    SampleGroups(const SampleGroups &)            = delete;
    SampleGroups &operator=(const SampleGroups &) = delete;

    MPI_Comm world() const { return world_; }
    MPI_Comm space() const { return space_; }
    unsigned int n_groups() const { return n_groups_; }
    /// The group of this rank, 0 … n_groups() − 1.
    unsigned int group() const { return group_; }
    /// The part [first, second) of 0 … n − 1, columns for example, that is this group's.
    std::pair<Index, Index> share(Index n) const { return {n * group_ / n_groups_, n * (group_ + 1) / n_groups_}; }
    /// Whether this rank is the one that writes files and speaks to the user.
    bool is_root() const;

    /// Sums over the groups, in place. Collective over `cross`; the number of entries must agree.
    void sum(double *values, std::size_t n) const;
    void sum(MultiVector &values) const { sum(values.data(), static_cast<std::size_t>(values.size())); }
    void sum(Vector &values) const { sum(values.data(), static_cast<std::size_t>(values.size())); }
    double sum(double value) const;

    /// What the first group has, in all groups: numbers on which decisions hang must be the same to the last bit.
    /// Collective over `cross`; the number of entries must agree.
    void broadcast(double *values, std::size_t n) const;
    void broadcast(MultiVector &values) const { broadcast(values.data(), static_cast<std::size_t>(values.size())); }
    void broadcast(Vector &values) const { broadcast(values.data(), static_cast<std::size_t>(values.size())); }
    double broadcast(double value) const;

    /// Runs `action`, which is collective in each group but not over them: a ComputationError in one group is thrown in
    /// all. Collective over `cross`.
    void together(const std::function<void()> &action) const;

  private:
    MPI_Comm world_ = MPI_COMM_SELF, space_ = MPI_COMM_SELF, cross_ = MPI_COMM_SELF;
    unsigned int n_groups_ = 1, group_ = 0;
  };

  /// Whether to stop, asked by all ranks of these groups together and answered alike; may be empty.
  using StopCheck = std::function<bool(const SampleGroups &groups)>;

  /// How the ranks are divided into sample groups, and why so.
  struct Split
  {
    unsigned int groups = 1;
    std::string reason;
  };

  /// What `action`, which is collective over `comm`, returns. UserError and ComputationError, which are thrown on all
  /// ranks together, pass. Anything else may have happened on one rank alone: the others must not be left waiting, and
  /// what is alive around the call cannot be destroyed, which is collective, so that all ranks are ended from here
  /// (exit code 1). Where the communicator has one rank only, it is a ComputationError.
  template <class Action>
  auto or_abort(const Action &action, MPI_Comm comm)
  {
    try
    {
      return action();
    }
    catch (const UserError &)
    {
      throw;
    }
    catch (const ComputationError &)
    {
      throw;
    }
    catch (const std::exception &error)
    {
      int n_ranks = 1;
      MPI_Comm_size(comm, &n_ranks);
      if (n_ranks == 1)
        throw ComputationError("Unexpected failure: " + std::string(error.what()));
      end_all_ranks(error);
    }
  }

  /// Sums over the groups, in place, the same to the last bit on all ranks: for numbers of which every entry is set by
  /// one group, alike on all its ranks, and on which decisions hang. Collective over the world.
  void agreed_sum(const SampleGroups &groups, const Layout &layout, Matrix &numbers);
} // namespace varfield

#endif
