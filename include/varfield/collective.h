#ifndef varfield_collective_h
#define varfield_collective_h

#include <deal.II/base/point.h>

#include <functional>
#include <varfield/vectors.h>

namespace varfield
{
  /// Throws a UserError with the text of the lowest rank whose `message` is not empty, on all ranks; nothing if all are
  /// empty. What can go wrong on one rank alone has to end here before the next collective call. Collective.
  void throw_together(const std::string &message, MPI_Comm comm);

  /// A function at the points of each rank; a UserError on one rank is thrown on all. Collective.
  template <int dim>
  Vector evaluate_together(const std::function<double(const dealii::Point<dim> &)> &function,
                           const std::vector<dealii::Point<dim>> &points, MPI_Comm comm);
} // namespace varfield

#endif
