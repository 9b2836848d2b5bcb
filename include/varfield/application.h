#ifndef varfield_application_h
#define varfield_application_h

#include <varfield/batch.h>
#include <varfield/exit_code.h>
#include <varfield/server_settings.h>

namespace varfield
{
  /// What the user asked for on the command line.
  struct Command
  {
    /// run, certify, cross-validate, calibrate, scan, check, verify, synthesize, template, schema, serve or batch
    std::string action = "run";
    std::string file;
    std::vector<std::string> overrides; ///< "Section/Name=value"
    BatchCommand batch;                 ///< with a list in place of the file
    ServerSettings server;
  };

  /// Does it. Collective over MPI_COMM_WORLD. UserError, ComputationError.
  int execute(const Command &command);

  /// All plugins with a sentence each, for --help.
  std::string plugin_help();
} // namespace varfield

#endif
