#ifndef varfield_grid_function_h
#define varfield_grid_function_h

#include <deal.II/base/function.h>

#include <memory>
#include <mpi.h>

namespace varfield
{
  /// A function given by a CSV table with the columns x, y (and z in 3D) and `value`, whose points are all nodes of a
  /// tensor grid, in any order: multilinear inside, constant beyond the grid. Collective; UserError if the points are
  /// no such grid.
  template <int dim>
  std::unique_ptr<dealii::Function<dim>> read_grid_function(const std::string &path, MPI_Comm comm);
} // namespace varfield

#endif
