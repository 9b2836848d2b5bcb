// ranks: 2
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>

/// parameter_files/ld100 against hIPPYlib, an independent code, and long Markov chains: tests/reference/ld100.
BOOST_AUTO_TEST_SUITE(ld100)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  double relative(double value, double reference)
  {
    return std::abs(value / reference - 1.);
  }

  struct NodeErrors
  {
    double largest = 0., rms = 0.;
  };

  /// Of a field over the rows of a reference table; each difference divided by `scale` of the row.
  NodeErrors errors_at_nodes(const NodalValues<2> &values, const std::map<std::string, std::vector<double>> &table,
                             const std::string &column, const std::function<double(std::size_t)> &scale)
  {
    const auto &x = table.at("x"), &y = table.at("y"), &reference = table.at(column);
    BOOST_REQUIRE_EQUAL(values.size(), reference.size());
    NodeErrors result;
    for (std::size_t i = 0; i < x.size(); ++i)
    {
      const double error = std::abs(values.at({x[i], y[i]}) - reference[i]) / scale(i);
      result.largest     = std::max(result.largest, error);
      result.rms += error * error / static_cast<double>(x.size());
    }
    result.rms = std::sqrt(result.rms);
    return result;
  }

  double relative_error(const NodalValues<2> &values, const std::map<std::string, std::vector<double>> &table,
                        const std::string &column)
  {
    return errors_at_nodes(values, table, column, [&](std::size_t i) { return table.at(column)[i]; }).largest;
  }

  void check_laplace(unsigned int n)
  {
    const std::string size = std::to_string(n), folder = "ld100/Q1_" + size + "/";
    auto problem =
        shipped_case<2>("ld100/ld100", {"Mesh/Subdivisions=" + size + ", " + size, "Inference/Method=laplace",
                                        "Inference/Minimum draws=2", "Inference/Maximum draws=2",
                                        "Inference/low rank/Cutoff=0", "Inference/MAP/Gradient tolerance=1e-13"});
    const auto results = infer_silently(problem);
    BOOST_TEST(results.map.converged);

    const auto cost        = read_columns(folder + "cost.csv").at("value");
    const double constants = noise_constants(*problem);
    BOOST_TEST(relative(results.map_objective - constants, cost[0]) < 5e-7);
    BOOST_TEST(relative(results.map_misfit - constants, cost[1]) < 5e-7);
    BOOST_TEST(relative(results.map_regularisation, cost[2]) < 5e-7);

    const auto eigenvalues = read_columns(folder + "eigenvalues.csv").at("lambda_gauss_newton_exact_dataspace");
    for (std::size_t i = 0; i < 40; ++i)
      BOOST_TEST(relative(results.eigenvalues[static_cast<Index>(i)], eigenvalues[i]) < 1e-5, "eigenvalue " << i);

    const auto &space = problem->fields()[0].space();
    const auto &field = results.fields[0];
    const auto one    = [](std::size_t) { return 1.; };
    BOOST_TEST(errors_at_nodes({space, field.map}, read_columns(folder + "map.csv"), "m_map", one).largest < 1e-5);
    BOOST_TEST(relative_error({space, field.prior_variance.values.cwiseSqrt()}, read_columns(folder + "prior_std.csv"),
                              "prior_std") < 1e-5);
    BOOST_TEST(relative_error({space, field.variance.values.cwiseSqrt()}, read_columns(folder + "post_std.csv"),
                              "post_std_gauss_newton_exact") < 1e-5);
  }

  BOOST_AUTO_TEST_CASE(laplace_approximation_agrees_with_hippylib_at_32)
  {
    check_laplace(32);
  }
  BOOST_AUTO_TEST_CASE(laplace_approximation_agrees_with_hippylib_at_64)
  {
    check_laplace(64);
  }

  /// An independent code has an ELBO of 248.38 ± 0.03 (the Laplace approximation: 242.1).
  BOOST_AUTO_TEST_CASE(low_rank_posterior_agrees_with_markov_chains)
  {
    auto problem       = shipped_case<2>("ld100/ld100", {"Parallel/Sample groups=0"});
    const auto results = infer_silently(problem);
    BOOST_TEST(results.optimization.converged, results.optimization.reason);
    BOOST_TEST(results.averages.elbo.elbo.error < 0.025);
    BOOST_TEST(results.averages.elbo.elbo.value >= 248.3);
    BOOST_TEST(results.averages.elbo.elbo.value <= 248.5);

    const auto &space = problem->fields()[0].space();
    const auto &field = results.fields[0];
    const auto hmc    = read_columns("ld100/hmc_Q1_32/hmc.csv");
    const auto mean =
        errors_at_nodes({space, field.mean}, hmc, "hmc_mean", [&](std::size_t i) { return hmc.at("hmc_std")[i]; });
    BOOST_TEST(mean.rms < 0.06);

    const NodalValues<2> deviation(space, field.variance.values.cwiseSqrt());
    unsigned int good = 0;
    for (std::size_t i = 0; i < hmc.at("x").size(); ++i)
    {
      const double ratio = deviation.at({hmc.at("x")[i], hmc.at("y")[i]}) / hmc.at("hmc_std")[i];
      good += ratio >= 0.85 && ratio <= 1.05 ? 1 : 0;
    }
    BOOST_TEST(good >= 0.9 * static_cast<double>(hmc.at("x").size()));
    BOOST_TEST_MESSAGE("ELBO " << results.averages.elbo.elbo.value << " +- " << results.averages.elbo.elbo.error
                               << ", mean rms " << mean.rms << ", standard deviations in range at " << good << " of "
                               << hmc.at("x").size() << " nodes");
  }

} // namespace

BOOST_AUTO_TEST_SUITE_END()
