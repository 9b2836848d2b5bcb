#ifndef varfield_checkpoints_h
#define varfield_checkpoints_h

#include <deal.II/base/parameter_handler.h>

#include <chrono>
#include <optional>
#include <varfield/archive.h>

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
    /// `folder` appears with the first state; `interval` in seconds.
    Checkpoints(const SampleGroups &groups, std::string folder, double interval);

    const std::string &folder() const { return folder_; }
    /// Whether the interval has passed since the last state, or since the beginning.
    bool is_due() const;
    /// Writes another state, after which there are at most two. ComputationError; then the others are as they were.
    void save(const std::function<void(Archive &)> &keep);
    /// Whether there are states.
    bool exist() const { return newest_ > 0; }
    /// The newest state that is whole. UserError where there is none.
    Archive load() const;
    /// The run has come to its end.
    void remove();

  private:
    using Clock = std::chrono::steady_clock;
    std::string file(unsigned int number) const { return folder_ + "/" + std::to_string(number) + ".state"; }

    const SampleGroups &groups_;
    const std::string folder_;
    const double interval_;
    unsigned int newest_    = 0; ///< number of the newest state; 0: none
    Clock::time_point last_ = Clock::now();
  };
} // namespace varfield

#endif
