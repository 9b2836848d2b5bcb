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

  /// What an iteration leaves to the next run of the program where this one ends before it.
  struct LoopState
  {
    /// Set by the iteration while it runs: its state at the last call of the monitor, to and from a file. Collective
    /// over the world.
    std::function<void(Archive &)> keep;
    /// Where the iteration begins; nullptr: at its beginning.
    Archive *begin_from = nullptr;
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
