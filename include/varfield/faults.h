#ifndef varfield_faults_h
#define varfield_faults_h

#include <deal.II/base/parameter_handler.h>

namespace varfield
{
  /// Failures on purpose, for tests of what a run does then.
  struct FaultSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    double probability   = 0.;
    unsigned int after   = 0;
    int killed_rank      = -1;
    int stalled_rank     = -1;
    double stall_seconds = 3600.;
  };

  /// How linear systems fared, on this rank; those of a group count alike on all its ranks.
  struct SolveCounts
  {
    double repeated = 0; ///< by a safer solver, which succeeded
    double failed   = 0; ///< with that one too
  };

  /// One for the process: systems are solved far below the objects that know of the run.
  SolveCounts &solve_counts();

  /// From now on systems fail as the settings say; counts begin anew.
  void begin_faults(const FaultSettings &settings, std::uint64_t seed, unsigned int rank);
  /// Whether faults are wanted at all.
  bool has_faults();
  /// Whether the next attempt at a system of the state is to fail; ends or stalls the rank where that is wanted. Must
  /// be asked on all ranks of a group alike.
  bool next_attempt_fails();
} // namespace varfield

#endif
