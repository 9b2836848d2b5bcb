#ifndef varfield_mesh_file_h
#define varfield_mesh_file_h

#include <deal.II/grid/tria.h>

#include <functional>

namespace varfield
{
  /// “(0.5, 1)”.
  template <int dim>
  std::string in_words(const dealii::Point<dim> &point);

  /// Reads quadrilaterals or hexahedra from a file of one of the formats of deal.II, by the ending of its name.
  /// UserError for a file that cannot be read, has other cells, cells that are turned inside out or, unless
  /// `several_parts`, parts that share no face. Local.
  template <int dim>
  void read_mesh_file(const std::string &path, bool several_parts, dealii::Triangulation<dim> &mesh);

  /// What an action that may do anything with a bad file (crash, run for ever, take all memory) does in a child of this
  /// process, of which nothing remains: the message of its UserError, a sentence on how it ended otherwise, or an empty
  /// text. Local; the action must not communicate.
  std::string try_in_child(const std::function<void()> &action, unsigned int seconds);
} // namespace varfield

#endif
