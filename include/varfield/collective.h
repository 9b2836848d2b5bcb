#ifndef varfield_collective_h
#define varfield_collective_h

#include <deal.II/base/point.h>

#include <functional>
#include <varfield/exceptions.h>
#include <varfield/vectors.h>

namespace varfield
{
  /// The text of the lowest rank whose `message` is not empty, on all ranks; empty if all are. Collective.
  std::string first_message(const std::string &message, MPI_Comm comm);

  /// Throws an error with the first_message() if there is one, on all ranks. What can go wrong on one rank alone has to
  /// end here before the next collective call. Collective.
  template <class Error = UserError>
  void throw_together(const std::string &message, MPI_Comm comm)
  {
    const std::string first = first_message(message, comm);
    if (!first.empty())
      throw Error(first);
  }

  /// A function at the points of each rank; a UserError on one rank is thrown on all. Collective.
  template <int dim>
  Vector evaluate_together(const std::function<double(const dealii::Point<dim> &)> &function,
                           const std::vector<dealii::Point<dim>> &points, MPI_Comm comm);
} // namespace varfield

#endif
