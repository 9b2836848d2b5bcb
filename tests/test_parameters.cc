// ranks: 1 2 3
#include "messages.h"

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <varfield/parameters.h>
#include <varfield/pattern_words.h>
#include <varfield/schema.h>

BOOST_AUTO_TEST_SUITE(parameters)

using namespace varfield;
using varfield::testing::message_of;
namespace Patterns = dealii::Patterns;

std::vector<Assignment> read(const std::string &text)
{
  return read_parameter_text(text, "case.prm", MPI_COMM_WORLD);
}

std::string reading_error(const std::string &text)
{
  return message_of([&] { read(text); });
}

/// Parameters as a program has them: bound members, nested sections, names and texts with unusual characters.
struct Parameters
{
  double spread = 1.5, scale = 1e-12;
  unsigned int rank = 30, seed = 1;
  std::string method = "low rank", title;
  std::vector<double> point{0.25, 0.5};

  void add(dealii::ParameterHandler &prm)
  {
    prm.add_parameter("Title", title, "Free text.");
    prm.enter_subsection("Prior");
    prm.add_parameter("Standard deviation", spread,
                      "The marginal standard deviation σ of the field, in the unit of the field. This sentence is long "
                      "enough to be broken into several lines, since a comment has 100 columns at the most.\n"
                      "A second paragraph.",
                      Patterns::Double(0, 10));
    prm.add_parameter("Point_20 / \"odd\" name", point, "A point.");
    prm.enter_subsection("Robin term");
    prm.add_parameter("Scale", scale, "");
    prm.leave_subsection();
    prm.enter_subsection("Nothing in it");
    prm.leave_subsection();
    prm.leave_subsection();
    prm.enter_subsection("Family");
    prm.add_parameter("Method", method, "", Patterns::Selection("low rank|mean field|full"));
    prm.add_parameter("Rank", rank, "", Patterns::Integer(1));
    prm.add_parameter("Seed", seed, "");
    prm.leave_subsection();
  }
};

struct Declared : Parameters
{
  Declared() { add(prm); }

  std::string error(const std::string &text)
  {
    return message_of([&] { apply_assignments(read(text), prm); });
  }

  dealii::ParameterHandler prm;
};

void write_on_rank_0(const std::string &path, const std::string &text)
{
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0)
    write_text_file(path, text);
  MPI_Barrier(MPI_COMM_WORLD);
}

BOOST_AUTO_TEST_CASE(nearest_names)
{
  BOOST_CHECK_EQUAL(nearest("menatype", {"mean field", "metatype", "low rank"}), "metatype");
  BOOST_CHECK_EQUAL(nearest("word", {}), "");
  BOOST_CHECK_EQUAL(did_you_mean("LOW RNAK", {"mean field", "low rank"}), " (did you mean “low rank”?)");
  BOOST_CHECK_EQUAL(did_you_mean("ab", {"ba", "cd"}), " (did you mean “ba”?)");
  BOOST_CHECK_EQUAL(did_you_mean("x", {}), "");
  BOOST_CHECK_EQUAL(did_you_mean("something else", {"mean field"}), "");
  BOOST_CHECK_EQUAL(join({"a", "b"}, " + "), "a + b");
}

BOOST_AUTO_TEST_CASE(pieces_of_text)
{
  BOOST_TEST(split(" a, b ,,c ", ',') == (std::vector<std::string>{"a", "b", "", "c"}),
             boost::test_tools::per_element());
  BOOST_CHECK(split("  ", ',').empty());
  BOOST_CHECK_EQUAL(normalize("  a \t b "), "a b");
  BOOST_CHECK_EQUAL(parse_number(" +1.5e-3 ", "x"), 1.5e-3);
  BOOST_CHECK_EQUAL(parse_number(".5", "x"), 0.5);
  for (const std::string wrong : {"", "1,5", "nan", "inf", "1e999", "1.0 m", "0x10", "+-1", "-"})
    CHECK_CONTAINS(message_of([&] { parse_number(wrong, "Prior/Scale"); }), "Prior/Scale: ");
  CHECK_CONTAINS(message_of([] { parse_number("1,5", "x"); }), "with a point");
  CHECK_CONTAINS(message_of([] { parse_numbers("1, 2, c", "Box"); }), "Box, number 3 of the list: “c”");
  BOOST_CHECK_EQUAL(parse_numbers("1, 2", "Box").size(), 2);
  for (const double number : {0.1, -1e-300, 1. / 3, 123456789., 5e-324})
    BOOST_CHECK_EQUAL(parse_number(to_text(number), "x"), number);
}

BOOST_AUTO_TEST_CASE(grammar)
{
  const auto assignments = read("# comment\n"
                                "set A  name = 1 # comment\n"
                                "Subsection  Two   words # comment\n"
                                "\tset B=x = y\n"
                                "  set C =\n"
                                "  set D = 1, \\ # comment\n"
                                "     # another\n"
                                "     2, \\\n"
                                "     3\n"
                                "  subsection Inner\n"
                                "  SET E = a\\b\n"
                                "  end\n"
                                "END");
  BOOST_REQUIRE_EQUAL(assignments.size(), 5);
  BOOST_CHECK_EQUAL(assignments[0].path(), "A name");
  BOOST_CHECK_EQUAL(assignments[0].value, "1");
  BOOST_CHECK_EQUAL(assignments[0].origin, "case.prm, line 2");
  BOOST_CHECK_EQUAL(assignments[2].value, "");
  BOOST_CHECK_EQUAL(assignments[3].value, "1, 2, 3");
  BOOST_CHECK_EQUAL(assignments[3].origin, "case.prm, line 6");
}

BOOST_AUTO_TEST_CASE(line_ends_and_byte_order_mark)
{
  write_on_rank_0("windows.prm", "\xEF\xBB\xBFsubsection A\r\n  set b = 1\r\n\tset c = 2\rend\r\n");
  const auto assignments = read_parameter_file("windows.prm", MPI_COMM_WORLD);
  BOOST_REQUIRE_EQUAL(assignments.size(), 2);
  BOOST_CHECK_EQUAL(assignments[1].path() + "=" + assignments[1].value, "A/c=2");
  BOOST_CHECK_EQUAL(assignments[1].origin, "windows.prm, line 3");
}

BOOST_AUTO_TEST_CASE(mistakes_in_the_grammar)
{
  CHECK_CONTAINS(reading_error("set a = 1\nend\n"), "case.prm, line 2: this “end” closes nothing");
  CHECK_CONTAINS(reading_error("\nsubsection A\nsubsection B\nend\n"), "“A” that is opened in line 2 is not closed");
  CHECK_CONTAINS(reading_error("sett a = 1\n"), "line 1: this line is not understood (did you mean “set”?).");
  CHECK_CONTAINS(reading_error("a = 1\n"), "Found is “a = 1”. Allowed are");
  CHECK_CONTAINS(reading_error("set a 1\n"), "“set” needs a name, an equals sign and a value");
  CHECK_CONTAINS(reading_error("set = 1\n"), "“set” needs a name");
  CHECK_CONTAINS(reading_error("subsection\n"), "“subsection” needs a name");
  CHECK_CONTAINS(reading_error("subsection A\nend A\n"), "line 2: “end” has to stand alone");
  CHECK_CONTAINS(reading_error("subsection A\nset b c = 1\nend\nsubsection A\nset b  c = 2\nend"),
                 "case.prm, line 5: the parameter “A/b c” is already set in line 2");
  BOOST_CHECK_EQUAL(read("subsection A\nset b = 1\nend\nset b = 2").size(), 2);
}

BOOST_AUTO_TEST_CASE(files_that_cannot_be_read)
{
  const auto error = [](const std::string &path)
  { return message_of([&] { read_parameter_file(path, MPI_COMM_WORLD); }); };
  CHECK_CONTAINS(error("nowhere.prm"), "The parameter file “nowhere.prm” does not exist");
  CHECK_CONTAINS(error("."), "is a directory");
  CHECK_CONTAINS(error(""), "No name of a parameter file");
  write_on_rank_0("utf16.prm", std::string("\xFF\xFEs\0e\0t\0", 8));
  CHECK_CONTAINS(error("utf16.prm"), "is not a text file");
}

BOOST_AUTO_TEST_CASE(only_rank_0_reads)
{
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  write_on_rank_0("seen.txt", "content");
  BOOST_CHECK_EQUAL(read_text_file(rank == 0 ? "seen.txt" : "unseen.txt", MPI_COMM_WORLD), "content");
  CHECK_CONTAINS(message_of([&] { read_text_file(rank == 0 ? "unseen.txt" : "seen.txt", MPI_COMM_WORLD); }),
                 "“unseen.txt” does not exist");
}

BOOST_AUTO_TEST_CASE(included_files)
{
  write_on_rank_0("base.prm", "set a = 1\nsubsection S\n set b = 1\nend\n");
  write_on_rank_0("case.prm", "subsection T\n include base.prm\nend\ninclude \"base.prm\"\nset a = 2\n");
  const auto assignments = read_parameter_file("./case.prm", MPI_COMM_WORLD);
  BOOST_REQUIRE_EQUAL(assignments.size(), 5);
  BOOST_CHECK_EQUAL(assignments[1].path(), "T/S/b");
  BOOST_CHECK_EQUAL(assignments[1].origin, "base.prm, line 3");
  BOOST_CHECK_EQUAL(*find_value(assignments, {}, "a"), "2");

  write_on_rank_0("loop.prm", "include loop.prm\n");
  CHECK_CONTAINS(message_of([] { read_parameter_file("loop.prm", MPI_COMM_WORLD); }), "includes itself");
  CHECK_CONTAINS(reading_error("\ninclude nowhere.prm"), "(Included from case.prm, line 2.)");
}

BOOST_AUTO_TEST_CASE(overrides_and_find)
{
  auto assignments = read("subsection Two words\nset a b = 1\nend");
  assignments.push_back(parse_override("Two  words/a b = 2=2 "));
  BOOST_CHECK_EQUAL(assignments.back().origin, "--set on the command line");
  BOOST_CHECK_EQUAL(*find_value(assignments, {"Two words"}, "a  b"), "2=2");
  BOOST_CHECK(!find_value(assignments, {"two words"}, "a b"));
  BOOST_CHECK(!find_value(assignments, {}, "a b"));
  for (const std::string wrong : {"Prior/Scale", "=1", "/a=1", "A//b=1", "A/=1"})
    CHECK_CONTAINS(message_of([&] { parse_override(wrong); }), "“" + wrong + "” is not understood");
}

BOOST_FIXTURE_TEST_CASE(values_reach_the_bound_members, Declared)
{
  auto assignments = read("subsection Prior\nset Standard   deviation = 2.5\nset Point_20 / \"odd\" name = 1, 2\n"
                          "subsection Robin term\nset Scale = 3\nend\nend");
  assignments.push_back(parse_override("Prior/Standard deviation=3"));
  apply_assignments(assignments, prm);
  BOOST_CHECK_EQUAL(spread, 3);
  BOOST_CHECK_EQUAL(scale, 3);
  BOOST_CHECK_EQUAL(point[1], 2);
}

BOOST_FIXTURE_TEST_CASE(unknown_names, Declared)
{
  CHECK_CONTAINS(error("subsection Priors\nset Scale = 1\nend"),
                 "case.prm, line 2: the top level has no section “Priors” (did you mean “Prior”?).");
  CHECK_CONTAINS(error("subsection Prior\nset Standart deviation = 1\nend"),
                 "case.prm, line 2: section “Prior” has no parameter “Standart deviation” (did you mean “Standard "
                 "deviation”?).");
  CHECK_CONTAINS(error("subsection Prior\nset Scale = 1\nend"),
                 "There is a parameter of this name in: section “Prior/Robin term”.");
  CHECK_CONTAINS(error("subsection Family\nset Size = 1\nend"), "Its parameters are: Method, Rank, Seed.");
  CHECK_CONTAINS(error("set Prior = 1"), "there it is a section (“subsection Prior”)");
  CHECK_CONTAINS(error("subsection Robin term\nset Scale = 1\nend"),
                 "There is a section of this name in: section “Prior”.");
  CHECK_CONTAINS(error("subsection Title\nset a = 1\nend"), "the top level has no section “Title”");
  CHECK_CONTAINS(error("subsection Prior\nsubsection Nothing in it\nset a = 1\nend\nend"), "has no parameter “a”.");
}

BOOST_FIXTURE_TEST_CASE(values_that_are_not_allowed, Declared)
{
  CHECK_CONTAINS(error("subsection Prior\nset Standard deviation = -1\nend"),
                 "case.prm, line 2: “Prior/Standard deviation” is set to “-1”. Allowed is a number between 0 and 10.");
  CHECK_CONTAINS(error("subsection Family\nset Method = low rnak\nend"),
                 "is set to “low rnak” (did you mean “low rank”?). Allowed is one of: low rank, mean field, full.");
  CHECK_CONTAINS(error("subsection Family\nset Rank = 1.5\nend"), "Allowed is an integer of at least 1.");
  CHECK_CONTAINS(error("subsection Family\nset Seed = -1\nend"), "Allowed is an integer of at least 0.");
  BOOST_CHECK_EQUAL(seed, 1);
  for (const std::string wrong : {"nan", "inf", "1e999", "", "1 2"})
    CHECK_CONTAINS(error("subsection Prior\nset Standard deviation = " + wrong + "\nend"), "Allowed is a number");
  BOOST_CHECK_EQUAL(spread, 1.5);

  // The handler is back at its top level after an error.
  apply_assignments(read("subsection Family\nset Rank = 7\nend"), prm);
  BOOST_CHECK_EQUAL(rank, 7);
}

BOOST_FIXTURE_TEST_CASE(several_mistakes_in_one_report, Declared)
{
  const std::string report = error("set a = 1\nset b = 1\nsubsection Priors\nset c = 1\nset d = 1\nend");
  CHECK_CONTAINS(report, "line 1: ");
  CHECK_CONTAINS(report, "\n\ncase.prm, line 2: ");
  CHECK_CONTAINS(report, "line 4: ");
  // The unknown section is reported once.
  BOOST_CHECK(report.find("line 5: ") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(patterns_in_words)
{
  const auto check = [](const Patterns::PatternBase &pattern, const std::string &words)
  { BOOST_CHECK_EQUAL(pattern_in_words(pattern.description()), words); };
  check(Patterns::Double(), "a number");
  check(Patterns::Double(0), "a number of at least 0");
  check(Patterns::Double(Patterns::Double::min_double_value, 1), "a number of at most 1");
  check(Patterns::Integer(), "an integer");
  check(Patterns::Integer(1, 3), "an integer between 1 and 3");
  check(Patterns::Bool(), "true or false");
  check(Patterns::Selection("a b|c"), "one of: a b, c");
  check(Patterns::MultipleSelection("a|b"), "one or more of: a, b (separated by commas)");
  check(Patterns::Anything(), "any text");
  check(Patterns::FileName(), "the name of a file");
  check(Patterns::DirectoryName(), "the name of a directory");
  check(Patterns::List(Patterns::Double(0), 2, 2), "a list of 2 numbers of at least 0, separated by commas");
  check(Patterns::List(Patterns::Integer(), 1), "a list of at least 1 integers, separated by commas");
  check(Patterns::List(Patterns::List(Patterns::Double()), 0, Patterns::List::max_int_value, ";"),
        "a list of lists of numbers, separated by commas, separated by “;”");
  check(Patterns::Map(Patterns::Anything(), Patterns::Double()),
        "a list of entries “key : value”, where the key is any text and the value is a number, separated by commas");
  check(Patterns::Tuple(",", Patterns::Integer(), Patterns::Anything()),
        "an integer, then any text, separated by commas");
  BOOST_CHECK_EQUAL(pattern_in_words("[Something new]"), "[Something new]");
}

BOOST_FIXTURE_TEST_CASE(template_reads_back_as_the_defaults, Declared)
{
  const auto defaults = parameters_as_json(prm);
  apply_assignments(
      read("set Title = x\nsubsection Prior\nset Standard deviation = 2\nset Point_20 / \"odd\" name = 1,2\nend"), prm);
  BOOST_CHECK(parameters_as_json(prm) != defaults);

  std::ostringstream text;
  print_template(text, prm);
  const auto assignments = read(text.str());
  BOOST_CHECK_EQUAL(assignments.size(), 7);
  apply_assignments(assignments, prm);
  BOOST_CHECK_EQUAL(parameters_as_json(prm), defaults);
  BOOST_CHECK_EQUAL(scale, 1e-12);
  BOOST_CHECK_EQUAL(title, "");
}

BOOST_FIXTURE_TEST_CASE(template_documents, Declared)
{
  std::ostringstream out;
  print_template(out, prm);
  CHECK_CONTAINS(out.str(), "  # The marginal standard deviation σ of the field");
  CHECK_CONTAINS(out.str(), "\n  # A second paragraph.\n  # Allowed: a number between 0 and 10.\n"
                            "  set Standard deviation = 1.5\n");
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);)
    BOOST_CHECK_LE(line.size(), 100 + 1); // one letter of two bytes
  // In the order of declaration.
  BOOST_CHECK_LT(out.str().find("set Method"), out.str().find("set Rank"));
  BOOST_CHECK_LT(out.str().find("subsection Prior"), out.str().find("subsection Family"));
}

BOOST_FIXTURE_TEST_CASE(parameters_that_were_used, Declared)
{
  apply_assignments(read("subsection Family\nset Method = full\nend"), prm);
  const auto json = parameters_as_json(prm);
  BOOST_CHECK_EQUAL(json["Family"]["Method"].get<std::string>(), "full");
  BOOST_CHECK(json["Prior"]["Nothing in it"].is_object());

  Declared other;
  apply_assignments(read(parameters_as_used(prm)), other.prm);
  BOOST_CHECK_EQUAL(parameters_as_json(other.prm), json);
  BOOST_CHECK_EQUAL(other.method, "full");
}

BOOST_FIXTURE_TEST_CASE(old_names, Declared)
{
  const std::vector<RenamedEntry> renamed{{"Spread", "Prior/Standard deviation", ""},
                                          {"*/Old method", "*/Method", ""},
                                          {"Prior/Gone", "", "it is chosen by the program"}};
  const auto warnings = apply_assignments(
      read("set Spread = 2\nsubsection Family\nset Old method = full\nend\nsubsection Prior\nset Gone = 1\nend"), prm,
      renamed);
  BOOST_CHECK_EQUAL(spread, 2.);
  BOOST_CHECK_EQUAL(method, "full");
  BOOST_REQUIRE_EQUAL(warnings.size(), 3);
  BOOST_CHECK_EQUAL(warnings[0], "case.prm, line 1: “Spread” is now called “Prior/Standard deviation”.");
  BOOST_CHECK_EQUAL(warnings[1], "case.prm, line 3: “Family/Old method” is now called “Family/Method”.");
  BOOST_CHECK_EQUAL(warnings[2], "case.prm, line 6: “Prior/Gone” has no effect any more: it is chosen by the program.");

  const std::string twice = "set Spread = 2\nsubsection Prior\nset Standard deviation = 3\nend";
  CHECK_CONTAINS(message_of([&] { apply_assignments(read(twice), prm, renamed); }),
                 "case.prm, line 1: “Spread” is the old name of “Prior/Standard deviation”, which is set as well "
                 "(case.prm, line 3).");
  // Of the old name the value is checked as that of the new one.
  CHECK_CONTAINS(message_of([&] { apply_assignments(read("set Spread = wide"), prm, renamed); }),
                 "“Prior/Standard deviation” is set to “wide”");
}

BOOST_FIXTURE_TEST_CASE(json_is_read_as_a_parameter_file, Declared)
{
  const auto assignments = read_json_text(
      R"({"$schema": "x.json", "Title": "A  case", "Prior": {"Standard deviation": 2.5, "Point_20 / \"odd\" name": [1, 0.125]},
          "Family": {"Method": "full", "Rank": 7}})",
      "folder/case.json");
  apply_assignments(assignments, prm);
  BOOST_CHECK_EQUAL(title, "A  case");
  BOOST_CHECK_EQUAL(spread, 2.5);
  BOOST_CHECK_EQUAL(point[1], 0.125);
  BOOST_CHECK_EQUAL(method, "full");
  BOOST_CHECK_EQUAL(rank, 7);
  BOOST_CHECK_EQUAL(assignments[0].folder, "folder");

  // What a run has used, read back.
  Declared other;
  apply_assignments(read_json_text(parameters_as_json(prm).dump(), "used.json"), other.prm);
  BOOST_CHECK_EQUAL(parameters_as_json(other.prm), parameters_as_json(prm));
}

BOOST_AUTO_TEST_CASE(mistakes_in_json)
{
  const auto error = [](const std::string &text) { return message_of([&] { read_json_text(text, "case.json"); }); };
  CHECK_CONTAINS(error("{\"a\": 1,\n \"b\" 2}"), "case.json: is no JSON: parse error at line 2");
  CHECK_CONTAINS(error("[1]"), "is an object {…} of sections, but found is one array");
  CHECK_CONTAINS(error(R"({"a": 1, "a": 2})"), "“a” occurs twice");
  CHECK_CONTAINS(error(R"({"s": {"a b": 1, "a  b": 2}})"), "case.json: s/a b: occurs twice");
  CHECK_CONTAINS(error(R"({"s": {"a": null}})"), "case.json: s/a: the value is null");
  CHECK_CONTAINS(error(R"({"a": [[1], [2]]})"), "an array in an array");
  CHECK_CONTAINS(error(R"({"": 1})"), "a name is empty");
  std::string deep;
  for (int i = 0; i < 1000; ++i)
    deep += "{\"a\":";
  CHECK_CONTAINS(error(deep + "1" + std::string(1000, '}')), "nested too deeply");
  error(std::string(100000, '['));
}

BOOST_FIXTURE_TEST_CASE(schema_for_editors, Declared)
{
  const auto schema = json_schema(prm, {});
  const auto &prior = schema["properties"]["Prior"];
  BOOST_CHECK_EQUAL(schema["$schema"].get<std::string>(), "http://json-schema.org/draft-07/schema#");
  BOOST_CHECK(prior["additionalProperties"] == false);
  const auto &deviation = prior["properties"]["Standard deviation"];
  BOOST_CHECK_EQUAL(deviation["type"].get<std::string>(), "number");
  BOOST_CHECK_EQUAL(deviation["minimum"].get<double>(), 0.);
  BOOST_CHECK_EQUAL(deviation["maximum"].get<double>(), 10.);
  CHECK_CONTAINS(deviation["description"].get<std::string>(), "The marginal standard deviation");
  const auto &choice = schema["properties"]["Family"]["properties"]["Method"]["enum"];
  BOOST_CHECK(std::find(choice.begin(), choice.end(), "full") != choice.end());

  // Subsections of any name.
  const auto open = json_schema(prm, {"Prior"});
  BOOST_CHECK(open["properties"]["Prior"]["additionalProperties"].is_object());
}

BOOST_AUTO_TEST_CASE(nothing_declared)
{
  dealii::ParameterHandler prm;
  BOOST_CHECK_EQUAL(parameters_as_used(prm), "");
  CHECK_CONTAINS(message_of([&] { apply_assignments(read("set a = 1"), prm); }), "the top level has no parameter “a”.");
}

BOOST_AUTO_TEST_SUITE_END()
