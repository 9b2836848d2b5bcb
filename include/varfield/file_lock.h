#ifndef varfield_file_lock_h
#define varfield_file_lock_h

#include <string>

namespace varfield
{
  /// That a folder is this program's, until the object or the program ends, however that ends. Local: on one rank.
  class FileLock
  {
  public:
    FileLock() = default;
    ~FileLock() { release(); }
    FileLock(const FileLock &)            = delete;
    FileLock &operator=(const FileLock &) = delete;

    /// By a lock on this file, which is made if need be. False where another program has it; true also where the file
    /// system knows no locks.
    bool take(const std::string &path);
    void release();
    bool is_held() const { return file_ >= 0; }

  private:
    int file_ = -1;
  };
} // namespace varfield

#endif
