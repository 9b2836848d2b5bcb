#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <varfield/file_lock.h>

namespace varfield
{
  bool FileLock::take(const std::string &path)
  {
    if (file_ >= 0)
      return true;
    file_ = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (file_ < 0 || flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
      return true;
    release();
    return false;
  }

  void FileLock::release()
  {
    if (file_ >= 0)
      close(file_);
    file_ = -1;
  }
} // namespace varfield
