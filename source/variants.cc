#include <algorithm>
#include <filesystem>
#include <varfield/variants.h>

namespace varfield
{
  namespace
  {
    Assignment entry_of(const Table &table, const std::string &column)
    {
      std::vector<std::string> names;
      for (const std::string &piece : split(column, '/'))
        names.push_back(normalize(piece));
      if (std::find(names.begin(), names.end(), "") != names.end())
        throw UserError("The table “" + table.path() + "”: the column “" + column +
                        "” is no path of an entry. Allowed is “Section/Sub section/Name”.");
      const std::string name = names.back();
      names.pop_back();
      return {names, name, "", "", std::filesystem::path(table.path()).parent_path().string()};
    }
  } // namespace

  std::vector<Variant> variants_in(const Table &table, const std::vector<std::string> &others,
                                   const std::function<std::string(const Assignment &entry)> &refuse)
  {
    std::vector<Variant> variants;
    const auto names = table.strings("name");
    for (unsigned int row = 0; row < table.n_rows(); ++row)
    {
      if (names[row].empty())
        throw UserError(table.where(row) + ": the row has no name.");
      if (std::find(names.begin(), names.begin() + row, names[row]) != names.begin() + row)
        throw UserError(table.where(row) + ": the name “" + names[row] + "” occurs twice.");
      variants.push_back({names[row], row, {}});
    }
    for (const std::string &column : table.names())
    {
      if (column == "name" || std::find(others.begin(), others.end(), column) != others.end())
        continue;
      Assignment change        = entry_of(table, column);
      const std::string reason = refuse(change);
      if (!reason.empty())
        throw UserError("The table “" + table.path() + "”: the column “" + column + "” " + reason);
      for (unsigned int row = 0; row < table.n_rows(); ++row)
        if (const std::string &value = table.text(row, column); !value.empty())
        {
          change.value  = value;
          change.origin = table.where(row);
          variants[row].changes.push_back(change);
        }
    }
    return variants;
  }
} // namespace varfield
