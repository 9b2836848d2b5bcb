#include <limits>
#include <varfield/exceptions.h>
#include <varfield/pattern_words.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    bool starts_with(const std::string &text, const std::string &beginning)
    {
      return text.compare(0, beginning.size(), beginning) == 0;
    }

    /// The text between `before` and `after`; empty if one of them is missing.
    std::string between(const std::string &text, const std::string &before, const std::string &after)
    {
      const std::size_t begin = text.find(before);
      if (begin == std::string::npos)
        return std::string();
      const std::size_t end = text.find(after, begin + before.size());
      return end == std::string::npos ? std::string() : text.substr(begin + before.size(), end - begin - before.size());
    }

    /// The patterns inside a compound one: the outermost bracketed parts.
    std::vector<std::string> inner_patterns(const std::string &text)
    {
      std::vector<std::string> patterns;
      std::size_t begin = 0;
      int depth         = 0;
      for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '[' && depth++ == 0)
          begin = i;
        else if (text[i] == ']' && --depth == 0)
          patterns.push_back(text.substr(begin, i - begin + 1));
      return patterns;
    }

    /// " between 0 and 1" from "0...1"; empty where both limits are those of the type.
    std::string range_in_words(const std::string &range)
    {
      const std::size_t dots = range.find("...");
      if (dots == std::string::npos)
        return std::string();
      std::string low = trim(range.substr(0, dots)), high = trim(range.substr(dots + 3));
      if (low == "-MAX_DOUBLE" || low == std::to_string(std::numeric_limits<int>::lowest()))
        low.clear();
      if (high == "MAX_DOUBLE" || high == std::to_string(std::numeric_limits<int>::max()))
        high.clear();
      if (!low.empty() && !high.empty())
        return " between " + low + " and " + high;
      return !low.empty() ? " of at least " + low : !high.empty() ? " of at most " + high : std::string();
    }

    /// "at least 2 " from "2...4294967295".
    std::string count_in_words(const std::string &range)
    {
      const std::size_t dots = range.find("...");
      if (dots == std::string::npos)
        return std::string();
      const std::string low = range.substr(0, dots), high = range.substr(dots + 3);
      const bool unlimited = high == std::to_string(std::numeric_limits<int>::max()) ||
                             high == std::to_string(std::numeric_limits<unsigned int>::max());
      if (low == high)
        return low + " ";
      if (unlimited)
        return low == "0" ? std::string() : "at least " + low + " ";
      return low == "0" ? "at most " + high + " " : low + " to " + high + " ";
    }

    std::string separator_in_words(const std::string &text, const std::string &default_separator)
    {
      const std::string found     = between(text, "separated by <", ">");
      const std::string separator = found.empty() ? default_separator : found;
      return separator == "," ? "commas" : "“" + separator + "”";
    }

    std::string words(const std::string &description, bool plural);

    std::string list_in_words(const std::string &text, const std::vector<std::string> &inner, bool plural)
    {
      const std::string count =
          count_in_words(between(text.substr(text.rfind("]>") + 1), "of length ", " (inclusive)"));
      return (plural ? "lists of " : "a list of ") + count + words(inner[0], count != "1 ") + ", separated by " +
             separator_in_words(text.substr(text.rfind("]>") + 1), ",");
    }

    std::string map_in_words(const std::string &text, const std::vector<std::string> &inner, bool plural)
    {
      const std::string colon = between(text, "]>", "<[");
      return (plural ? "lists of" : "a list of") + (" entries “key " + colon) + " value”, where the key is " +
             words(inner[0], false) + " and the value is " + words(inner[1], false) + ", separated by " +
             separator_in_words(text.substr(text.rfind("]>") + 1), ",");
    }

    std::string tuple_in_words(const std::string &text, const std::vector<std::string> &inner)
    {
      std::vector<std::string> parts;
      for (const std::string &pattern : inner)
        parts.push_back(words(pattern, false));
      return join(parts, ", then ") + ", separated by " + separator_in_words(text.substr(text.rfind("]>") + 1), ":");
    }

    std::string words(const std::string &description, bool plural)
    {
      const std::vector<std::string> inner   = inner_patterns(description.substr(1, description.size() - 2));
      const std::vector<std::string> choices = allowed_words(description);
      if (starts_with(description, "[Double"))
        return (plural ? "numbers" : "a number") + range_in_words(between(description, "[Double", "(inclusive)"));
      // deal.II's pattern for members of type unsigned int has no limits; an integer without limits has those of int.
      if (description == "[Integer]")
        return plural ? "integers of at least 0" : "an integer of at least 0";
      if (starts_with(description, "[Integer"))
        return (plural ? "integers" : "an integer") +
               range_in_words(between(description, "[Integer range", "(inclusive)"));
      if (starts_with(description, "[Selection"))
        return (plural ? "words out of: " : "one of: ") + join(choices);
      if (starts_with(description, "[MultipleSelection"))
        return "one or more of: " + join(choices) + " (separated by commas)";
      if (starts_with(description, "[Bool"))
        return plural ? "values true or false" : "true or false";
      if (starts_with(description, "[Anything"))
        return plural ? "texts" : "any text";
      if (starts_with(description, "[FileName"))
        return plural ? "names of files" : "the name of a file";
      if (starts_with(description, "[DirectoryName"))
        return plural ? "names of directories" : "the name of a directory";
      if (starts_with(description, "[List") && inner.size() == 1)
        return list_in_words(description, inner, plural);
      if (starts_with(description, "[Map") && inner.size() == 2)
        return map_in_words(description, inner, plural);
      if (starts_with(description, "[Tuple") && !inner.empty())
        return tuple_in_words(description, inner);
      return description;
    }
  } // namespace

  std::string pattern_in_words(const std::string &description)
  {
    return description.size() < 2 ? description : words(description, false);
  }

  std::vector<std::string> allowed_words(const std::string &description)
  {
    for (const std::string beginning : {"[Selection ", "[MultipleSelection "})
      if (starts_with(description, beginning))
        return split(description.substr(beginning.size(), description.rfind(']') - beginning.size()), '|');
    return {};
  }
} // namespace varfield
