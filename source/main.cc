#include <deal.II/base/mpi.h>

#include <iostream>
#include <varfield/command_line.h>
#include <varfield/parallel.h>
#include <varfield/report.h>

int main(int argc, char **argv)
{
  try
  {
    // Without our options: PETSc would take -log_view, -help and the like for its own.
    int n_names  = 1;
    char **names = argv;
    dealii::Utilities::MPI::MPI_InitFinalize mpi(n_names, names, 1);
    varfield::watch_signals();
    const bool speaks = dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0;
    varfield::Command command;
    const int done = varfield::parse_command_line(argc, argv, command, speaks);
    if (done >= 0)
      return done;
    try
    {
      return varfield::execute(command);
    }
    // These two are thrown on all ranks together.
    catch (const varfield::UserError &error)
    {
      if (speaks)
        std::cerr << error.what() << std::endl;
      return varfield::bad_input;
    }
    catch (const varfield::StoppedEarly &error)
    {
      if (speaks)
        std::cerr << error.what() << std::endl;
      return varfield::stopped_early;
    }
    catch (const varfield::ComputationError &error)
    {
      if (speaks)
        std::cerr << error.what() << std::endl;
      return varfield::failure;
    }
    catch (const std::exception &error)
    {
      varfield::end_all_ranks(error);
    }
  }
  catch (const std::exception &error)
  {
    std::cerr << "Unexpected failure: " << error.what() << std::endl;
  }
  return varfield::failure;
}
