#include <deal.II/base/mpi.h>

#include <varfield/collective.h>
#include <varfield/exceptions.h>

namespace varfield
{
  std::string first_message(const std::string &message, MPI_Comm comm)
  {
    if (dealii::Utilities::MPI::max(message.empty() ? 0 : 1, comm) == 0)
      return "";
    for (const auto &text : dealii::Utilities::MPI::all_gather(comm, message))
      if (!text.empty())
        return text;
    return "";
  }

  template <int dim>
  Vector evaluate_together(const std::function<double(const dealii::Point<dim> &)> &function,
                           const std::vector<dealii::Point<dim>> &points, MPI_Comm comm)
  {
    Vector values(points.size());
    std::string message;
    try
    {
      for (std::size_t i = 0; i < points.size(); ++i)
        values(i) = function(points[i]);
    }
    catch (const UserError &error)
    {
      message = error.what();
    }
    throw_together(message, comm);
    return values;
  }

  template Vector evaluate_together<2>(const std::function<double(const dealii::Point<2> &)> &,
                                       const std::vector<dealii::Point<2>> &, MPI_Comm);
  template Vector evaluate_together<3>(const std::function<double(const dealii::Point<3> &)> &,
                                       const std::vector<dealii::Point<3>> &, MPI_Comm);
} // namespace varfield
