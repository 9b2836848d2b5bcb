#include <deal.II/base/mpi.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <varfield/collective.h>
#include <varfield/output.h>
#include <varfield/text.h>

namespace varfield
{
  namespace fs = std::filesystem;

  namespace
  {
    /// The name without a slash at its end.
    fs::path without_slash(const std::string &name)
    {
      const fs::path folder = fs::path(name).lexically_normal();
      return folder.has_filename() ? folder : folder.parent_path();
    }

    /// Whether removing the folder would remove the working folder.
    bool holds_working_folder(const fs::path &folder)
    {
      const fs::path relative = fs::current_path().lexically_relative(fs::weakly_canonical(folder));
      return !relative.empty() && *relative.begin() != "..";
    }

    /// Does something with files on one rank; what goes wrong is thrown on all.
    template <class Error, typename Action>
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
      throw_together<Error>(message, comm);
    }
  } // namespace

  void OutputFolder::check(const OutputSettings &settings, MPI_Comm comm)
  {
    on_root<UserError>(
        comm,
        [&]() -> std::string
        {
          if (trim(settings.directory).empty())
            return "Output/Directory: has to name a folder, but is empty.";
          const fs::path folder = without_slash(settings.directory);
          if (holds_working_folder(folder))
            return "Output/Directory: “" + settings.directory +
                   "” is or holds the folder that the program was started in. Name a folder of its own for the "
                   "results.";
          if (fs::exists(folder) && !fs::is_directory(folder))
            return "Output/Directory: “" + settings.directory + "” exists and is not a folder.";
          if (fs::exists(folder) && !fs::is_empty(folder) && !settings.overwrite)
            return "Output/Directory: the folder “" + settings.directory +
                   "” exists already and is not empty. Choose another name, or set Output/Overwrite to true.";
          if (fs::exists(folder) && !fs::is_empty(folder) && !fs::exists(folder / "summary.json"))
            return "Output/Directory: the folder “" + settings.directory +
                   "” does not look like the results of a run (it has no summary.json), so Output/Overwrite does "
                   "not replace it. "
                   "Choose another name, or remove the folder.";
          const fs::path parent = fs::absolute(folder).lexically_normal().parent_path();
          if (!fs::is_directory(parent))
            return "Output/Directory: the folder “" + parent.string() + "”, in which “" + settings.directory +
                   "” would be made, does not exist. Make it first, or choose another name.";
          if (access(parent.c_str(), W_OK | X_OK) != 0)
            return "Output/Directory: “" + settings.directory + "” cannot be made in the folder “" + parent.string() +
                   "”: " + std::strerror(errno) + ".";
          return "";
        });
  }

  std::string OutputFolder::name(const OutputSettings &settings)
  {
    return without_slash(settings.directory).string();
  }

  void OutputFolder::remove_leftovers(const OutputSettings &settings)
  {
    const fs::path folder       = fs::absolute(name(settings));
    const std::string beginning = folder.filename().string() + ".tmp-";
    std::error_code ignored;
    for (const auto &entry : fs::directory_iterator(folder.parent_path(), ignored))
      if (entry.path().filename().string().rfind(beginning, 0) == 0)
        fs::remove_all(entry.path(), ignored);
  }

  OutputFolder::OutputFolder(const OutputSettings &settings, const SampleGroups &groups)
      : directory_(name(settings)), overwrite_(settings.overwrite), groups_(groups)
  {
    on_root<ComputationError>(groups.world(),
                              [&]() -> std::string
                              {
                                // A name that no other run has taken.
                                unsigned int i = getpid();
                                do
                                  aside_ = directory_ + ".tmp-" + std::to_string(i++);
                                while (!fs::create_directory(aside_));
                                return "";
                              });
    aside_ = dealii::Utilities::MPI::broadcast(groups.world(), aside_);
  }

  void OutputFolder::finish()
  {
    MPI_Barrier(groups_.world());
    on_root<ComputationError>(groups_.world(),
                              [&]() -> std::string
                              {
                                // Another run may have taken the name in the meantime.
                                const std::string wanted = directory_;
                                for (unsigned int i = 2;
                                     !overwrite_ && fs::exists(directory_) && !fs::is_empty(directory_); ++i)
                                  directory_ = wanted + "-" + std::to_string(i);
                                // On the disk before anything that it replaces goes.
                                if (const int folder = open(aside_.c_str(), O_RDONLY); folder >= 0)
                                {
                                  syncfs(folder);
                                  close(folder);
                                }
                                // At no moment is there half of a folder under the name.
                                const std::string old = aside_ + ".old";
                                if (fs::exists(directory_))
                                  fs::rename(directory_, old);
                                fs::rename(aside_, directory_);
                                fs::remove_all(old);
                                return "";
                              });
  }
} // namespace varfield
