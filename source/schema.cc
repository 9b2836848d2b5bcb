#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <varfield/parameters.h>
#include <varfield/pattern_words.h>
#include <varfield/schema.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    using Json = nlohmann::ordered_json;

    bool begins_with(const std::string &text, const std::string &beginning)
    {
      return text.rfind(beginning, 0) == 0;
    }

    /// Bounds from “0...1 (inclusive)”, without those of the type.
    void add_bounds(const std::string &pattern, Json &schema)
    {
      const std::size_t dots = pattern.find("...");
      if (dots == std::string::npos)
        return;
      const auto bound = [&](const std::string &text, const char *name)
      {
        if (text.empty() || text.find("MAX") != std::string::npos)
          return;
        const double value = parse_number(text, name);
        if (std::abs(value) < std::numeric_limits<int>::max())
          schema[name] = value;
      };
      const std::size_t before = pattern.find_last_of(" e", dots) + 1, after = pattern.find_first_of(" ]", dots);
      bound(trim(pattern.substr(before, dots - before)), "minimum");
      bound(trim(pattern.substr(dots + 3, after - dots - 3)), "maximum");
    }

    /// What values of a parameter look like. Of numbers and truth values in texts, which are understood too, an editor
    /// is to complain.
    Json of_pattern(const std::string &pattern)
    {
      Json schema = Json::object();
      if (begins_with(pattern, "[Bool"))
        schema["type"] = "boolean";
      else if (begins_with(pattern, "[Integer"))
      {
        schema["type"] = "integer";
        if (pattern == "[Integer]")
          schema["minimum"] = 0;
        add_bounds(pattern, schema);
      }
      else if (begins_with(pattern, "[Double"))
      {
        schema["type"] = "number";
        add_bounds(pattern, schema);
      }
      else if (begins_with(pattern, "[Selection"))
        schema["enum"] = allowed_words(pattern);
      else if (begins_with(pattern, "[List"))
      {
        schema["type"]  = {"array", "string", "number"};
        schema["items"] = {{"type", {"string", "number"}}};
      }
      else
        schema["type"] = {"string", "number"};
      return schema;
    }

    Json of_parameter(const ParameterNode &node)
    {
      Json schema            = of_pattern(node.pattern);
      schema["description"]  = node.documentation;
      const Json types       = schema.value("type", Json());
      const std::string type = types.is_string() ? types.get<std::string>() : "";
      if (type == "boolean")
        schema["default"] = node.default_value == "true";
      else if (type == "integer" || type == "number")
        schema["default"] = Json::parse(node.default_value, nullptr, false);
      else
        schema["default"] = node.default_value;
      return schema;
    }

    Json of_section(const ParameterNode &section, const std::vector<std::string> &open)
    {
      Json properties = Json::object();
      Json others     = false;
      for (const ParameterNode &node : section.children)
        if (!node.is_section)
          properties[node.name] = of_parameter(node);
        else if (std::find(open.begin(), open.end(), section.name) == open.end())
          properties[node.name] = of_section(node, open);
        else if (others.is_boolean())
          others = of_section(node, {});
      return {{"type", "object"}, {"properties", properties}, {"additionalProperties", others}};
    }
  } // namespace

  Json json_schema(const dealii::ParameterHandler &prm, const std::vector<std::string> &open)
  {
    Json schema = {{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", "A case of varfield"}};
    Json body   = of_section(declared_parameters(prm), open);
    body["properties"]["$schema"] = {{"type", "string"},
                                     {"description", "This schema, for editors; varfield ignores it."}};
    schema.update(body);
    return schema;
  }
} // namespace varfield
