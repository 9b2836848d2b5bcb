#include <deal.II/base/mpi.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <numeric>
#include <unistd.h>
#include <varfield/archive.h>
#include <varfield/collective.h>

namespace varfield
{
  namespace
  {
    const std::string magic         = "varfield state 1\n";
    constexpr std::uint64_t longest = 4096; // name of an entry

    /// Places of the keys in ascending order.
    std::vector<std::size_t> ascending(const std::vector<std::uint64_t> &keys)
    {
      std::vector<std::size_t> order(keys.size());
      std::iota(order.begin(), order.end(), std::size_t(0));
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
      return order;
    }

    /// On the first rank the entries of all ranks, one rank after the other; collective.
    template <typename T>
    std::vector<T> on_first_rank(MPI_Comm comm, const std::vector<T> &local)
    {
      std::vector<T> all;
      for (const auto &part : dealii::Utilities::MPI::gather(comm, local))
        all.insert(all.end(), part.begin(), part.end());
      return all;
    }

    template <typename T>
    std::vector<T> sorted(const std::vector<T> &values, const std::vector<std::size_t> &order)
    {
      std::vector<T> result;
      result.reserve(order.size());
      for (const std::size_t i : order)
        result.push_back(values[i]);
      return result;
    }
  } // namespace

  /// On one rank: bytes in and out, with their checksum. Errors of writing are remembered.
  class Archive::File
  {
  public:
    enum Kind : char
    {
      text_entry    = 't',
      numbers_entry = 'n',
      columns_entry = 'c',
      last_entry    = 'e'
    };

    struct Entry
    {
      Kind kind             = last_entry;
      std::uint64_t rows    = 0;
      std::uint64_t columns = 0;
      long position         = 0; ///< of what follows the head
    };

    File(const std::string &name, bool reading) : file_(std::fopen(name.c_str(), reading ? "rb" : "wb"))
    {
      if (file_ == nullptr)
        problem_ = std::strerror(errno);
    }
    ~File()
    {
      if (file_ != nullptr)
        std::fclose(file_);
    }
    File(const File &)            = delete;
    File &operator=(const File &) = delete;

    /// What went wrong first; empty: nothing.
    const std::string &problem() const { return problem_; }

    template <typename T>
    void put(const T *values, std::size_t n)
    {
      if (!problem_.empty())
        return;
      crc_.process_bytes(values, n * sizeof(T));
      if (std::fwrite(values, sizeof(T), n, file_) != n)
        problem_ = std::strerror(errno);
    }

    void put_head(const std::string &name, Kind kind, std::uint64_t rows, std::uint64_t columns)
    {
      const std::uint64_t sizes[4] = {static_cast<std::uint64_t>(kind), name.size(), rows, columns};
      put(sizes, 4);
      put(name.data(), name.size());
    }

    /// To the disk, not only to the system: a power failure must not leave an empty file under the final name.
    void close_written()
    {
      put_head("", last_entry, 0, 0);
      const auto crc = static_cast<std::uint32_t>(crc_.checksum());
      put(&crc, 1);
      if (problem_.empty() && (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0))
        problem_ = std::strerror(errno);
      if (file_ != nullptr && std::fclose(file_) != 0 && problem_.empty())
        problem_ = std::strerror(errno);
      file_ = nullptr;
    }

    template <typename T>
    void get(T *values, std::size_t n)
    {
      if (problem_.empty() && std::fread(values, sizeof(T), n, file_) != n)
        problem_ = "it ends too early";
    }

    /// Whether the last four bytes are the checksum of all others.
    void verify()
    {
      if (!problem_.empty())
        return;
      boost::crc_32_type crc;
      std::vector<char> block(1 << 20), tail;
      while (const std::size_t n = std::fread(block.data(), 1, block.size(), file_))
      {
        tail.insert(tail.end(), block.begin(), block.begin() + static_cast<long>(n));
        if (tail.size() <= sizeof(std::uint32_t))
          continue;
        const std::size_t done = tail.size() - sizeof(std::uint32_t);
        crc.process_bytes(tail.data(), done);
        tail.erase(tail.begin(), tail.begin() + static_cast<long>(done));
      }
      std::uint32_t stored = 0;
      if (tail.size() == sizeof(stored))
        std::memcpy(&stored, tail.data(), sizeof(stored));
      if (tail.size() != sizeof(stored) || stored != crc.checksum())
        problem_ = "it is damaged: its checksum is not that of its content";
      std::rewind(file_);
    }

    void read_index()
    {
      std::string begin(magic.size(), ' ');
      get(begin.data(), begin.size());
      if (problem_.empty() && begin != magic)
        problem_ = "it is no state of varfield, or of another version";
      while (problem_.empty())
      {
        std::uint64_t sizes[4] = {0, 0, 0, 0};
        get(sizes, 4);
        if (problem_.empty() && sizes[1] > longest)
          problem_ = "it is damaged";
        if (!problem_.empty())
          return;
        std::string name(sizes[1], ' ');
        get(name.data(), name.size());
        Entry entry{static_cast<Kind>(sizes[0]), sizes[2], sizes[3], std::ftell(file_)};
        if (entry.kind == last_entry)
          return;
        const std::uint64_t bytes = entry.kind == text_entry      ? entry.rows
                                    : entry.kind == numbers_entry ? 8 * entry.rows * entry.columns
                                                                  : 8 * entry.rows * (entry.columns + 1);
        if (problem_.empty() && std::fseek(file_, static_cast<long>(bytes), SEEK_CUR) != 0)
          problem_ = "it is damaged";
        entries_[name] = entry;
      }
    }

    /// Goes to the content of an entry.
    Entry find(const std::string &name, Kind kind)
    {
      const auto found = entries_.find(name);
      if (found == entries_.end() || found->second.kind != kind)
      {
        problem_ = "“" + name + "” is not in it: it is of another version of the program";
        return {};
      }
      std::fseek(file_, found->second.position, SEEK_SET);
      return found->second;
    }

  private:
    std::FILE *file_ = nullptr;
    boost::crc_32_type crc_;
    std::string problem_;
    std::map<std::string, Entry> entries_;
  };

  Archive::Archive(const SampleGroups &groups, std::string path, bool reading)
      : groups_(groups), path_(std::move(path)), reading_(reading)
  {
    if (reading_ || groups_.is_root())
      file_ = std::make_unique<File>(reading_ ? path_ : path_ + ".tmp", reading_);
  }

  Archive::Archive(Archive &&) noexcept = default;

  Archive::~Archive()
  {
    if (reading_ || !file_)
      return;
    file_.reset();
    std::remove((path_ + ".tmp").c_str());
  }

  Archive Archive::to(const std::string &path, const SampleGroups &groups)
  {
    Archive result(groups, path, false);
    if (result.file_)
      result.file_->put(magic.data(), magic.size());
    return result;
  }

  Archive Archive::from(const std::string &path, const SampleGroups &groups)
  {
    Archive result(groups, path, true);
    if (groups.is_root())
      result.file_->verify();
    // Nothing that is damaged gets any further.
    result.refuse_problems();
    result.file_->read_index();
    result.refuse_problems();
    return result;
  }

  void Archive::refuse_problems() const
  {
    throw_together(file_->problem().empty() ? "" : path_ + ": cannot be read: " + file_->problem() + ".",
                   groups_.world());
  }

  void Archive::in(const std::string &prefix, const std::function<void()> &action)
  {
    const std::string before = prefix_;
    prefix_ += prefix;
    action();
    prefix_ = before;
  }

  void Archive::text(const std::string &name, std::string &value)
  {
    if (reading_)
    {
      const auto entry = file_->find(full(name), File::text_entry);
      value.resize(entry.rows);
      file_->get(value.data(), value.size());
      return refuse_problems();
    }
    if (!file_)
      return;
    file_->put_head(full(name), File::text_entry, value.size(), 1);
    file_->put(value.data(), value.size());
  }

  void Archive::numbers(const std::string &name, Matrix &values)
  {
    if (reading_)
    {
      const auto entry = file_->find(full(name), File::numbers_entry);
      values.resize(static_cast<Index>(entry.rows), static_cast<Index>(entry.columns));
      file_->get(values.data(), static_cast<std::size_t>(values.size()));
      return refuse_problems();
    }
    if (!file_)
      return;
    file_->put_head(full(name), File::numbers_entry, static_cast<std::uint64_t>(values.rows()),
                    static_cast<std::uint64_t>(values.cols()));
    file_->put(values.data(), static_cast<std::size_t>(values.size()));
  }

  void Archive::numbers(const std::string &name, Vector &values)
  {
    Matrix column = values;
    numbers(name, column);
    values = column.reshaped();
  }

  void Archive::numbers(const std::string &name, std::vector<double> &values)
  {
    Matrix column = Eigen::Map<const Vector>(values.data(), static_cast<Index>(values.size()));
    numbers(name, column);
    values.assign(column.data(), column.data() + column.size());
  }

  void Archive::columns(const std::string &name, const Layout &layout, MultiVector &values)
  {
    if (reading_)
      read_columns(name, layout, values);
    else if (groups_.group() == 0)
      write_columns(name, layout, values);
  }

  void Archive::columns(const std::string &name, const Layout &layout, Vector &values)
  {
    MultiVector column = values;
    columns(name, layout, column);
    values = column.reshaped();
  }

  void Archive::columns(const std::string &name, const Layout &layout, SharedBlock &values)
  {
    MultiVector block = *values;
    columns(name, layout, block);
    if (reading_)
      values = std::move(block);
  }

  /// Column after column, so that the first rank holds one of them at a time.
  void Archive::write_columns(const std::string &name, const Layout &layout, const MultiVector &values)
  {
    const auto keys  = on_first_rank(layout.comm(), layout.keys());
    const auto order = ascending(keys);
    if (file_)
    {
      file_->put_head(full(name), File::columns_entry, keys.size(), static_cast<std::uint64_t>(values.cols()));
      file_->put(sorted(keys, order).data(), keys.size());
    }
    for (Index j = 0; j < values.cols(); ++j)
    {
      const auto column = on_first_rank(layout.comm(), std::vector<double>(values.col(j).begin(), values.col(j).end()));
      if (file_)
        file_->put(sorted(column, order).data(), column.size());
    }
  }

  /// Every rank reads the file, and takes what it owns.
  void Archive::read_columns(const std::string &name, const Layout &layout, MultiVector &values)
  {
    const auto entry = file_->find(full(name), File::columns_entry);
    std::vector<std::uint64_t> keys(entry.rows);
    file_->get(keys.data(), keys.size());
    refuse_problems();
    std::vector<std::size_t> places;
    bool fits = static_cast<Index>(keys.size()) == layout.n_global();
    for (const std::uint64_t key : layout.keys())
    {
      const auto found = std::lower_bound(keys.begin(), keys.end(), key);
      fits             = fits && found != keys.end() && *found == key;
      places.push_back(static_cast<std::size_t>(found - keys.begin()));
    }
    throw_together(fits ? "" : path_ + ": is of another mesh or of other fields than this case.", groups_.world());
    values.resize(layout.n_local(), static_cast<Index>(entry.columns));
    std::vector<double> column(keys.size());
    for (Index j = 0; j < values.cols(); ++j)
    {
      file_->get(column.data(), column.size());
      for (Index i = 0; i < values.rows(); ++i)
        values(i, j) = column[places[static_cast<std::size_t>(i)]];
    }
    refuse_problems();
  }

  void Archive::commit()
  {
    std::string problem;
    if (file_)
    {
      file_->close_written();
      problem = file_->problem();
      if (problem.empty() && std::rename((path_ + ".tmp").c_str(), path_.c_str()) != 0)
        problem = std::strerror(errno);
    }
    const int failed = dealii::Utilities::MPI::max(problem.empty() ? 0 : 1, groups_.world());
    problem          = dealii::Utilities::MPI::broadcast(groups_.world(), problem, 0);
    if (failed > 0)
      throw ComputationError(path_ + ": cannot be written: " + problem + ".");
  }
} // namespace varfield
