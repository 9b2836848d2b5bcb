#include <deal.II/base/mpi.h>

#include <filesystem>
#include <varfield/collective.h>
#include <varfield/output.h>

namespace varfield
{
  namespace fs = std::filesystem;

  namespace
  {
    /// Does something with files on one rank; what goes wrong is thrown on all.
    template <typename Action>
    void on_root(MPI_Comm comm, const Action &action)
    {
      std::string message;
      if (dealii::Utilities::MPI::this_mpi_process(comm) == 0)
        try
        {
          message = action();
        }
        catch (const fs::filesystem_error &error)
        {
          message = "Output/Directory: " + std::string(error.what()) + ".";
        }
      throw_together(message, comm);
    }
  } // namespace

  void OutputFolder::check(const OutputSettings &settings, MPI_Comm comm)
  {
    on_root(comm, [&]() -> std::string {
      const fs::path folder(settings.directory);
      if (settings.directory.empty())
        return "Output/Directory: has to name a folder, but is empty.";
      if (fs::exists(folder) && !fs::is_directory(folder))
        return "Output/Directory: “" + settings.directory + "” exists and is not a folder.";
      if (fs::exists(folder) && !fs::is_empty(folder) && !settings.overwrite)
        return "Output/Directory: the folder “" + settings.directory +
               "” exists already and is not empty. Choose another name, or set Output/Overwrite to true.";
      const fs::path parent = fs::absolute(folder).lexically_normal().parent_path();
      if (!fs::is_directory(parent))
        return "Output/Directory: the folder “" + parent.string() + "”, in which “" + settings.directory +
               "” would be made, does not exist.";
      return "";
    });
  }

  OutputFolder::OutputFolder(const OutputSettings &settings, const SampleGroups &groups)
    : directory_(fs::path(settings.directory).lexically_normal().string()), groups_(groups)
  {
    check(settings, groups.world());
    on_root(groups.world(), [&]() -> std::string {
      fs::remove_all(directory_ + ".tmp");
      fs::create_directory(directory_ + ".tmp");
      return "";
    });
  }

  void OutputFolder::finish()
  {
    MPI_Barrier(groups_.world());
    on_root(groups_.world(), [&]() -> std::string {
      fs::remove_all(directory_);
      fs::rename(directory_ + ".tmp", directory_);
      return "";
    });
  }
} // namespace varfield
