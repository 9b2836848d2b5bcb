#include <cmath>
#include <numeric>
#include <varfield/run.h>
#include <varfield/text.h>
#include <varfield/timing.h>
#include <varfield/transfer.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// Running mean and variance over draws, spread over the sample groups (sums of deviations from the state at the
    /// MAP point, which keeps the sums small).
    class Moments
    {
    public:
      explicit Moments(MultiVector reference)
          : reference_(std::move(reference)),
            sum_(MultiVector::Zero(reference_.rows(), reference_.cols())),
            squares_(sum_)
      {
      }
      void add(const MultiVector &value)
      {
        sum_ += value - reference_;
        squares_ += (value - reference_).cwiseAbs2();
        count_ += 1.;
      }
      void finish(const SampleGroups &groups)
      {
        groups.sum(sum_);
        groups.sum(squares_);
        count_ = groups.sum(count_);
      }
      MultiVector mean() const { return reference_ + sum_ / count_; }
      MultiVector deviation() const
      {
        const MultiVector variance = (squares_ - sum_.cwiseAbs2() / count_) / std::max(1., count_ - 1.);
        return variance.cwiseMax(0.).cwiseSqrt();
      }

    private:
      const MultiVector reference_;
      MultiVector sum_, squares_;
      double count_ = 0.;
    };

    template <int dim>
    class Inference
    {
    public:
      Inference(Case<dim> &problem, Report &report)
          : problem_(problem), report_(report), density_(problem.density()), family_(*problem.inference().family)
      {
      }

      Results<dim> run()
      {
        make_ancestors();
        for (const auto &ancestor : ancestors_)
          infer_on_ancestor(*ancestor);
        infer_on(problem_);
        results_.has_spread = has_family_;
        if (results_.has_spread)
          average_draws();
        else
          at_one_point(map_);
        results_.interrupted = report_.should_stop() || results_.interrupted;
        collect_fields();
        results_.parameters = results_.has_spread ? family_.mean() : map_;
        results_.seconds    = report_.seconds();
        return std::move(results_);
      }

    private:
      /// The meshes on which the inference begins, the coarsest first.
      void make_ancestors()
      {
        const auto &settings = problem_.inference();
        if (!settings.coarse_to_fine || !settings.start_from.empty() || density_.is_quadratic())
          return;
        const Stage stage("set-up of coarse meshes");
        for (unsigned int level = problem_.mesh().triangulation().n_global_levels() - 1; level-- > 0;)
        {
          auto ancestor = problem_.coarser(level);
          if (!ancestor || ancestor->mesh().triangulation().n_global_active_cells() < settings.coarsest_cells)
            break;
          ancestors_.insert(ancestors_.begin(), std::move(ancestor));
        }
      }

      /// What fails on a coarse mesh is tried again on the next, from the start.
      void infer_on_ancestor(Case<dim> &problem)
      {
        try
        {
          infer_on(problem);
        }
        catch (const ComputationError &error)
        {
          report_.line("  " + std::string(error.what()) + "\n  The search begins again on the next finer mesh.");
          previous_         = nullptr;
          map_memory_       = {};
          optimizer_memory_ = {};
          has_family_       = false;
        }
      }

      /// MAP point and variational posterior on one mesh, from those on the mesh before. Once the run is to stop they
      /// are only carried on.
      void infer_on(Case<dim> &problem)
      {
        const bool is_last    = &problem == &problem_;
        const auto &inference = problem_.inference();
        Family &family        = *problem.inference().family;
        mesh_name_            = std::to_string(problem.mesh().triangulation().n_global_active_cells()) + " cells";
        if (!ancestors_.empty())
          report_.mesh(mesh_name_);
        std::optional<FieldTransfer<dim>> transfer;
        Vector carried_map = problem.start();
        if (previous_)
        {
          const Stage stage("transfer, " + mesh_name_);
          transfer.emplace(previous_->fields(), problem.fields());
          carried_map = carry(*transfer);
        }
        map_ = carried_map;
        if (!results_.interrupted)
          find_map(problem);
        const bool wants_family = inference.method == "variational" ? is_last || family.has_prolongation()
                                                                    : inference.method == "laplace" && is_last;
        if (wants_family && (has_family_ || !results_.interrupted))
        {
          family.initialize(problem.density().prior(), problem_.seed());
          if (has_family_)
          {
            const Stage stage("transfer, " + mesh_name_);
            family.prolongate(*previous_->inference().family, *transfer);
            family.set_mean(family.mean() + map_ - carried_map);
          }
          else
            start_from_laplace(problem);
          has_family_ = true;
          if (inference.method != "variational")
            results_.optimization = results_.map;
          else if (!results_.interrupted)
            optimize(problem);
        }
        previous_ = &problem;
      }

      /// MAP point and inverse curvature from the mesh before.
      Vector carry(const FieldTransfer<dim> &transfer)
      {
        const Vector dual = previous_->fields().prior().precision(map_);
        if (!map_memory_.inverse)
          return transfer.prolongate(dual).primal;
        LowRankCorrection &inverse = *map_memory_.inverse;
        const Index r              = inverse.dual.cols();
        MultiVector block(dual.size(), r + 1);
        block << inverse.dual, dual;
        PrimalDual fine = transfer.prolongate(block);
        const Vector m  = fine.primal.col(r);
        inverse.modes   = fine.primal.leftCols(r);
        inverse.dual    = fine.dual.leftCols(r);
        return m;
      }

      void find_map(Case<dim> &problem)
      {
        const Stage stage("MAP, " + mesh_name_);
        const Monitor monitor = [this](const IterationReport &row)
        {
          report_.iteration(row);
          results_.map_objective      = row.objective;
          results_.map_misfit         = row.misfit;
          results_.map_regularisation = row.kl;
          return report_.should_stop();
        };
        MapSolver solver = problem.inference().map;
        if (&problem != &problem_)
          solver.gradient_tolerance = std::max(solver.gradient_tolerance, 1e-6);
        results_.map         = solver.minimize(problem.density(), map_, monitor, &map_memory_);
        results_.interrupted = results_.map.interrupted;
        report_.line("  " + results_.map.reason);
      }

      void start_from_laplace(Case<dim> &problem)
      {
        const Stage stage("Laplace, " + mesh_name_);
        Family &family = *problem.inference().family;
        family.set_mean(map_);
        if (!family.has_natural_step())
          return;
        const auto at_map = problem.density().linearize(map_);
        if (!at_map)
          throw ComputationError("The model cannot be linearised at the MAP point.");
        family.natural_step(Curvature(problem.density(), *at_map), 1.);
      }

      void optimize(Case<dim> &problem)
      {
        const Stage stage(problem.inference().optimizer.name() + ", " + mesh_name_);
        results_.optimization = problem.inference().optimizer->maximize(
            problem.density(), *problem.inference().family, problem_.seed(),
            [this](const auto &row)
            {
              report_.iteration(row);
              return report_.should_stop();
            },
            &optimizer_memory_);
        results_.interrupted = results_.optimization.interrupted;
        report_.line("  " + results_.optimization.reason);
      }

      /// A run that is to stop keeps what it has, even if the draws of its posterior cannot be solved.
      void average_draws()
      {
        const Stage stage("draws of the posterior");
        try
        {
          solve_draws();
        }
        catch (const ComputationError &error)
        {
          if (!results_.interrupted)
            throw;
          report_.line(std::string("  ") + error.what());
          at_one_point(family_.mean());
        }
      }

      /// Fresh draws until the error of the ELBO is small enough: ELBO, predicted state and measurements. A run that is
      /// to stop takes a few.
      void solve_draws()
      {
        constexpr unsigned int few = 16, batch = 64; // even, the same on any number of groups
        const auto &settings = problem_.inference();
        if (!density_.potential(family_.mean()))
          throw ComputationError("The model cannot be solved at the mean of the posterior.");
        Moments states(density_.last()->states), predictions(density_.last()->predictions);
        unsigned int wanted = settings.minimum_draws + settings.minimum_draws % 2;
        if (results_.interrupted)
          wanted = std::min(wanted, few);
        const auto visitor = [&](const Draw &)
        {
          states.add(density_.last()->states);
          predictions.add(density_.last()->predictions);
          report_.progress("draws of the posterior", ++visited_, wanted / problem_.groups().n_groups());
        };
        DrawRange range;
        range.seed        = problem_.seed();
        range.most_failed = 0.5; // of a batch; all of them are judged together
        while (range.first < wanted)
        {
          range.count = std::min(batch, wanted - range.first);
          merge(estimate_elbo(density_, family_, range, visitor));
          range.first += range.count;
          if (range.first == wanted && !results_.interrupted)
          {
            refuse_failures(results_.elbo.elbo.failed, range.first);
            wanted = total_draws(range.first);
          }
          if (range.first < wanted && !results_.interrupted && report_.should_stop())
          {
            results_.interrupted = true;
            break;
          }
        }
        states.finish(problem_.groups());
        predictions.finish(problem_.groups());
        results_.state_mean           = states.mean();
        results_.state_deviation      = states.deviation();
        results_.prediction_mean      = predictions.mean();
        results_.prediction_deviation = predictions.deviation();
      }

      /// How many draws to go on to after `n`: as many as the error asks for, at most twice as many.
      unsigned int total_draws(unsigned int n) const
      {
        const auto &settings = problem_.inference();
        const double ratio   = results_.elbo.elbo.error / std::max(1e-300, settings.elbo_error);
        if (ratio <= 1. || n >= settings.maximum_draws)
          return n;
        const double wanted = std::min({std::max(ratio * ratio, 1.1) * n, 2. * n, settings.maximum_draws + 1.});
        return n + 2 * std::max(1u, static_cast<unsigned int>((wanted - n) / 2.));
      }

      void merge(const ElboEstimate &batch)
      {
        ElboEstimate &all = results_.elbo;
        const double old = all.elbo.draws, fresh = batch.elbo.draws;
        all.log_weights.insert(all.log_weights.end(), batch.log_weights.begin(), batch.log_weights.end());
        const unsigned int failed = all.elbo.failed + batch.elbo.failed;
        all.elbo                  = mean_and_error(all.log_weights, true);
        all.elbo.failed           = failed;
        all.misfit.value          = (old * all.misfit.value + fresh * batch.misfit.value) / (old + fresh);
        all.misfit.error =
            std::sqrt(std::pow(old * all.misfit.error, 2) + std::pow(fresh * batch.misfit.error, 2)) / (old + fresh);
        all.misfit.draws = all.elbo.draws;
        all.kl           = batch.kl;
      }

      /// Predictions without spread.
      void at_one_point(const Vector &m)
      {
        if (results_.optimization.reason.empty())
          results_.optimization = results_.map;
        if (!density_.potential(m))
          throw ComputationError("The model cannot be solved at the result.");
        results_.state_mean           = density_.last()->states;
        results_.state_deviation      = MultiVector::Zero(results_.state_mean.rows(), results_.state_mean.cols());
        results_.prediction_mean      = density_.last()->predictions;
        results_.prediction_deviation = Vector::Zero(results_.prediction_mean.size());
      }

      /// The precision λ added in each direction of a low-rank correction, the most informed directions first.
      static Vector sort_by_information(LowRankCorrection &correction)
      {
        const Vector lambda = correction.shrinkage.array() / (1. - correction.shrinkage.array());
        std::vector<Index> order(static_cast<std::size_t>(lambda.size()));
        std::iota(order.begin(), order.end(), Index(0));
        std::stable_sort(order.begin(), order.end(),
                         [&](Index a, Index b) { return std::abs(lambda[a]) > std::abs(lambda[b]); });
        correction.modes     = MultiVector(correction.modes(Eigen::all, order));
        correction.dual      = MultiVector(correction.dual(Eigen::all, order));
        correction.shrinkage = Vector(correction.shrinkage(order));
        return lambda(order);
      }

      MultiVector posterior_draws(unsigned int n) const
      {
        MultiVector draws(map_.size(), n);
        for (unsigned int k = 0; k < n; ++k)
          draws.col(k) = family_.sample({problem_.seed(), Stream::posterior_draw, k, 1.}).m;
        return draws;
      }

      void collect_fields()
      {
        const Stage stage("pointwise variances");
        OutputSettings output = problem_.output();
        if (results_.interrupted)
        {
          // Whoever stopped the run waits for its end: coarse variances will do.
          output.exact_variance_limit = 0;
          output.variance_probes      = std::min(output.variance_probes, 64u);
        }
        const auto &fields    = problem_.fields();
        const bool has_spread = results_.has_spread;
        std::optional<LowRankCorrection> correction;
        if (has_spread)
        {
          correction             = family_.low_rank_correction();
          results_.first_dropped = family_.first_dropped();
        }
        if (correction)
          results_.eigenvalues = sort_by_information(*correction);
        const MultiVector draws = posterior_draws(has_spread ? output.n_draws : 0);
        for (unsigned int f = 0; f < fields.size(); ++f)
        {
          FieldResult result;
          const auto &field = fields[f];
          result.mean       = fields.values(has_spread ? family_.mean() : map_, f);
          result.map        = fields.values(map_, f);
          result.prior_variance =
              prior_variance(fields, f, output.exact_variance_limit, output.variance_probes, problem_.seed());
          result.variance = result.prior_variance;
          if (has_spread)
            result.variance = posterior_variance(fields, f, family_, result.prior_variance, output.exact_variance_limit,
                                                 output.variance_probes, problem_.seed());
          if (correction)
            result.modes = field.expand(
                fields.part(correction->modes.leftCols(std::min<Index>(output.n_modes, correction->modes.cols())), f));
          result.draws = field.expand(fields.part(draws, f));
          result.draws.colwise() += field.mean();
          if (const auto truth = problem_.truth(f))
            result.truth = *truth;
          results_.fields.push_back(std::move(result));
        }
      }

      Case<dim> &problem_;
      Report &report_;
      const InverseProblem<dim> &density_;
      Family &family_;
      std::vector<std::unique_ptr<Case<dim>>> ancestors_;
      Case<dim> *previous_ = nullptr; ///< the mesh before
      std::string mesh_name_;
      MapMemory map_memory_;
      OptimizerMemory optimizer_memory_;
      bool has_family_ = false;
      Vector map_; ///< on the mesh at hand
      Results<dim> results_;
      unsigned int visited_ = 0;
    };
  } // namespace

  template <int dim>
  Results<dim> infer(Case<dim> &problem, Report &report)
  {
    return Inference<dim>(problem, report).run();
  }

  template Results<2> infer(Case<2> &, Report &);
  template Results<3> infer(Case<3> &, Report &);
} // namespace varfield
