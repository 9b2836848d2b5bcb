#include <deal.II/base/mpi.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <varfield/batch_queue.h>
#include <varfield/collective.h>

namespace varfield
{
  namespace fs = std::filesystem;

  BatchQueue::BatchQueue(const std::string &batch_folder, const std::string &part, std::size_t n, MPI_Comm world)
      : n_(n)
  {
    std::string message;
    if (dealii::Utilities::MPI::this_mpi_process(world) == 0)
    {
      folder_ = batch_folder + "/.queue" + part;
      std::error_code error;
      fs::remove_all(folder_, error);
      fs::create_directories(folder_, error);
      if (error)
        message = folder_ + ": cannot be made: " + error.message() + ".";
    }
    throw_together<ComputationError>(message, world);
    folder_ = dealii::Utilities::MPI::broadcast(world, folder_, 0);
  }

  std::size_t BatchQueue::next()
  {
    while (next_ < n_ && !is_stopped())
      if (take("taken-" + std::to_string(next_++)))
        return next_ - 1;
    return n_;
  }

  std::size_t BatchQueue::n_ended() const
  {
    std::size_t n = 0;
    std::error_code ignored;
    for (const auto &entry : fs::directory_iterator(folder_, ignored))
      n += entry.path().filename().string().rfind("ended-", 0) == 0;
    return n;
  }

  void BatchQueue::stop()
  {
    stopped_ = true;
    take("stop");
  }

  bool BatchQueue::is_stopped() const
  {
    std::error_code ignored;
    return stopped_ || fs::exists(folder_ + "/stop", ignored);
  }

  void BatchQueue::remove() const
  {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  bool BatchQueue::take(const std::string &name)
  {
    const int file = open((folder_ + "/" + name).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (file < 0 && errno != EEXIST)
    {
      problem_ = folder_ + "/" + name + ": " + std::strerror(errno);
      stopped_ = true;
    }
    if (file >= 0)
      close(file);
    return file >= 0;
  }
} // namespace varfield
