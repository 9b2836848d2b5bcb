#include <deal.II/base/exceptions.h>

#include <algorithm>
#include <sstream>
#include <varfield/table.h>

namespace varfield
{
  namespace
  {
    std::string in_quotes(const std::string &text)
    {
      return "“" + text + "”";
    }

    /// The fields of one line; two quotes inside a quoted field are one. False if a quote is not closed.
    bool split_fields(const std::string &line, std::vector<std::string> &fields)
    {
      std::string field;
      bool inside = false, was_quoted = false;
      const auto finish = [&]
      {
        fields.push_back(was_quoted ? field : trim(field));
        field.clear();
        was_quoted = false;
      };
      for (std::size_t i = 0; i < line.size(); ++i)
        if (line[i] == '"' && inside && i + 1 < line.size() && line[i + 1] == '"')
          field += line[i++];
        else if (line[i] == '"' && (inside || trim(field).empty()))
        {
          if (!inside)
            field.clear();
          inside     = !inside;
          was_quoted = true;
        }
        else if (line[i] == ',' && !inside)
          finish();
        else if (inside || !was_quoted || trim(std::string(1, line[i])).size() == 1)
          field += line[i];
      finish();
      return !inside;
    }

    bool is_number(const std::string &text)
    {
      try
      {
        parse_number(text, "");
        return true;
      }
      catch (const UserError &)
      {
        return false;
      }
    }

    std::string quote_if_needed(const std::string &text)
    {
      const bool is_comment = !text.empty() && text[0] == '#';
      if (text.find_first_of(",;\"\t") == std::string::npos && trim(text) == text && !is_comment)
        return text;
      std::string result = "\"";
      for (const char c : text)
        result += c == '"' ? std::string("\"\"") : std::string(1, c);
      return result + "\"";
    }
  } // namespace

  Table Table::read(const std::string &path, MPI_Comm comm, const std::string &what)
  {
    return parse(read_text_file(path, comm, what), path);
  }

  Table Table::parse(const std::string &text, const std::string &path)
  {
    Table table;
    table.path_ = path;
    std::istringstream lines(text);
    unsigned int line_number = 0;
    for (std::string line; std::getline(lines, line);)
    {
      ++line_number;
      const std::string content = trim(line);
      if (content.empty() || content[0] == '#')
        continue;
      if (table.header_line_ == 0)
        table.read_header(content, line_number);
      else
        table.read_row(content, line_number);
    }
    if (table.header_line_ == 0)
      throw UserError("The table " + in_quotes(path) +
                      " is empty; a first row with the names of the columns and at least one row of data are needed.");
    if (table.rows_.empty())
      throw UserError("The table " + in_quotes(path) + " has no rows of data, only the names of the columns in line " +
                      std::to_string(table.header_line_) + ".");
    return table;
  }

  void Table::read_header(const std::string &line, unsigned int line_number)
  {
    const std::string here = path_ + ", line " + std::to_string(line_number) + ": ";
    header_line_           = line_number;
    if (!split_fields(line, names_))
      throw UserError(here + "a quote is opened but not closed in " + in_quotes(line) + ".");
    if (names_.size() == 1 && line.find_first_of(";\t") != std::string::npos && line[0] != '"')
      throw UserError(here + "the columns seem to be separated by " +
                      (line.find(';') != std::string::npos ? "semicolons" : "tabs") +
                      "; separate them by commas, and write decimals with a point.");
    if (std::all_of(names_.begin(), names_.end(), is_number))
      throw UserError(here + "numbers are found where the names of the columns are needed: " + in_quotes(line) +
                      ". (A line that begins with # is a comment, not a row of names.)");
    for (auto name = names_.begin(); name != names_.end(); ++name)
      if (name->empty())
        throw UserError(here + "column " + std::to_string(name - names_.begin() + 1) + " has no name.");
      else if (std::find(names_.begin(), name, *name) != name)
        throw UserError(here + "two columns have the name " + in_quotes(*name) + ".");
  }

  void Table::read_row(const std::string &line, unsigned int line_number)
  {
    const std::string here = path_ + ", line " + std::to_string(line_number) + ": ";
    std::vector<std::string> fields;
    if (!split_fields(line, fields))
      throw UserError(here + "a quote is opened but not closed in " + in_quotes(line) + ".");
    if (fields.size() != names_.size())
      throw UserError(here + std::to_string(fields.size()) + " fields are found, but the header in line " +
                      std::to_string(header_line_) + " names " + std::to_string(names_.size()) + " columns (" +
                      join(names_) + "). Found is " + in_quotes(line) +
                      ". Fields are separated by commas, decimals are written with a point, and a text that contains "
                      "a comma is put between double quotes.");
    // One column whose name and first field have several words, as many of each: blanks were meant to separate them.
    const std::size_t n_words = split(normalize(line), ' ').size();
    if (names_.size() == 1 && rows_.empty() && line[0] != '"' && n_words > 1 &&
        n_words == split(normalize(names_[0]), ' ').size())
      throw UserError(here + "the columns seem to be separated by blanks (" + in_quotes(line) +
                      "); separate them by commas.");
    rows_.push_back(fields);
    lines_.push_back(line_number);
  }

  std::string Table::where(unsigned int row) const
  {
    return path_ + ", line " + std::to_string(line(row));
  }

  bool Table::has(const std::string &name) const
  {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }

  void Table::set_column(const std::string &name, const std::vector<double> &values)
  {
    if (!has(name))
    {
      names_.push_back(name);
      for (auto &row : rows_)
        row.emplace_back();
    }
    for (std::size_t i = 0; i < rows_.size(); ++i)
      rows_[i][column(name)] = to_text(values[i]);
  }

  std::string Table::text_without(const std::string &name) const
  {
    std::string result;
    for (std::size_t j = 0; j < names_.size(); ++j)
      if (names_[j] != name)
      {
        result += names_[j];
        for (const std::vector<std::string> &row : rows_)
          result += "\t" + row[j];
        result += "\n";
      }
    return result;
  }

  std::size_t Table::column(const std::string &name) const
  {
    if (!has(name))
    {
      throw UserError("The table " + in_quotes(path_) + " has no column " + in_quotes(name) +
                      did_you_mean(name, names_) + ". Line " + std::to_string(header_line_) +
                      " names the columns: " + join(names_) + ".");
    }
    return std::find(names_.begin(), names_.end(), name) - names_.begin();
  }

  std::vector<std::string> Table::strings(const std::string &name) const
  {
    const std::size_t j = column(name);
    std::vector<std::string> result;
    for (const std::vector<std::string> &row : rows_)
      result.push_back(row[j]);
    return result;
  }

  std::vector<double> Table::numbers(const std::string &name) const
  {
    const std::size_t j = column(name);
    std::vector<double> result;
    for (unsigned int i = 0; i < n_rows(); ++i)
      result.push_back(parse_number(rows_[i][j], where(i) + ", column " + in_quotes(name)));
    return result;
  }

  void write_csv(const std::string &path, const std::vector<std::string> &names,
                 const std::vector<std::vector<Cell>> &rows)
  {
    std::string text;
    for (std::size_t j = 0; j < names.size(); ++j)
      text += (j == 0 ? "" : ",") + quote_if_needed(names[j]);
    for (const std::vector<Cell> &row : rows)
    {
      AssertDimension(row.size(), names.size());
      text += '\n';
      for (std::size_t j = 0; j < row.size(); ++j)
        text += (j == 0 ? "" : ",") + quote_if_needed(row[j].text);
    }
    write_text_file(path, text + '\n');
  }
} // namespace varfield
