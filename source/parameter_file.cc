#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <varfield/parameter_file.h>

namespace varfield
{
  namespace
  {
    /// A line after comments are cut and continued lines are joined, with the number of its first line.
    struct Line
    {
      std::string text;
      unsigned int number;
    };

    std::vector<Line> logical_lines(const std::string &text)
    {
      std::vector<Line> lines;
      bool continued      = false;
      unsigned int number = 0;
      for (std::size_t begin = 0; begin < text.size();)
      {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string raw = text.substr(begin, end - begin);
        begin                 = end + 1;
        ++number;

        std::string content = trim(raw.substr(0, raw.find('#')));
        // A comment between two continued lines does not end them, an empty line does.
        if (content.empty() && continued && raw.find('#') != std::string::npos)
          continue;
        const bool goes_on = !content.empty() && content.back() == '\\';
        if (goes_on)
          content = trim(content.substr(0, content.size() - 1));
        if (continued)
          lines.back().text += (lines.back().text.empty() || content.empty() ? "" : " ") + content;
        else
          lines.push_back({content, number});
        continued = goes_on;
      }
      return lines;
    }

    /// Reads one file; the files that it includes are read by readers of their own.
    class Reader
    {
    public:
      Reader(std::string path, MPI_Comm comm, std::vector<std::string> section, std::vector<std::string> including)
          : path(std::move(path)), comm(comm), section(std::move(section)), including(std::move(including))
      {
      }

      std::vector<Assignment> read(const std::string &text)
      {
        for (const Line &line : logical_lines(text))
          if (!line.text.empty())
            read_line(line);
        if (!opened.empty())
          throw UserError(path + ": the section “" + section.back() + "” that is opened in line " +
                          std::to_string(opened.back()) +
                          " is not closed: an “end” is missing, for this section or for one inside it.");
        return std::move(assignments);
      }

    private:
      std::string where(unsigned int line) const { return path + ", line " + std::to_string(line); }

      void read_line(const Line &line)
      {
        const std::size_t end_of_word = std::min(line.text.find_first_of(" \t"), line.text.size());
        const std::string keyword     = lower_case(line.text.substr(0, end_of_word));
        const std::string rest        = trim(line.text.substr(end_of_word));

        if (keyword == "subsection" && !rest.empty())
        {
          section.push_back(normalize(rest));
          opened.push_back(line.number);
        }
        else if (keyword == "end" && rest.empty())
          close_section(line);
        else if (keyword == "set" && rest.find('=') != std::string::npos)
          assign(rest, line);
        else if (keyword == "include" && !rest.empty())
          include(rest, line);
        else
          not_understood(line, keyword);
      }

      void close_section(const Line &line)
      {
        if (opened.empty())
          throw UserError(where(line.number) + ": this “end” closes nothing; no section is open here.");
        section.pop_back();
        opened.pop_back();
      }

      void assign(const std::string &rest, const Line &line)
      {
        const std::size_t equals = rest.find('=');
        const Assignment assignment{section, normalize(rest.substr(0, equals)), trim(rest.substr(equals + 1)),
                                    where(line.number), std::filesystem::path(path).parent_path().string()};
        if (assignment.name.empty())
          not_understood(line, "set");

        const auto [first, is_new] = line_of.emplace(std::make_pair(section, assignment.name), line.number);
        if (!is_new)
          throw UserError(where(line.number) + ": the parameter “" + assignment.path() + "” is already set in line " +
                          std::to_string(first->second) + "; remove one of the two lines.");
        assignments.push_back(assignment);
      }

      void include(std::string name, const Line &line)
      {
        if (name.size() > 1 && name.front() == '"' && name.back() == '"')
          name = name.substr(1, name.size() - 2);
        const std::string included     = (std::filesystem::path(path).parent_path() / name).lexically_normal().string();
        std::vector<std::string> files = including;
        files.push_back(std::filesystem::path(path).lexically_normal().string());
        if (std::find(files.begin(), files.end(), included) != files.end())
          throw UserError(where(line.number) + ": the file “" + included + "” includes itself (" +
                          join(files, " includes ") + ").");
        try
        {
          const std::string text = read_text_file(included, comm, "parameter file");
          for (Assignment &assignment : Reader(included, comm, section, files).read(text))
            assignments.push_back(std::move(assignment));
        }
        catch (const UserError &error)
        {
          throw UserError(std::string(error.what()) + " (Included from " + where(line.number) + ".)");
        }
      }

      [[noreturn]] void not_understood(const Line &line, const std::string &keyword) const
      {
        std::string reason = "this line is not understood";
        if (keyword == "set")
          reason = "“set” needs a name, an equals sign and a value";
        else if (keyword == "subsection" || keyword == "include")
          reason = "“" + keyword + "” needs a name";
        else if (keyword == "end")
          reason = "“end” has to stand alone";
        else
          reason += did_you_mean(keyword, {"set", "subsection", "end", "include"});
        throw UserError(where(line.number) + ": " + reason + ". Found is “" + line.text +
                        "”. Allowed are “subsection NAME”, “end”, “set NAME = VALUE”, “include FILE” and "
                        "comments that begin with #.");
      }

      std::string path;
      MPI_Comm comm;
      std::vector<std::string> section;
      std::vector<std::string> including; // the files on the way to this one
      std::vector<unsigned int> opened;   // the lines where the open sections of this file begin
      std::map<std::pair<std::vector<std::string>, std::string>, unsigned int> line_of;
      std::vector<Assignment> assignments;
    };
  } // namespace

  std::string Assignment::path() const
  {
    return join(section, "/") + (section.empty() ? "" : "/") + name;
  }

  std::vector<Assignment> read_parameter_file(const std::string &path, MPI_Comm comm)
  {
    const std::string text = read_text_file(path, comm, "parameter file");
    return lower_case(std::filesystem::path(path).extension().string()) == ".json"
               ? read_json_text(text, path)
               : read_parameter_text(text, path, comm);
  }

  namespace
  {
    using Json = nlohmann::ordered_json;

    std::string value_of(const Json &node, const std::string &where)
    {
      if (node.is_string())
        return trim(node.get<std::string>());
      if (node.is_boolean())
        return node.get<bool>() ? "true" : "false";
      if (node.is_number_float())
        return to_text(node.get<double>());
      if (node.is_number())
        return node.dump();
      if (!node.is_array())
        throw UserError(where + ": the value is " + std::string(node.type_name()) +
                        ". Allowed are a text, a number, true or false, and an array of these.");
      std::vector<std::string> values;
      for (const Json &one : node)
        if (one.is_structured())
          throw UserError(where + ": an array in an array is not understood. Give the value as a text, as in a .prm "
                                  "file.");
        else if (one.is_string() && one.get<std::string>().find(',') != std::string::npos)
          throw UserError(where + ": “" + one.get<std::string>() +
                          "” is one element of an array, but has a comma, which separates elements.");
        else
          values.push_back(value_of(one, where));
      return join(values);
    }

    void collect(const Json &section, const std::vector<std::string> &path, const std::string &file,
                 std::vector<Assignment> &assignments)
    {
      std::map<std::string, std::string> known;
      for (const auto &[key, node] : section.items())
      {
        const std::string name = normalize(key);
        if (path.empty() && name == "$schema")
          continue;
        const std::string where =
            file + ": " + join(path, "/") + (path.empty() ? "" : "/") + (name.empty() ? "“" + key + "”" : name);
        if (name.empty())
          throw UserError(where + ": a name is empty.");
        if (!known.insert({name, key}).second)
          throw UserError(where + ": occurs twice; names differ in white space only.");
        if (path.size() > 20)
          throw UserError(where + ": sections are nested too deeply.");
        if (node.is_object())
        {
          auto inside = path;
          inside.push_back(name);
          collect(node, inside, file, assignments);
        }
        else
          assignments.push_back(
              {path, name, value_of(node, where), file, std::filesystem::path(file).parent_path().string()});
      }
    }
  } // namespace

  std::vector<Assignment> read_json_text(const std::string &text, const std::string &path)
  {
    // The library keeps the last of two equal keys without a word.
    std::vector<std::set<std::string>> keys;
    std::string twice;
    const auto watch = [&](int, Json::parse_event_t event, Json &value)
    {
      if (event == Json::parse_event_t::object_start)
        keys.emplace_back();
      else if (event == Json::parse_event_t::object_end)
        keys.pop_back();
      else if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
        twice = value.get<std::string>();
      return true;
    };
    Json tree;
    try
    {
      tree = Json::parse(text, watch);
    }
    catch (const Json::exception &error)
    {
      const std::string what  = error.what();
      const std::size_t begin = what.find("] ");
      throw UserError(path + ": is no JSON: " + (begin == std::string::npos ? what : what.substr(begin + 2)) + ".");
    }
    if (!twice.empty())
      throw UserError(path + ": “" + twice + "” occurs twice in one section; remove one of the two.");
    if (!tree.is_object())
      throw UserError(path + ": a case in JSON is an object {…} of sections, but found is one " + tree.type_name() +
                      ".");
    std::vector<Assignment> assignments;
    collect(tree, {}, path, assignments);
    return assignments;
  }

  std::vector<Assignment> read_parameter_text(const std::string &text, const std::string &path, MPI_Comm comm)
  {
    return Reader(path, comm, {}, {}).read(text);
  }

  Assignment parse_override(const std::string &text)
  {
    const std::string origin = "--set on the command line";
    if (!is_utf8(text))
      throw UserError(origin + ": the text has letters in another encoding than UTF-8.");
    const std::size_t equals = text.find('=');
    std::vector<std::string> names;
    if (equals != std::string::npos)
      for (const std::string &piece : split(text.substr(0, equals), '/'))
        names.push_back(normalize(piece));
    if (names.empty() || std::find(names.begin(), names.end(), "") != names.end())
      throw UserError(origin + ": “" + text + "” is not understood. Allowed is “Section/Sub section/Name=value”.");

    const std::string name = names.back();
    names.pop_back();
    return {names, name, trim(text.substr(equals + 1)), origin, {}};
  }

  std::optional<Assignment> find_assignment(const std::vector<Assignment> &assignments,
                                            const std::vector<std::string> &section, const std::string &name)
  {
    std::vector<std::string> normalized;
    for (const std::string &part : section)
      normalized.push_back(normalize(part));
    const auto last = std::find_if(assignments.rbegin(), assignments.rend(),
                                   [&](const Assignment &assignment)
                                   { return assignment.section == normalized && assignment.name == normalize(name); });
    return last == assignments.rend() ? std::nullopt : std::make_optional(*last);
  }

  std::optional<std::string> find_value(const std::vector<Assignment> &assignments,
                                        const std::vector<std::string> &section, const std::string &name)
  {
    const auto assignment = find_assignment(assignments, section, name);
    return assignment ? std::make_optional(assignment->value) : std::nullopt;
  }
} // namespace varfield
