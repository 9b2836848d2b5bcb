#ifndef varfield_schema_h
#define varfield_schema_h

#include <deal.II/base/parameter_handler.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace varfield
{
  /// JSON Schema (draft 7) of parameter files in JSON, for editors: every section and parameter with its documentation,
  /// the values that are allowed, and its default. Sections in `open` have subsections of any name, all like the first
  /// one that is declared there. The handler has to be at its top level.
  nlohmann::ordered_json json_schema(const dealii::ParameterHandler &prm, const std::vector<std::string> &open);
} // namespace varfield

#endif
