#include <deal.II/base/mpi.h>

#include <filesystem>
#include <varfield/checkpoints.h>
#include <varfield/collective.h>

namespace varfield
{
  namespace fs = std::filesystem;

  void CheckpointSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter("Folder", folder,
                      "For the state of the run, from which “--resume” goes on; empty: the folder of the results with "
                      "“.checkpoint” after its name. It is removed when the run has come to its end.",
                      dealii::Patterns::Anything());
    prm.add_parameter(
        "Interval", interval,
        "Seconds between two states written there, also between two stages after a few; 0: after every iteration. The "
        "last two are kept.",
        dealii::Patterns::Double(0.));
    prm.add_parameter("Resume", resume,
                      "Whether to go on from the state of a run that was stopped or killed, where there is one; also "
                      "“--resume” on the command line.");
  }

  namespace
  {
    const std::string chains_folder = "chains", lock_file = "lock", state_ending = ".state", part_ending = ".part";

    /// Whether a file in a folder of states is of this program; files are written aside, as “.tmp”.
    bool is_own(const fs::path &file)
    {
      const auto extension = (file.extension() == ".tmp" ? file.stem() : file).extension();
      return file == lock_file || file == chains_folder || extension == state_ending || extension == part_ending;
    }
  } // namespace

  bool Checkpoints::exist_in(const std::string &folder)
  {
    std::error_code ignored;
    for (const auto &entry : fs::directory_iterator(folder, ignored))
      if (entry.path().extension() == part_ending || entry.path().filename() == chains_folder)
        return true;
    return newest_in(folder) > 0;
  }

  unsigned int Checkpoints::newest_in(const std::string &folder)
  {
    unsigned int newest = 0;
    std::error_code ignored;
    for (const auto &entry : fs::directory_iterator(folder, ignored))
      if (entry.path().extension() == state_ending)
        newest = std::max(newest, static_cast<unsigned int>(std::atoi(entry.path().stem().string().c_str())));
    return newest;
  }

  Checkpoints::Checkpoints(const SampleGroups &groups, std::string folder, double interval)
      : groups_(groups), folder_(std::move(folder)), interval_(interval)
  {
    std::string message;
    if (groups_.is_root())
    {
      std::error_code ignored;
      for (const auto &entry : fs::directory_iterator(folder_, ignored))
      {
        const std::string name = entry.path().filename().string();
        if (!is_own(name))
          message = "Checkpoint/Folder: “" + folder_ + "” has other files, such as “" + name +
                    "”. A folder for states is the run's alone: name one that does not exist.";
      }
      fs::create_directories(folder_, ignored);
      if (message.empty() && !lock_.take(folder_ + "/" + lock_file))
        message = "Checkpoint/Folder: “" + folder_ +
                  "” is that of a run that goes on, in another process. Wait for its end, or end it.";
      newest_ = newest_in(folder_);
      exist_  = exist_in(folder_);
    }
    throw_together(message, groups_.world());
    exist_  = dealii::Utilities::MPI::broadcast(groups_.world(), exist_ ? 1 : 0, 0) > 0;
    newest_ = dealii::Utilities::MPI::broadcast(groups_.world(), newest_, 0);
  }

  bool Checkpoints::is_due(bool between_stages) const
  {
    constexpr double seconds_between_stages = 5.;
    const double wanted                     = between_stages ? std::min(interval_, seconds_between_stages) : interval_;
    const double passed                     = std::chrono::duration<double>(Clock::now() - last_).count();
    return dealii::Utilities::MPI::broadcast(groups_.world(), passed >= wanted ? 1 : 0, 0) > 0;
  }

  Checkpoints::~Checkpoints()
  {
    // Nothing is left of a run that has kept nothing.
    if (groups_.is_root() && lock_.is_held() && !exist_in(folder_))
      leave();
  }

  void Checkpoints::save(const std::function<void(Archive &)> &keep)
  {
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

  void Checkpoints::clear()
  {
    MPI_Barrier(groups_.world());
    newest_ = 0;
    exist_  = false;
    if (groups_.is_root())
      remove_files();
  }

  void Checkpoints::remove()
  {
    clear();
    if (groups_.is_root())
      leave();
  }

  /// All but the lock.
  void Checkpoints::remove_files()
  {
    std::error_code ignored;
    std::vector<fs::path> own;
    for (const auto &entry : fs::directory_iterator(folder_, ignored))
      if (const std::string name = entry.path().filename().string(); is_own(name) && name != lock_file)
        own.push_back(entry.path());
    for (const fs::path &path : own)
      fs::remove_all(path, ignored);
  }

  void Checkpoints::leave()
  {
    std::error_code ignored;
    fs::remove(folder_ + "/" + lock_file, ignored);
    fs::remove(folder_, ignored);
    lock_.release();
  }

  void FinishedParts::get(const std::string &name, const SampleGroups &groups,
                          const std::function<void(Archive &)> &keep, const std::function<bool()> &compute) const
  {
    const std::string file = folder_ + "/" + name + part_ending;
    bool exists            = groups.is_root() && fs::exists(file);
    exists                 = dealii::Utilities::MPI::broadcast(groups.world(), exists ? 1 : 0, 0) > 0;
    if (exists)
      try
      {
        Archive archive = Archive::from(file, groups);
        std::string key;
        archive.text("key", key);
        if (key == key_)
          return keep(archive);
      }
      catch (const UserError &)
      {
        // A damaged file is as good as none.
      }
    if (!compute())
      return;
    try
    {
      Archive archive = Archive::to(file, groups);
      std::string key = key_;
      archive.text("key", key);
      keep(archive);
      archive.commit();
    }
    catch (const ComputationError &error)
    {
      if (say_)
        say_("  “" + name + "” is not kept for a run that goes on: " + error.what());
    }
  }

  void get_part(const FinishedParts *parts, const std::string &name, const SampleGroups &groups,
                const std::function<void(Archive &)> &keep, const std::function<bool()> &compute)
  {
    if (parts != nullptr)
      parts->get(name, groups, keep, compute);
    else
      compute();
  }
} // namespace varfield
