#include <deal.II/base/mpi.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <varfield/parallel.h>

namespace varfield
{
  void end_all_ranks(const std::exception &error)
  {
    std::cerr << "Unexpected failure: " << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    std::abort();
  }

  SampleGroups::SampleGroups(MPI_Comm world, unsigned int n_groups) : world_(world), n_groups_(n_groups)
  {
    int n_ranks = 1, rank = 0;
    MPI_Comm_size(world, &n_ranks);
    MPI_Comm_rank(world, &rank);
    if (n_groups == 0 || n_ranks % static_cast<int>(n_groups) != 0)
      throw UserError("The number of sample groups must divide the number of MPI ranks (" + std::to_string(n_ranks) +
                      "); it was given as " + std::to_string(n_groups) + ".");
    const int n_space = n_ranks / static_cast<int>(n_groups);
    group_            = static_cast<unsigned int>(rank / n_space);
    MPI_Comm_split(world, rank / n_space, rank, &space_);
    MPI_Comm_split(world, rank % n_space, rank, &cross_);
  }

  SampleGroups::~SampleGroups()
  {
    for (MPI_Comm *comm : {&cross_, &space_})
      if (*comm != MPI_COMM_SELF)
        MPI_Comm_free(comm);
  }

  bool SampleGroups::is_root() const
  {
    int rank = 0;
    MPI_Comm_rank(world_, &rank);
    return rank == 0;
  }

  void SampleGroups::sum(double *values, std::size_t n) const
  {
    if (n_groups_ > 1)
      sum_over(cross_, values, n);
  }

  double SampleGroups::sum(double value) const
  {
    sum(&value, 1);
    return value;
  }

  void SampleGroups::broadcast(double *values, std::size_t n) const
  {
    if (n_groups_ > 1)
      broadcast_over(cross_, values, n);
  }

  double SampleGroups::broadcast(double value) const
  {
    broadcast(&value, 1);
    return value;
  }

  void SampleGroups::together(const std::function<void()> &action) const
  {
    std::string message;
    try
    {
      action();
    }
    catch (const ComputationError &error)
    {
      message = error.what();
    }
    if (sum(message.empty() ? 0. : 1.) == 0.)
      return;
    if (n_groups_ > 1)
      for (const auto &text : dealii::Utilities::MPI::all_gather(cross_, message))
        if (message.empty())
          message = text;
    throw ComputationError(message);
  }

  void agreed_sum(const SampleGroups &groups, const Layout &layout, Matrix &numbers)
  {
    groups.sum(numbers);
    groups.broadcast(numbers);
    layout.broadcast(numbers.data(), static_cast<std::size_t>(numbers.size()));
  }
} // namespace varfield
