#ifndef varfield_version_h
#define varfield_version_h

namespace varfield
{
  /// Release number, "major.minor.patch".
  extern const char *const version;
  /// The git commit of the sources when CMake was run, with "-dirty" for a changed tree.
  extern const char *const git_commit;
} // namespace varfield

#endif
