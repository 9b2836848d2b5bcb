#ifndef varfield_archive_h
#define varfield_archive_h

#include <functional>
#include <memory>
#include <string>
#include <varfield/parallel.h>

namespace varfield
{
  /// The state of a computation: named entries in one file, written by some number of ranks and read back by any other.
  /// One function that is given an archive serves both ways: entries are taken down, or set.
  ///
  /// All members are collective over the world; every rank makes the same calls. What is held by all ranks alike is
  /// written by the first one, distributed blocks by the first group. A file is whole or not there: it is written aside
  /// and renamed by commit(), and ends with a CRC-32 of all that is before it.
  class Archive
  {
  public:
    /// To be written to this file.
    static Archive to(const std::string &path, const SampleGroups &groups);
    /// To be read; UserError that says what is wrong where the file is missing, damaged or of another format.
    static Archive from(const std::string &path, const SampleGroups &groups);
    Archive(Archive &&) noexcept;
    /// Without commit() nothing is left of what was written.
    ~Archive();

    bool is_reading() const { return reading_; }
    /// Names of entries begin with `prefix` in `action`.
    void in(const std::string &prefix, const std::function<void()> &action);

    void text(const std::string &name, std::string &value);
    /// Alike on all ranks.
    void numbers(const std::string &name, Matrix &values);
    void numbers(const std::string &name, Vector &values);
    void numbers(const std::string &name, std::vector<double> &values);
    /// A number, or a truth value; integers below 2⁵³.
    template <typename T>
    void number(const std::string &name, T &value)
    {
      Matrix one = Matrix::Constant(1, 1, static_cast<double>(value));
      numbers(name, one);
      value = static_cast<T>(one(0, 0));
    }
    /// Rows of a layout, alike in all groups; by their keys, so that any partition reads its own. UserError where the
    /// file has other keys.
    void columns(const std::string &name, const Layout &layout, MultiVector &values);
    void columns(const std::string &name, const Layout &layout, Vector &values);
    void columns(const std::string &name, const Layout &layout, SharedBlock &values);

    /// What was written appears under its name. ComputationError where it cannot be written whole, on all ranks.
    void commit();

  private:
    class File;
    Archive(const SampleGroups &groups, std::string path, bool reading);
    std::string full(const std::string &name) const { return prefix_ + name; }
    void refuse_problems() const;
    void write_columns(const std::string &name, const Layout &layout, const MultiVector &values);
    void read_columns(const std::string &name, const Layout &layout, MultiVector &values);

    const SampleGroups &groups_;
    const std::string path_;
    const bool reading_;
    std::string prefix_;
    std::unique_ptr<File> file_; ///< nullptr on ranks that write nothing
  };
} // namespace varfield

#endif
