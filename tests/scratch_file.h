#ifndef varfield_tests_scratch_file_h
#define varfield_tests_scratch_file_h

#include <cstdio>
#include <filesystem>
#include <varfield/text.h>

namespace varfield::tests
{
  /// A file in the working folder that lives as long as the object, for all ranks. Collective.
  class ScratchFile
  {
  public:
    ScratchFile(const std::string &name, const std::string &text) : path(std::filesystem::absolute(name).string())
    {
      MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
      if (rank_ == 0)
        write_text_file(path, text);
      MPI_Barrier(MPI_COMM_WORLD);
    }
    ~ScratchFile()
    {
      MPI_Barrier(MPI_COMM_WORLD);
      if (rank_ == 0)
        std::remove(path.c_str());
    }
    ScratchFile(const ScratchFile &)            = delete;
    ScratchFile &operator=(const ScratchFile &) = delete;

    const std::string path;

  private:
    int rank_ = 0;
  };
} // namespace varfield::tests

#endif
