#ifndef varfield_memory_h
#define varfield_memory_h

#include <mpi.h>
#include <optional>
#include <string>
#include <vector>

namespace varfield
{
  /// The value of `key` in bytes in a table such as /proc/meminfo or /proc/self/status (“MemAvailable:  12345 kB”).
  std::optional<double> bytes_in_table(const std::string &text, const std::string &key);
  /// What a control group leaves free, in bytes, from its limit, its use and its statistics (memory.max,
  /// memory.current, memory.stat, or their like of version 1); file cache that can be dropped counts as free. Nothing
  /// without a limit.
  std::optional<double> room_in_control_group(const std::string &limit, const std::string &use,
                                              const std::string &statistics);
  /// Folders of the control groups in which a process is, inner ones first, from its /proc/<pid>/cgroup.
  std::vector<std::string> control_groups(const std::string &text);

  /// Bytes that are free on this computer: of all, and in the control groups of this process.
  double available_memory();
  /// Bytes that this process holds, and the most that it has held so far.
  double resident_memory();
  double peak_memory();

  /// A number of bytes of every rank, seen from three sides.
  struct MemoryFigures
  {
    double rank     = 0; ///< the largest of all ranks
    double computer = 0; ///< the largest sum over the ranks of one computer
    double all      = 0; ///< the sum over all ranks
  };
  /// Collective over `world`.
  MemoryFigures memory_figures(double bytes, MPI_Comm world);

  /// “3.1 GB”, “240 MB”.
  std::string in_bytes(double bytes);

  /// Entries of a row, in the mean, of a matrix of continuous finite elements, and the bytes of such a matrix.
  double entries_of_row(unsigned int dim, unsigned int degree, unsigned int components);
  double matrix_bytes(double rows, double entries_of_row);
  /// Bytes of a sparse Cholesky factor (MUMPS, its workspace included), twice as many if `general`.
  double factor_bytes(unsigned int dim, double rows, double entries_of_row, bool general);
  /// Unknowns of elements of a degree on about cubic meshes.
  double unknowns_of(double cells, unsigned int dim, unsigned int degree);

  /// What the memory of a run follows from.
  struct ProblemSize
  {
    struct FieldSize
    {
      bool nodal          = true;
      unsigned int degree = 1;
      bool consistent     = false; ///< mass matrix of the prior
      bool direct         = true;  ///< its systems are factorised
    };

    unsigned int dim = 2, ranks = 1, groups = 1;
    double cells              = 0;
    unsigned int state_degree = 1, components = 1, experiments = 1;
    unsigned int steps = 1, kinds_of_steps = 1;          ///< in time
    bool linear = true, symmetric = true, direct = true; ///< of the state equation and its solver
    std::vector<FieldSize> fields;
    double measurements       = 0;
    bool data_space           = true;
    bool keeps_linearizations = true; ///< of all draws of an iteration
    bool has_posterior = true, is_variational = true, coarse_to_fine = true;
    double ancestors   = 0; ///< cells of all meshes before the finest, relative to its own
    unsigned int draws = 16, rank = 100;
    unsigned int written_draws = 3, written_modes = 4;

    double state_unknowns() const { return components * unknowns_of(cells, dim, state_degree); }
    double field_unknowns() const;
    /// Matrices and factorisation of one state, with derivatives; without those of other experiments if these share it.
    double workspace_bytes() const;
  };

  /// One part of the memory of a group of ranks.
  struct MemoryPart
  {
    std::string name;
    double bytes;
  };

  /// Parts of the memory that a sample group takes at the same time at its worst moment, spread over its ranks. The
  /// formulas count matrices, factors and blocks of vectors; their constants are fitted to VmHWM (memory.cc says to
  /// which runs).
  std::vector<MemoryPart> memory_parts(const ProblemSize &size);

  /// The memory that a run is going to take.
  struct MemoryPlan
  {
    MemoryFigures predicted;
    double need = 0, room = 0;     ///< bytes still to be taken and free on the computer where they are the tightest
    bool limited = false;          ///< `room` is what the user allows, and `need` all that is predicted there
    std::vector<MemoryPart> parts; ///< of one group, the largest first

    bool fits() const { return need <= room; }
    /// For the terminal.
    std::string describe() const;
  };

  /// `limit` in bytes on each computer, 0: what is available. Collective over `world`; the same on all ranks.
  MemoryPlan plan_memory(const ProblemSize &size, double limit, MPI_Comm world);
  /// UserError, on all ranks alike, where the plan does not fit.
  void refuse_excess(const MemoryPlan &plan, const ProblemSize &size);
} // namespace varfield

#endif
