#ifndef varfield_command_line_h
#define varfield_command_line_h

#include <varfield/application.h>

namespace varfield
{
  /// Fills `command`; returns the exit code where the command line was all there was to do, else −1. Not collective:
  /// every rank sees the same command line; the first one speaks.
  int parse_command_line(int argc, char **argv, Command &command, bool speaks);
} // namespace varfield

#endif
