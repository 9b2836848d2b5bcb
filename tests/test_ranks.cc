// ranks: 3 4
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>

/// The same case on all ranks and on one alone, in the same test: the answer is the same.
BOOST_AUTO_TEST_SUITE(ranks)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  /// What a run found, by coordinates.
  template <int dim>
  struct Answer
  {
    Answer() = default;
    Answer(const std::string &name, const std::vector<std::string> &overrides, MPI_Comm comm)
    {
      auto problem       = shipped_case<dim>(name, overrides, comm);
      const auto results = infer_silently(problem, {problem->certification().enabled, false});
      elbo               = results.averages.elbo.elbo.value;
      misfit             = results.averages.elbo.misfit.value;
      map                = results.map_objective;
      const Vector &mean = results.averages.prediction_mean;
      predictions.assign(mean.begin(), mean.end());
      for (unsigned int f = 0; f < problem->fields().size(); ++f)
      {
        const auto &space = problem->fields()[f].space();
        fields.emplace_back(space, results.fields[f].mean);
        fields.emplace_back(space, results.fields[f].map);
        fields.emplace_back(space, results.fields[f].variance.values.cwiseSqrt());
        fields.emplace_back(space, results.fields[f].prior_variance.values.cwiseSqrt());
        for (Index k = 0; k < results.fields[f].draws.cols(); ++k)
          fields.emplace_back(space, results.fields[f].draws.col(k));
        if (results.certificate)
        {
          fields.emplace_back(space, results.certificate->fields[f].mean);
          fields.emplace_back(space, results.certificate->fields[f].deviation);
        }
      }
      for (const QuantityResult &quantity : results.quantities)
        for (const double number : {quantity.mean, quantity.deviation, quantity.quantiles[0], quantity.k})
          if (std::isfinite(number)) // k-hat of few draws is not
            predictions.push_back(number);
    }

    template <class Archive>
    void serialize(Archive &archive, const unsigned int)
    {
      archive &elbo &misfit &map &predictions &fields;
    }

    double elbo = 0., misfit = 0., map = 0.;
    std::vector<double> predictions;      ///< and quantities of interest
    std::vector<NodalValues<dim>> fields; ///< mean, MAP, standard deviations, draws of every unknown
  };

  template <int dim>
  void check_equal(const Answer<dim> &a, const Answer<dim> &b)
  {
    constexpr double tolerance = 1e-6;
    BOOST_TEST(std::abs(a.elbo - b.elbo) < tolerance * std::abs(b.elbo));
    BOOST_TEST(std::abs(a.misfit - b.misfit) < tolerance * std::abs(b.misfit));
    BOOST_TEST(std::abs(a.map - b.map) < tolerance * std::abs(b.map));
    const auto as_vector = [](const std::vector<double> &x) -> Vector
    { return Eigen::Map<const Vector>(x.data(), static_cast<Index>(x.size())); };
    BOOST_REQUIRE_EQUAL(a.predictions.size(), b.predictions.size());
    BOOST_TEST(relative_difference(as_vector(a.predictions), as_vector(b.predictions)) < tolerance);
    BOOST_REQUIRE_EQUAL(a.fields.size(), b.fields.size());
    for (std::size_t i = 0; i < a.fields.size(); ++i)
    {
      const auto [difference, size] = largest_difference(a.fields[i], b.fields[i]);
      BOOST_TEST(difference < tolerance * size, "vector " << i << " differs by " << difference << " of " << size);
    }
  }

  int n_ranks()
  {
    return static_cast<int>(dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD));
  }

  template <int dim>
  void check(const std::string &name, const std::vector<std::string> &settings,
             const std::vector<int> &groups = {1, 2, 3})
  {
    std::vector<std::string> overrides = {
        "Inference/natural gradient/Draws=8", "Inference/natural gradient/Maximum iterations=3",
        "Inference/natural gradient/Judging draws=8", "Inference/Minimum draws=16", "Inference/Maximum draws=16"};
    overrides.insert(overrides.end(), settings.begin(), settings.end());
    auto alone = overrides;
    alone.push_back("Parallel/Sample groups=1");
    // By one rank: the others would only take the cores from it.
    Answer<dim> expected;
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      expected = Answer<dim>(name, alone, MPI_COMM_SELF);
    expected = dealii::Utilities::MPI::broadcast(MPI_COMM_WORLD, expected, 0);
    for (const int n_groups : groups)
      if (n_ranks() % n_groups == 0)
        BOOST_TEST_CONTEXT(name << ", " << n_groups << " sample groups")
        {
          auto split = overrides;
          split.push_back("Parallel/Sample groups=" + std::to_string(n_groups));
          check_equal(Answer<dim>(name, split, MPI_COMM_WORLD), expected);
        }
  }

  BOOST_AUTO_TEST_CASE(log_diffusion)
  {
    check<2>("ld100/ld100", {"Mesh/Subdivisions=16, 16"});
  }

  /// Two ranks or three share a mesh of 2401 unknowns: below 2000 there are no coarser levels.
  BOOST_AUTO_TEST_CASE(multigrid)
  {
    check<2>("ld100/ld100",
             {"Mesh/Subdivisions=48, 48", "Linear solver/Type=multigrid", "Linear solver/Tolerance=1e-12",
              "Inference/Coarse to fine=false", "Inference/Starts=0", "Inference/Prior draws=10",
              "Inference/natural gradient/Draws=4", "Inference/natural gradient/Maximum iterations=1",
              "Inference/natural gradient/Judging draws=0", "Inference/Minimum draws=8", "Inference/Maximum draws=8",
              "Output/Exact variance limit=0", "Output/Variance draws=50"},
             {n_ranks() > 3 ? 2 : 1});
  }

  /// A posterior that settles on 16² and is the control variate on 32².
  BOOST_AUTO_TEST_CASE(coupled_with_a_coarser_mesh)
  {
    check<2>("ld100/ld100",
             {"Mesh/Subdivisions=32, 32", "Inference/Coarsest cells=250", "Inference/natural gradient/Tolerance=3",
              "Inference/natural gradient/Maximum iterations=30"},
             {2, 3});
  }

  BOOST_AUTO_TEST_CASE(two_fields_and_hanging_nodes)
  {
    check<2>("wolfcamp/wolfcamp", {"Mesh/Subdivisions=12, 12", "Mesh/Refinements towards boundaries=left: 1"});
  }

  BOOST_AUTO_TEST_CASE(adaptively_refined_meshes)
  {
    for (const std::string indicator : {"state error", "posterior information"})
      check<2>("ld100/ld100", {"Mesh/Subdivisions=8, 8", "Mesh/Adaptive refinement/Cycles=2",
                               "Inference/Coarsest cells=40", "Mesh/Adaptive refinement/Indicator=" + indicator});
  }

  BOOST_AUTO_TEST_CASE(mean_field)
  {
    check<2>("ld100/ld100",
             {"Mesh/Subdivisions=12, 12", "Inference/Family=mean field", "Inference/mean field/Modes=40"});
  }

  const std::vector<std::string> two_quantities{
      "Quantities/Names=middle, inflow",        "Quantities/middle/Type=point value",
      "Quantities/middle/point value/Of=log k", "Quantities/middle/point value/Point=0.5, 0.5",
      "Quantities/inflow/Type=boundary flux",   "Quantities/inflow/boundary flux/Boundaries=bottom"};

  std::vector<std::string> with_quantities(std::vector<std::string> settings)
  {
    settings.insert(settings.end(), two_quantities.begin(), two_quantities.end());
    return settings;
  }

  BOOST_AUTO_TEST_CASE(skewed)
  {
    check<2>("ld100/ld100",
             with_quantities({"Mesh/Subdivisions=8, 8", "Inference/Family=skewed", "Inference/skewed/Skew draws=100",
                              "Inference/Minimum draws=50", "Inference/Maximum draws=50"}),
             {2, 3});
  }

  BOOST_AUTO_TEST_CASE(certified)
  {
    for (const std::string method : {"chains", "weights"})
      check<2>("ld100/ld100",
               with_quantities({"Mesh/Subdivisions=6, 6", "Certification/Enabled=true",
                                "Certification/Method=" + method, "Certification/Sampler=pcn",
                                "Certification/Warm-up=100", "Certification/Minimum iterations=100",
                                "Certification/Maximum iterations=100", "Certification/Effective size=20"}),
               {2, 3});
  }

  BOOST_AUTO_TEST_CASE(three_dimensions)
  {
    check<3>("box_3d/box_3d", {"Mesh/Subdivisions=4, 4, 4"});
  }

  BOOST_AUTO_TEST_CASE(unknown_scales)
  {
    check<2>("linear_gaussian/A",
             {"Mesh/Subdivisions=8, 8", "Fields/f/Truth=", "Fields/f/spde/Gamma=0", "Fields/f/spde/Delta=0",
              "Fields/f/spde/Standard deviation=4", "Fields/f/spde/Correlation length=0.5",
              "Hyperparameters/Names=sigma", "Hyperparameters/sigma/Parameter=Fields/f/spde/Standard deviation",
              "Hyperparameters/sigma/pc upper/Limit=20"},
             {1, n_ranks()});
  }

  BOOST_AUTO_TEST_CASE(stochastic_optimizer)
  {
    check<2>("ld100/ld100", {"Mesh/Subdivisions=8, 8", "Inference/Optimizer=stochastic",
                             "Inference/stochastic/Maximum iterations=20"});
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
