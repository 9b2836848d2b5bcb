#ifndef varfield_variants_h
#define varfield_variants_h

#include <functional>
#include <varfield/parameter_file.h>
#include <varfield/table.h>

namespace varfield
{
  /// A parameter file with some entries changed.
  struct Variant
  {
    std::string name;
    unsigned int row = 0; ///< of the table
    std::vector<Assignment> changes;
  };

  /// The rows of a table with the column “name” and one for each entry that changes, named by its path as in
  /// “Fields/log T/spde/Correlation length”; an empty cell changes nothing. Names of files in it are relative to it.
  /// `others` are the columns that are no entries. `refuse` gives the reason why a column cannot be an entry here, or
  /// an empty text. UserError that names the line or the column; also for names that are empty or occur twice.
  std::vector<Variant> variants_in(const Table &table, const std::vector<std::string> &others,
                                   const std::function<std::string(const Assignment &entry)> &refuse);
} // namespace varfield

#endif
