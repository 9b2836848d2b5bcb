// ranks: 2
#include "cases.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>

/// Every shipped parameter file runs, in a small version.
BOOST_AUTO_TEST_SUITE(cases)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  std::vector<std::string> shipped_files()
  {
    std::vector<std::string> files;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(source_folder() + "/parameter_files"))
      if (entry.path().extension() == ".prm")
        files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
  }

  /// Cases whose data may not be shipped have a prepare.py that makes the folder data/ from them.
  bool data_are_there(const std::string &file)
  {
    const auto folder = std::filesystem::path(file).parent_path();
    return !std::filesystem::exists(folder / "prepare.py") || std::filesystem::exists(folder / "data");
  }

  /// A mesh of at most eight cells in each direction where it is a box, and few draws.
  template <int dim>
  void run_small(const std::vector<Assignment> &assignments)
  {
    std::vector<std::string> overrides{"Inference/Minimum draws=4",
                                       "Inference/Maximum draws=4",
                                       "Inference/natural gradient/Draws=4",
                                       "Inference/natural gradient/Maximum iterations=2",
                                       "Inference/natural gradient/Judging draws=4",
                                       "Inference/stochastic/Maximum iterations=4",
                                       "Inference/MAP/Maximum iterations=10"};
    if (trim(find_value(assignments, {"Mesh"}, "Type").value_or("box")) == "box")
      overrides.push_back(dim == 2 ? "Mesh/Subdivisions=8, 8" : "Mesh/Subdivisions=4, 4, 4");
    auto problem = build_case<dim>(assignments, overrides, MPI_COMM_WORLD);
    // Of problems with many states (times, experiments) one linearisation has to be enough.
    if (problem->model().n_columns() > 20)
    {
      const auto at = problem->density().linearize(Vector::Zero(problem->density().prior().layout().n_local()));
      BOOST_REQUIRE(at);
      BOOST_TEST(std::isfinite(at->potential));
      BOOST_TEST(at->gradient.allFinite());
      return;
    }
    const auto results = infer_silently(problem);
    BOOST_TEST(std::isfinite(results.map_objective));
    BOOST_TEST(std::isfinite(results.averages.elbo.elbo.value));
    BOOST_REQUIRE_EQUAL(results.fields.size(), problem->fields().size());
    for (const auto &field : results.fields)
    {
      BOOST_TEST(field.mean.allFinite());
      BOOST_TEST(field.variance.values.allFinite());
      // Data never widen a Gaussian posterior of Gauss–Newton type; they may widen a mixture over scales.
      if (!results.hyper)
        BOOST_TEST((field.variance.values - field.prior_variance.values).maxCoeff() <=
                   1e-9 * field.prior_variance.values.maxCoeff());
    }
    BOOST_TEST(results.averages.prediction_mean.allFinite());
    BOOST_TEST(results.averages.prediction_mean.size() == problem->measurements().size());
  }

  BOOST_AUTO_TEST_CASE(every_shipped_case_runs)
  {
    const auto files = shipped_files();
    BOOST_TEST(files.size() >= 6u);
    for (const auto &file : files)
      BOOST_TEST_CONTEXT(file)
      {
        if (!data_are_there(file))
        {
          BOOST_TEST_MESSAGE(file << ": left out, its data are not there; prepare.py beside it makes them.");
          continue;
        }
        const auto assignments = read_parameter_file(file, MPI_COMM_WORLD);
        dimension_of(assignments) == 2 ? run_small<2>(assignments) : run_small<3>(assignments);
      }
  }

  /// Every one says with a README what it is, and stays within its own folder.
  BOOST_AUTO_TEST_CASE(every_shipped_case_has_a_readme)
  {
    for (const auto &file : shipped_files())
      BOOST_TEST(std::filesystem::exists(std::filesystem::path(file).parent_path() / "README.md"), file);
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
