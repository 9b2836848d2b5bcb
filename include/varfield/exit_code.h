#ifndef varfield_exit_code_h
#define varfield_exit_code_h

namespace varfield
{
  /// How the program ends.
  enum ExitCode : int
  {
    converged     = 0,
    failure       = 1,
    bad_input     = 2,
    stopped_early = 3,
    not_converged = 4,
    untrusted     = 5 ///< converged, but the trust report is red
  };
} // namespace varfield

#endif
