#ifndef varfield_batch_queue_h
#define varfield_batch_queue_h

#include <cstddef>
#include <mpi.h>
#include <string>

namespace varfield
{
  /// The members of a batch that groups take one after the other, without waiting for each other: a member belongs to
  /// the group that makes its file first. All members but the constructor are local; call them on one rank of each
  /// group.
  class BatchQueue
  {
  public:
    /// Of `n` members. Collective over `world`: its root makes the folder in that of the batch; `part` as in the names
    /// of other files of this part of a job array. ComputationError.
    BatchQueue(const std::string &batch_folder, const std::string &part, std::size_t n, MPI_Comm world);

    /// The next one that nobody has taken, or n.
    std::size_t next();
    void note_end(std::size_t i) { take("ended-" + std::to_string(i)); }
    std::size_t n_ended() const;
    /// Also where no file can be made any more: then the others find that out themselves.
    void stop();
    bool is_stopped() const;
    /// Why no member can be taken any more; empty: nothing is wrong.
    const std::string &problem() const { return problem_; }
    void remove() const;

  private:
    bool take(const std::string &name);

    const std::size_t n_;
    std::string folder_;
    std::size_t next_ = 0;
    bool stopped_     = false;
    std::string problem_;
  };
} // namespace varfield

#endif
