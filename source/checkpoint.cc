#include <deal.II/base/mpi.h>

#include <algorithm>
#include <map>
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
    throw_together<ComputationError>(message, layout.comm());
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
} // namespace varfield
