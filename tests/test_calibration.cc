// ranks: 1 2
#include "cases.h"

#include <boost/test/unit_test.hpp>
#include <varfield/calibration.h>

BOOST_AUTO_TEST_SUITE(calibration)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  Calibration calibrated(const std::vector<std::string> &overrides, unsigned int groups)
  {
    std::vector<std::string> all{"Mesh/Subdivisions=8, 8",
                                 "Fields/f/Truth=",
                                 "Fields/f/spde/Mass=lumped",
                                 "Inference/Coarse to fine=false",
                                 "Inference/Minimum draws=100",
                                 "Quantities/Names=middle, whole, u",
                                 "Quantities/middle/Type=point value",
                                 "Quantities/middle/point value/Of=f",
                                 "Quantities/middle/point value/Point=0.4, 0.55",
                                 "Quantities/whole/Type=average",
                                 "Quantities/whole/average/Of=f",
                                 "Quantities/u/Type=point value",
                                 "Quantities/u/point value/Point=0.3, 0.3",
                                 "Parallel/Sample groups=" + std::to_string(groups)};
    all.insert(all.end(), overrides.begin(), overrides.end());
    const auto problem = shipped_case<2>("linear_gaussian/A", all);
    const Silence silence;
    Report report(problem->groups(), 0.);
    return calibrate(*problem, report);
  }
} // namespace

/// Of k/n − ½/n for k = 1 … n the distance is ½/n; of numbers in one half ½.
BOOST_AUTO_TEST_CASE(uniform_numbers)
{
  std::vector<double> even, half;
  for (int k = 0; k < 200; ++k)
  {
    even.push_back((k + 0.5) / 200.);
    half.push_back((k + 0.5) / 400.);
  }
  BOOST_TEST(uniformity(even).p_value > 0.999);
  BOOST_TEST(std::abs(uniformity(even).coverage80 - 0.8) < 1e-12);
  BOOST_TEST(uniformity(half).p_value < 1e-6);
}

/// Linear and Gaussian: the posteriors are exact, and the ranks uniform. The same ranks with one group and with two.
BOOST_AUTO_TEST_CASE(ranks_of_a_linear_problem)
{
  int n_ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
  const Calibration found = calibrated({"Calibration/Truths=60"}, 1);
  BOOST_TEST(found.failed == 0u);
  BOOST_TEST(found.not_converged == 0u);
  BOOST_REQUIRE_EQUAL(found.names.size(), 3u);
  for (const Uniformity &u : found.uniformity)
    BOOST_TEST(u.p_value > 0.01);
  const Calibration split = calibrated({"Calibration/Truths=10"}, n_ranks % 2 == 0 ? 2 : 1);
  BOOST_TEST((split.truths - found.truths.topRows(10)).norm() < 1e-8 * found.truths.norm());
  BOOST_TEST((split.ranks - found.ranks.topRows(10)).cwiseAbs().maxCoeff() < 0.011);
}

/// Scales are ranked too, and what data of a bounded domain tell of them.
BOOST_AUTO_TEST_CASE(ranks_of_scales)
{
  const Calibration found = calibrated(
      {"Calibration/Truths=2", "Hyperparameters/Names=sigma, rho",
       "Hyperparameters/sigma/Parameter=Fields/f/spde/Standard deviation", "Hyperparameters/sigma/pc upper/Limit=20",
       "Fields/f/spde/Gamma=0", "Fields/f/spde/Delta=0", "Fields/f/spde/Standard deviation=5",
       "Fields/f/spde/Correlation length=0.5", "Hyperparameters/rho/Parameter=Fields/f/spde/Correlation length",
       "Hyperparameters/rho/Prior=pc lower", "Hyperparameters/rho/pc lower/Limit=0.2"},
      1);
  BOOST_TEST((found.names == std::vector<std::string>{"middle", "whole", "u", "sigma", "rho", "sigma^2/rho^2"}));
  for (Index k = 0; k < 2; ++k)
  {
    BOOST_TEST(std::abs(found.truths(k, 5) * std::pow(found.truths(k, 4) / found.truths(k, 3), 2) - 1.) < 1e-12);
    for (Index i = 0; i < 6; ++i)
      BOOST_TEST((found.ranks(k, i) > 0. && found.ranks(k, i) < 1.), found.names[static_cast<std::size_t>(i)]);
  }
}

BOOST_AUTO_TEST_SUITE_END()
