#include <deal.II/base/mpi.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <varfield/checkpoint.h>
#include <varfield/collective.h>
#include <varfield/table.h>
#include <varfield/text.h>

namespace varfield
{
  void write_vector(const std::string &path, const Layout &layout, const Vector &vector)
  {
    const auto keys = dealii::Utilities::MPI::gather(layout.comm(), layout.keys());
    const auto values =
        dealii::Utilities::MPI::gather(layout.comm(), std::vector<double>(vector.begin(), vector.end()));
    std::string message;
    if (dealii::Utilities::MPI::this_mpi_process(layout.comm()) == 0)
    {
      std::vector<std::pair<std::uint64_t, double>> sorted;
      sorted.reserve(static_cast<std::size_t>(layout.n_global()));
      for (std::size_t rank = 0; rank < keys.size(); ++rank)
        for (std::size_t i = 0; i < keys[rank].size(); ++i)
          sorted.emplace_back(keys[rank][i], values[rank][i]);
      std::sort(sorted.begin(), sorted.end());
      std::string text = "key,value\n";
      for (const auto &[key, value] : sorted)
        text += Cell(key).text + "," + Cell(value).text + "\n";
      try
      {
        write_text_file(path, text);
      }
      catch (const ComputationError &error)
      {
        message = error.what();
      }
    }
    throw_together(message, layout.comm());
  }

  Vector read_vector(const std::string &path, const Layout &layout)
  {
    const Table table  = Table::read(path, layout.comm());
    const auto keys    = table.strings("key");
    const auto numbers = table.numbers("value");
    std::map<std::string, double> values;
    for (std::size_t i = 0; i < keys.size(); ++i)
      values[keys[i]] = numbers[i];
    Vector result(layout.n_local());
    std::string message;
    if (static_cast<Index>(values.size()) != layout.n_global())
      message = path + ": has " + std::to_string(values.size()) + " unknowns, but the case has " +
                std::to_string(layout.n_global()) + ": it is from another mesh or other fields.";
    for (Index i = 0; i < result.size() && message.empty(); ++i)
    {
      const auto found = values.find(std::to_string(layout.keys()[i]));
      if (found == values.end())
        message = path + ": the unknown with the key " + std::to_string(layout.keys()[i]) +
                  " is missing: the file is from another mesh or other fields.";
      else
        result(i) = found->second;
    }
    throw_together(message, layout.comm());
    return result;
  }

  namespace
  {
    const std::string columns_begin = "varfield columns 1\n";

    /// On the first rank the entries of all ranks, one rank after the other; collective.
    template <typename T>
    std::vector<T> gathered(MPI_Comm comm, const std::vector<T> &local)
    {
      std::vector<T> all;
      for (const auto &part : dealii::Utilities::MPI::gather(comm, local))
        all.insert(all.end(), part.begin(), part.end());
      return all;
    }

    /// Places of the keys in ascending order.
    std::vector<std::size_t> ascending_places(const std::vector<std::uint64_t> &keys)
    {
      std::vector<std::size_t> order(keys.size());
      std::iota(order.begin(), order.end(), std::size_t(0));
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
      return order;
    }

    template <typename T>
    void put(std::ostream &out, const std::vector<T> &values, const std::vector<std::size_t> &order)
    {
      std::vector<T> sorted;
      sorted.reserve(order.size());
      for (const std::size_t i : order)
        sorted.push_back(values[i]);
      out.write(reinterpret_cast<const char *>(sorted.data()), static_cast<std::streamsize>(sorted.size() * sizeof(T)));
    }

    template <typename T>
    std::vector<T> take(std::istream &in, std::size_t n)
    {
      std::vector<T> values(n);
      in.read(reinterpret_cast<char *>(values.data()), static_cast<std::streamsize>(n * sizeof(T)));
      return values;
    }
  } // namespace

  void write_columns(const std::string &path, const Layout &layout, const MultiVector &columns)
  {
    const bool writes = dealii::Utilities::MPI::this_mpi_process(layout.comm()) == 0;
    const auto keys   = gathered(layout.comm(), layout.keys());
    const auto order  = ascending_places(keys);
    std::ofstream out;
    if (writes)
    {
      out.open(path + ".tmp", std::ios::binary);
      const std::uint64_t sizes[2] = {keys.size(), static_cast<std::uint64_t>(columns.cols())};
      out << columns_begin;
      out.write(reinterpret_cast<const char *>(sizes), sizeof(sizes));
      put(out, keys, order);
    }
    for (Index j = 0; j < columns.cols(); ++j)
    {
      const auto values = gathered(layout.comm(), std::vector<double>(columns.col(j).begin(), columns.col(j).end()));
      if (writes)
        put(out, values, order);
    }
    std::string message;
    if (writes)
    {
      out.close();
      std::error_code error;
      if (out)
        std::filesystem::rename(path + ".tmp", path, error);
      if (!out || error)
        message = path + ": cannot be written.";
    }
    if (dealii::Utilities::MPI::max(message.empty() ? 0 : 1, layout.comm()) > 0)
      throw ComputationError(path + ": cannot be written.");
  }

  MultiVector read_columns(const std::string &path, const Layout &layout)
  {
    // Every rank reads what it owns: rows are found by bisection in the keys.
    std::ifstream in(path, std::ios::binary);
    std::string begin(columns_begin.size(), ' '), message;
    in.read(begin.data(), static_cast<std::streamsize>(begin.size()));
    std::uint64_t sizes[2] = {0, 0};
    std::error_code error;
    in.read(reinterpret_cast<char *>(sizes), sizeof(sizes));
    if (!in || begin != columns_begin)
      message = path + ": cannot be read as a file of columns.";
    else if (std::filesystem::file_size(path, error) !=
             columns_begin.size() + sizeof(sizes) + 8 * sizes[0] * (1 + sizes[1]))
      message = path + ": is damaged: it has not the length that its beginning announces.";
    else if (static_cast<Index>(sizes[0]) != layout.n_global())
      message = path + ": has " + std::to_string(sizes[0]) + " rows, but the case has " +
                std::to_string(layout.n_global()) + ": it is from another mesh or other fields.";
    throw_together(message, layout.comm());
    const auto keys = take<std::uint64_t>(in, sizes[0]);
    std::vector<std::size_t> places;
    for (const std::uint64_t key : layout.keys())
    {
      const auto found = std::lower_bound(keys.begin(), keys.end(), key);
      if (found == keys.end() || *found != key)
        message = path + ": the unknown with the key " + std::to_string(key) +
                  " is missing: the file is from another mesh or other fields.";
      places.push_back(static_cast<std::size_t>(found - keys.begin()));
    }
    throw_together(message, layout.comm());
    MultiVector columns(layout.n_local(), static_cast<Index>(sizes[1]));
    for (Index j = 0; j < columns.cols(); ++j)
    {
      const auto values = take<double>(in, sizes[0]);
      for (Index i = 0; i < columns.rows(); ++i)
        columns(i, j) = values[places[static_cast<std::size_t>(i)]];
    }
    throw_together(in ? "" : path + ": ends too early.", layout.comm());
    return columns;
  }
} // namespace varfield
