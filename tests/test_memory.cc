// ranks: 1 2
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>
#include <varfield/curvature_sketch.h>
#include <varfield/memory.h>
#include <varfield/newton.h>
#include <varfield/sweep.h>

BOOST_AUTO_TEST_SUITE(memory)

using namespace varfield;
using namespace varfield::tests;

BOOST_AUTO_TEST_CASE(tables_of_the_kernel)
{
  const std::string text = "MemTotal:       24576000 kB\nMemFree:          100000 kB\nMemAvailable:   12000000 kB\n"
                           "HugePages_Total:       0\n";
  BOOST_TEST(bytes_in_table(text, "MemAvailable").value() == 12000000. * 1024.);
  BOOST_TEST(bytes_in_table("VmPeak:\t  900 kB\nVmHWM:\t  700 kB\n", "VmHWM").value() == 700. * 1024.);
  BOOST_TEST(!bytes_in_table(text, "Available").has_value());
  BOOST_TEST(!bytes_in_table("", "MemAvailable").has_value());
  BOOST_TEST(!bytes_in_table("MemAvailable: much\n", "MemAvailable").has_value());
}

BOOST_AUTO_TEST_CASE(limits_of_control_groups)
{
  BOOST_TEST(room_in_control_group("1000\n", "600\n", "anon 450\ninactive_file 100\nactive_file 50\n").value() == 500.);
  BOOST_TEST(room_in_control_group("1000\n", "600\n", "").value() == 400.);
  BOOST_TEST(room_in_control_group("500\n", "600\n", "").value() == 0.);
  BOOST_TEST(room_in_control_group("1000", "600", "inactive_file 10\ntotal_inactive_file 200\n").value() == 600.);
  BOOST_TEST(!room_in_control_group("max\n", "600\n", "").has_value());
  BOOST_TEST(!room_in_control_group("9223372036854771712\n", "600\n", "").has_value());
  BOOST_TEST(!room_in_control_group("", "", "").has_value());
}

BOOST_AUTO_TEST_CASE(folders_of_control_groups)
{
  const std::vector<std::string> second{"/sys/fs/cgroup/user.slice/job.scope", "/sys/fs/cgroup/user.slice",
                                        "/sys/fs/cgroup"};
  BOOST_TEST(control_groups("0::/user.slice/job.scope\n") == second, boost::test_tools::per_element());
  const std::vector<std::string> first{"/sys/fs/cgroup/memory/slurm/job_7", "/sys/fs/cgroup/memory/slurm",
                                       "/sys/fs/cgroup/memory"};
  BOOST_TEST(control_groups("11:cpu,cpuacct:/slurm/job_7\n4:memory:/slurm/job_7\n") == first,
             boost::test_tools::per_element());
  BOOST_TEST(control_groups("0::/\n") == std::vector<std::string>{"/sys/fs/cgroup"}, boost::test_tools::per_element());
  BOOST_TEST(control_groups("").empty());
}

BOOST_AUTO_TEST_CASE(this_process)
{
  const std::vector<double> held(8000000, 1.);
  BOOST_TEST(resident_memory() > 64e6 * held[0]);
  BOOST_TEST(peak_memory() >= resident_memory());
  BOOST_TEST(available_memory() > 0.);
  int n_ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const MemoryFigures figures = memory_figures(1. + rank, MPI_COMM_WORLD);
  BOOST_TEST(figures.rank == n_ranks);
  BOOST_TEST(figures.all == n_ranks * (n_ranks + 1) / 2.);
  BOOST_TEST(figures.computer <= figures.all); // all ranks of the tests are on one
}

BOOST_AUTO_TEST_CASE(numbers_of_bytes)
{
  BOOST_TEST(in_bytes(3.14e9) == "3.1 GB");
  BOOST_TEST(in_bytes(2.301e8) == "231 MB");
  BOOST_TEST(in_bytes(2.34e11) == "234 GB");
  BOOST_TEST(in_bytes(9.7e8) == "1.0 GB");
}

namespace
{
  ProblemSize cube(double cells, unsigned int ranks = 1, unsigned int groups = 1)
  {
    ProblemSize size;
    size.dim          = 3;
    size.cells        = cells;
    size.measurements = 150;
    size.ranks        = ranks;
    size.groups       = groups;
    size.fields.resize(1);
    return size;
  }

  double bytes_of(const ProblemSize &size)
  {
    double sum = 0.;
    for (const MemoryPart &part : memory_parts(size))
      sum += part.bytes;
    return sum;
  }
} // namespace

BOOST_AUTO_TEST_CASE(predictions_follow_the_problem)
{
  const ProblemSize small = cube(27000.), large = cube(216000.);
  BOOST_TEST(bytes_of(large) > 8. * bytes_of(small)); // factors grow faster than cells
  ProblemSize multigrid = large;
  multigrid.direct      = false;
  BOOST_TEST(bytes_of(multigrid) < bytes_of(large));
  ProblemSize sketched          = multigrid;
  sketched.keeps_linearizations = false;
  BOOST_TEST(bytes_of(sketched) < 0.7 * bytes_of(multigrid));
  // What does not depend on the number of draws when they are averaged one by one.
  ProblemSize more_draws = sketched;
  more_draws.draws       = 64;
  BOOST_TEST(bytes_of(more_draws) < 1.1 * bytes_of(sketched));
  // A group holds the whole mesh, and its share of the draws.
  const auto one = plan_memory(cube(27000., 4, 1), 0., MPI_COMM_SELF),
             two = plan_memory(cube(27000., 4, 2), 0., MPI_COMM_SELF);
  BOOST_TEST(two.predicted.rank > one.predicted.rank);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused_on_all_ranks)
{
  const ProblemSize size = cube(27000.);
  const MemoryPlan roomy = plan_memory(size, 1e15, MPI_COMM_WORLD);
  BOOST_TEST(roomy.fits());
  BOOST_CHECK_NO_THROW(refuse_excess(roomy, size));
  // A limit on one rank alone cannot be: the tightest computer speaks for all.
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const MemoryPlan tight = plan_memory(size, rank == 0 ? 1e6 : 1e15, MPI_COMM_WORLD);
  BOOST_TEST(!tight.fits());
  BOOST_TEST(tight.room == 1e6);
  BOOST_CHECK_THROW(refuse_excess(tight, size), UserError);
}

BOOST_AUTO_TEST_CASE(route_by_cost)
{
  CurvatureSettings settings;
  // 100 directions at most: 2·2·(100+20)+10 solves in parameter space.
  settings.workspace_bytes = 1e6;
  CurvatureSize size{1e4, 490.};
  BOOST_TEST(plan_curvature(settings, size).parameter_solves == 490.);
  BOOST_TEST(plan_curvature(settings, size).data_space);
  size.measurements = 491.;
  BOOST_TEST(!plan_curvature(settings, size).data_space);
  settings.route = "data space";
  BOOST_TEST(plan_curvature(settings, size).data_space);
  settings.route = "parameter space";
  size           = {1e4, 10.};
  BOOST_TEST(!plan_curvature(settings, size).data_space);
  settings.route = "auto";
  BOOST_TEST(plan_curvature(settings, size).data_space);

  // Fewer directions: the data space pays for fewer measurements.
  settings.rank = 10;
  size          = {1e4, 200.};
  BOOST_TEST(!plan_curvature(settings, size).data_space);
  settings.rank = 100;
  BOOST_TEST(plan_curvature(settings, size).data_space);

  // Three Jacobians of 1.2 GB fit into 4 GB, three of 1.4 GB do not.
  BOOST_TEST(plan_curvature(settings, {1e6, 150.}).data_space);
  BOOST_TEST(!plan_curvature(settings, {1e6, 175.}).data_space);
  settings.memory = 5.;
  BOOST_TEST(plan_curvature(settings, {1e6, 175.}).data_space);

  // All draws are kept as long as they fit.
  BOOST_TEST(plan_curvature(settings, {1e6, 150.}).keeps(4));
  BOOST_TEST(!plan_curvature(settings, {1e6, 150.}).keeps(16));
}

namespace
{
  /// A curvature that varies with m: Φ = ½|G m|² + a little of fourth order.
  DenseDensity::Function varying(const Matrix &g)
  {
    return [g](const Vector &m)
    {
      const Vector y = g * m, w = 1. + 0.5 * y.array().square();
      return DenseValues{0.5 * y.squaredNorm() + 0.125 * y.array().pow(4).sum(),
                         g.transpose() * (y + 0.5 * Vector(y.array().cube())), g.transpose() * w.asDiagonal() * g};
    };
  }
} // namespace

/// The same sweep with all linearisations and with a sketch.
BOOST_AUTO_TEST_CASE(sketched_sweep)
{
  for_each_split(
      [](const SampleGroups &groups)
      {
        const Index n = 120;
        const FactorPrior prior(groups.space(), smooth_factor(n));
        Matrix g = 30. * random_matrix(40, n, 3);
        for (Index i = 0; i < g.rows(); ++i)
          g.row(i) *= std::pow(0.6, double(i));
        DenseDensity density(groups, prior, varying(g));
        const auto family = Registry<Family>::members().at("low rank").create();
        family->initialize(prior, 5);
        const Vector zero = Vector::Zero(prior.layout().n_local());
        const auto at     = density.linearize(zero);
        family->set_mean(zero);
        family->natural_step(Curvature(density, *at), 1.);
        DrawRange draws;
        draws.seed  = 11;
        draws.count = 8;
        const Sweep kept(density, *family, draws);
        density.keeps = false;
        const Sweep sketched(density, *family, draws);
        const Curvature full = kept.curvature(), low = sketched.curvature();
        BOOST_TEST(low.n_draws() == 8);
        BOOST_TEST(kept.elbo().elbo.value == sketched.elbo().elbo.value);
        BOOST_TEST((kept.gradient() - sketched.gradient()).norm() == 0.);
        BOOST_TEST(std::abs(kept.residual(nullptr).noise - sketched.residual(nullptr).noise) <=
                   1e-12 * kept.residual(nullptr).noise);
        // Exact in the directions of the family, with the sampling variance.
        const MultiVector u = family->low_rank_correction()->modes;
        BOOST_TEST(u.cols() > 5);
        const Spread a = full.form_matrix(u), b = low.form_matrix(u);
        BOOST_TEST(relative_difference(b.mean, a.mean) < 1e-10);
        BOOST_TEST(relative_difference(b.variance, a.variance) < 1e-8);
        BOOST_TEST(relative_difference(low.forms(u).variance, full.forms(u).variance) < 1e-8);
        // In others the variance is not known.
        BOOST_TEST(low.form_matrix(2. * u).variance.norm() == 0.);
        // Eigenvalues and steps.
        EigenOptions options;
        options.cutoff     = 0.01;
        const Eigenpairs x = eigenpairs(full, options), y = eigenpairs(low, options, u);
        const Index n_pairs = std::min(x.values.size(), y.values.size());
        BOOST_REQUIRE(n_pairs > 5);
        BOOST_TEST(
            ((x.values - y.values).head(n_pairs).array() / (1. + x.values.head(n_pairs).array())).abs().maxCoeff() <
            1e-4);
        NewtonOptions newton;
        const NewtonStep s = solve_newton(full, kept.gradient(), newton),
                         t = solve_newton(low, kept.gradient(), newton);
        BOOST_TEST(relative_difference(prior.layout().gather(t.primal), prior.layout().gather(s.primal)) < 1e-4);
        // The blend with what is remembered.
        const MultiVector v = family->low_rank_correction()->dual;
        const Vector lambda = Vector::Ones(v.cols());
        BOOST_TEST(relative_difference(prior.layout().gather(low.blended(0.25, v, lambda).apply(u)),
                                       prior.layout().gather(full.blended(0.25, v, lambda).apply(u))) < 1e-8);
      });
}

/// A whole run with the linearisations of all draws, and with sketches on both routes.
BOOST_AUTO_TEST_CASE(sketched_run)
{
  const std::vector<std::string> small{"Mesh/Subdivisions=16, 16", "Inference/natural gradient/Maximum iterations=4",
                                       "Inference/Coarse to fine=false", "Inference/Minimum draws=32",
                                       "Inference/Maximum draws=32"};
  const auto elbo = [&](const std::string &route, const std::string &memory)
  {
    auto settings = small;
    settings.push_back("Inference/Curvature/Route=" + route);
    settings.push_back("Inference/Curvature/Memory=" + memory);
    auto problem = shipped_case<2>("ld100/ld100", settings);
    BOOST_TEST(problem->density().keeps_linearizations(16) == (memory == "4"));
    return infer_silently(problem).averages.elbo.elbo;
  };
  const Estimate kept = elbo("data space", "4");
  for (const std::string route : {"data space", "parameter space"})
  {
    const Estimate sketched = elbo(route, "0");
    BOOST_TEST_CONTEXT(route << ": " << sketched.value << " and " << kept.value)
    BOOST_TEST(std::abs(sketched.value - kept.value) < 0.1);
  }
}

BOOST_AUTO_TEST_SUITE_END()
