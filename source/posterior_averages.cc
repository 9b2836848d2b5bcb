#include <algorithm>
#include <cmath>
#include <varfield/posterior_averages.h>
#include <varfield/subspace_family.h>
#include <varfield/transfer.h>

namespace varfield
{
  namespace
  {
    constexpr unsigned int pilot = 16, batch = 64; // even: draws come in pairs

    /// What is averaged of a solved model: its states, and its predictions followed by the quantities of interest.
    struct Solved
    {
      MultiVector states;
      Vector numbers;

      template <int dim>
      explicit Solved(const Case<dim> &problem) : states(problem.density().last()->states)
      {
        const Vector &predictions = problem.density().last()->predictions;
        numbers.resize(predictions.size() + problem.quantities().size());
        numbers << predictions, problem.quantities().evaluate(*problem.density().last());
      }
    };

    /// Sums over draws of these, less those at the mean of the posterior, and of their squares.
    struct Moments
    {
      MultiVector states, state_squares;
      Vector numbers, number_squares;

      explicit Moments(const Solved &like)
          : states(MultiVector::Zero(like.states.rows(), like.states.cols())),
            state_squares(states),
            numbers(Vector::Zero(like.numbers.size())),
            number_squares(numbers)
      {
      }

      void add(const Solved &at, const Solved &reference)
      {
        const MultiVector change = at.states - reference.states;
        states += change;
        state_squares += change.cwiseAbs2();
        numbers += at.numbers - reference.numbers;
        number_squares += (at.numbers - reference.numbers).cwiseAbs2();
      }

      /// The sums over all groups, to and from a file.
      void keep(Archive &archive, const Layout &layout, const SampleGroups &groups)
      {
        Moments all = *this;
        if (!archive.is_reading())
          all.sum_up(groups);
        archive.columns("states", layout, all.states);
        archive.columns("squares of states", layout, all.state_squares);
        archive.numbers("numbers", all.numbers);
        archive.numbers("squares of numbers", all.number_squares);
        if (archive.is_reading() && groups.group() == 0)
          *this = std::move(all);
      }

      void sum_up(const SampleGroups &groups)
      {
        groups.sum(states);
        groups.sum(state_squares);
        groups.sum(numbers);
        groups.sum(number_squares);
      }

      /// Means of `n` draws.
      void finish(const SampleGroups &groups, double n)
      {
        sum_up(groups);
        states /= n;
        state_squares /= n;
        numbers /= n;
        number_squares /= n;
      }
    };

    /// What the draws of one mesh gave there and, where it has a partner, on the next coarser mesh.
    struct Collected
    {
      ElboEstimate own, partner;
      std::unique_ptr<Moments> own_moments, partner_moments;
      Matrix quantities; ///< of every draw on its own mesh

      unsigned int n() const { return static_cast<unsigned int>(own.log_weights.size()); }
      /// Mean of own − partner, or of own alone.
      Estimate elbo(bool paired) const { return difference(own.log_weights, partner.log_weights, paired); }
      Estimate misfit(bool paired) const { return difference(own.potentials, partner.potentials, paired); }

    private:
      static Estimate difference(std::vector<double> values, const std::vector<double> &less, bool paired)
      {
        for (std::size_t k = 0; paired && k < values.size(); ++k)
          values[k] -= less[k];
        return mean_and_error(values, true);
      }
    };

    /// Of one draw, n times the squared error of the mean.
    double variance(const Estimate &mean)
    {
      return mean.error * mean.error * mean.draws;
    }

    /// The problem and the posterior on one mesh.
    template <int dim>
    class Level
    {
    public:
      /// The posterior itself. Draws are made from loads if `from_loads` and the covariance is a low-rank correction.
      Level(const Case<dim> &problem, const Family &family, bool from_loads) : problem_(problem), family_(family)
      {
        if (from_loads)
          frozen_ = family.frozen();
      }

      /// The posterior on the next finer mesh, carried down.
      Level(const Case<dim> &problem, const Level &fine)
          : problem_(problem),
            family_(fine.family_),
            fields_up_(std::make_unique<FieldTransfer<dim>>(problem.fields(), fine.problem_.fields())),
            states_up_(std::make_unique<Interpolation<dim>>(problem.model().space().dof_handler(), problem.mesh(),
                                                            fine.problem_.model().space().dof_handler())),
            frozen_(std::make_unique<FrozenGaussian>(fine.frozen_->restricted(*fields_up_)))
      {
      }

      const Case<dim> &problem() const { return problem_; }
      const GaussianPrior &prior() const { return problem_.density().prior(); }
      double unknowns() const { return static_cast<double>(problem_.model().space().dof_handler().n_dofs()); }
      std::uint64_t cells() const { return problem_.mesh().triangulation().n_global_active_cells(); }
      const FieldTransfer<dim> &fields_up() const { return *fields_up_; }
      const Interpolation<dim> &states_up() const { return *states_up_; }
      const Solved &reference() const { return *reference_; }

      /// Solves at the mean. False where that fails in any group. Collective over the world.
      bool solve_at_mean()
      {
        const bool solved = problem_.density().potential(frozen_ ? frozen_->mean() : family_.mean()).has_value();
        if (problem_.groups().sum(solved ? 0. : 1.) > 0.)
          return false;
        reference_ = std::make_unique<Solved>(problem_);
        return true;
      }

      /// Whether draws are made from loads.
      bool takes_loads() const { return frozen_ != nullptr; }

      /// The draw of a load (of a key, for a family) and Φ there.
      std::optional<DrawValue> solve(const Vector &load, const DrawKey &key) const
      {
        const Draw draw      = frozen_ ? frozen_->draw(load) : family_.sample(key);
        const auto potential = problem_.density().potential(draw.m);
        return potential ? std::optional(DrawValue{draw.log_ratio, *potential}) : std::nullopt;
      }

    private:
      const Case<dim> &problem_;
      const Family &family_; ///< on the finest mesh
      std::unique_ptr<Solved> reference_;
      std::unique_ptr<FieldTransfer<dim>> fields_up_; ///< to the next finer mesh
      std::unique_ptr<Interpolation<dim>> states_up_;
      std::unique_ptr<FrozenGaussian> frozen_;
    };

    template <int dim>
    class Averaging
    {
    public:
      Averaging(const std::vector<const Case<dim> *> &meshes, const Family &family, Report &report,
                const std::function<bool()> &pause)
          : meshes_(meshes),
            family_(family),
            report_(report),
            settings_(meshes.back()->inference()),
            pause_(pause ? pause : [&report] { return report.should_stop(); })
      {
        levels_.emplace_back(*meshes.back(), family, /* from_loads */ meshes.size() > 1);
        collected_.emplace_back();
        if (!levels_[0].solve_at_mean())
          throw ComputationError("The model cannot be solved at the mean of the posterior.");
      }

      Averages run(bool hurry, LoopState &loop)
      {
        if (hurry && !loop.goes_on())
        {
          wanted_ = std::min(pilot, settings_.minimum_draws + settings_.minimum_draws % 2);
          draw(0, wanted_, false);
          result_.interrupted = true;
        }
        else
        {
          bool goes_on = loop.begin([this](Archive &archive) { keep(archive); });
          if (!goes_on)
            choose_base();
          for (place_.drew = true; place_.drew && !result_.interrupted; goes_on = false)
          {
            if (!goes_on)
              place_ = {plan(base()), levels_.size(), 0, false};
            draw_towards_plan();
          }
          loop.end();
        }
        finish();
        return std::move(result_);
      }

    private:
      const SampleGroups &groups() const { return meshes_.back()->groups(); }
      std::size_t base() const { return levels_.size() - 1; }
      unsigned int n_pilot() const { return std::min(pilot, settings_.maximum_draws + settings_.maximum_draws % 2); }
      bool is_paired(std::size_t l) const { return l < base(); }

      /// The mesh on which the white noise of draws on mesh l is made.
      std::size_t noise_level(std::size_t l) const { return levels_[0].prior().has_nested_loads() ? l : 0; }

      /// Of one draw in unknowns: its solves, and its white noise.
      double cost(std::size_t l, bool paired) const
      {
        constexpr double noise = 0.05;
        return levels_[l].unknowns() + (paired ? levels_[l + 1].unknowns() : 0.) +
               noise * levels_[noise_level(l)].unknowns();
      }

      /// Adds coarser meshes as long as the cost predicted with them falls.
      void choose_base()
      {
        while (levels_[0].takes_loads() && levels_.size() < meshes_.size() && !result_.interrupted)
        {
          const std::size_t l = base();
          Level<dim> coarser(*meshes_[meshes_.size() - 2 - l], levels_[l]);
          if (!coarser.solve_at_mean())
            break;
          levels_.push_back(std::move(coarser));
          collected_.emplace_back();
          try
          {
            draw(l, n_pilot(), true);
          }
          catch (const ComputationError &)
          {
            // The coarse model fails too often to be of use.
            drop_base();
            collected_[l] = Collected();
            break;
          }
          if (predicted_cost(plan(l + 1)) >= predicted_cost(plan(l)))
          {
            drop_base();
            break;
          }
        }
        if (collected_.back().n() == 0)
          draw(base(), n_pilot(), false);
      }

      void drop_base()
      {
        levels_.pop_back();
        collected_.pop_back();
      }

      /// Draws wanted on the meshes down to `coarsest`, the finest first.
      std::vector<unsigned int> plan(std::size_t coarsest) const
      {
        std::vector<double> variances, costs;
        double roots = 0.;
        for (std::size_t l = 0; l <= coarsest; ++l)
        {
          // What a mesh without draws of its own would give is known from its finer partner.
          variances.push_back(variance(collected_[l].n() > 0
                                           ? collected_[l].elbo(l < coarsest)
                                           : mean_and_error(collected_[l - 1].partner.log_weights, true)));
          costs.push_back(cost(l, l < coarsest));
          roots += std::sqrt(variances[l] * costs[l]);
        }
        std::vector<unsigned int> result;
        for (std::size_t l = 0; l <= coarsest; ++l)
        {
          const double square      = std::max(1e-300, settings_.elbo_error * settings_.elbo_error);
          const double wanted      = std::min(roots * std::sqrt(variances[l] / costs[l]) / square, 1e9);
          const unsigned int least = l == coarsest ? settings_.minimum_draws : n_pilot();
          const auto n =
              std::min(std::max(least, static_cast<unsigned int>(std::ceil(wanted))), settings_.maximum_draws);
          result.push_back(n + n % 2);
        }
        return result;
      }

      double predicted_cost(const std::vector<unsigned int> &draws) const
      {
        double result = 0.;
        for (std::size_t l = 0; l < draws.size(); ++l)
          result += draws[l] * cost(l, l + 1 < draws.size());
        return result;
      }

      /// Goes towards the numbers of the plan, at each mesh at most threefold at once: variances become known better on
      /// the way. Collective over the world.
      void draw_towards_plan()
      {
        while (place_.aim > 0 || place_.level > 0)
        {
          if (place_.aim == 0)
          {
            const unsigned int n   = collected_[--place_.level].n(),
                               aim = std::min(place_.plan[place_.level], std::max(3 * n, batch));
            if (aim <= n)
              continue;
            place_.aim  = aim;
            place_.drew = true;
          }
          Collected &collected = collected_[place_.level];
          wanted_              = place_.aim - collected.n();
          visited_             = 0;
          while (collected.n() < place_.aim)
          {
            draw(place_.level, std::min(batch, place_.aim - collected.n()), is_paired(place_.level));
            result_.interrupted = pause_();
            if (result_.interrupted)
              return;
          }
          refuse_failures(collected.own.elbo.failed, collected.n());
          place_.aim = 0;
        }
      }

      /// Between two batches of draws, once the meshes are chosen.
      void keep(Archive &archive)
      {
        std::size_t n_levels = levels_.size();
        archive.number("meshes", n_levels);
        while (levels_.size() < n_levels)
        {
          Level<dim> coarser(*meshes_[meshes_.size() - 1 - levels_.size()], levels_.back());
          const bool solved = coarser.solve_at_mean();
          levels_.push_back(std::move(coarser));
          collected_.emplace_back();
          if (!solved)
            throw ComputationError("The model cannot be solved at the mean of the posterior on a coarser mesh.");
        }
        std::vector<double> plan(place_.plan.begin(), place_.plan.end());
        archive.numbers("plan", plan);
        place_.plan.assign(plan.begin(), plan.end());
        archive.number("level", place_.level);
        archive.number("aim", place_.aim);
        archive.number("drew", place_.drew);
        for (std::size_t l = 0; l < n_levels; ++l)
          archive.in("mesh " + std::to_string(l) + " ", [&] { keep_collected(archive, l); });
      }

      void keep_collected(Archive &archive, std::size_t l)
      {
        Collected &collected = collected_[l];
        // A partner may have been tried and given up.
        bool has_own     = collected.own_moments != nullptr,
             has_partner = is_paired(l) && collected.partner_moments != nullptr;
        archive.number("own draws", has_own);
        archive.number("draws of the partner", has_partner);
        archive.in("own ", [&] { collected.own.keep(archive); });
        archive.in("partner ", [&] { collected.partner.keep(archive); });
        archive.numbers("quantities", collected.quantities);
        if (has_own)
          keep_moments(archive, "own moments ", l, collected.own_moments);
        if (has_partner)
          keep_moments(archive, "moments of the partner ", l + 1, collected.partner_moments);
      }

      void keep_moments(Archive &archive, const std::string &name, std::size_t l, std::unique_ptr<Moments> &moments)
      {
        if (!moments)
          moments = std::make_unique<Moments>(levels_[l].reference());
        archive.in(name, [&] { moments->keep(archive, levels_[l].problem().model().space().layout(), groups()); });
      }

      /// `count` more draws on mesh l, also solved on its partner if `paired`. Collective over the world.
      void draw(std::size_t l, unsigned int count, bool paired)
      {
        constexpr unsigned int far_apart = 0x04000000u;
        const Level<dim> &level          = levels_[l];
        Collected &collected             = collected_[l];
        if (!collected.own_moments)
        {
          collected.own_moments     = std::make_unique<Moments>(level.reference());
          collected.partner_moments = paired ? std::make_unique<Moments>(levels_[l + 1].reference()) : nullptr;
        }
        DrawRange range;
        range.seed               = meshes_.back()->seed();
        range.first              = static_cast<unsigned int>(l) * far_apart + collected.n();
        range.count              = count;
        range.most_failed        = 0.5; // of a batch; all of them are judged together
        const Index n_quantities = level.problem().quantities().size();
        // Of the partner log weight and potential, then the quantities of interest on the own mesh.
        Matrix of_draws            = Matrix::Zero(count, 2 + n_quantities);
        const std::size_t top      = noise_level(l);
        const GaussianPrior &prior = levels_[top].prior();
        collected.own.add(
            average_over_draws(groups(), family_, range,
                               [&](unsigned int k, const DrawKey &key) -> std::optional<DrawValue>
                               {
                                 Vector load;
                                 if (level.takes_loads())
                                   load = prior.random_load(standard_normal(prior.noise_layout(), key));
                                 for (std::size_t coarser = top + 1; coarser <= l; ++coarser)
                                   load = levels_[coarser].fields_up().restrict_load(load);
                                 const auto own = level.solve(load, key);
                                 if (!own)
                                   return {};
                                 if (paired)
                                 {
                                   const Level<dim> &partner = levels_[l + 1];
                                   const auto coarse = partner.solve(partner.fields_up().restrict_load(load), key);
                                   if (!coarse)
                                     return {};
                                   of_draws.row(k).head(2) << coarse->log_ratio - coarse->potential, coarse->potential;
                                   collected.partner_moments->add(Solved(partner.problem()), partner.reference());
                                 }
                                 const Solved solved(level.problem());
                                 collected.own_moments->add(solved, level.reference());
                                 of_draws.row(k).tail(n_quantities) = solved.numbers.tail(n_quantities);
                                 report_.progress("draws on " + std::to_string(level.cells()) + " cells", ++visited_,
                                                  std::max(1u, wanted_ / groups().n_groups()));
                                 return own;
                               }),
            true);
        agreed_sum(groups(), prior.layout(), of_draws);
        collected.quantities.conservativeResize(collected.quantities.rows() + count, n_quantities);
        collected.quantities.bottomRows(count) = of_draws.rightCols(n_quantities);
        for (Index k = 0; paired && k < of_draws.rows(); ++k)
        {
          collected.partner.log_weights.push_back(of_draws(k, 0));
          collected.partner.potentials.push_back(of_draws(k, 1));
        }
      }

      /// Sums up over the meshes, the coarsest first.
      void finish()
      {
        MultiVector state_squares;
        Vector numbers, number_squares;
        double elbo_square = 0., misfit_square = 0.;
        ElboEstimate total;
        for (std::size_t l = levels_.size(); l-- > 0;)
        {
          Collected &collected = collected_[l];
          const bool paired    = is_paired(l);
          const Estimate elbo = collected.elbo(paired), misfit = collected.misfit(paired);
          total.elbo.value += elbo.value;
          total.misfit.value += misfit.value;
          elbo_square += elbo.error * elbo.error;
          misfit_square += misfit.error * misfit.error;
          total.elbo.draws += collected.n();
          total.elbo.failed += collected.own.elbo.failed;
          Moments &own = *collected.own_moments;
          own.finish(groups(), collected.n());
          if (paired)
          {
            Moments &partner = *collected.partner_moments;
            partner.finish(groups(), collected.n());
            // Linear in both sums, so that the terms of all meshes add up.
            const auto &up = levels_[l + 1].states_up();
            own.states += up.apply(result_.state_mean - partner.states);
            own.state_squares += up.apply(state_squares - partner.state_squares);
            own.numbers += numbers - partner.numbers;
            own.number_squares += number_squares - partner.number_squares;
          }
          result_.state_mean = own.states;
          state_squares      = own.state_squares;
          numbers            = own.numbers;
          number_squares     = own.number_squares;
          result_.draws.insert(result_.draws.begin(), {levels_[l].cells(), collected.n()});
        }
        const double n = collected_.back().n(), unbiased = n / std::max(1., n - 1.);
        const auto &reference = levels_[0].reference();
        result_.state_deviation =
            (unbiased * (state_squares - result_.state_mean.cwiseAbs2())).cwiseMax(0.).cwiseSqrt();
        const Vector deviation = (unbiased * (number_squares - numbers.cwiseAbs2())).cwiseMax(0.).cwiseSqrt();
        numbers += reference.numbers;
        const Index n_predictions    = meshes_.back()->measurements().size();
        result_.prediction_mean      = numbers.head(n_predictions);
        result_.prediction_deviation = deviation.head(n_predictions);
        result_.quantity_mean        = numbers.tail(numbers.size() - n_predictions);
        result_.quantity_deviation   = deviation.tail(numbers.size() - n_predictions);
        result_.state_mean += reference.states;
        total.elbo.error    = std::sqrt(elbo_square);
        total.misfit.error  = std::sqrt(misfit_square);
        total.misfit.draws  = total.elbo.draws;
        total.misfit.failed = total.elbo.failed;
        take_weights();
        total.log_weights = std::move(collected_[0].own.log_weights);
        total.potentials  = std::move(collected_[0].own.potentials);
        total.kl          = groups().broadcast(family_.kl());
        result_.elbo      = std::move(total);
      }

      /// Those of the mesh with the most draws, the finest of such.
      void take_weights()
      {
        std::size_t most = 0;
        for (std::size_t l = 1; l < levels_.size(); ++l)
          if (collected_[l].n() > collected_[most].n())
            most = l;
        const std::vector<double> &weights = collected_[most].own.log_weights;
        result_.log_weights    = Eigen::Map<const Vector>(weights.data(), static_cast<Index>(weights.size()));
        result_.weights_cells  = levels_[most].cells();
        result_.quantity_draws = collected_[most].quantities;
      }

      const std::vector<const Case<dim> *> &meshes_; ///< the coarsest first
      const Family &family_;
      Report &report_;
      const InferenceSettings &settings_;
      const std::function<bool()> pause_;
      struct Place ///< in the work
      {
        std::vector<unsigned int> plan; ///< draws wanted on each mesh
        std::size_t level = 0;
        unsigned int aim  = 0; ///< there, for now; 0: nothing
        bool drew         = false;
      } place_;
      std::vector<Level<dim>> levels_; ///< the finest first
      std::vector<Collected> collected_;
      Averages result_;
      unsigned int visited_ = 0, wanted_ = pilot; ///< for the progress display
    };
  } // namespace

  template <int dim>
  Averages Averages::at(const Case<dim> &problem, const Vector &m)
  {
    // Each group solves.
    bool solved = false;
    for (unsigned int attempt = 0; attempt < 2 && !solved; ++attempt)
      solved = problem.groups().sum(problem.density().potential(m) ? 0. : 1.) == 0.;
    if (!solved)
      throw ComputationError("The model cannot be solved at the result.");
    const auto &last = *problem.density().last();
    Averages result;
    result.state_mean           = last.states;
    result.state_deviation      = MultiVector::Zero(result.state_mean.rows(), result.state_mean.cols());
    result.prediction_mean      = last.predictions;
    result.prediction_deviation = Vector::Zero(result.prediction_mean.size());
    result.quantity_mean        = problem.quantities().evaluate(last);
    result.quantity_deviation   = Vector::Zero(result.quantity_mean.size());
    return result;
  }

  template <int dim>
  Averages average_over_posterior(const std::vector<const Case<dim> *> &meshes, const Family &family, bool hurry,
                                  Report &report, LoopState *loop, const std::function<bool()> &pause)
  {
    LoopState own;
    return Averaging<dim>(meshes, family, report, pause).run(hurry, loop != nullptr ? *loop : own);
  }

  template Averages Averages::at(const Case<2> &, const Vector &);
  template Averages Averages::at(const Case<3> &, const Vector &);
  template Averages average_over_posterior(const std::vector<const Case<2> *> &, const Family &, bool, Report &,
                                           LoopState *, const std::function<bool()> &);
  template Averages average_over_posterior(const std::vector<const Case<3> *> &, const Family &, bool, Report &,
                                           LoopState *, const std::function<bool()> &);
} // namespace varfield
