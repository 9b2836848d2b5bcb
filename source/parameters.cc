#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <sstream>
#include <varfield/parameters.h>
#include <varfield/pattern_words.h>

namespace varfield
{
  namespace
  {
    using Tree = nlohmann::ordered_json;

    /// Everything that is declared: sections are objects of sections and parameters; a parameter is an object of texts.
    Tree declared(const dealii::ParameterHandler &prm)
    {
      std::ostringstream text;
      prm.print_parameters(text, dealii::ParameterHandler::JSON | dealii::ParameterHandler::KeepDeclarationOrder);
      const Tree tree = Tree::parse(text.str());
      return tree.is_object() ? tree : Tree::object();
    }

    bool is_parameter(const Tree &node)
    {
      return node.contains("default_value") && node["default_value"].is_string();
    }

    bool is_alias(const Tree &node)
    {
      return node.contains("alias") && node["alias"].is_string();
    }

    /// A section that has nothing in it is written as an empty text.
    bool is_section(const Tree &node)
    {
      return !is_parameter(node) && !is_alias(node);
    }

    std::vector<std::string> names(const Tree &section, bool (*is_wanted)(const Tree &))
    {
      std::vector<std::string> result;
      for (const auto &[name, node] : section.items())
        if (section.is_object() && is_wanted(node))
          result.push_back(name);
      return result;
    }

    std::string in_section(const std::vector<std::string> &section)
    {
      return section.empty() ? "the top level" : "section “" + join(section, "/") + "”";
    }

    /// " Its sections are: a, b.", unless there are too many of them for a message.
    std::string list_if_short(const std::string &introduction, const std::vector<std::string> &words)
    {
      const bool is_short = !words.empty() && words.size() <= 15;
      return is_short ? " " + introduction + ": " + join(words) + "." : std::string();
    }

    /// The sections that have a parameter (or, failing that, a section) of this name.
    void find_everywhere(const Tree &node, const std::string &name, const std::vector<std::string> &here,
                         bool (*is_wanted)(const Tree &), std::vector<std::string> &places)
    {
      if (node.is_object() && node.contains(name) && is_wanted(node[name]))
        places.push_back(in_section(here));
      for (const std::string &section : names(node, is_section))
      {
        std::vector<std::string> inside = here;
        inside.push_back(section);
        find_everywhere(node[section], name, inside, is_wanted, places);
      }
    }

    std::string elsewhere(const Tree &tree, const std::string &name, bool (*is_wanted)(const Tree &),
                          const std::string &kind)
    {
      std::vector<std::string> places;
      find_everywhere(tree, name, {}, is_wanted, places);
      return list_if_short("There is a " + kind + " of this name in", places);
    }

    bool names_a_file(const std::string &pattern)
    {
      return pattern.rfind("[FileName", 0) == 0;
    }

    /// Sets one parameter; the mistakes that it meets are collected.
    class Setter
    {
    public:
      explicit Setter(dealii::ParameterHandler &prm) : prm(prm), tree(declared(prm)) {}

      void set(const Assignment &assignment)
      {
        const Tree *section = find_section(assignment);
        if (section == nullptr)
          return;
        const bool exists = section->is_object() && section->contains(assignment.name);
        if (!exists || is_section((*section)[assignment.name]))
          return unknown_name(assignment, *section);

        for (const std::string &name : assignment.section)
          prm.enter_subsection(name);
        set_here(assignment, (*section)[assignment.name]);
        for (unsigned int i = 0; i < assignment.section.size(); ++i)
          prm.leave_subsection();
      }

      std::vector<std::string> mistakes;

    private:
      /// Null, with a mistake noted the first time, if there is no such section.
      const Tree *find_section(const Assignment &assignment)
      {
        const Tree *node = &tree;
        std::vector<std::string> parents;
        for (const std::string &name : assignment.section)
        {
          const std::vector<std::string> valid = names(*node, is_section);
          if (std::find(valid.begin(), valid.end(), name) == valid.end())
          {
            if (unknown_sections.insert(join(parents, "/") + "/" + name).second)
              unknown_section(assignment.origin, parents, name, *node);
            return nullptr;
          }
          node = &(*node)[name];
          parents.push_back(name);
        }
        return node;
      }

      void unknown_section(const std::string &origin, const std::vector<std::string> &parents, const std::string &name,
                           const Tree &parent)
      {
        const std::vector<std::string> valid = names(parent, is_section);
        std::string guess                    = did_you_mean(name, valid) + ".";
        if (valid.empty())
          guess += " It has no sections.";
        mistakes.push_back(origin + ": " + in_section(parents) + " has no section “" + name + "”" + guess +
                           elsewhere(tree, name, is_section, "section") + list_if_short("Its sections are", valid));
      }

      void unknown_name(const Assignment &assignment, const Tree &section)
      {
        const std::vector<std::string> valid = names(section, is_parameter);
        std::string guess                    = did_you_mean(assignment.name, valid) + ".";
        if (section.is_object() && section.contains(assignment.name))
          guess = ": there it is a section (“subsection " + assignment.name + "”).";
        mistakes.push_back(assignment.origin + ": " + in_section(assignment.section) + " has no parameter “" +
                           assignment.name + "”" + guess + elsewhere(tree, assignment.name, is_parameter, "parameter") +
                           list_if_short("Its parameters are", valid));
      }

      void not_allowed(const std::string &subject, const std::string &value, const std::string &pattern)
      {
        mistakes.push_back(subject + "is set to “" + value + "”" + did_you_mean(value, allowed_words(pattern)) +
                           ". Allowed is " + pattern_in_words(pattern) + ".");
      }

      void set_here(const Assignment &assignment, const Tree &parameter)
      {
        const std::string subject = assignment.origin + ": “" + assignment.path() + "” ";
        const std::string pattern = parameter.value("pattern_description", "");
        // deal.II declares unsigned integers without limits and would wrap -1 around to 4294967295.
        if (pattern == "[Integer]" && assignment.value.find('-') != std::string::npos)
          return not_allowed(subject, assignment.value, pattern);
        const bool is_file = names_a_file(pattern) && !assignment.value.empty();
        try
        {
          // An absolute name on the right replaces the folder.
          prm.set(assignment.name,
                  is_file ? (std::filesystem::path(assignment.folder) / assignment.value).string() : assignment.value);
        }
        catch (const dealii::ParameterHandler::ExcValueDoesNotMatchPattern &)
        {
          not_allowed(subject, assignment.value, pattern);
        }
        catch (const dealii::ExceptionBase &error)
        {
          std::ostringstream reason;
          error.print_info(reason);
          mistakes.push_back(subject + "cannot be “" + assignment.value + "”: " + normalize(reason.str()));
        }
        catch (const std::exception &error)
        {
          mistakes.push_back(subject + "cannot be “" + assignment.value + "”: " + error.what());
        }
      }

      dealii::ParameterHandler &prm;
      const Tree tree;
      std::set<std::string> unknown_sections;
    };

    /// The number of characters of a text in UTF-8: continuation bytes are not counted.
    std::size_t width(const std::string &text)
    {
      return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
    }

    /// Comment lines of at most 100 columns; line breaks of the text are kept.
    void print_comment(std::ostream &out, const std::string &text, const std::string &indent)
    {
      std::istringstream paragraphs(text);
      for (std::string paragraph; std::getline(paragraphs, paragraph);)
      {
        std::istringstream words(paragraph);
        std::string line = indent + "#";
        for (std::string word; words >> word;)
        {
          if (width(line) > indent.size() + 1 && width(line) + 1 + width(word) > 100)
          {
            out << line << '\n';
            line = indent + "#";
          }
          line += " " + word;
        }
        out << line << '\n';
      }
    }

    void print_documented(std::ostream &out, const Tree &section, const std::string &indent)
    {
      bool is_first = true;
      for (const std::string &name : names(section, is_parameter))
      {
        const Tree &parameter     = section[name];
        const std::string pattern = parameter.value("pattern_description", "");
        out << (is_first ? "" : "\n");
        print_comment(out, parameter.value("documentation", ""), indent);
        if (pattern != "[Anything]")
          print_comment(out, "Allowed: " + pattern_in_words(pattern) + ".", indent);
        out << indent << trim("set " + name + " = " + parameter.value("default_value", "")) << '\n';
        is_first = false;
      }
      for (const std::string &name : names(section, is_section))
      {
        out << (is_first ? "" : "\n") << indent << "subsection " << name << '\n';
        print_documented(out, section[name], indent + "  ");
        out << indent << "end\n";
        is_first = false;
      }
    }

    /// Names of files are written whole: the text is read in another folder.
    void print_short(std::ostream &out, const Tree &section, const std::string &indent)
    {
      for (const std::string &name : names(section, is_parameter))
      {
        std::string value = section[name].value("value", "");
        if (!value.empty() && names_a_file(section[name].value("pattern_description", "")))
          value = std::filesystem::absolute(value).lexically_normal().string();
        out << indent << trim("set " + name + " = " + value) << '\n';
      }
      for (const std::string &name : names(section, is_section))
        if (section[name].is_object())
        {
          out << indent << "subsection " << name << '\n';
          print_short(out, section[name], indent + "  ");
          out << indent << "end\n";
        }
    }

    Tree values(const Tree &section)
    {
      Tree result = Tree::object();
      for (const std::string &name : names(section, is_parameter))
        result[name] = section[name]["value"];
      for (const std::string &name : names(section, is_section))
        result[name] = values(section[name]);
      return result;
    }
  } // namespace

  const std::vector<RenamedEntry> &renamed_entries()
  {
    static const std::vector<RenamedEntry> entries{
        {"Inference/Curvature/Data space limit", "",
         "the route follows from predicted solves and “Memory” (see “Inference/Curvature/Route”)"}};
    return entries;
  }

  namespace
  {
    /// Whether a path is that of the pattern; then what its stars stand for.
    bool matches(const std::vector<std::string> &path, const std::vector<std::string> &pattern,
                 std::vector<std::string> &stars)
    {
      stars.clear();
      if (path.size() != pattern.size())
        return false;
      for (std::size_t i = 0; i < path.size(); ++i)
        if (pattern[i] == "*")
          stars.push_back(path[i]);
        else if (pattern[i] != path[i])
          return false;
      return true;
    }

    /// Old names become new ones; entries without effect are left out.
    std::vector<Assignment> with_new_names(const std::vector<Assignment> &assignments,
                                           const std::vector<RenamedEntry> &renamed, std::vector<std::string> &warnings,
                                           std::vector<std::string> &mistakes)
    {
      std::vector<Assignment> result;
      for (const Assignment &assignment : assignments)
      {
        std::vector<std::string> path = assignment.section, stars;
        path.push_back(assignment.name);
        const auto entry = std::find_if(renamed.begin(), renamed.end(),
                                        [&](const RenamedEntry &candidate)
                                        { return matches(path, split(candidate.before, '/'), stars); });
        if (entry == renamed.end())
        {
          result.push_back(assignment);
          continue;
        }
        if (entry->now.empty())
        {
          warnings.push_back(assignment.origin + ": “" + assignment.path() +
                             "” has no effect any more: " + entry->reason + ".");
          continue;
        }
        Assignment now = assignment;
        now.section    = split(entry->now, '/');
        auto star      = stars.begin();
        for (std::string &name : now.section)
          if (name == "*")
            name = *star++;
        now.name = now.section.back();
        now.section.pop_back();
        for (const Assignment &other : assignments)
          if (other.path() == now.path())
            mistakes.push_back(assignment.origin + ": “" + assignment.path() + "” is the old name of “" + now.path() +
                               "”, which is set as well (" + other.origin + "). Take the old one out.");
        warnings.push_back(assignment.origin + ": “" + assignment.path() + "” is now called “" + now.path() + "”.");
        result.push_back(std::move(now));
      }
      return result;
    }

    ParameterNode as_node(const std::string &name, const Tree &tree)
    {
      ParameterNode node;
      node.name       = name;
      node.is_section = is_section(tree);
      if (!node.is_section)
      {
        node.documentation = tree.value("documentation", "");
        node.pattern       = tree.value("pattern_description", "");
        node.default_value = tree.value("default_value", "");
      }
      else if (tree.is_object())
        for (const auto &[child, subtree] : tree.items())
          if (!is_alias(subtree))
            node.children.push_back(as_node(child, subtree));
      return node;
    }
  } // namespace

  std::vector<std::string> apply_assignments(const std::vector<Assignment> &assignments, dealii::ParameterHandler &prm,
                                             const std::vector<RenamedEntry> &renamed)
  {
    const std::size_t most_mistakes = 10;
    Setter setter(prm);
    std::vector<std::string> warnings;
    for (const Assignment &assignment : with_new_names(assignments, renamed, warnings, setter.mistakes))
      if (setter.mistakes.size() < most_mistakes)
        setter.set(assignment);
    if (!setter.mistakes.empty())
      throw UserError(join(setter.mistakes, "\n\n"));
    return warnings;
  }

  ParameterNode declared_parameters(const dealii::ParameterHandler &prm)
  {
    return as_node("", declared(prm));
  }

  void print_template(std::ostream &out, const dealii::ParameterHandler &prm)
  {
    print_documented(out, declared(prm), "");
  }

  std::string parameters_as_used(const dealii::ParameterHandler &prm)
  {
    std::ostringstream text;
    print_short(text, declared(prm), "");
    return text.str();
  }

  nlohmann::ordered_json parameters_as_json(const dealii::ParameterHandler &prm)
  {
    return values(declared(prm));
  }

  namespace
  {
    nlohmann::ordered_json contents_in(const ParameterNode &node, const nlohmann::ordered_json &values)
    {
      nlohmann::ordered_json contents = nlohmann::ordered_json::object();
      for (const ParameterNode &child : node.children)
        if (!values.contains(child.name))
          continue;
        else if (child.is_section)
        {
          if (auto inside = contents_in(child, values[child.name]); !inside.empty())
            contents[child.name] = std::move(inside);
        }
        else if (const auto &name = values[child.name];
                 names_a_file(child.pattern) && name.is_string() && !name.get<std::string>().empty())
        {
          std::ifstream file(name.get<std::string>(), std::ios::binary);
          contents[child.name] = "a file with the CRC-32 " +
                                 crc32({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
        }
      return contents;
    }
  } // namespace

  nlohmann::ordered_json contents_of_files(const dealii::ParameterHandler &prm)
  {
    return contents_in(declared_parameters(prm), parameters_as_json(prm));
  }
} // namespace varfield
