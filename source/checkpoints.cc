#include <deal.II/base/mpi.h>

#include <filesystem>
#include <varfield/checkpoints.h>

namespace varfield
{
  namespace fs = std::filesystem;

  void CheckpointSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter("Folder", folder,
                      "For the state of the run, from which “--resume” goes on; empty: the folder of the results with "
                      "“.checkpoint” after its name. It is removed when the run has come to its end.",
                      dealii::Patterns::Anything());
    prm.add_parameter("Interval", interval,
                      "Seconds between two states written there; 0: after every iteration. The last two are kept.",
                      dealii::Patterns::Double(0.));
    prm.add_parameter("Resume", resume,
                      "Whether to go on from the state of a run that was stopped or killed, where there is one; also "
                      "“--resume” on the command line.");
  }

  Checkpoints::Checkpoints(const SampleGroups &groups, std::string folder, double interval)
      : groups_(groups), folder_(std::move(folder)), interval_(interval)
  {
    if (groups_.is_root())
    {
      std::error_code ignored;
      for (const auto &entry : fs::directory_iterator(folder_, ignored))
        if (entry.path().extension() == ".state")
          newest_ = std::max(newest_, static_cast<unsigned int>(std::atoi(entry.path().stem().string().c_str())));
    }
    newest_ = dealii::Utilities::MPI::broadcast(groups_.world(), newest_, 0);
  }

  bool Checkpoints::is_due() const
  {
    const double passed = std::chrono::duration<double>(Clock::now() - last_).count();
    return dealii::Utilities::MPI::broadcast(groups_.world(), passed >= interval_ ? 1 : 0, 0) > 0;
  }

  void Checkpoints::save(const std::function<void(Archive &)> &keep)
  {
    if (groups_.is_root())
    {
      std::error_code error;
      fs::create_directories(folder_, error);
    }
    // Failed attempts are not tried again at once.
    last_ = Clock::now();
    {
      Archive archive = Archive::to(file(newest_ + 1), groups_);
      keep(archive);
      archive.commit();
    }
    ++newest_;
    if (groups_.is_root() && newest_ > 2)
    {
      std::error_code ignored;
      fs::remove(file(newest_ - 2), ignored);
    }
    last_ = Clock::now();
  }

  Archive Checkpoints::load() const
  {
    std::string message;
    for (unsigned int number = newest_; number > 0 && number + 2 > newest_; --number)
      try
      {
        return Archive::from(file(number), groups_);
      }
      catch (const UserError &error)
      {
        message += (message.empty() ? "" : "\n") + std::string(error.what());
      }
    throw UserError(message);
  }

  void Checkpoints::remove()
  {
    MPI_Barrier(groups_.world());
    newest_ = 0;
    if (!groups_.is_root())
      return;
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
} // namespace varfield
