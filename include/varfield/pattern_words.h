#ifndef varfield_pattern_words_h
#define varfield_pattern_words_h

#include <string>
#include <vector>

namespace varfield
{
  /// What a deal.II pattern allows, in words: "[Double 0...1 (inclusive)]" is "a number between 0 and 1". `description`
  /// is what dealii::Patterns::PatternBase::description() gives; what is not understood is given back as it is.
  std::string pattern_in_words(const std::string &description);

  /// The words that a selection (also a multiple one) allows; empty for other patterns.
  std::vector<std::string> allowed_words(const std::string &description);
} // namespace varfield

#endif
