#include <chrono>
#include <csignal>
#include <thread>
#include <varfield/faults.h>
#include <varfield/random.h>

namespace varfield
{
  namespace
  {
    struct Faults
    {
      FaultSettings settings;
      std::uint64_t seed   = 0;
      unsigned int rank    = 0;
      std::uint32_t number = 0; ///< of attempts so far
      SolveCounts counts;
    };

    Faults &faults()
    {
      static Faults the_faults;
      return the_faults;
    }
  } // namespace

  void FaultSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    using namespace dealii::Patterns;
    prm.add_parameter("Probability", probability,
                      "that an attempt to factorise or solve a system of the state, a tangent or an adjoint fails. For "
                      "tests of how a run copes; the safer solver that is tried next fails as often.",
                      Double(0., 1.));
    prm.add_parameter("After", after, "so many attempts the faults begin.", Integer(0));
    prm.add_parameter("Killed rank", killed_rank, "This rank ends without a word at that moment; -1: none.",
                      Integer(-1));
    prm.add_parameter("Stalled rank", stalled_rank, "This rank does nothing for a while at that moment; -1: none.",
                      Integer(-1));
    prm.add_parameter("Stall", stall_seconds, "How long. [s]", Double(0.));
  }

  SolveCounts &solve_counts()
  {
    return faults().counts;
  }

  void begin_faults(const FaultSettings &settings, std::uint64_t seed, unsigned int rank)
  {
    faults() = {settings, seed, rank, 0, {}};
  }

  bool has_faults()
  {
    const FaultSettings &settings = faults().settings;
    return settings.probability > 0. || settings.killed_rank >= 0 || settings.stalled_rank >= 0;
  }

  bool next_attempt_fails()
  {
    if (!has_faults())
      return false;
    Faults &all                   = faults();
    const FaultSettings &settings = all.settings;
    const std::uint32_t number    = all.number++;
    if (number < settings.after)
      return false;
    const int rank = static_cast<int>(all.rank);
    if (number == settings.after && rank == settings.killed_rank)
      std::raise(SIGKILL);
    if (number == settings.after && rank == settings.stalled_rank)
      std::this_thread::sleep_for(std::chrono::duration<double>(settings.stall_seconds));
    return uniform_number({all.seed, Stream::faults, number, 1.}, 0) < settings.probability;
  }
} // namespace varfield
