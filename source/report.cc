#include <deal.II/base/mpi.h>

#include <cmath>
#include <csignal>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <unistd.h>
#include <varfield/report.h>
#include <varfield/text.h>
#include <varfield/timing.h>

namespace varfield
{
  namespace
  {
    volatile std::sig_atomic_t signal_number = 0;

    /// The first signal asks for an orderly end; a second one of the same kind ends the program as usual.
    extern "C" void note_signal(int number)
    {
      signal_number = number;
      std::signal(number, SIG_DFL);
    }

    std::string number(double value, int width, int precision, bool scientific = false)
    {
      std::ostringstream out;
      out << (scientific ? std::scientific : std::fixed) << std::setprecision(precision) << std::setw(width) << value;
      return out.str();
    }

  } // namespace

  void watch_signals()
  {
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1})
      std::signal(signal, note_signal);
  }

  bool stop_was_asked_for()
  {
    return signal_number != 0;
  }

  Report::Report(const SampleGroups &groups, double time_budget, Clock::time_point start,
                 const Surroundings &surroundings)
      : Report(groups, time_budget, start, surroundings, groups.is_root())
  {
  }

  Report::Report(const SampleGroups &groups, double time_budget, Clock::time_point start,
                 const Surroundings &surroundings, bool speaks)
      : groups_(groups), time_budget_(time_budget), surroundings_(surroundings), speaks_(speaks), start_(start)
  {
  }

  double Report::seconds() const
  {
    return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
  }

  void Report::keep(Archive &archive)
  {
    std::vector<std::string> lines;
    for (const std::vector<Cell> &row : rows_)
    {
      std::vector<std::string> cells;
      for (const Cell &cell : row)
        cells.push_back(cell.text);
      lines.push_back(join(cells, "\t"));
    }
    std::string text = join(lines, "\n");
    double spent     = seconds();
    archive.text("convergence", text);
    archive.number("seconds", spent);
    if (!archive.is_reading())
      return;
    seconds_before_ += spent - seconds();
    rows_.clear();
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
    {
      rows_.emplace_back();
      for (std::size_t begin = 0; begin <= line.size();)
      {
        const std::size_t end = std::min(line.find('\t', begin), line.size());
        rows_.back().emplace_back(line.substr(begin, end - begin));
        begin = end + 1;
      }
    }
  }

  void Report::line(const std::string &text) const
  {
    if (speaks_)
      *surroundings_.out << text << std::endl;
  }

  const std::vector<std::string> &Report::column_names()
  {
    static const std::vector<std::string> names{"phase",          "mesh",         "iteration",     "objective", "error",
                                                "misfit",         "kl",           "gradient",      "step",      "rank",
                                                "factorizations", "state_solves", "linear_solves", "seconds",   "note"};
    return names;
  }

  void Report::mesh(const std::string &name)
  {
    mesh_ = name;
    phase_.clear();
  }

  void Report::iteration(const IterationReport &row)
  {
    rows_.push_back({row.phase, mesh_, row.iteration, row.objective, row.error, row.misfit, row.kl, row.gradient,
                     row.step, row.rank, row.cost.factorizations, row.cost.state_solves, row.cost.linear_solves,
                     seconds(), row.note});
    const bool map = row.phase == "MAP";
    if (row.phase != phase_)
    {
      phase_ = row.phase;
      line("");
      line(phase_ + (mesh_.empty() ? "" : " on " + mesh_) + (map ? ": minus log posterior" : ": evidence lower bound"));
      line(map ? "  it       objective          misfit      prior term    gradient   step    solves   time"
               : "  it      ELBO    +/-    E[misfit]        KL   gradient   step  rank    solves   time");
    }
    std::string text = "  " + std::string(row.iteration < 10 ? " " : "") + std::to_string(row.iteration);
    if (map)
      text += number(row.objective, 16, 6) + number(row.misfit, 16, 6) + number(row.kl, 16, 6) +
              number(row.gradient, 12, 2, true) + number(row.step, 7, 3);
    else
      text += number(row.objective, 10, 2) + number(row.error, 7, 2) + number(row.misfit, 13, 2) +
              number(row.kl, 10, 2) + number(row.gradient, 11, 2, true) + number(row.step, 7, 3) +
              number(row.rank, 6, 0);
    line(text + number(row.cost.solves(), 10, 0) + "   " + duration_in_words(seconds()) +
         (row.note.empty() ? "" : "  " + row.note));
  }

  void Report::progress(const std::string &what, unsigned int done, unsigned int total)
  {
    // A launcher gives the ranks a terminal of its own, whatever its output goes to: then plain lines, not too many.
    static const bool on_terminal =
        isatty(STDOUT_FILENO) && std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr && std::getenv("PMI_SIZE") == nullptr;
    const bool bar = on_terminal && surroundings_.out == &std::cout;
    if (!speaks_ || done == 0)
      return;
    total = std::max(done, total);
    if (done == 1)
      progress_began_ = last_progress_ = seconds();
    const bool due = bar ? seconds() - last_progress_ > 0.1 || done == total : seconds() - last_progress_ > 15.;
    if (!due)
      return;
    last_progress_    = seconds();
    const double left = (seconds() - progress_began_) / done * (total - done);
    const std::string counts =
        std::to_string(done) + "/" + std::to_string(total) + ", " + duration_in_words(left) + " left";
    constexpr unsigned int width = 30;
    const unsigned int filled    = width * done / total;
    if (bar)
      *surroundings_.out << "\r" << what << " [" << std::string(filled, '#') << std::string(width - filled, '.') << "] "
                         << counts << "   " << (done == total ? "\n" : "") << std::flush;
    else
      line(what + " " + counts);
  }

  bool Report::chains(const ChainProgress &progress, const ChainSettings &settings)
  {
    if (chains_began_ < 0.)
    {
      chains_began_ = last_progress_ = seconds();
      line("");
      line("chains" + (mesh_.empty() ? "" : " on " + mesh_) + ": " + std::to_string(settings.chains) + " of “" +
           settings.sampler.name() + "”, until R-hat " + to_text(settings.rhat) + " and effective sizes of " +
           to_text(settings.ess));
      line("  draws of a chain   accepted    step     R-hat   least size    solves   time");
    }
    const bool judged = progress.rhat > 0. && progress.iterations != judged_iterations_;
    if (judged || seconds() - last_progress_ > 15.)
    {
      last_progress_ = seconds();
      line((progress.warming_up ? "  warm-up " + number(progress.iterations, 7, 0)
                                : number(progress.iterations, 17, 0)) +
           number(progress.acceptance, 11, 3) + number(progress.step, 10, 4) +
           (judged ? number(progress.rhat, 10, 4) + number(progress.ess, 13, 0) : std::string(23, ' ')) +
           number(progress.cost.solves(), 10, 0) + "   " + duration_in_words(seconds()) +
           (judged ? "  " + progress.worst : std::string()));
    }
    if (judged)
      judged_iterations_ = progress.iterations;
    return chains_are_over(settings);
  }

  bool Report::weighted_draws(const ChainProgress &progress, const ChainSettings &settings)
  {
    if (chains_began_ < 0.)
    {
      chains_began_ = seconds();
      line("\nweighted draws" + (mesh_.empty() ? "" : " on " + mesh_) + ", until their effective size is " +
           to_text(settings.ess));
    }
    if (progress.iterations != judged_iterations_)
      line("  " + std::to_string(progress.iterations) + " draws: effective size " + to_text(std::round(progress.ess)) +
           "   " + duration_in_words(seconds()));
    judged_iterations_ = progress.iterations;
    return chains_are_over(settings);
  }

  bool Report::chains_are_over(const ChainSettings &settings) const
  {
    const bool used_up = settings.time_budget > 0. && seconds() - chains_began_ > settings.time_budget;
    const bool is_over = dealii::Utilities::MPI::max(used_up ? 1 : 0, groups_.world()) > 0;
    return should_stop() || is_over;
  }

  std::vector<std::string> Report::timing_table()
  {
    std::vector<std::string> lines{"stage                            seconds   factoris.      states    adjoints"
                                   "      priors"};
    StageRecord sum{"all", {}, {}};
    auto records = stage_records();
    for (const StageRecord &record : records)
      for (std::size_t k = 0; k < n_work_kinds; ++k)
      {
        sum.seconds[k] += record.seconds[k];
        sum.counts[k] += record.counts[k];
      }
    records.push_back(sum);
    for (const StageRecord &record : records)
    {
      std::string name = record.name;
      name.resize(std::max<std::size_t>(name.size(), 30), ' ');
      name += number(record.total(), 10, 2);
      for (const Work kind : {Work::factorization, Work::state_solves, Work::linear_solves, Work::prior})
        name += number(record.counts[static_cast<std::size_t>(kind)], 12, 0);
      lines.push_back(name);
    }
    std::string by_kind;
    for (std::size_t k = 0; k < n_work_kinds; ++k)
      if (const double share = sum.seconds[k] / sum.total(); share >= 0.005)
        by_kind += (by_kind.empty() ? "of these: " : ", ") + std::string(name_of(static_cast<Work>(k))) + " " +
                   number(100. * share, 0, 0) + " %";
    lines.push_back(by_kind);
    return lines;
  }

  bool Report::should_stop() const
  {
    constexpr int used_up = 1000, from_outside = 1001;
    int local = signal_number;
    if (local == 0 && time_budget_ > 0. && seconds() - seconds_before_ > time_budget_)
      local = used_up;
    if (local == 0 && surroundings_.should_stop && groups_.is_root() && surroundings_.should_stop())
      local = from_outside;
    const int reason = dealii::Utilities::MPI::max(local, groups_.world());
    if (reason > 0)
      stop_reason_ = reason == from_outside ? "what it is part of has stopped"
                     : reason == used_up    ? "the time budget is used up"
                                            : "signal " + std::to_string(reason);
    return reason > 0;
  }
} // namespace varfield
