#include <algorithm>
#include <array>
#include <boost/crc.hpp>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <unistd.h>
#include <varfield/exceptions.h>
#include <varfield/text.h>

namespace varfield
{
  bool is_utf8(const std::string &text)
  {
    // The JSON library checks the encoding of what it writes.
    try
    {
      nlohmann::json(text).dump();
      return true;
    }
    catch (const nlohmann::json::exception &)
    {
      return false;
    }
  }

  namespace
  {
    const char *const blanks = " \t\n\r\v\f";

    std::string with_unix_line_ends(const std::string &text)
    {
      std::string result;
      for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] != '\r')
          result += text[i];
        else if (i + 1 == text.size() || text[i + 1] != '\n')
          result += '\n';
      return result;
    }

    void refuse_other_encodings(const std::string &text, const std::string &subject)
    {
      if (is_utf8(text))
        return;
      std::istringstream lines(text);
      unsigned int number = 1;
      for (std::string line; std::getline(lines, line) && is_utf8(line); ++number)
        ;
      throw UserError(subject + "is not a text file in UTF-8 or ASCII: line " + std::to_string(number) +
                      " has letters in another encoding (Latin-1?). Convert it, for example with “iconv -f latin1 -t "
                      "utf-8”.");
    }

    /// On one rank; throws.
    std::string read_here(const std::string &path, const std::string &what)
    {
      const std::string subject = "The " + what + " “" + path + "” ";
      if (path.empty())
        throw UserError("No name of a " + what + " is given.");
      std::error_code no_throw;
      if (!std::filesystem::exists(path, no_throw))
        throw UserError(subject + "does not exist (looked for in " + std::filesystem::current_path().string() + ").");
      if (std::filesystem::is_directory(path, no_throw))
        throw UserError(subject + "is a directory; a text file is needed.");

      std::ifstream file(path, std::ios::binary);
      std::stringstream content;
      content << file.rdbuf();
      if (!file.is_open() || file.bad())
        throw UserError(subject + "cannot be read: " + std::strerror(errno) + ".");

      std::string text = content.str();
      if (text.find('\0') != std::string::npos)
        throw UserError(subject +
                        "is not a text file in UTF-8 or ASCII (it contains zero bytes: UTF-16, or binary data?).");
      if (text.compare(0, 3, "\xEF\xBB\xBF") == 0)
        text.erase(0, 3);
      text = with_unix_line_ends(text);
      refuse_other_encodings(text, subject);
      return text;
    }

    void broadcast(std::string &text, MPI_Comm comm)
    {
      unsigned long long size = text.size();
      MPI_Bcast(&size, 1, MPI_UNSIGNED_LONG_LONG, 0, comm);
      text.resize(size);
      const std::size_t largest_message = 1 << 30;
      for (std::size_t begin = 0; begin < size; begin += largest_message)
        MPI_Bcast(&text[begin], static_cast<int>(std::min<std::size_t>(largest_message, size - begin)), MPI_CHAR, 0,
                  comm);
    }
  } // namespace

  std::string read_text_file(const std::string &path, MPI_Comm comm, const std::string &what)
  {
    int rank = 0, failed = 0;
    MPI_Comm_rank(comm, &rank);
    std::string text;
    if (rank == 0)
      try
      {
        text = read_here(path, what);
      }
      catch (const std::exception &error)
      {
        text   = error.what();
        failed = 1;
      }
    MPI_Bcast(&failed, 1, MPI_INT, 0, comm);
    broadcast(text, comm);
    if (failed)
      throw UserError(text);
    return text;
  }

  void write_text_file(const std::string &path, const std::string &text)
  {
    // Two processes may write the same file, parts of a batch for example.
    const std::string aside = path + "." + std::to_string(getpid()) + ".tmp";
    errno                   = 0;
    std::ofstream file(aside, std::ios::binary | std::ios::trunc);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    file.close();
    if (!file || std::rename(aside.c_str(), path.c_str()) != 0)
    {
      const std::string reason = errno != 0 ? std::strerror(errno) : "unknown reason";
      std::remove(aside.c_str());
      throw ComputationError("Cannot write the file “" + path + "”: " + reason + ".");
    }
  }

  std::string trim(const std::string &text)
  {
    const std::size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string::npos)
      return std::string();
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
  }

  std::string lower_case(std::string text)
  {
    for (char &c : text)
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  }

  std::string normalize(const std::string &name)
  {
    std::istringstream words(name);
    std::string result, word;
    while (words >> word)
      result += (result.empty() ? "" : " ") + word;
    return result;
  }

  std::vector<std::string> split(const std::string &text, char separator)
  {
    std::vector<std::string> pieces;
    if (trim(text).empty())
      return pieces;
    for (std::size_t begin = 0; begin <= text.size();)
    {
      const std::size_t end = std::min(text.find(separator, begin), text.size());
      pieces.push_back(trim(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    return pieces;
  }

  double parse_number(const std::string &text, const std::string &what)
  {
    std::string digits = trim(text);
    if (digits.empty())
      throw UserError(what + ": a number is needed, but the text is empty.");
    if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-')
      digits.erase(0, 1);

    double number      = 0;
    const char *end    = digits.data() + digits.size();
    const auto outcome = std::from_chars(digits.data(), end, number);
    if (outcome.ec == std::errc::result_out_of_range && outcome.ptr == end)
      throw UserError(what + ": “" + trim(text) + "” is too large or too small for a double-precision number.");
    if (outcome.ec == std::errc() && outcome.ptr == end && std::isfinite(number))
      return number;
    const bool has_comma = digits.find_first_not_of("+-0123456789,eE") == std::string::npos;
    throw UserError(what + ": “" + trim(text) + "” is not a finite number" +
                    (has_comma ? " (decimals are written with a point, not with a comma)." : "."));
  }

  std::vector<double> parse_numbers(const std::string &text, const std::string &what)
  {
    std::vector<double> numbers;
    const std::vector<std::string> pieces = split(text, ',');
    for (std::size_t i = 0; i < pieces.size(); ++i)
      numbers.push_back(parse_number(pieces[i], what + ", number " + std::to_string(i + 1) + " of the list"));
    return numbers;
  }

  std::string counted(std::uint64_t n, const std::string &noun, const std::string &plural)
  {
    return std::to_string(n) + " " + (n == 1 ? noun : plural.empty() ? noun + "s" : plural);
  }

  std::string crc32(const std::string &bytes)
  {
    boost::crc_32_type crc;
    crc.process_bytes(bytes.data(), bytes.size());
    std::ostringstream text;
    text << std::hex << std::setw(8) << std::setfill('0') << crc.checksum();
    return text.str();
  }

  std::string duration_in_words(double seconds)
  {
    const auto s = static_cast<long>(seconds);
    return s < 60     ? std::to_string(s) + " s"
           : s < 3600 ? std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s"
                      : std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min";
  }

  std::string padded(const std::string &text, std::size_t width)
  {
    const auto letters =
        static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    return text + std::string(width > letters ? width - letters : 0, ' ');
  }

  std::string to_text(double number)
  {
    std::array<char, 32> buffer;
    const auto outcome = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
    return std::string(buffer.data(), outcome.ptr);
  }

  std::string with_digits(double number, int digits)
  {
    std::ostringstream out;
    out << std::setprecision(digits) << number;
    return out.str();
  }

  std::string with_decimals(double number, int decimals)
  {
    std::ostringstream out;
    out << std::fixed << std::setprecision(decimals) << number;
    return out.str();
  }
} // namespace varfield
