// ranks: 1 2 3
#include "messages.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <limits>
#include <unistd.h>
#include <varfield/table.h>

using namespace varfield;
using varfield::testing::message_of;

namespace
{
  Table parse(const std::string &text)
  {
    return Table::parse(text, "wells.csv");
  }

  std::string error(const std::string &text)
  {
    return message_of([&] { parse(text); });
  }

  /// The complaint about the numbers of column x.
  std::string error_in_numbers(const std::string &text)
  {
    return message_of([&] { parse(text).numbers("x"); });
  }
} // namespace

BOOST_AUTO_TEST_SUITE(table)

BOOST_AUTO_TEST_CASE(columns_by_name)
{
  const Table table = parse("# source\n\n name , x,\"head, m\"\n# comment\nw1, 1.5 ,-2e3\n\"a \"\"b\"\", c\",2,3\n");
  BOOST_CHECK_EQUAL(table.n_rows(), 2);
  BOOST_CHECK_EQUAL(join(table.names(), "|"), "name|x|head, m");
  BOOST_CHECK(table.has("x") && !table.has("X"));
  BOOST_CHECK_EQUAL(table.numbers("x")[0], 1.5);
  BOOST_CHECK_EQUAL(table.numbers("head, m")[0], -2000);
  BOOST_CHECK_EQUAL(table.strings("name")[1], "a \"b\", c");
  BOOST_CHECK_EQUAL(table.line(1), 6);
  BOOST_CHECK_EQUAL(table.where(0), "wells.csv, line 5");
}

BOOST_AUTO_TEST_CASE(empty_fields)
{
  const Table table = parse("name,x\n,1\n\"\",2\n");
  BOOST_CHECK_EQUAL(table.n_rows(), 2);
  BOOST_CHECK_EQUAL(join(table.strings("name")), ", ");
  CHECK_CONTAINS(error_in_numbers("x,y\n,1\n"), "wells.csv, line 2, column “x”: a number is needed");
}

BOOST_AUTO_TEST_CASE(numbers_that_are_not_finite)
{
  CHECK_CONTAINS(error_in_numbers("x\n1\nabc\n"), "wells.csv, line 3, column “x”: “abc” is not a finite number");
  for (const std::string wrong : {"nan", "NaN", "inf", "-inf", "1e999", "1.5 m", "1.0d0"})
    CHECK_CONTAINS(error_in_numbers("x\n" + wrong + "\n"), "line 2, column “x”: “" + wrong + "”");
}

BOOST_AUTO_TEST_CASE(other_separators)
{
  CHECK_CONTAINS(error("x;y\n1;2\n"), "wells.csv, line 1: the columns seem to be separated by semicolons");
  CHECK_CONTAINS(error("# a\nx\ty\n1\t2\n"), "wells.csv, line 2: the columns seem to be separated by tabs");
  CHECK_CONTAINS(error("x y\n1 2\n"), "line 2: the columns seem to be separated by blanks");
  CHECK_CONTAINS(error("x,y\n1,5,2,5\n"),
                 "line 2: 4 fields are found, but the header in line 1 names 2 columns (x, y)");
  CHECK_CONTAINS(error("x,y\n1,5,2,5\n"), "decimals are written with a point");
  CHECK_CONTAINS(error_in_numbers("x,y\n\"1,5\",\"2,5\"\n"), "“1,5” is not a finite number (decimals are written");
}

BOOST_AUTO_TEST_CASE(wrong_shapes)
{
  CHECK_CONTAINS(error(""), "is empty");
  CHECK_CONTAINS(error("# only a comment\n"), "is empty");
  CHECK_CONTAINS(error("x,y\n"), "has no rows of data, only the names of the columns in line 1");
  CHECK_CONTAINS(error("x,y\n1,2\n1\n"), "wells.csv, line 3: 1 fields");
  CHECK_CONTAINS(error("x,y,x\n1,2,3\n"), "two columns have the name “x”");
  CHECK_CONTAINS(error("x,,y\n1,2,3\n"), "column 2 has no name");
  CHECK_CONTAINS(error("# x,y\n1,2\n3,4\n"), "line 2: numbers are found where the names");
  CHECK_CONTAINS(error("x,y\n\"a,2\n"), "line 2: a quote is opened but not closed");
  CHECK_CONTAINS(message_of([] { parse("depth,head\n1,2\n").numbers("heads"); }),
                 "has no column “heads” (did you mean “head”?). Line 1 names the columns: depth, head.");
}

BOOST_AUTO_TEST_CASE(write_and_read)
{
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const std::vector<std::string> texts{"plain", "with, comma", "with \"quotes\"", " blanks ", "# no comment", ""};
  const std::vector<double> numbers{0.1, 1. / 3, -1e-300, std::numeric_limits<double>::max(), 5e-324, 0};
  std::vector<std::vector<Cell>> rows;
  for (unsigned int i = 0; i < texts.size(); ++i)
    rows.push_back({texts[i], numbers[i], i});
  if (rank == 0)
    write_csv("written.csv", {"text, quoted", "number", "count"}, rows);
  MPI_Barrier(MPI_COMM_WORLD);

  const Table table = Table::read("written.csv", MPI_COMM_WORLD);
  BOOST_TEST(table.strings("text, quoted") == texts, boost::test_tools::per_element());
  BOOST_TEST(table.numbers("number") == numbers, boost::test_tools::per_element());
  BOOST_CHECK_EQUAL(table.strings("count")[5], "5");
  for (const auto &entry : std::filesystem::directory_iterator("."))
    BOOST_CHECK_NE(entry.path().extension(), ".tmp");
  MPI_Barrier(MPI_COMM_WORLD); // before files are written again
}

BOOST_AUTO_TEST_CASE(windows_file)
{
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0)
    write_text_file("windows.csv", "\xEF\xBB\xBFx,y\r\n1,2\r\n\r\n3,4\r\n");
  MPI_Barrier(MPI_COMM_WORLD);
  const Table table = Table::read("windows.csv", MPI_COMM_WORLD);
  BOOST_CHECK_EQUAL(table.numbers("x")[1] + table.numbers("y")[1], 7);
  BOOST_CHECK_EQUAL(table.line(1), 4);
}

BOOST_AUTO_TEST_CASE(files_that_cannot_be_used)
{
  CHECK_CONTAINS(message_of([] { Table::read("nowhere.csv", MPI_COMM_WORLD); }),
                 "The table “nowhere.csv” does not exist");
  CHECK_CONTAINS(message_of<ComputationError>([] { write_csv("no/such/folder/x.csv", {"a"}, {{1}}); }),
                 "Cannot write the file “no/such/folder/x.csv”: No such file or directory.");
}

BOOST_AUTO_TEST_CASE(full_disk)
{
  // Linux has a file that is always full.
  if (std::filesystem::exists("/dev/full"))
  {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    const std::string path = "full" + std::to_string(rank) + ".csv";
    std::filesystem::remove(path);
    const std::string aside = path + "." + std::to_string(getpid()) + ".tmp";
    std::filesystem::remove(aside);
    std::filesystem::create_symlink("/dev/full", aside);
    CHECK_CONTAINS(message_of<ComputationError>([&] { write_csv(path, {"a"}, {{1}}); }), "No space left on device");
    BOOST_CHECK(!std::filesystem::exists(path));
  }
}

BOOST_AUTO_TEST_SUITE_END()
