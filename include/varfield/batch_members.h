#ifndef varfield_batch_members_h
#define varfield_batch_members_h

#include <mpi.h>
#include <nlohmann/json.hpp>
#include <string>
#include <varfield/parameter_file.h>
#include <vector>

namespace varfield
{
  /// A row of the list of a batch.
  struct BatchMember
  {
    std::string name, file; ///< of the results; the parameter file
    std::string where;      ///< the row, in words
    std::vector<Assignment> changes;
  };

  /// What is known about the end of a member.
  struct BatchOutcome
  {
    int code = -1; ///< an ExitCode; −1: it has not ended
    std::string message;
    nlohmann::ordered_json summary; ///< summary.json, where there is one

    /// From what a run has left in `folder` and in the file `error`. Local.
    static BatchOutcome read(const std::string &folder, const std::string &error);
    std::string status() const;
    bool has_failed() const;
  };

  /// The members in a table. Collective; UserError for a list that is not in order.
  std::vector<BatchMember> read_members(const std::string &list, MPI_Comm world);

  /// A row for each member. Local; ComputationError where it cannot be written.
  void write_batch_table(const std::string &path, const std::vector<BatchMember> &members,
                         const std::vector<BatchOutcome> &outcomes);
} // namespace varfield

#endif
