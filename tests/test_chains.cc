// ranks: 2
#include "dense_models.h"
#include "messages.h"
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <varfield/weighted_draws.h>

BOOST_AUTO_TEST_SUITE(chains)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  /// All entries of m, as numbers and as local values.
  class Entries : public Watch
  {
  public:
    explicit Entries(const Layout &layout) : layout_(layout) {}
    std::vector<std::string> names() const override
    {
      std::vector<std::string> result;
      for (Index i = 0; i < layout_.n_global(); ++i)
        result.push_back("m" + std::to_string(i));
      return result;
    }
    const Layout &layout() const override { return layout_; }
    void evaluate(const Vector &m, Vector &numbers, Vector &values) const override
    {
      numbers = layout_.gather(m);
      values  = m;
    }

  private:
    const Layout &layout_;
  };

  /// n numbers of an autoregressive process x ← φx + sqrt(1 − φ²) z.
  Vector autoregressive(Index n, double phi, std::uint64_t seed)
  {
    Vector x = random_matrix(n, 1, seed);
    for (Index i = 1; i < n; ++i)
      x[i] = phi * x[i - 1] + std::sqrt(1. - phi * phi) * x[i];
    return x;
  }

  Matrix autoregressive_chains(Index n, double phi)
  {
    Matrix result(n, 4);
    for (Index j = 0; j < 4; ++j)
      result.col(j) = autoregressive(n, phi, 10 + j);
    return result;
  }

  ChainSettings settings_for(const std::string &sampler, double ess)
  {
    ChainSettings settings;
    dealii::ParameterHandler prm;
    settings.add_parameters(prm);
    prm.set("Sampler", sampler);
    settings.ess     = ess;
    settings.warm_up = 600;
    settings.maximum = 60000;
    return settings;
  }

  const auto go_on = [](const ChainProgress &) { return false; };
} // namespace

/// The integrated autocorrelation time of the process is (1 + φ)/(1 − φ).
BOOST_AUTO_TEST_CASE(effective_sizes_of_autoregressive_chains)
{
  for (const double phi : {0., 0.5, 0.9, -0.5})
  {
    const Matrix draws    = autoregressive_chains(20000, phi);
    const double expected = 80000. * (1. - phi) / (1. + phi);
    const auto found      = convergence(draws);
    BOOST_TEST(std::abs(found.ess_mean / expected - 1.) < 0.1, "phi " << phi << ": " << found.ess_mean);
    BOOST_TEST(std::abs(found.ess_bulk / expected - 1.) < 0.1, "phi " << phi << ": " << found.ess_bulk);
    BOOST_TEST(found.rhat < 1.005);
    // In the tails excursions are forgotten sooner.
    BOOST_TEST((phi > 0. ? found.ess_tail > expected : found.ess_tail > 0.5 * 80000.));

    std::vector<BatchMeans> batches(4, BatchMeans(Vector::Zero(1)));
    std::vector<const BatchMeans *> chains;
    for (Index j = 0; j < 4; ++j)
    {
      for (Index i = 0; i < draws.rows(); ++i)
        batches[j].add(draws.block(i, j, 1, 1));
      chains.push_back(&batches[j]);
    }
    const ChainMoments moments = combine(SampleGroups(), chains, 4);
    const double n             = static_cast<double>(draws.rows());
    BOOST_TEST(std::abs(moments.mean[0] - draws.mean()) < 1e-12);
    const double variance = (draws.array() - draws.mean()).square().sum() / (4. * n - 1.);
    BOOST_TEST(std::abs(moments.deviation[0] - std::sqrt(variance)) < 1e-12);
    const Index halves = batches[0].length() * (batches[0].n_batches() / 2) * 2;
    BOOST_TEST(std::abs(moments.rhat[0] - split_rhat(draws.topRows(halves))) < 1e-9);
    // Some 70 batches: the error of their scatter is 8 %, of its square twice that.
    BOOST_TEST(std::abs(moments.ess[0] / std::min(expected, 4. * n) - 1.) < 0.5);
    // The variance of x² is 2, its correlations are φ².
    const double error = std::sqrt(0.5 / (4. * n) * (1. + phi * phi) / (1. - phi * phi));
    BOOST_TEST(std::abs(moments.deviation_error[0] / error - 1.) < 0.4);
  }
}

BOOST_AUTO_TEST_CASE(disagreeing_chains)
{
  Matrix draws = autoregressive_chains(1000, 0.);
  BOOST_TEST(convergence(draws).rhat < 1.01);
  Matrix shifted = draws;
  shifted.col(2).array() += 1.;
  // The normal scores have within variance 0.85 or so and a between variance of 0.19.
  BOOST_TEST(convergence(shifted).rhat > 1.08);
  BOOST_TEST(std::abs(split_rhat(shifted) - std::sqrt(1. + 0.25 * 8. / 7. * 0.75)) < 0.03);
  // The same location, another scale: only the folded draws tell.
  Matrix scaled = draws;
  scaled.col(2) *= 3.;
  BOOST_TEST(split_rhat(scaled) < 1.01);
  BOOST_TEST(convergence(scaled).rhat > 1.05);
  // A drift that all chains share is seen by their halves.
  Matrix drifting = draws;
  for (Index j = 0; j < 4; ++j)
    drifting.col(j) += Vector::LinSpaced(1000, -2., 2.);
  BOOST_TEST(convergence(drifting).rhat > 1.2);

  BOOST_TEST(convergence(Matrix::Constant(100, 4, 3.)).rhat == 1.);
  Matrix stuck = Matrix::Zero(100, 4);
  stuck.col(1).setOnes();
  BOOST_TEST(convergence(stuck).rhat == std::numeric_limits<double>::infinity());
}

/// A linear-Gaussian problem in 30 dimensions from a reference with a wrong mean and wrong spreads: both samplers find
/// the exact posterior, with and without groups the same numbers.
BOOST_AUTO_TEST_CASE(exact_posterior_from_a_wrong_reference)
{
  for (const std::string name : {"hamiltonian", "pcn"})
  {
    std::vector<Vector> means;
    for_each_split(
        [&](const SampleGroups &groups)
        {
          const FactorPrior prior(groups.space(), smooth_factor(30));
          const LinearGaussian problem = dense_linear_gaussian(prior, 12);
          const DenseDensity density(groups, prior, problem);
          auto family = create<Family>("low rank", {{"Cutoff", "0.01"}});
          family->initialize(prior, 1);
          const Vector zero = Vector::Zero(prior.layout().n_local());
          const auto at     = density.linearize(zero);
          family->natural_step(Curvature(density, *at), 1.);
          const FrozenGaussian exact(prior, local_rows(prior.layout(), problem.mean), *family->low_rank_correction());
          const FrozenGaussian wrong =
              exact.with(exact.mean() + 0.7 * exact.deviation({9, Stream::verification, 0, 1.}), 0.8 * exact.factor());

          const ChainSettings settings = settings_for(name, 800.);
          const Entries watch(prior.layout());
          const ChainResults found = run_chains(density, wrong, watch, {}, settings, 3, go_on);
          BOOST_TEST(found.converged, name << ": " << found.reason);
          const Vector deviations = problem.covariance.diagonal().cwiseSqrt();
          unsigned int off        = 0;
          for (Index i = 0; i < 30; ++i)
          {
            const NumberSummary &number = found.numbers[static_cast<std::size_t>(i)];
            BOOST_TEST(std::abs(number.mean - problem.mean[i]) < 5. * number.mean_error);
            BOOST_TEST(std::abs(number.deviation / deviations[i] - 1.) < 0.15);
            BOOST_TEST(number.mean_error < deviations[i] / std::sqrt(600.));
            BOOST_TEST(std::abs(number.quantiles[3] - problem.mean[i] - 1.645 * deviations[i]) < 0.2 * deviations[i]);
            off += std::abs(number.mean - problem.mean[i]) > 2. * number.mean_error;
          }
          BOOST_TEST(off < 8u);
          const Vector mean  = prior.layout().gather(found.values.mean),
                       error = prior.layout().gather(found.values.mean_error);
          for (Index i = 0; i < 30; ++i)
            BOOST_TEST(std::abs(mean[i] - problem.mean[i]) < 6. * error[i]);
          means.push_back(mean);
          BOOST_TEST_MESSAGE(name << ": " << found.end.iterations << " iterations, step " << found.end.step
                                  << ", accepted " << found.end.acceptance << ", " << found.reason);
        });
    for (const Vector &other : means)
      BOOST_TEST((other - means[0]).norm() < 1e-6 * means[0].norm());
  }
}

/// A q that is half a standard deviation off is made up for by weights, one that is six off is not.
BOOST_AUTO_TEST_CASE(weighted_draws)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const FactorPrior prior(groups.space(), smooth_factor(12));
        const auto problem = dense_linear_gaussian(prior, 5);
        const DenseDensity density(groups, prior, problem);
        const Entries watch(prior.layout());
        auto family = create<Family>("low rank", {{"Cutoff", "0.01"}});
        family->initialize(prior, 1);
        family->natural_step(Curvature(density, *density.linearize(Vector::Zero(prior.layout().n_local()))), 1.);
        const Vector direction = problem.covariance.llt().matrixL() * Vector::Unit(12, 3);
        const auto weighted    = [&](double off)
        {
          family->set_mean(local_rows(prior.layout(), problem.mean + off * direction));
          ChainSettings settings = settings_for("hamiltonian", 1000.);
          settings.maximum       = 2000;
          return weigh_draws(density, *family, watch, settings, 3, go_on);
        };
        ChainResults near = weighted(0.5);
        BOOST_TEST(near.converged, near.reason);
        BOOST_TEST(near.end.ess >= 1000.);
        const Vector mean      = prior.layout().gather(near.values.mean),
                     deviation = prior.layout().gather(near.values.deviation),
                     error     = prior.layout().gather(near.values.mean_error);
        for (Index i = 0; i < 12; ++i)
        {
          const NumberSummary &number = near.numbers[static_cast<std::size_t>(i)];
          const double exact          = std::sqrt(problem.covariance(i, i));
          BOOST_TEST(std::abs(mean[i] - problem.mean[i]) < 4. * error[i]);
          BOOST_TEST(std::abs(deviation[i] / exact - 1.) < 0.1);
          BOOST_TEST(std::abs(number.mean - mean[i]) < 1e-10);
          BOOST_TEST(std::abs(number.deviation - deviation[i]) < 1e-10);
          BOOST_TEST(std::abs(number.mean_error - error[i]) < 1e-10);
          BOOST_TEST(std::abs(number.quantiles[4] - problem.mean[i] - 1.96 * exact) < 0.3 * exact);
        }
        // Resampled draws stand for all.
        const Vector of_kept = prior.layout().gather(MultiVector(near.kept.rowwise().mean()));
        BOOST_TEST(((of_kept - mean).cwiseQuotient(deviation)).cwiseAbs().maxCoeff() < 0.15);

        const ChainResults far = weighted(6.);
        BOOST_TEST(!far.converged);
        BOOST_TEST(far.reason.find("chains do") != std::string::npos, far.reason);
      });
}

namespace
{
  /// A folder that is not there before and after.
  class CheckpointFolder
  {
  public:
    CheckpointFolder() { clean(); }
    ~CheckpointFolder() { clean(); }
    /// On the first rank.
    template <typename Action>
    static void alone(const Action &action)
    {
      int rank = 0;
      MPI_Comm_rank(MPI_COMM_WORLD, &rank);
      MPI_Barrier(MPI_COMM_WORLD);
      if (rank == 0)
        action();
      MPI_Barrier(MPI_COMM_WORLD);
    }
    const std::string path = std::filesystem::absolute("chains_checkpoint").string();

  private:
    void clean() const
    {
      alone([this] { std::filesystem::remove_all(path); });
    }
  };

  unsigned int two_groups()
  {
    int n_ranks = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    return n_ranks % 2 == 0 ? 2 : 1;
  }

  /// `noise`: added to the first datum; `scale`: of the prior's standard deviations.
  ChainResults run_with_checkpoint(const std::string &folder, unsigned int n_groups, unsigned int draws,
                                   double noise = 0., double scale = 1.)
  {
    const SampleGroups groups(MPI_COMM_WORLD, n_groups);
    const FactorPrior prior(groups.space(), scale * smooth_factor(12));
    const Matrix g = random_matrix(5, 12, 5);
    Vector d       = 3. * random_matrix(5, 1, 6);
    d[0] += noise;
    const LinearGaussian problem(prior.c, g, d);
    const DenseDensity density(groups, prior, problem);
    auto family = create<Family>("low rank", {{"Cutoff", "0.01"}});
    family->initialize(prior, 1);
    const auto at = density.linearize(Vector::Zero(prior.layout().n_local()));
    family->natural_step(Curvature(density, *at), 1.);
    const FrozenGaussian q(prior, local_rows(prior.layout(), problem.mean), *family->low_rank_correction());
    ChainSettings settings = settings_for("hamiltonian", 1e9);
    settings.warm_up       = 200;
    settings.minimum       = 100;
    settings.maximum       = draws;
    settings.kept          = 200;
    settings.checkpoint    = folder;
    const Entries watch(prior.layout());
    ChainResults result = run_chains(density, q, watch, {}, settings, 3, go_on);
    result.values.mean  = prior.layout().gather(result.values.mean);
    result.values.ess   = prior.layout().gather(result.values.ess);
    result.kept         = prior.layout().gather(result.kept);
    return result;
  }
} // namespace

/// A run that is stopped between two looks and gone on with, in another number of groups where there are two ranks,
/// ends as one in one go.
BOOST_AUTO_TEST_CASE(chains_go_on_from_a_checkpoint)
{
  const CheckpointFolder folder;
  const ChainResults whole  = run_with_checkpoint("", 1, 700);
  const ChainResults first  = run_with_checkpoint(folder.path, 1, 350),
                     second = run_with_checkpoint(folder.path, two_groups(), 700);
  BOOST_TEST(first.end.iterations == 350u);
  BOOST_TEST(second.end.iterations == 700u);
  BOOST_TEST((second.values.mean - whole.values.mean).norm() < 1e-8 * whole.values.mean.norm());
  BOOST_TEST((second.values.ess - whole.values.ess).norm() < 1e-6 * whole.values.ess.norm());
  for (std::size_t i = 0; i < whole.numbers.size(); ++i)
  {
    BOOST_TEST(std::abs(second.numbers[i].mean - whole.numbers[i].mean) < 1e-8);
    BOOST_TEST(std::abs(second.numbers[i].convergence.ess_bulk / whole.numbers[i].convergence.ess_bulk - 1.) < 1e-6);
  }
  BOOST_REQUIRE(second.kept.cols() == whole.kept.cols());
  BOOST_TEST(whole.kept.cols() <= 200);
  BOOST_TEST(whole.kept.cols() > 80);
  BOOST_TEST((second.kept - whole.kept).norm() < 1e-8 * whole.kept.norm());
}

/// Chains of other data or of another prior are refused, and so are damaged files, on all ranks.
BOOST_AUTO_TEST_CASE(checkpoints_that_do_not_fit_are_refused)
{
  const CheckpointFolder folder;
  const auto message = [&](double noise, double scale)
  { return varfield::testing::message_of([&] { run_with_checkpoint(folder.path, two_groups(), 300, noise, scale); }); };
  run_with_checkpoint(folder.path, 1, 200);
  CHECK_CONTAINS(message(0.01, 1.), "−log p(d|m) is");
  CHECK_CONTAINS(message(0., 1.01), "another posterior");
  CheckpointFolder::alone(
      [&]
      {
        for (const auto &entry : std::filesystem::directory_iterator(folder.path))
          if (entry.path().filename().string().find("chain1") != std::string::npos)
            std::filesystem::resize_file(entry.path(), std::filesystem::file_size(entry.path()) / 2);
      });
  CHECK_CONTAINS(message(0., 1.), "chain1: cannot be read");
}

BOOST_AUTO_TEST_SUITE_END()
