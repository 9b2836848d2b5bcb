#ifndef varfield_exceptions_h
#define varfield_exceptions_h

#include <stdexcept>
#include <string>
#include <vector>

namespace varfield
{
  /// A mistake in what the user gave: one paragraph that names the file and line (or the parameter), what was found and
  /// what is allowed. The program prints it and ends with exit code 2. Must be thrown on all ranks together.
  class UserError : public std::runtime_error
  {
  public:
    using std::runtime_error::runtime_error;
  };

  /// A computation that cannot go on (a matrix that cannot be factorised, no draw that can be solved); exit code 1.
  class ComputationError : public std::runtime_error
  {
  public:
    using std::runtime_error::runtime_error;
  };

  /// The run was told to stop before it had found anything; exit code 3.
  class StoppedEarly : public ComputationError
  {
  public:
    using ComputationError::ComputationError;
  };

  /// The candidate with the smallest edit distance to `word` (ignoring case); empty if there are no candidates.
  std::string nearest(const std::string &word, const std::vector<std::string> &candidates);

  /// " (did you mean “nearest”?)" or an empty string when nothing is near.
  std::string did_you_mean(const std::string &word, const std::vector<std::string> &candidates);

  /// "a, b, c".
  std::string join(const std::vector<std::string> &words, const std::string &separator = ", ");
} // namespace varfield

#endif
