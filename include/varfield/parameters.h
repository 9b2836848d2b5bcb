#ifndef varfield_parameters_h
#define varfield_parameters_h

#include <deal.II/base/parameter_handler.h>

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <varfield/parameter_file.h>

/// Between the assignments of parameter files and the declared parameters of a dealii::ParameterHandler, in messages
/// and formats made for people. The handler has to be at its top level in all of these.
namespace varfield
{
  /// An entry that has another name now, or none: then it has no effect, for this reason. “*” in a path stands for any
  /// name.
  struct RenamedEntry
  {
    std::string before, now, reason;
  };
  /// All of them.
  const std::vector<RenamedEntry> &renamed_entries();

  /// Sets the declared parameters, in order: the last assignment of a parameter counts. UserError with one paragraph
  /// for each of the first ten mistakes: an unknown section or name, a value that does not match the declared pattern,
  /// an entry that is given by its old name and by its new one. Returns a sentence for each old name. Local; the same
  /// on all ranks if the assignments are.
  std::vector<std::string> apply_assignments(const std::vector<Assignment> &assignments, dealii::ParameterHandler &prm,
                                             const std::vector<RenamedEntry> &renamed = renamed_entries());

  /// A section or a parameter, as it is declared.
  struct ParameterNode
  {
    std::string name;
    bool is_section = false;
    std::string documentation, pattern, default_value; ///< of a parameter; the pattern as deal.II describes it
    std::vector<ParameterNode> children;               ///< of a section, in the order of their declaration
  };
  /// All of a handler, as a section without a name.
  ParameterNode declared_parameters(const dealii::ParameterHandler &prm);

  /// A complete parameter file: every section and parameter with documentation, allowed values and default, in the
  /// order of declaration. It reads back as the defaults.
  void print_template(std::ostream &out, const dealii::ParameterHandler &prm);

  /// All parameters with their present values, as a short parameter file.
  std::string parameters_as_used(const dealii::ParameterHandler &prm);

  /// All parameters with their present values: {"section": {"name": "value"}}.
  nlohmann::ordered_json parameters_as_json(const dealii::ParameterHandler &prm);
  /// Entries that name files, in the same tree, each with the CRC-32 of what is in its file now. Local.
  nlohmann::ordered_json contents_of_files(const dealii::ParameterHandler &prm);
} // namespace varfield

#endif
