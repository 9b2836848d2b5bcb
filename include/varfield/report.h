#ifndef varfield_report_h
#define varfield_report_h

#include <chrono>
#include <string>
#include <varfield/chains.h>
#include <varfield/monitor.h>
#include <varfield/parallel.h>
#include <varfield/table.h>

namespace varfield
{
  /// What the user sees while a run goes on: only the root rank prints. Also keeps the rows of convergence.csv.
  class Report
  {
  public:
    using Clock = std::chrono::steady_clock;
    /// `time_budget` in seconds from `start`; 0: none.
    Report(const SampleGroups &groups, double time_budget, Clock::time_point start = Clock::now());

    /// For one of many inferences of this run, by these groups: prints nothing, and stops when this one would.
    Report silent(const SampleGroups &groups) const { return {groups, time_budget_, start_, false}; }

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
    /// The reason of the last should_stop() that said so.
    const std::string &stop_reason() const { return stop_reason_; }

    /// Time and solves of every stage of the run so far, on this rank, for the terminal.
    static std::vector<std::string> timing_table();

    static const std::vector<std::string> &column_names();
    const std::vector<std::vector<Cell>> &rows() const { return rows_; }

  private:
    Report(const SampleGroups &groups, double time_budget, Clock::time_point start, bool speaks);

    const SampleGroups &groups_;
    const double time_budget_;
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
