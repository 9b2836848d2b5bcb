#ifndef varfield_monitor_h
#define varfield_monitor_h

#include <functional>
#include <string>
#include <varfield/archive.h>
#include <varfield/log_density.h>

namespace varfield
{
  /// One line of convergence.csv and of the terminal.
  struct IterationReport
  {
    std::string phase;          ///< "MAP" or the optimiser's name
    unsigned int iteration = 0; ///< counted from 0, the state at the start
    double objective       = 0; ///< −log posterior without the prior's normalisation (MAP) or the ELBO
    double error           = 0; ///< Monte-Carlo error of the objective; 0 for MAP
    double misfit          = 0; ///< Φ or E_q[Φ]
    double kl              = 0; ///< ½mᵀC⁻¹m (MAP) or KL(q‖p)
    double gradient        = 0; ///< norm of the gradient in the metric of C (MAP) or of (C⁻¹ + E_q[H])⁻¹
    double step            = 0; ///< step length
    unsigned int rank      = 0; ///< Family::rank()
    Cost cost;                  ///< of this group since the density was made
    std::string note;           ///< a few words for the reader, or empty
  };

  /// Called on every rank after each iteration; return true to stop early (signals, time budget), the same on all
  /// ranks.
  using Monitor = std::function<bool(const IterationReport &)>;

  /// What an iteration leaves to the next run of the program where this one ends before it. Members are collective over
  /// the world.
  class LoopState
  {
  public:
    /// The iteration will go on from this archive.
    void go_on_from(Archive &archive) { begin_from_ = &archive; }
    /// Whether it will.
    bool goes_on() const { return begin_from_ != nullptr; }
    /// For the iteration, which calls it first: `keep` takes its state at the last call of the monitor to and from a
    /// file. Whether it was read just now.
    bool begin(std::function<void(Archive &)> keep)
    {
      keep_ = [keep = std::move(keep)](Archive &archive) { archive.in("loop ", [&] { keep(archive); }); };
      if (!goes_on())
        return false;
      keep_(*std::exchange(begin_from_, nullptr));
      return true;
    }
    /// For the iteration, at its end: there is nothing to keep any more.
    void end() { keep_ = nullptr; }
    bool has_begun() const { return static_cast<bool>(keep_); }
    /// Writes down where the iteration is. Only where it has begun.
    void keep(Archive &archive) { keep_(archive); }

  private:
    std::function<void(Archive &)> keep_;
    Archive *begin_from_ = nullptr;
  };

  /// How an iteration ended, in a value and in words.
  struct Termination
  {
    bool converged          = false;
    bool interrupted        = false; ///< the monitor asked to stop
    unsigned int iterations = 0;
    double gradient         = 0; ///< in the last iteration: IterationReport::gradient
    std::string reason;

    void keep(Archive &archive)
    {
      archive.number("converged", converged);
      archive.number("interrupted", interrupted);
      archive.number("iterations", iterations);
      archive.number("gradient", gradient);
      archive.text("reason", reason);
    }
  };
} // namespace varfield

#endif
