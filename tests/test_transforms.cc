// ranks: 1
#include "dense_models.h"

#include <boost/test/unit_test.hpp>

/// Every registered transform: its derivatives against differences, its inverse, and what its parameters mean.
BOOST_AUTO_TEST_SUITE(transforms)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  void check(const Transform &transform)
  {
    const double h = 1e-4;
    for (const double m : {-2.3, -0.4, -0.05, 0.02, 0.3, 1.7})
    {
      for (unsigned int order = 0; order < 3; ++order)
      {
        const double difference = (transform.derivative(order, m + h) - transform.derivative(order, m - h)) / (2. * h);
        const double slope      = transform.derivative(order + 1, m);
        BOOST_TEST(std::abs(difference - slope) <= 1e-5 * (std::abs(slope) + std::abs(transform.derivative(order, m))),
                   "derivative " << order + 1 << " at " << m << ": " << slope << ", by differences " << difference);
      }
      BOOST_TEST(transform.derivative(1, m) > 0.); // they rise
      const double k = transform.derivative(0, m);
      BOOST_TEST(std::abs(transform.derivative(0, transform.inverse(k)) - k) < 1e-10 * (1. + std::abs(k)));
    }
  }

  BOOST_AUTO_TEST_CASE(derivatives_and_inverses)
  {
    for (const std::string &name : Registry<Transform>::names())
      BOOST_TEST_CONTEXT(name)
      {
        check(*create<Transform>(name, {{"Width", "0.5"}}));
      }
    BOOST_TEST_CONTEXT("three phases, by logarithms")
    {
      check(*create<Transform>(
          "level set",
          {{"Values", "0.1, 1, 20"}, {"Thresholds", "-0.5, 1"}, {"Width", "0.4"}, {"Logarithmic", "true"}}));
    }
  }

  /// Half way at a threshold, the phases' values far from it.
  BOOST_AUTO_TEST_CASE(phases)
  {
    const auto plain =
        create<Transform>("level set", {{"Values", "1, 3, 4"}, {"Thresholds", "-1, 1"}, {"Width", "0.01"}});
    for (const auto &[m, k] :
         {std::pair(-9., 1.), std::pair(-1., 2.), std::pair(0., 3.), std::pair(1., 3.5), std::pair(9., 4.)})
      BOOST_TEST(std::abs(plain->derivative(0, m) - k) < 1e-12);
    BOOST_TEST((plain->thresholds() == std::vector<double>{-1., 1.}));
    const auto logarithmic =
        create<Transform>("level set", {{"Values", "0.01, 1"}, {"Width", "0.01"}, {"Logarithmic", "true"}});
    BOOST_TEST(std::abs(logarithmic->derivative(0, 0.) - 0.1) < 1e-12);
    BOOST_TEST(std::isnan(plain->inverse(4.5)));
    BOOST_TEST(std::isnan(plain->inverse(1.)));
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
