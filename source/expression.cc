#include <deal.II/base/function_parser.h>
#include <deal.II/base/numbers.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iostream>
#include <set>
#include <sstream>
#include <varfield/expression.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// deal.II writes the complaints of muParser to std::cerr before it throws; they are in the exception as well.
    class SilentErrors
    {
    public:
      SilentErrors() : original(std::cerr.rdbuf(sink.rdbuf())) {}
      ~SilentErrors() { std::cerr.rdbuf(original); }
      SilentErrors(const SilentErrors &)            = delete;
      SilentErrors &operator=(const SilentErrors &) = delete;

    private:
      std::ostringstream sink;
      std::streambuf *original;
    };

    /// The names of variables and functions in an expression; the e of 1e5 is none.
    std::set<std::string> identifiers(const std::string &text)
    {
      std::set<std::string> result;
      const auto is_part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.'; };
      for (std::size_t begin = 0; begin < text.size();)
      {
        std::size_t end = begin;
        while (end < text.size() && is_part(text[end]))
          ++end;
        if (end > begin && !std::isdigit(static_cast<unsigned char>(text[begin])) && text[begin] != '.')
          result.insert(text.substr(begin, end - begin));
        begin = std::max(end, begin + 1);
      }
      return result;
    }

    template <int dim>
    std::string variables(bool in_time)
    {
      return std::string(dim == 1 ? "x" : dim == 2 ? "x,y" : "x,y,z") + (in_time ? ",t" : "");
    }

    /// muParser's sentence without what deal.II puts around it.
    std::string complaint(const dealii::ExceptionBase &error)
    {
      std::ostringstream info;
      error.print_info(info);
      const std::string text   = normalize(info.str());
      const std::string intro  = "The parser said: ";
      const std::size_t begin  = text.find(intro);
      const std::string result = begin == std::string::npos ? text : text.substr(begin + intro.size());
      return result.empty() || result.back() == '.' ? result : result + ".";
    }

    /// Throws a dealii exception if the text cannot be parsed.
    template <int dim>
    std::shared_ptr<dealii::FunctionParser<dim>> parse(const std::string &text, bool in_time)
    {
      const SilentErrors silent;
      auto parser = std::make_shared<dealii::FunctionParser<dim>>();
      parser->initialize(variables<dim>(in_time), text, {{"pi", dealii::numbers::PI}}, in_time);
      // deal.II parses at the first evaluation.
      parser->value(dealii::Point<dim>());
      return parser;
    }

    /// Whether a comma stands somewhere else than between the arguments of a function. muParser would drop what is
    /// before it: "1,5" would be 5.
    bool has_stray_comma(const std::string &text)
    {
      std::vector<bool> is_call;
      char before = ' ';
      for (const char c : text)
      {
        if (c == '(')
          is_call.push_back(std::isalnum(static_cast<unsigned char>(before)) || before == '_');
        else if (c == ')' && !is_call.empty())
          is_call.pop_back();
        else if (c == ',' && (is_call.empty() || !is_call.back()))
          return true;
        if (c != ' ' && c != '\t')
          before = c;
      }
      return false;
    }

    /// Whether an "=" stands alone, which muParser would take for an assignment to a coordinate.
    bool has_assignment(const std::string &text)
    {
      for (std::size_t i = text.find('='); i != std::string::npos; i = text.find('=', i + 1))
        if (i + 1 < text.size() && text[i + 1] == '=')
          ++i;
        else if (i == 0 || std::string("<>!").find(text[i - 1]) == std::string::npos)
          return true;
      return false;
    }

    /// What muParser would misunderstand without complaining; empty if there is nothing.
    std::string forbidden(const std::string &text)
    {
      const std::set<std::string> names = identifiers(text);
      if (text.empty())
        return "the text is empty.";
      if (text.find(';') != std::string::npos)
        return "one expression is needed, without “;”.";
      if (has_stray_comma(text))
        return "a comma is found outside of the arguments of a function; decimals are written with a point.";
      if (has_assignment(text))
        return "“=” is found; a comparison is written “==”.";
      if (names.count("rand") + names.count("rand_seed") > 0)
        return "random numbers are not allowed in an expression.";
      return std::string();
    }
  } // namespace

  template <int dim>
  Expression<dim>::Expression() : Expression("0", "default")
  {
  }

  template <int dim>
  Expression<dim>::Expression(const std::string &text, const std::string &origin, bool in_time)
      : text_(trim(text)), origin_(origin)
  {
    const std::string subject = origin_ + ": the expression “" + text_ + "” cannot be used: ";
    if (const std::string reason = forbidden(text_); !reason.empty())
      throw UserError(subject + reason);
    try
    {
      parser_ = parse<dim>(text_, in_time);
    }
    catch (const dealii::ExceptionBase &error)
    {
      throw UserError(subject + complaint(error) + " The variables are " +
                      join(split(variables<dim>(in_time), ','), ", ") +
                      "; pi and the usual functions (sin, exp, sqrt, if, …) are known.");
    }

    const std::set<std::string> names = identifiers(text_);
    const auto coordinates            = split(variables<dim>(false), ',');
    uses_time_                        = in_time && names.count("t") > 0;
    is_constant_                      = true;
    for (const std::string &coordinate : coordinates)
      is_constant_ = is_constant_ && names.count(coordinate) == 0;
  }

  template <int dim>
  double Expression<dim>::value(const dealii::Point<dim> &point, double time) const
  {
    if (uses_time_)
      parser_->set_time(time);
    const double result = parser_->value(point);
    if (std::isfinite(result))
      return result;
    std::vector<std::string> coordinates;
    for (unsigned int d = 0; d < dim; ++d)
      coordinates.push_back(to_text(point[d]));
    throw UserError(origin_ + ": the expression “" + text_ + "” is " +
                    (std::isnan(result) ? "not a number (nan)" : "infinite") + " at the point (" + join(coordinates) +
                    ")" + (uses_time_ ? " at the time " + to_text(time) : "") +
                    "; it has to be a finite number wherever it is evaluated.");
  }

  std::vector<std::pair<std::string, std::string>>
  parse_boundary_map(const std::string &text, const std::string &origin, const std::string &what)
  {
    std::vector<std::pair<std::string, std::string>> result;
    std::set<std::string> ids;
    const std::vector<std::string> entries = split(text, ';');
    for (std::size_t i = 0; i < entries.size(); ++i)
    {
      // A ";" at the very end closes the last entry.
      if (entries[i].empty() && i + 1 == entries.size())
        break;
      const std::size_t colon = entries[i].find(':');
      const std::string id    = normalize(entries[i].substr(0, colon));
      const std::string value = colon == std::string::npos ? "" : trim(entries[i].substr(colon + 1));
      if (id.empty() || value.empty())
        throw UserError(origin + ": the entry “" + entries[i] + "” is not understood. Allowed are entries “" + what +
                        ": value”, separated by “;”" +
                        (what == "boundary" ? ", as in “left: 0; right: sin(pi*y)”." : "."));
      if (!ids.insert(id).second)
        throw UserError(origin + ": the " + what + " “" + id + "” is given twice.");
      result.emplace_back(id, value);
    }
    return result;
  }

  template class Expression<2>;
  template class Expression<3>;
} // namespace varfield
