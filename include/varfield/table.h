#ifndef varfield_table_h
#define varfield_table_h

#include <type_traits>
#include <varfield/exceptions.h>
#include <varfield/text.h>

namespace varfield
{
  /// A table of measurements: comma-separated values (RFC 4180, a quoted text may not span lines), the names of the
  /// columns in the first row, decimal points, `#` before comment lines. Every mistake in the file is a UserError that
  /// names file and line. Every rank holds the whole table.
  class Table
  {
  public:
    /// Collective; rank 0 reads the file. UserError on all ranks alike; `what` says in it which table is missing.
    static Table read(const std::string &path, MPI_Comm comm, const std::string &what = "table");
    /// Local. `path` is the name of the table in messages.
    static Table parse(const std::string &text, const std::string &path);

    const std::string &path() const { return path_; }
    const std::vector<std::string> &names() const { return names_; }
    unsigned int n_rows() const { return rows_.size(); }
    /// The number, counted from 1, of the row's line in the file.
    unsigned int line(unsigned int row) const { return lines_.at(row); }
    /// "wells.csv, line 7", to begin a message about a row with.
    std::string where(unsigned int row) const;

    bool has(const std::string &name) const;
    /// Names and cells but those of one column, in a form of its own.
    std::string text_without(const std::string &name) const;
    /// A column, trimmed. UserError if there is none of this name.
    std::vector<std::string> strings(const std::string &name) const;
    /// One cell of it.
    const std::string &text(std::size_t row, const std::string &name) const { return rows_[row][column(name)]; }
    /// The same as finite numbers; an empty cell, "nan" and "inf" are refused.
    std::vector<double> numbers(const std::string &name) const;
    /// Adds a column, or takes the place of one.
    void set_column(const std::string &name, const std::vector<double> &values);

  private:
    std::size_t column(const std::string &name) const;
    void read_header(const std::string &line, unsigned int line_number);
    void read_row(const std::string &line, unsigned int line_number);

    std::string path_;
    std::vector<std::string> names_;
    std::vector<std::vector<std::string>> rows_;
    std::vector<unsigned int> lines_;
    unsigned int header_line_ = 0;
  };

  /// A cell to write: a text, an integer, or a number with all the digits needed to read it back unchanged.
  struct Cell
  {
    Cell(const std::string &text) : text(text) {}
    Cell(const char *text) : text(text) {}
    template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
    Cell(Number number)
    {
      if constexpr (std::is_floating_point_v<Number>)
        text = to_text(number);
      else
        text = std::to_string(number);
    }

    std::string text;
  };

  /// Writes a file that Table::read reads, aside first and then renamed. Local: call it on one rank. ComputationError
  /// with the reason when writing fails.
  void write_csv(const std::string &path, const std::vector<std::string> &names,
                 const std::vector<std::vector<Cell>> &rows);
} // namespace varfield

#endif
