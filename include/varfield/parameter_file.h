#ifndef varfield_parameter_file_h
#define varfield_parameter_file_h

#include <optional>
#include <varfield/exceptions.h>
#include <varfield/text.h>

/// The text of a parameter file, in the format of deal.II or in JSON, to a list of assignments that know the line they
/// are from.
namespace varfield
{
  /// One `set name = value` inside nested subsections. The origin is "case.prm, line 12" or "--set on the command
  /// line". Names of files are relative to the parameter file, or to the working folder on the command line.
  struct Assignment
  {
    std::vector<std::string> section;
    std::string name, value, origin;
    std::string folder; ///< that the value, if it is the name of a file, is relative to

    /// "Section/Sub section/Name".
    std::string path() const;
  };

  /// The assignments of a file in their order. Understood are `subsection NAME`, `end`, `set NAME = VALUE`, `include
  /// FILE` (relative to the including file, inserted in the current subsection), comments from `#` to the end of the
  /// line, and lines continued by a backslash at their end. A file whose name ends with “.json” is read by
  /// read_json_text(). Collective; UserError on all ranks alike.
  std::vector<Assignment> read_parameter_file(const std::string &path, MPI_Comm comm);

  /// The same for a text whose name in messages is `path`; `include` is relative to the folder of `path`. Collective.
  std::vector<Assignment> read_parameter_text(const std::string &text, const std::string &path, MPI_Comm comm);

  /// The same in JSON: sections are objects; values are texts, numbers, truth values, or arrays of these for lists;
  /// “$schema” at the top is left to editors. Origins are "case.json". Local; UserError.
  std::vector<Assignment> read_json_text(const std::string &text, const std::string &path);

  /// From "Section/Sub section/Name=value", as given to --set.
  Assignment parse_override(const std::string &text);

  /// The last assignment of a parameter, and its value; for parameters that decide which others are declared. Names are
  /// compared with respect to case but not to the amount of white space.
  std::optional<Assignment> find_assignment(const std::vector<Assignment> &assignments,
                                            const std::vector<std::string> &section, const std::string &name);
  std::optional<std::string> find_value(const std::vector<Assignment> &assignments,
                                        const std::vector<std::string> &section, const std::string &name);
} // namespace varfield

#endif
