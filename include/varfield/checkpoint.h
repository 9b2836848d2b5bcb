#ifndef varfield_checkpoint_h
#define varfield_checkpoint_h

#include <string>
#include <varfield/vectors.h>

namespace varfield
{
  /// Writes a distributed vector as a CSV table key,value with all digits, rows by key, so that any number of ranks can
  /// read it. Collective over the layout's communicator; the first rank writes, aside first and then renamed.
  void write_vector(const std::string &path, const Layout &layout, const Vector &vector);

  /// Reads it back. Collective; UserError if the file has not exactly the keys of the layout.
  Vector read_vector(const std::string &path, const Layout &layout);
} // namespace varfield

#endif
