#include <algorithm>
#include <cctype>
#include <varfield/exceptions.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// Damerau–Levenshtein distance (optimal string alignment): the number of letters inserted, deleted, replaced, and
    /// of neighbours exchanged.
    std::size_t edit_distance(const std::string &a, const std::string &b)
    {
      std::vector<std::vector<std::size_t>> distance(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
      for (std::size_t i = 0; i <= a.size(); ++i)
        for (std::size_t j = 0; j <= b.size(); ++j)
        {
          std::size_t &d = distance[i][j];
          if (i == 0 || j == 0)
          {
            d = i + j;
            continue;
          }
          const bool differ = a[i - 1] != b[j - 1];
          d = std::min({distance[i - 1][j] + 1, distance[i][j - 1] + 1, distance[i - 1][j - 1] + differ});
          if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
            d = std::min(d, distance[i - 2][j - 2] + 1);
        }
      return distance[a.size()][b.size()];
    }

    /// One slip for every three letters is near; something has to be left of the word.
    bool is_near(const std::string &word, const std::string &candidate)
    {
      const std::size_t length = std::max(word.size(), candidate.size());
      const std::size_t slips  = edit_distance(lower_case(word), lower_case(candidate));
      return slips <= std::max<std::size_t>(1, length / 3) && slips < length;
    }
  } // namespace

  std::string nearest(const std::string &word, const std::vector<std::string> &candidates)
  {
    const std::string wanted = lower_case(word);
    const auto best =
        std::min_element(candidates.begin(), candidates.end(),
                         [&](const std::string &a, const std::string &b)
                         { return edit_distance(wanted, lower_case(a)) < edit_distance(wanted, lower_case(b)); });
    return best == candidates.end() ? std::string() : *best;
  }

  std::string did_you_mean(const std::string &word, const std::vector<std::string> &candidates)
  {
    const std::string guess = nearest(word, candidates);
    return !guess.empty() && is_near(word, guess) ? " (did you mean “" + guess + "”?)" : std::string();
  }

  std::string join(const std::vector<std::string> &words, const std::string &separator)
  {
    std::string result;
    for (std::size_t i = 0; i < words.size(); ++i)
      result += (i == 0 ? "" : separator) + words[i];
    return result;
  }
} // namespace varfield
