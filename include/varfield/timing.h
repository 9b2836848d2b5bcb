#ifndef varfield_timing_h
#define varfield_timing_h

#include <array>
#include <string>
#include <vector>

namespace varfield
{
  /// The kinds of work that a run consists of.
  enum class Work
  {
    other,          ///< what is none of the others
    assembly,       ///< sweeps over the cells
    factorization,  ///< numeric and symbolic factorisations, set-up of multigrid
    state_solves,   ///< right-hand sides for states
    linear_solves,  ///< right-hand sides for tangents and adjoints
    products,       ///< sparse matrices times blocks of vectors
    prior,          ///< what priors do; counted are right-hand sides solved for
    dense_algebra,  ///< products of tall blocks, small eigenvalue problems
    random_numbers, ///< white noise
    communication,  ///< sums over ranks and groups, waiting included
    files,          ///< writing of results
    n_kinds
  };

  constexpr std::size_t n_work_kinds = static_cast<std::size_t>(Work::n_kinds);
  /// The name of a kind, for tables and for summary.json.
  const char *name_of(Work kind);

  /// What one stage of a run (the search for the MAP point on one mesh, say) did on this rank.
  struct StageRecord
  {
    std::string name;
    std::array<double, n_work_kinds> seconds{}; ///< of work of each kind; times do not overlap
    std::array<double, n_work_kinds> counts{};  ///< how often, or for right-hand sides how many
    double total() const;
  };

  /// Until the end of the object's life, work counts to the stage of this name (one name, one record, however often).
  /// Also a stage of PETSc's own log, which counts messages (-log_view).
  class Stage
  {
  public:
    explicit Stage(const std::string &name);
    ~Stage();
    Stage(const Stage &)            = delete;
    Stage &operator=(const Stage &) = delete;

  private:
    const std::size_t outer_;
    bool in_petsc_ = false;
  };

  /// Until the end of the object's life, time counts to this kind of work, and no longer to the kind around it.
  class Timed
  {
  public:
    explicit Timed(Work kind, double count = 1.);
    ~Timed();
    Timed(const Timed &)            = delete;
    Timed &operator=(const Timed &) = delete;

  private:
    const Work outer_;
  };

  /// Until the end of the object's life messages, reductions and flop count to an event of PETSc's log (-log_view).
  class LoggedEvent
  {
  public:
    explicit LoggedEvent(const char *name);
    ~LoggedEvent();
    LoggedEvent(const LoggedEvent &)            = delete;
    LoggedEvent &operator=(const LoggedEvent &) = delete;

  private:
    const int event_;
  };

  /// The stages so far, in the order in which they began. Local to the rank.
  const std::vector<StageRecord> &stage_records();
  /// Begins again, for another run of the same process; no stage may be at hand.
  void forget_stages();
} // namespace varfield

#endif
