#include <cmath>
#include <varfield/run.h>
#include <varfield/text.h>
#include <varfield/timing.h>
#include <varfield/transfer.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    template <int dim>
    class Inference
    {
    public:
      Inference(std::unique_ptr<Case<dim>> &problem, Report &report, const Extras &extras)
          : problem_(problem), report_(report), extras_(extras)
      {
      }

      /// Objects of the class hold meshes and factors, which can only be destroyed on all ranks together.
      Results<dim> run()
      {
        return or_abort([this] { return infer(); }, problem_->world());
      }

    private:
      Results<dim> infer()
      {
        make_ancestors();
        n_ancestors_ = coarser_.size();
        cycles_left_ = problem_->adaptive_refinement().cycles;
        if (extras_.go_on_from != nullptr)
          go_on();
        else
          check_prior_on(on_mesh(0));
        for (; at_ < n_ancestors_; next_mesh())
          infer_on_ancestor(on_mesh(at_));
        infer_on(*problem_);
        while (cycles_left_ > 0 && !results_.interrupted)
        {
          refine();
          next_mesh();
          infer_on(*problem_);
        }
        results_.has_spread = has_family_;
        if (step_ != collecting && results_.has_spread)
          average_draws();
        else if (step_ != collecting)
          at_one_point(map_);
        enter(collecting);
        results_.collect_fields(*problem_, map_, report_.stop_check());
        // What comes now is not kept: it is made again.
        if (!results_.interrupted)
          results_.interrupted = pause();
        if (extras_.chains && results_.has_spread && !results_.interrupted)
          run_chains_of_posterior();
        results_.collect_quantities(*problem_);
        results_.noise_deviation = problem_->measurements().standard_deviations();
        if (results_.has_spread)
          results_.scores = score_held_out(problem_->measurements(), results_.averages, results_.noise_deviation);
        if (extras_.cross_validation && results_.has_spread && !results_.interrupted)
          validate_by_folds();
        results_.parameters = results_.has_spread ? family().mean() : map_;
        results_.seconds    = report_.seconds();
        return std::move(results_);
      }

      const InverseProblem<dim> &density() const { return problem_->density(); }
      Family &family() const { return *problem_->inference().family; }

      /// What is done on a mesh, one after the other.
      enum Step : unsigned int
      {
        beginning,
        map_search,
        mode_searches,
        second_map_search, ///< from a better point
        family_start,
        optimization,
        shaping,
        done,
        averaging, ///< over draws, on the last mesh
        collecting
      };

      Case<dim> &on_mesh(std::size_t i) const { return i < coarser_.size() ? *coarser_[i] : *problem_; }
      /// The mesh before, where there is one that did not fail.
      Case<dim> &previous() { return on_mesh(at_ - 1); }

      void next_mesh()
      {
        ++at_;
        step_ = beginning;
      }

      /// The next step begins here, where the run may be gone on with.
      void enter(Step step)
      {
        step_ = step;
        // What is only carried on after a stop is nothing to begin from.
        if (extras_.checkpoints != nullptr && !results_.interrupted && extras_.checkpoints->is_due(true))
          save();
      }

      /// After an iteration: whether the run is to stop, with what it needs to go on.
      bool iterated(IterationReport row)
      {
        row.cost = row.cost + results_.other_work;
        report_.iteration(row);
        return pause();
      }

      bool pause()
      {
        const bool stop = report_.should_stop();
        if (extras_.checkpoints != nullptr && (stop || extras_.checkpoints->is_due()))
          save();
        return stop;
      }

      /// A run whose state cannot be written goes on: what it has so far is still there.
      void save()
      {
        try
        {
          extras_.checkpoints->save(
              [this](Archive &archive)
              {
                if (extras_.head)
                  extras_.head(archive);
                keep_place(archive);
                keep(archive);
              });
        }
        catch (const ComputationError &error)
        {
          report_.line("  The state of the run could not be written: " + std::string(error.what()));
        }
      }

      /// On which mesh the run is, and how that came about.
      void keep_place(Archive &archive)
      {
        std::string cells = problem_->refined_cells_as_text();
        unsigned int step = step_;
        archive.number("mesh", at_);
        archive.number("step", step);
        archive.text("refined cells", cells);
        archive.number("previous", has_previous_);
        archive.number("previous family", previous_has_family_);
        archive.number("family", has_family_);
        if (!archive.is_reading())
          return;
        step_ = static_cast<Step>(step);
        refine_as(cells);
      }

      /// All that was found so far.
      void keep(Archive &archive)
      {
        Case<dim> &here      = on_mesh(at_);
        const Layout &layout = here.density().prior().layout();
        report_.keep(archive);
        Cost cost = here.density().cost() + results_.other_work;
        archive.number("factorizations", cost.factorizations);
        archive.number("state solves", cost.state_solves);
        archive.number("linear solves", cost.linear_solves);
        if (archive.is_reading())
          results_.other_work = cost;
        archive.columns("MAP", layout, map_);
        archive.columns("MAP from before", layout, carried_map_);
        archive.number("reference gradient", map_memory_.reference_gradient);
        varfield::keep(archive, "inverse", layout, map_memory_.inverse);
        optimizer_memory_.keep(archive);
        archive.in("MAP result ", [&] { results_.map.keep(archive); });
        archive.in("optimization result ", [&] { results_.optimization.keep(archive); });
        archive.number("MAP objective", results_.map_objective);
        archive.number("MAP misfit", results_.map_misfit);
        archive.number("MAP regularization", results_.map_regularisation);
        archive.text("mesh of the starts", results_.starts_mesh);
        keep_if(archive, "prior check ", results_.prior_check, [&](PriorCheck &x) { x.keep(archive); });
        archive.number("searched on", searched_at_);
        keep_if(archive, "starts ", results_.starts,
                [&](SeveralStarts &x) { x.keep(archive, on_mesh(searched_at_).density().prior().layout()); });
        keep_solve_counts(archive);
        if (previous_has_family_ && has_previous_)
          archive.in("previous ", [&] { keep_family(archive, previous()); });
        for (std::size_t i = 0; i <= at_; ++i)
          archive.in("mesh " + std::to_string(i) + " ", [&] { on_mesh(i).model().keep(archive); });
        if (has_family_)
          archive.in("family ", [&] { keep_family(archive, here); });
        if (step_ == collecting)
          archive.in("averages ", [&] { results_.averages.keep(archive, here.model().space().layout()); });
        LoopState *loop = loop_of_step();
        bool in_loop    = loop != nullptr && loop->has_begun();
        archive.number("in loop", in_loop);
        if (in_loop && archive.is_reading())
          loop->go_on_from(archive);
        else if (in_loop)
          loop->keep(archive);
      }

      /// Each group has its own; those of an earlier run go to the first.
      void keep_solve_counts(Archive &archive) const
      {
        const SampleGroups &groups = problem_->groups();
        for (const auto &[name, count] : {std::pair("repeated solves", &solve_counts().repeated),
                                          std::pair("failed solves", &solve_counts().failed)})
        {
          double all = archive.is_reading() ? 0. : groups.sum(*count);
          archive.number(name, all);
          if (archive.is_reading())
            *count = groups.group() == 0 ? all : 0.;
        }
      }

      LoopState *loop_of_step()
      {
        return step_ == map_search || step_ == second_map_search ? &map_memory_.loop
               : step_ == optimization                           ? &optimizer_memory_.loop
               : step_ == averaging                              ? &averaging_loop_
                                                                 : nullptr;
      }

      void keep_family(Archive &archive, Case<dim> &problem)
      {
        Family &family = *problem.inference().family;
        if (archive.is_reading())
          family.initialize(problem.density().prior(), problem_->seed());
        family.keep(archive);
      }

      template <typename T, typename Keep>
      static void keep_if(Archive &archive, const std::string &name, std::optional<T> &value, const Keep &keep)
      {
        bool is_there = value.has_value();
        archive.number(name, is_there);
        if (!is_there)
          return value.reset();
        if (!value)
          value.emplace();
        archive.in(name, [&] { keep(*value); });
      }

      void go_on()
      {
        const Stage stage("reading the state of the run");
        keep_place(*extras_.go_on_from);
        keep(*extras_.go_on_from);
        report_.line("\nThe run goes on where it was after " + to_text(std::round(report_.seconds())) + " s.");
      }

      /// The meshes of adaptive refinement again.
      void refine_as(const std::string &cells)
      {
        for (const std::string &line : cells.empty() ? std::vector<std::string>() : split(cells, '\n'))
        {
          std::vector<CellId> ids;
          for (const std::string &id : split(line, ' '))
            ids.emplace_back(id);
          auto finer = problem_->refined(std::move(ids));
          coarser_.push_back(std::move(problem_));
          problem_ = std::move(finer);
          --cycles_left_;
        }
      }

      /// The meshes on which the inference begins, the coarsest first.
      void make_ancestors()
      {
        const auto &settings = problem_->inference();
        if (!settings.coarse_to_fine || !settings.start_from.empty() || density().is_quadratic())
          return;
        const Stage stage("set-up of coarse meshes");
        for (unsigned int level = problem_->mesh().triangulation().n_global_levels() - 1; level-- > 0;)
        {
          auto ancestor = problem_->coarser(level);
          if (!ancestor || ancestor->mesh().triangulation().n_global_active_cells() < settings.coarsest_cells)
            break;
          coarser_.insert(coarser_.begin(), std::move(ancestor));
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
          has_previous_     = false;
          map_memory_       = {};
          optimizer_memory_ = {};
          has_family_       = false;
        }
      }

      /// The next mesh: that of the problem at hand, refined where the indicator is largest.
      void refine()
      {
        const Stage stage("adaptive refinement");
        const auto &adaptive = problem_->adaptive_refinement();
        std::optional<LowRankCorrection> correction;
        if (has_family_ && adaptive.indicator->needs_posterior())
          correction = family().low_rank_correction();
        Vector indicators;
        problem_->groups().together(
            [&]
            {
              indicators = adaptive.indicator->evaluate(problem_->model(), problem_->fields(), map_,
                                                        correction ? &*correction : nullptr);
            });
        problem_->groups().broadcast(indicators);
        auto cells = largest_cells(problem_->mesh(), indicators, adaptive.share);
        report_.line("\nThe mesh is refined: " + std::to_string(cells.size()) + " of " +
                     std::to_string(problem_->mesh().triangulation().n_global_active_cells()) + " cells, by the " +
                     adaptive.indicator.name());
        auto finer = problem_->refined(std::move(cells));
        coarser_.push_back(std::move(problem_));
        problem_ = std::move(finer);
        --cycles_left_;
      }

      /// MAP point and variational posterior on one mesh, from those on the mesh before. Once the run is to stop they
      /// are only carried on.
      void infer_on(Case<dim> &problem)
      {
        const bool is_last     = is_finest(problem);
        const auto &inference  = problem.inference();
        const auto &adaptive   = problem.adaptive_refinement();
        const bool variational = inference.method == "variational";
        Family &family         = *inference.family;
        mesh_name_             = std::to_string(problem.mesh().triangulation().n_global_active_cells()) + " cells";
        if (!coarser_.empty() || adaptive.cycles > 0)
          report_.mesh(mesh_name_);
        std::shared_ptr<const FieldTransfer<dim>> transfer;
        if (has_previous_)
        {
          const Stage stage("transfer, " + mesh_name_);
          transfer = std::make_shared<FieldTransfer<dim>>(previous().fields(), problem.fields());
        }
        if (step_ == beginning)
        {
          carried_map_         = has_previous_ ? carry(*transfer) : problem.start();
          map_                 = carried_map_;
          previous_has_family_ = std::exchange(has_family_, false);
          enter(map_search);
        }
        if (step_ == map_search)
        {
          if (!results_.interrupted)
            find_map(problem);
          enter(mode_searches);
        }
        if (step_ == mode_searches)
          enter(!has_previous_ && !results_.interrupted && look_for_other_modes(problem) ? second_map_search
                                                                                         : family_start);
        if (step_ == second_map_search)
        {
          find_map(problem);
          enter(family_start);
        }
        const bool carries_family = variational && has_previous_ && previous_has_family_ && family.has_prolongation();
        const bool optimizes      = variational && (is_last || family.has_prolongation());
        const bool for_indicator =
            &problem == problem_.get() && inference.method != "map" && adaptive.indicator->needs_posterior();
        if (step_ == family_start)
        {
          const bool wanted = (optimizes || for_indicator || (inference.method == "laplace" && is_last)) &&
                              (carries_family || !results_.interrupted);
          if (wanted)
          {
            family.initialize(problem.density().prior(), problem_->seed());
            if (carries_family)
            {
              const Stage stage("transfer, " + mesh_name_);
              family.prolongate(*previous().inference().family, *transfer);
              family.set_mean(family.mean() + map_ - carried_map_);
            }
            else
              start_from_laplace(problem);
            if (!optimizes)
              results_.optimization = results_.map;
          }
          has_family_ = wanted;
          enter(optimization);
        }
        if (step_ == optimization)
        {
          if (has_family_ && optimizes && !results_.interrupted)
          {
            optimizer_memory_.more_to_come = !is_last;
            if (carries_family && optimizer_memory_.n_averaged > 0)
              optimizer_memory_.coarse = CoarsePosterior::create(previous().density(), *previous().inference().family,
                                                                 transfer, optimizer_memory_.elbo);
            optimize(problem);
            optimizer_memory_.coarse = nullptr;
          }
          enter(shaping);
        }
        if (step_ == shaping)
        {
          if (has_family_ && optimizes && is_last && !results_.interrupted)
            find_shape(problem);
          enter(done);
        }
        has_previous_ = true;
      }

      /// Whether the results are to be those on this mesh.
      bool is_finest(const Case<dim> &problem) const { return &problem == problem_.get() && cycles_left_ == 0; }

      /// MAP point and inverse curvature from the mesh before.
      Vector carry(const FieldTransfer<dim> &transfer)
      {
        const Vector dual = previous().fields().prior().precision(map_);
        if (!map_memory_.inverse)
          return transfer.prolongate(dual).primal;
        LowRankCorrection &inverse = *map_memory_.inverse;
        const Index r              = inverse.dual.cols();
        MultiVector block(dual.size(), r + 1);
        block << *inverse.dual, dual;
        PrimalDual fine = transfer.prolongate(block);
        const Vector m  = fine.primal.col(r);
        inverse.modes   = MultiVector(fine.primal.leftCols(r));
        inverse.dual    = MultiVector(fine.dual.leftCols(r));
        return m;
      }

      void find_map(Case<dim> &problem)
      {
        const Stage stage("MAP, " + mesh_name_);
        const Monitor monitor = [this](const IterationReport &row)
        {
          results_.map_objective      = row.objective;
          results_.map_misfit         = row.misfit;
          results_.map_regularisation = row.kl;
          return iterated(row);
        };
        MapSolver solver = problem.inference().map;
        if (!is_finest(problem))
          solver.gradient_tolerance = std::max(solver.gradient_tolerance, 1e-6);
        results_.map         = solver.minimize(problem.density(), map_, monitor, &map_memory_);
        results_.interrupted = results_.map.interrupted;
        report_.line("  " + results_.map.reason);
        if (is_finest(problem))
          map_memory_ = {};
      }

      void check_prior_on(const Case<dim> &problem)
      {
        if (problem_->inference().prior_draws == 0)
          return;
        const Stage stage("check of the prior");
        results_.prior_check = check_prior(problem, problem_->inference().prior_draws, report_.stop_check());
        // There is no state yet: such a run begins anew.
        results_.interrupted = !results_.prior_check && report_.should_stop();
        if (results_.prior_check)
          for (const std::string &line : results_.prior_check->lines(problem.measurements()))
            report_.line(line);
      }

      /// On the first mesh. A better point takes the place of the one found: whether there is one.
      bool look_for_other_modes(Case<dim> &problem)
      {
        const InferenceSettings &inference = problem.inference();
        if (inference.starts == 0 || problem.density().is_quadratic())
          return false;
        const Stage stage("searches for other modes");
        MapSolver solver          = inference.map;
        solver.gradient_tolerance = std::max(solver.gradient_tolerance, 1e-6);
        results_.starts =
            search_from_prior(problem.density(), solver, map_, inference.starts, problem.seed(), report_.stop_check());
        if (results_.starts->interrupted)
        {
          results_.starts.reset();
          results_.interrupted = pause();
          return false;
        }
        results_.starts_mesh        = mesh_name_;
        searched_at_                = at_;
        const SeveralStarts &starts = *results_.starts;
        report_.line("  " + counted(inference.starts, "more search", "more searches") +
                     " from draws of the prior: " + std::to_string(starts.at_the_same()) + " ended there, " +
                     std::to_string(starts.n_converged() - starts.at_the_same()) + " elsewhere, " +
                     std::to_string(starts.ends.size() - starts.n_converged()) + " did not converge");
        if (!starts.better)
          return false;
        report_.line("  A better point was found, lower by " + with_digits(starts.gained, 3) + " nat: on from there.");
        map_        = *starts.better;
        map_memory_ = {};
        return true;
      }

      void start_from_laplace(Case<dim> &problem)
      {
        const Stage stage("Laplace, " + mesh_name_);
        Family &family = *problem.inference().family;
        family.set_mean(map_);
        if (!family.has_natural_step())
          return;
        const auto at_map = linearize_at(problem.density(), map_, "the MAP point");
        family.natural_step(Curvature(problem.density(), *at_map), 1.);
      }

      void optimize(Case<dim> &problem)
      {
        const Stage stage(problem.inference().optimizer.name() + ", " + mesh_name_);
        results_.optimization = problem.inference().optimizer->maximize(
            problem.density(), *problem.inference().family, problem_->seed(),
            [this](const IterationReport &row) { return iterated(row); }, &optimizer_memory_);
        results_.interrupted = results_.optimization.interrupted;
        report_.line("  " + results_.optimization.reason);
      }

      void find_shape(Case<dim> &problem)
      {
        const Stage stage("shape of the posterior");
        Family &family     = *problem.inference().family;
        const auto without = family.clone();
        bool cut           = false;
        const auto stop    = [&cut, check = report_.stop_check()](const SampleGroups &groups)
        {
          cut = cut || check(groups);
          return cut;
        };
        const std::string found = family.refine(problem.density(), problem_->seed(), stop);
        if (found.empty())
          return;
        // What was cut short is done again by the run that goes on; what is done is not.
        if (cut)
          family.assign(*without);
        else
        {
          report_.line("  " + found);
          step_ = done;
        }
        results_.interrupted = pause() || cut;
      }

      /// A run that is to stop keeps what it has, even if the draws of its posterior cannot be solved.
      void average_draws()
      {
        const Stage stage("draws of the posterior");
        std::vector<const Case<dim> *> meshes;
        for (const auto &mesh : coarser_)
          meshes.push_back(mesh.get());
        meshes.push_back(problem_.get());
        try
        {
          if (step_ != averaging)
            enter(averaging);
          results_.averages = average_over_posterior(meshes, family(), results_.interrupted, report_, &averaging_loop_,
                                                     [this] { return pause(); });
          results_.interrupted = results_.averages.interrupted;
        }
        catch (const ComputationError &error)
        {
          if (!results_.interrupted)
            throw;
          report_.line(std::string("  ") + error.what());
          at_one_point(family().mean());
        }
      }

      /// Predictions without spread.
      void at_one_point(const Vector &m)
      {
        if (results_.optimization.reason.empty())
          results_.optimization = results_.map;
        results_.averages = Averages::at(*problem_, m);
      }

      /// The inference again without each fold, from the MAP point and with what is set up.
      void validate_by_folds()
      {
        const Stage stage("cross-validation");
        const auto full           = family().clone();
        results_.cross_validation = cross_validate<dim>(
            *problem_,
            [this](Case<dim> &problem, const std::vector<bool> &used, Report &report)
            { return infer_again(problem, map_, used, report); },
            report_, extras_.parts);
        family().assign(*full);
        results_.interrupted = results_.cross_validation->interrupted;
      }

      void run_chains_of_posterior()
      {
        const Stage stage("chains");
        std::vector<Vector> deviations;
        for (const FieldResult &field : results_.fields)
          deviations.push_back(field.variance.values.cwiseSqrt());
        try
        {
          results_.certificate =
              certify(*problem_, family(), deviations, results_.averages, other_modes(), report_,
                      extras_.checkpoints != nullptr ? extras_.checkpoints->folder() + "/chains" : "");
        }
        // The posterior is there all the same.
        catch (const ComputationError &error)
        {
          return leave_uncertified(error.what());
        }
        catch (const UserError &error) // chains in Certification/Checkpoint that are not of this case
        {
          return leave_uncertified(error.what());
        }
        const Certificate &certificate = *results_.certificate;
        results_.interrupted           = certificate.chains.interrupted && report_.should_stop();
        if (certificate.verdict == Verdict::failed && problem_->certification().correct)
          results_.correct_by_chains();
      }

      void leave_uncertified(const std::string &reason)
      {
        results_.certificate.emplace().chains.reason = reason;
        results_.certificate->sampler                = problem_->certification().chains.sampler.name();
        report_.line("  " + reason);
      }

      /// What the searches found elsewhere, on the last mesh.
      std::vector<Vector> other_modes() const
      {
        std::vector<Vector> modes;
        if (!results_.starts || results_.starts->elsewhere.empty())
          return modes;
        const Case<dim> &first = on_mesh(searched_at_);
        if (&first == problem_.get())
          return results_.starts->elsewhere;
        const FieldTransfer<dim> transfer(first.fields(), problem_->fields());
        for (const Vector &mode : results_.starts->elsewhere)
          modes.push_back(transfer.prolongate(first.fields().prior().precision(mode)).primal);
        return modes;
      }

      std::unique_ptr<Case<dim>> &problem_; ///< on the finest mesh so far
      Report &report_;
      const Extras extras_;
      std::vector<std::unique_ptr<Case<dim>>> coarser_; ///< the meshes before, the coarsest first
      std::size_t n_ancestors_ = 0, at_ = 0;            ///< of the meshes, the one at hand
      Step step_                = beginning;            ///< there
      bool has_previous_        = false;                ///< whether the mesh before has given something
      bool previous_has_family_ = false;
      std::size_t searched_at_  = 0; ///< the mesh of the searches for other modes
      unsigned int cycles_left_ = 0; ///< of adaptive refinement
      std::string mesh_name_;
      MapMemory map_memory_;
      OptimizerMemory optimizer_memory_;
      LoopState averaging_loop_;
      bool has_family_ = false;
      Vector map_;         ///< on the mesh at hand
      Vector carried_map_; ///< what the mesh before has given for it
      Results<dim> results_;
    };
  } // namespace

  template <int dim>
  Results<dim> infer(std::unique_ptr<Case<dim>> &problem, Report &report, const Extras &extras)
  {
    return Inference<dim>(problem, report, extras).run();
  }

  template Results<2> infer(std::unique_ptr<Case<2>> &, Report &, const Extras &);
  template Results<3> infer(std::unique_ptr<Case<3>> &, Report &, const Extras &);
} // namespace varfield
