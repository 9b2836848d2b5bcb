// ranks: 1 3
#include "cases.h"

#include <boost/test/unit_test.hpp>
#include <sstream>

/// Quantities of interest of states and fields that are known in closed form.
BOOST_AUTO_TEST_SUITE(quantities)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  std::string subsections(const std::string &path, const std::string &body)
  {
    return "subsection " + path + "\n" + body + "end\n";
  }

  /// m = 0.3 x at the prior mean, k = exp(m); the boundary conditions are left to the test.
  std::string text_with(const std::string &physics, const std::string &quantities)
  {
    return "set Dimension = 2\n" + subsections("Mesh", "set Subdivisions = 16, 16\n") +
           subsections("Fields", "set Names = m\n" +
                                     subsections("m", "set Mean = 0.3*x\nset Transform = exp\n"
                                                      "set Prior = spde\n" +
                                                          subsections("spde", "set Standard deviation = 1\n"
                                                                              "set Correlation length = 0.5\n"))) +
           subsections("Physics",
                       "set Equation = diffusion\n" + physics + subsections("diffusion", "set Conductivity = m\n")) +
           subsections("Measurements",
                       "set Names = u\n" +
                           subsections("u", "set File = tests/data/one_sensor.csv\n" +
                                                subsections("gaussian", "set Standard deviation = 0.1\n"))) +
           subsections("Quantities", quantities);
  }

  std::string quantity(const std::string &name, const std::string &type, const std::string &entries)
  {
    return subsections(name, "set Type = " + type + "\n" + subsections(type, entries));
  }

  std::map<std::string, double> values_at_prior_mean(const std::string &text)
  {
    const auto problem = case_from_text<2>(text);
    const Vector zero  = Vector::Zero(problem->density().prior().layout().n_local());
    BOOST_REQUIRE(problem->density().potential(zero).has_value());
    const Vector values = problem->quantities().evaluate(*problem->density().last());
    std::map<std::string, double> result;
    for (Index i = 0; i < values.size(); ++i)
      result[problem->quantities().names()[i]] = values[i];
    return result;
  }
} // namespace

/// With k = exp(0.3x) and u = 0 left, 1 right: u = (1 − e^{−0.3x})/(1 − e^{−0.3}), flux 0.3/(1 − e^{−0.3}).
BOOST_AUTO_TEST_CASE(values_averages_and_fluxes)
{
  const auto found  = values_at_prior_mean(text_with(
       "set Dirichlet = left: 0; right: 1\n",
       "set Names = k at point, m at point, u at point, k, m, k in box, area k, inflow, outflow, top, heads\n" +
           quantity("k at point", "point value", "set Of = m\nset Point = 0.7, 0.2\n") +
           quantity("m at point", "point value", "set Of = m\nset Transformed = false\nset Point = 0.7, 0.2\n") +
           quantity("u at point", "point value", "set Point = 0.5, 0.33\n") + quantity("k", "average", "set Of = m\n") +
           quantity("m", "average", "set Of = m\nset Transformed = false\n") +
           quantity("k in box", "average", "set Of = m\nset Box = 0.25, 0 ; 0.5, 1\n") +
           quantity("area k", "average", "set Of = m\nset Box = 0.25, 0 ; 0.5, 1\nset Integral = true\n") +
           quantity("inflow", "boundary flux", "set Boundaries = right\n") +
           quantity("outflow", "boundary flux", "set Boundaries = left\n") +
           quantity("top", "boundary flux", "set Boundaries = top\n") +
           quantity("heads", "point value", "set File = tests/data/two_points.csv\n")));
  const double flux = 0.3 / (1. - std::exp(-0.3));
  const auto u      = [](double x) { return (1. - std::exp(-0.3 * x)) / (1. - std::exp(-0.3)); };
  BOOST_TEST(std::abs(found.at("k at point") - std::exp(0.21)) < 1e-12);
  BOOST_TEST(std::abs(found.at("m at point") - 0.21) < 1e-12);
  BOOST_TEST(std::abs(found.at("u at point") - u(0.5)) < 1e-6);
  BOOST_TEST(std::abs(found.at("k") - std::expm1(0.3) / 0.3) < 1e-10);
  BOOST_TEST(std::abs(found.at("m") - 0.15) < 1e-12);
  const double in_box = (std::exp(0.15) - std::exp(0.075)) / 0.3;
  BOOST_TEST(std::abs(found.at("k in box") - in_box / 0.25) < 1e-10);
  BOOST_TEST(std::abs(found.at("area k") - in_box) < 1e-10);
  // The discrete flux balances exactly, and is that of the discrete minimum of the energy: of second order.
  BOOST_TEST(std::abs(found.at("inflow") - flux) < 1e-4);
  BOOST_TEST(std::abs(found.at("inflow") + found.at("outflow")) < 1e-9);
  BOOST_TEST(std::abs(found.at("heads left") - u(0.25)) < 1e-6);
  BOOST_TEST(std::abs(found.at("heads right") - u(0.75)) < 1e-6);
}

/// A source of 10, a given flux of 2 through the right side and a Robin condition on the left: what the source gives
/// off leaves through the boundary.
BOOST_AUTO_TEST_CASE(fluxes_balance_the_source)
{
  const auto found = values_at_prior_mean(text_with(
      "set Source = 10\nset Neumann = right: 2\nset Robin = left: 3, 1\nset Dirichlet = bottom: 0\n",
      "set Names = left, right, bottom, all\n" + quantity("left", "boundary flux", "set Boundaries = left\n") +
          quantity("right", "boundary flux", "set Boundaries = right\n") +
          quantity("bottom", "boundary flux", "set Boundaries = bottom\n") +
          quantity("all", "boundary flux", "set Boundaries = all\n")));
  BOOST_TEST(std::abs(found.at("all") + 10.) < 1e-8);
  // The corner between right and bottom has half a cell of the one in it, and what leaves through the other.
  BOOST_TEST(found.at("right") < 2.);
}

BOOST_AUTO_TEST_CASE(mistakes_are_named)
{
  const auto message = [](const std::string &quantities)
  {
    try
    {
      values_at_prior_mean(text_with("set Dirichlet = left: 0; right: 1\n", quantities));
    }
    catch (const UserError &error)
    {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto contains = [](const std::string &text, const std::string &part)
  { return text.find(part) != std::string::npos; };
  BOOST_TEST(contains(message("set Names = a\n" + quantity("a", "average", "set Of = n\n")), "no field “n”"));
  BOOST_TEST(contains(message("set Names = a\n" + quantity("a", "point value", "set Point = 3, 0\n")), "outside"));
  BOOST_TEST(contains(message("set Names = a\n" + quantity("a", "average", "set Of = m\nset Box = 2,2; 3,3\n")),
                      "no part of the mesh"));
  BOOST_TEST(contains(message("set Names = a\n" + quantity("a", "boundary flux", "set Boundaries = middle\n")),
                      "Quantities/a/boundary flux/Boundaries"));
}

BOOST_AUTO_TEST_SUITE_END()
