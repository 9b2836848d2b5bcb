#ifndef varfield_checkpoints_h
#define varfield_checkpoints_h

#include <deal.II/base/parameter_handler.h>

#include <chrono>
#include <optional>
#include <varfield/archive.h>
#include <varfield/file_lock.h>

namespace varfield
{
  struct CheckpointSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    std::string folder; ///< empty: that of the results with “.checkpoint” after it
    double interval = 300.;
    bool resume     = false;
  };

  /// The states of a run in a folder, the last two of them. Members are collective over the world.
  class Checkpoints
  {
  public:
    /// The folder is made, and is this run's from now on; `interval` in seconds. UserError where another program works
    /// with it, or it has other files.
    Checkpoints(const SampleGroups &groups, std::string folder, double interval);
    /// A folder without anything to go on with goes. Not collective.
    ~Checkpoints();
    Checkpoints(const Checkpoints &)            = delete;
    Checkpoints &operator=(const Checkpoints &) = delete;

    /// Whether a folder has states, parts (see FinishedParts) or chains. Local.
    static bool exist_in(const std::string &folder);
    /// Number of the newest state in a folder; 0: there is none. Local.
    static unsigned int newest_in(const std::string &folder);
    const std::string &folder() const { return folder_; }
    /// Whether the interval has passed since the last state, or since the beginning; between two stages of a run a few
    /// seconds are enough.
    bool is_due(bool between_stages = false) const;
    /// Writes another state, and removes the one before the last. ComputationError; then the others are as they were.
    void save(const std::function<void(Archive &)> &keep);
    /// Whether there are states.
    bool has_states() const { return newest_ > 0; }
    /// exist_in() the folder, when the run began.
    bool exist() const { return exist_; }
    /// The newest state that is whole. UserError where there is none.
    Archive load() const;
    /// The run begins anew: nothing of an earlier one is left in the folder.
    void clear();
    /// The run has come to its end: the folder goes with what it has of it, unless others have files in it.
    void remove();

  private:
    using Clock = std::chrono::steady_clock;
    void remove_files();
    void leave();
    std::string file(unsigned int number) const { return folder_ + "/" + std::to_string(number) + ".state"; }

    const SampleGroups &groups_;
    const std::string folder_;
    const double interval_;
    FileLock lock_; ///< on the root rank, of the folder
    bool exist_             = false;
    unsigned int newest_    = 0; ///< number of the newest state; 0: none
    Clock::time_point last_ = Clock::now();
  };

  /// Parts of a run that are done, the inference without one fold for example, each in a file of its own.
  class FinishedParts
  {
  public:
    /// `key`: what parts of the same settings and data have in common; others are as good as none. `folder` is
    /// there: that of Checkpoints.
    FinishedParts(std::string folder, std::string key) : folder_(std::move(folder)), key_(std::move(key)) {}

    /// Takes up by `keep` what the part `name` has given in an earlier run. Where there is nothing, calls `compute`,
    /// and writes the part down if that returns true; one that cannot be written is made again by a later run.
    /// Collective over the world of `groups`.
    void get(const std::string &name, const SampleGroups &groups, const std::function<void(Archive &)> &keep,
             const std::function<bool()> &compute) const;

    /// For what the user is to know about parts that cannot be written.
    void say_by(std::function<void(const std::string &)> say) { say_ = std::move(say); }

  private:
    const std::string folder_, key_;
    std::function<void(const std::string &)> say_;
  };

  /// The same where parts may not be kept at all (nullptr).
  void get_part(const FinishedParts *parts, const std::string &name, const SampleGroups &groups,
                const std::function<void(Archive &)> &keep, const std::function<bool()> &compute);
} // namespace varfield

#endif
