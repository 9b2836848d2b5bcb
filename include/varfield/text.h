#ifndef varfield_text_h
#define varfield_text_h

#include <cstdint>
#include <mpi.h>
#include <string>
#include <vector>

/// Reading and writing of small text files, and the pieces of text in them.
namespace varfield
{
  /// The text of a file, without a byte-order mark and with line ends "\n". Rank 0 reads, the other ranks get the text
  /// from it: a file that only the first node of the communicator sees is enough. Collective. UserError, on all ranks
  /// alike, when the file is missing, is a directory, cannot be read or is not text. `what` names the file's role in
  /// that message.
  std::string read_text_file(const std::string &path, MPI_Comm comm, const std::string &what = "file");

  /// Writes a file aside and then renames it, so that `path` is whole at any moment. Local: call it on one rank.
  /// ComputationError with the system's reason when this fails.
  void write_text_file(const std::string &path, const std::string &text);

  /// Whether the text is well-formed UTF-8 (or ASCII).
  bool is_utf8(const std::string &text);

  /// Without white space at both ends.
  std::string trim(const std::string &text);

  /// Letters of ASCII in lower case.
  std::string lower_case(std::string text);

  /// Trimmed, every run of white space inside replaced by one blank: the form in which names are compared.
  std::string normalize(const std::string &name);

  /// The trimmed pieces between the separators; a blank text has none.
  std::vector<std::string> split(const std::string &text, char separator);

  /// The name of the parameter, column or option to blame is `what`. UserError if the text is not one finite number.
  double parse_number(const std::string &text, const std::string &what);

  /// The numbers between commas; none for a blank text.
  std::vector<double> parse_numbers(const std::string &text, const std::string &what);

  /// “1 rank”, “2 ranks”; “2 data” with a plural of its own.
  std::string counted(std::uint64_t n, const std::string &noun, const std::string &plural = "");

  /// CRC-32 of all bytes, in eight hexadecimal digits.
  std::string crc32(const std::string &bytes);

  /// “5 s”, “2 min 5 s”, “3 h 2 min”.
  std::string duration_in_words(double seconds);

  /// With blanks behind it up to a width in letters, of which some have several bytes.
  std::string padded(const std::string &text, std::size_t width);

  /// The shortest text that reads back as the same number.
  std::string to_text(double number);
  /// Rounded to so many significant digits; trailing zeros are left out.
  std::string with_digits(double number, int digits);
  /// Rounded to so many decimals.
  std::string with_decimals(double number, int decimals);
} // namespace varfield

#endif
