#ifndef varfield_report_h
#define varfield_report_h

#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <varfield/chains.h>
#include <varfield/monitor.h>
#include <varfield/parallel.h>
#include <varfield/table.h>

namespace varfield
{
  /// From now on SIGINT, SIGTERM and SIGUSR1 ask for an orderly end; a second one of the same kind ends the program at
  /// once.
  void watch_signals();
  /// Whether one has come in on this rank.
  bool stop_was_asked_for();

  /// What a run is part of.
  struct Surroundings
  {
    std::ostream *out = &std::cout; ///< where the root rank prints
    /// What stops the run besides signals and its time budget; asked on the root rank. May be empty.
    std::function<bool()> should_stop;
  };

  /// What the user sees while a run goes on: only the root rank prints. Also keeps the rows of convergence.csv.
  class Report
  {
  public:
    using Clock = std::chrono::steady_clock;
    /// `time_budget` in seconds from `start`; 0: none.
    Report(const SampleGroups &groups, double time_budget, Clock::time_point start = Clock::now(),
           const Surroundings &surroundings = {});

    /// For one of many inferences of this run, by these groups: prints nothing, and stops when this one would.
    Report silent(const SampleGroups &groups) const { return {groups, time_budget_, start_, surroundings_, false}; }

    void line(const std::string &text) const;
    /// The iterations that follow are on the mesh of this name.
    void mesh(const std::string &name);
    /// One line for an iteration, with a heading where a new phase begins.
    void iteration(const IterationReport &row);
    /// A line where chains have been judged, or after a quarter of a minute. Whether to stop: should_stop(), or the
    /// time budget of the chains is used up. Collective over the world.
    bool chains(const ChainProgress &progress, const ChainSettings &settings);
    /// The same of weighted draws in their place.
    bool weighted_draws(const ChainProgress &progress, const ChainSettings &settings);
    /// `done` of `total` with the time left: a bar on a terminal, else a line every quarter of a minute.
    void progress(const std::string &what, unsigned int done, unsigned int total);
    /// Of this run and of those before that it goes on with.
    double seconds() const;
    /// What was reported so far, and the seconds, to and from a file.
    void keep(Archive &archive);

    /// Whether a signal (SIGINT, SIGTERM, SIGUSR1) came in on any rank or the time budget is used up. Collective over
    /// the world; the same on all ranks.
    bool should_stop() const;
    /// The same for some of the ranks; it must not outlive this object.
    StopCheck stop_check() const
    {
      return [this](const SampleGroups &groups) { return silent(groups).should_stop(); };
    }
    /// The reason of the last should_stop() that said so.
    const std::string &stop_reason() const { return stop_reason_; }

    /// Time and solves of every stage of the run so far, on this rank, for the terminal.
    static std::vector<std::string> timing_table();

    static const std::vector<std::string> &column_names();
    const std::vector<std::vector<Cell>> &rows() const { return rows_; }

  private:
    Report(const SampleGroups &groups, double time_budget, Clock::time_point start, const Surroundings &surroundings,
           bool speaks);

    const SampleGroups &groups_;
    const double time_budget_;
    const Surroundings surroundings_;
    const bool speaks_;
    const Clock::time_point start_;
    std::string phase_, mesh_;
    bool chains_are_over(const ChainSettings &settings) const;

    double seconds_before_ = 0.; ///< of runs that this one goes on with
    double progress_began_ = 0., last_progress_ = 0., chains_began_ = -1.;
    unsigned int judged_iterations_ = 0;
    mutable std::string stop_reason_;
    std::vector<std::vector<Cell>> rows_;
  };
} // namespace varfield

#endif
