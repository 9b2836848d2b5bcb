// ranks: 1 2 3
#include "messages.h"

#include <deal.II/base/numbers.h>

#include <boost/test/unit_test.hpp>
#include <iostream>
#include <sstream>
#include <varfield/expression.h>

using namespace varfield;
using varfield::testing::message_of;

namespace
{
  std::string error(const std::string &text)
  {
    return message_of([&] { Expression<2>(text, "Physics/Source"); });
  }
} // namespace

BOOST_AUTO_TEST_SUITE(expression)

BOOST_AUTO_TEST_CASE(values)
{
  const Expression<2> plane("x + 2*y + pi", "test");
  BOOST_CHECK_CLOSE(plane.value({1, 2}), 5 + dealii::numbers::PI, 1e-12);
  const Expression<3> space("x < 0.5 ? z^2 : 1e5*exp(-y)", "test");
  BOOST_CHECK_CLOSE(space.value({0, 0, 3}), 9, 1e-12);
  BOOST_CHECK_CLOSE(space.value({1, 0, 3}), 1e5, 1e-12);
  BOOST_CHECK_EQUAL(Expression<2>("if (x == 1 && y >= 2, min(2, max(1, 0.5)), 3)", "test").value({1, 2}), 1);
  BOOST_CHECK_EQUAL(Expression<2>("(x != 1) + (y <= 2)", "test").value({1, 2}), 1);
  BOOST_CHECK_EQUAL(Expression<2>().value({1, 2}), 0);
  BOOST_CHECK_EQUAL(Expression<2>(" x ", "test").text(), "x");
}

BOOST_AUTO_TEST_CASE(copies_share_the_parser)
{
  std::vector<Expression<2>> expressions(2);
  {
    const Expression<2> original("x*y", "test");
    expressions[1] = original;
  }
  BOOST_CHECK_EQUAL(expressions[1].value({2, 3}), 6);
}

BOOST_AUTO_TEST_CASE(constants)
{
  BOOST_CHECK(Expression<2>("2*exp(pi) + 1e5", "test").is_constant());
  BOOST_CHECK(Expression<2>("max(1, 2)", "test").is_constant());
  BOOST_CHECK(!Expression<2>("2*y", "test").is_constant());
  BOOST_CHECK(!Expression<2>("-x^2", "test").is_constant());
  BOOST_CHECK(!Expression<3>("2e3*z", "test").is_constant());
}

BOOST_AUTO_TEST_CASE(texts_that_cannot_be_parsed)
{
  CHECK_CONTAINS(error("sin(q)"), "Physics/Source: the expression “sin(q)” cannot be used: Unexpected token \"q\"");
  CHECK_CONTAINS(error("x + z"), "Unexpected token \"z");
  CHECK_CONTAINS(error("x + z"), "The variables are x, y;");
  CHECK_CONTAINS(error("(x"), "Missing parenthesis");
  CHECK_CONTAINS(error("x +"), "Physics/Source");
  CHECK_CONTAINS(error("2 x"), "Unexpected variable \"x\" found at position 2. The variables");
  CHECK_CONTAINS(error("sin(x, y)"), "Too many parameters");
  CHECK_CONTAINS(error("cosx(1)"), "Unexpected token");
  CHECK_CONTAINS(error("x, y"), "a comma is found outside of the arguments");
  CHECK_CONTAINS(error("1,5*x"), "a comma is found outside of the arguments");
  CHECK_CONTAINS(error("2*(1,5)"), "a comma is found outside of the arguments");
  CHECK_CONTAINS(error("if(x=1, 2, 3)"), "“=” is found; a comparison is written “==”");
  CHECK_CONTAINS(error("  "), "the text is empty");
  CHECK_CONTAINS(error("x; y"), "without “;”");
  CHECK_CONTAINS(error("x + rand()"), "random numbers are not allowed");
}

BOOST_AUTO_TEST_CASE(nothing_is_printed)
{
  std::ostringstream captured;
  std::streambuf *const original = std::cerr.rdbuf(captured.rdbuf());
  error("sin(q)");
  std::cerr.rdbuf(original);
  BOOST_CHECK_EQUAL(captured.str(), "");
}

BOOST_AUTO_TEST_CASE(results_that_are_not_finite)
{
  const Expression<2> pole("1/x", "Physics/Source");
  BOOST_CHECK_EQUAL(pole.value({2, 0}), 0.5);
  CHECK_CONTAINS(message_of(
                     [&] {
                       pole.value({0, 0.25});
                     }),
                 "Physics/Source: the expression “1/x” is infinite at the point (0, 0.25)");
  CHECK_CONTAINS(message_of(
                     [] {
                       Expression<2>("sqrt(-1-x)", "S").value({0, 0});
                     }),
                 "is not a number (nan) at the point (0, 0)");
  // Also where deal.II could have looked first, at the origin: the text is fine there.
  BOOST_CHECK_EQUAL(Expression<2>("log(x)", "S").value({1, 0}), 0);
}

BOOST_AUTO_TEST_CASE(boundary_maps)
{
  const auto map = parse_boundary_map("left : 0; 2: x > 1 ? 2 : 3; all: field(boundary head);", "Physics/Dirichlet");
  BOOST_REQUIRE_EQUAL(map.size(), 3);
  BOOST_CHECK_EQUAL(map[0].first + "|" + map[0].second, "left|0");
  BOOST_CHECK_EQUAL(map[1].second, "x > 1 ? 2 : 3");
  BOOST_CHECK_EQUAL(map[2].second, "field(boundary head)");
  BOOST_CHECK(parse_boundary_map("  ", "P").empty());
  for (const std::string wrong : {"left", "left:", ": 0", "left: 0;; right: 1", ";"})
    CHECK_CONTAINS(message_of([&] { parse_boundary_map(wrong, "Physics/Dirichlet"); }),
                   "Physics/Dirichlet: the entry “");
  CHECK_CONTAINS(message_of([] { parse_boundary_map("left: 0; left: 1", "P"); }), "“left” is given twice");
}

BOOST_AUTO_TEST_SUITE_END()
