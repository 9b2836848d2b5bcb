#include <chrono>
#include <cmath>
#include <limits>
#include <varfield/chain_checkpoint.h>
#include <varfield/chains.h>
#include <varfield/collective.h>
#include <varfield/exceptions.h>
#include <varfield/text.h>

namespace varfield
{
  void ChainSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    using namespace dealii::Patterns;
    prm.add_parameter("Chains", chains, "Independent chains, spread over the sample groups.", Integer(2, 1000));
    prm.add_parameter("Warm-up", warm_up, "Iterations of each chain in which steps and reference are adapted.",
                      Integer(100));
    prm.add_parameter("Minimum iterations", minimum, "of each chain after that.", Integer(100));
    prm.add_parameter("Maximum iterations", maximum, "of each chain after that.", Integer(100, 4000000));
    prm.add_parameter("Effective size", ess,
                      "The chains end when all effective sample sizes are at least this, and R-hat is small enough.",
                      Double(10.));
    prm.add_parameter("R-hat", rhat, "The largest R-hat that counts as converged.", Double(1.));
    prm.add_parameter("Dispersion", dispersion,
                      "Chains begin so many times as far from the mean as draws of the variational posterior are.",
                      Double(0.));
    prm.add_parameter("Kept draws", kept, "Draws of all chains that are kept for pointwise quantiles.", Integer(20));
    prm.add_parameter("Time budget", time_budget, "Wall time of the chains in seconds; 0: none.", Double(0.));
    prm.add_parameter(
        "Checkpoint", checkpoint,
        "A folder for the state of the chains, from which a later run of the same case goes on, whether that comes to "
        "its end or not; empty: with the state of the run (see “Checkpoint”), while it lasts.",
        DirectoryName());
    prm.add_parameter("Checkpoint interval", interval, "Seconds between two of these.", Double(0.));
    sampler.add_parameters(prm);
  }

  void ChainSettings::check_groups(unsigned int n_groups) const
  {
    if (n_groups > chains)
      throw UserError("Certification/Chains: " + std::to_string(chains) + " chains cannot be spread over " +
                      std::to_string(n_groups) +
                      " sample groups. Ask for more chains, or for fewer groups (Parallel/Sample groups).");
  }

  void ChainSettings::check(const std::string &section) const
  {
    if (minimum > maximum)
      throw UserError(section + "/Minimum iterations: is " + std::to_string(minimum) + ", more than the maximum of " +
                      std::to_string(maximum) + ".");
  }

  namespace
  {
    constexpr double largest_step = M_PI_2, smallest_step = 1e-6;
    constexpr unsigned int iterations_between_looks = 25;

    /// Hoffman, Gelman (2014), eq. 6.
    class DualAveraging
    {
    public:
      explicit DualAveraging(double step) { restart(step); }

      void restart(double step)
      {
        centre_ = std::log(step);
        error_ = average_ = 0.;
        count_            = 0;
        step_             = step;
      }

      void update(double acceptance, double target)
      {
        ++count_;
        const double m      = count_;
        error_              = (1. - 1. / (m + 10.)) * error_ + (target - acceptance) / (m + 10.);
        const double log    = std::min(std::log(largest_step),
                                       std::max(std::log(smallest_step), centre_ - std::sqrt(m) / damping * error_));
        const double weight = std::pow(m, -0.75);
        average_            = weight * log + (1. - weight) * average_;
        step_               = std::exp(log);
      }

      double step() const { return step_; }
      double log_average() const { return count_ > 0 ? average_ : std::log(step_); }

    private:
      /// γ there, 0.05; more makes the steps wander less, and their average is that of steps that are alike.
      static constexpr double damping = 0.2;

      double centre_ = 0., error_ = 0., average_ = 0., step_ = 0.;
      unsigned int count_ = 0;
    };

    /// Mean and covariance of coordinates, added up draw by draw.
    struct CoordinateMoments
    {
      explicit CoordinateMoments(Index r) : sum(Vector::Zero(r)), square(Matrix::Zero(r, r)) {}
      void add(const Vector &x)
      {
        sum += x;
        square.selfadjointView<Eigen::Lower>().rankUpdate(x);
        ++count;
      }
      Vector sum;
      Matrix square;
      double count = 0.;
    };

    struct Chain
    {
      unsigned int id;
      ChainPoint at;
      Vector numbers, values;
      double step = 0.;
      DualAveraging adaptation;
      std::optional<CoordinateMoments> window; ///< in warm-up
      std::optional<BatchMeans> moments;       ///< after it
      std::vector<double> trace;               ///< the numbers of every draw, one after the other
      std::vector<Vector> kept;
      double accepted = 0., proposals = 0., failed = 0.;
    };

    class ChainRun
    {
    public:
      ChainRun(const LogDensity &density, const FrozenGaussian &q, const Watch &watch, const std::vector<Vector> &modes,
               const ChainSettings &settings, std::uint64_t seed,
               const std::function<bool(const ChainProgress &)> &progress, const std::string &checkpoint)
          : density_(density),
            watch_(watch),
            modes_(modes),
            settings_(settings),
            checkpoint_(settings.checkpoint.empty() ? checkpoint : settings.checkpoint),
            seed_(seed),
            progress_(progress),
            q_(q),
            n_numbers_(static_cast<Index>(watch.names().size())),
            judged_(first_rows(watch.layout(), watch.n_judged())),
            cost_at_start_(density.cost()),
            next_look_(settings.minimum)
      {
      }

      ChainResults run()
      {
        settings_.check_groups(groups().n_groups());
        if (!go_on())
        {
          begin();
          warm_up();
          begin_to_count();
        }
        sample();
        finish();
        return std::move(result_);
      }

    private:
      static Layout first_rows(const Layout &layout, Index n)
      {
        const auto &keys = layout.keys();
        return Layout(layout.comm(), std::vector<std::uint64_t>(keys.begin(), keys.begin() + n));
      }
      const SampleGroups &groups() const { return density_.groups(); }
      const Sampler &sampler() const { return *settings_.sampler; }
      DrawKey key(const Chain &chain, unsigned int iteration) const
      {
        return {seed_, chain_stream(chain.id), iteration, 1.};
      }

      /// What belongs to a saved state, but for the state itself.
      SavedRun description() const
      {
        SavedRun run;
        run.seed    = seed_;
        run.chains  = settings_.chains;
        run.sampler = settings_.sampler.name();
        run.names   = watch_.names();
        return run;
      }

      /// Takes up the chains of an earlier run; false where there are none. Collective over the world.
      bool go_on()
      {
        if (checkpoint_.empty())
          return false;
        const GaussianPrior &prior = q_.prior();
        auto saved = load_chains(checkpoint_, groups(), {prior.layout(), watch_.layout(), judged_}, description());
        if (!saved)
          return false;
        const MultiVector modes = saved->reference.rightCols(saved->reference.cols() - 1);
        const Vector mean       = saved->reference.col(0);
        q_ = FrozenGaussian(prior, mean, {modes, prior.precision(modes), Vector::Zero(modes.cols())})
                 .with(mean, saved->factor);
        iteration_ = saved->iteration;
        n_draws_   = saved->draws;
        thinning_  = saved->thinning;
        next_look_ = saved->next_look;
        const ReferencedDensity density(density_, q_);
        bool solved = true;
        std::string message;
        groups().together(
            [&]
            {
              for (SavedChain &from : saved->own)
              {
                Chain chain{from.id, {}, {}, {}, from.step, DualAveraging(from.step), {}, {}, {}, {}};
                const auto at = density.at(from.m, sampler().needs_gradient());
                solved        = solved && at;
                if (!at)
                  break;
                chain.at = *at;
                if (message.empty())
                  message = other_density(checkpoint_, from, at->potential, at->log_weight + at->potential);
                watch_.evaluate(chain.at.m, chain.numbers, chain.values);
                chain.moments = std::move(from.moments);
                for (Index i = 0; i < from.trace.rows(); ++i)
                  chain.trace.insert(chain.trace.end(), from.trace.row(i).begin(), from.trace.row(i).end());
                for (Index k = 0; k < from.kept.cols(); ++k)
                  chain.kept.push_back(from.kept.col(k));
                chain.accepted  = from.accepted;
                chain.proposals = from.proposals;
                chain.failed    = from.failed;
                chains_.push_back(std::move(chain));
              }
            });
        throw_together(message, groups().world());
        if (groups().sum(solved ? 0. : 1.) > 0.)
          throw ComputationError("The model cannot be solved where the chains of " + checkpoint_ + " ended.");
        return true;
      }

      /// Collective over the world.
      void save()
      {
        if (checkpoint_.empty() || n_draws_ == 0)
          return;
        SavedRun run  = description();
        run.iteration = iteration_;
        run.draws     = n_draws_;
        run.thinning  = thinning_;
        run.next_look = next_look_;
        run.factor    = q_.factor();
        run.reference.resize(q_.mean().size(), 1 + q_.rank());
        run.reference << q_.mean(), *q_.modes();
        for (const Chain &chain : chains_)
        {
          SavedChain saved{chain.id,
                           chain.step,
                           chain.accepted,
                           chain.proposals,
                           chain.failed,
                           chain.at.potential,
                           chain.at.log_weight + chain.at.potential,
                           chain.at.m,
                           {},
                           {},
                           *chain.moments};
          saved.trace = Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
              chain.trace.data(), n_draws_, n_numbers_);
          saved.kept.resize(judged_.n_local(), static_cast<Index>(chain.kept.size()));
          for (Index k = 0; k < saved.kept.cols(); ++k)
            saved.kept.col(k) = chain.kept[static_cast<std::size_t>(k)];
          run.own.push_back(std::move(saved));
        }
        // What the chains have found is worth more than their checkpoint.
        try
        {
          save_chains(checkpoint_, groups(), {q_.prior().layout(), watch_.layout(), judged_}, run);
          unsaved_.clear();
        }
        catch (const ComputationError &error)
        {
          unsaved_ = error.what();
        }
        last_saved_ = Clock::now();
      }

      bool is_time_to_save() const
      {
        const bool due = std::chrono::duration<double>(Clock::now() - last_saved_).count() > settings_.interval;
        return !checkpoint_.empty() && density_.agreed(due ? 1. : 0.) > 0.;
      }

      /// Over-dispersed starts. What fails is tried again nearer to the mean.
      void begin()
      {
        const ReferencedDensity density(density_, q_);
        bool began = true;
        groups().together(
            [&]
            {
              for (unsigned int id = groups().group(); id < settings_.chains; id += groups().n_groups())
              {
                Chain chain{id, {}, {}, {}, 0., DualAveraging(sampler().first_step()), {}, {}, {}, {}};
                const Vector eta    = q_.deviation(key(chain, 0xFFFFFFFFu));
                const Vector far    = product(q_.modes(), q_.coordinates(eta));
                const bool at_mode  = !modes_.empty() && id % 2 == 1;
                const Vector centre = at_mode ? modes_[id / 2 % modes_.size()] : q_.mean();
                std::optional<ChainPoint> start;
                for (double size = at_mode ? 1. : settings_.dispersion; !start && size > 0.1; size *= 0.5)
                  start = density.at(centre + eta + (size - 1.) * far, sampler().needs_gradient());
                if (!start)
                  start = density.at(centre, sampler().needs_gradient());
                began = began && start;
                if (!start)
                  break;
                chain.at = std::move(*start);
                watch_.evaluate(chain.at.m, chain.numbers, chain.values);
                chain.step = sampler().first_step();
                chains_.push_back(std::move(chain));
              }
            });
        if (groups().sum(began ? 0. : 1.) > 0.)
          throw ComputationError("No chain can begin: the model cannot be solved at the mean of the posterior.");
      }

      /// Iterations of this group's chains. Collective over the world.
      void advance(unsigned int count, bool adapting)
      {
        const ReferencedDensity density(density_, q_);
        groups().together(
            [&]
            {
              for (Chain &chain : chains_)
                for (unsigned int i = 0; i < count; ++i)
                  transition(density, chain, iteration_ + i, adapting);
            });
        iteration_ += count;
        n_draws_ += adapting ? 0 : count;
      }

      void transition(const ReferencedDensity &density, Chain &chain, unsigned int iteration, bool adapting)
      {
        const DrawKey draw_key = key(chain, iteration);
        Proposal proposal      = sampler().propose(density, chain.at, chain.step, draw_key);
        // Decided by what the first rank has: rounding must not part the ranks of a group.
        double log_ratio = proposal.point ? proposal.log_acceptance : -std::numeric_limits<double>::infinity();
        density.layout().broadcast(&log_ratio, 1);
        const double probability = std::isnan(log_ratio) ? 0. : std::exp(std::min(0., log_ratio));
        chain.proposals += 1.;
        chain.accepted += probability;
        chain.failed += proposal.point ? 0. : 1.;
        if (uniform_number(draw_key, 0) < probability)
        {
          chain.at = std::move(*proposal.point);
          watch_.evaluate(chain.at.m, chain.numbers, chain.values);
        }
        if (adapting)
        {
          chain.adaptation.update(probability, sampler().target_acceptance());
          chain.step = chain.adaptation.step();
          if (chain.window)
            chain.window->add(q_.coordinates(chain.at.m));
        }
        else
          record(chain, n_draws_ + iteration - iteration_ + 1);
      }

      /// The draw of this number, counted from 1.
      void record(Chain &chain, unsigned int draw) const
      {
        chain.moments->add(chain.values);
        chain.trace.insert(chain.trace.end(), chain.numbers.begin(), chain.numbers.end());
        if (draw % thinning_ == 0)
          chain.kept.push_back(chain.values.head(judged_.n_local()));
      }

      /// Progress for the reader; whether to stop.
      bool look(ChainProgress state)
      {
        const Cost cost = density_.cost() - cost_at_start_;
        Vector sums     = Vector::Zero(7);
        for (const Chain &chain : chains_)
          sums.head(4) += Eigen::Vector4d(chain.accepted, chain.proposals, chain.failed, std::log(chain.step));
        sums.tail(3) << cost.factorizations, cost.state_solves, cost.linear_solves;
        groups().sum(sums);
        state.acceptance = sums[0] / std::max(1., sums[1]);
        state.step       = std::exp(sums[3] / settings_.chains);
        state.cost       = {sums[4], sums[5], sums[6]};
        result_.failed   = static_cast<unsigned int>(sums[2]);
        result_.end      = state;
        return progress_(state);
      }

      bool advance_to(unsigned int end, bool adapting)
      {
        while (iteration_ < end && !result_.interrupted)
        {
          advance(std::min(iterations_between_looks, end - iteration_), adapting);
          ChainProgress state;
          state.warming_up    = adapting;
          state.iterations    = adapting ? iteration_ : n_draws_;
          result_.interrupted = look(state);
          if (!adapting && is_time_to_save())
            save();
        }
        return !result_.interrupted;
      }

      /// A seventh of the iterations for the steps alone, then windows twice as long each, and a tenth for the steps.
      void warm_up()
      {
        const unsigned int n = settings_.warm_up, last = n - n / 10;
        if (!advance_to(n / 7, true))
          return;
        for (unsigned int begin = n / 7, length = n / 8; begin < last; length *= 2)
        {
          // What would be left after this window belongs to it.
          const unsigned int end = begin + 3 * length > last ? last : begin + length;
          for (Chain &chain : chains_)
            chain.window.emplace(q_.rank());
          if (!advance_to(end, true))
            return;
          adapt_reference();
          begin = end;
        }
        for (Chain &chain : chains_)
          chain.window.reset();
        if (!advance_to(n, true))
          return;
        const double step = common_step();
        for (Chain &chain : chains_)
          chain.step = step;
      }

      double common_step() const
      {
        double sum = 0.;
        for (const Chain &chain : chains_)
          sum += chain.adaptation.log_average();
        double step = std::exp(groups().sum(sum) / settings_.chains);
        q_.prior().layout().broadcast(&step, 1);
        return groups().broadcast(step);
      }

      /// Mean and covariance in the span of U from the draws of all chains. The covariance is shrunk towards the old
      /// one as if r of the draws' worth had come from there.
      void adapt_reference()
      {
        const Index r = q_.rank();
        CoordinateMoments all(r);
        for (const Chain &chain : chains_)
        {
          all.sum += chain.window->sum;
          all.square += chain.window->square;
          all.count += chain.window->count;
        }
        groups().sum(all.sum);
        groups().sum(all.square);
        all.count = groups().sum(all.count);
        if (r > 0)
        {
          const Vector mean = all.sum / all.count, old = q_.coordinates(q_.mean());
          const Matrix square     = all.square.selfadjointView<Eigen::Lower>();
          const Matrix covariance = square / all.count - mean * mean.transpose();
          const double weight     = all.count / (all.count + correlated * r);
          Matrix blended          = weight * covariance + (1. - weight) * Matrix(q_.factor() * q_.factor().transpose());
          Vector shift            = mean - old;
          q_.prior().layout().broadcast(blended.data(), static_cast<std::size_t>(blended.size()));
          q_.prior().layout().broadcast(shift.data(), static_cast<std::size_t>(shift.size()));
          groups().broadcast(blended);
          groups().broadcast(shift);
          const Eigen::LLT<Matrix> cholesky(blended);
          if (cholesky.info() == Eigen::Success)
            take_reference(q_.with(q_.mean() + product(q_.modes(), weight * shift), cholesky.matrixL()));
        }
        const double step = common_step();
        for (Chain &chain : chains_)
        {
          chain.adaptation.restart(step);
          chain.step = step;
        }
      }

      /// The points of all chains relative to another q; where the model fails at one of them, the old q stays.
      void take_reference(FrozenGaussian q)
      {
        const ReferencedDensity density(density_, q);
        std::vector<ChainPoint> points;
        groups().together(
            [&]
            {
              for (const Chain &chain : chains_)
                if (auto again = density.at(chain.at.m, sampler().needs_gradient()))
                  points.push_back(std::move(*again));
            });
        if (groups().sum(points.size() < chains_.size() ? 1. : 0.) > 0.)
          return;
        for (std::size_t c = 0; c < chains_.size(); ++c)
          chains_[c].at = std::move(points[c]);
        q_ = std::move(q);
      }

      /// Sums are those around one point for all chains.
      void begin_to_count()
      {
        Vector sum = Vector::Zero(watch_.layout().n_local());
        for (const Chain &chain : chains_)
          sum += chain.values;
        groups().sum(sum);
        sum /= settings_.chains;
        groups().broadcast(sum);
        for (Chain &chain : chains_)
        {
          chain.moments.emplace(sum);
          chain.accepted = chain.proposals = chain.failed = 0.;
        }
      }

      void sample()
      {
        while (!result_.interrupted && !result_.converged && n_draws_ < settings_.maximum)
        {
          thin(next_look_);
          if (next_look_ > n_draws_)
            advance_to(iteration_ + std::min(next_look_, settings_.maximum) - n_draws_, false);
          if (n_draws_ >= 100)
            judge();
          // A run that was stopped goes on to the same look, or looks again.
          if (n_draws_ >= next_look_ && !result_.interrupted)
            next_look_ = n_draws_ + std::max(100u, n_draws_ / 4);
        }
      }

      /// Halves the kept draws until there will be no more of each chain than are wanted when it has made `draws`.
      void thin(unsigned int draws)
      {
        const auto most = std::max(5u, settings_.kept / settings_.chains);
        while (draws / thinning_ > most)
        {
          thinning_ *= 2;
          for (Chain &chain : chains_)
          {
            std::vector<Vector> fewer;
            for (std::size_t k = 1; k < chain.kept.size(); k += 2)
              fewer.push_back(std::move(chain.kept[k]));
            chain.kept = std::move(fewer);
          }
        }
      }

      /// All draws of number j, a column for each chain, on all ranks.
      Matrix draws_of(Index j) const
      {
        const Index n  = n_draws_;
        Matrix columns = Matrix::Zero(n, settings_.chains);
        for (const Chain &chain : chains_)
          for (Index i = 0; i < n; ++i)
            columns(i, chain.id) = chain.trace[static_cast<std::size_t>(i * n_numbers_ + j)];
        groups().sum(columns);
        return columns;
      }

      /// Whether the chains have converged; the numbers of the end, should they end here.
      void judge()
      {
        const auto names    = watch_.names();
        ChainProgress state = result_.end;
        state.rhat          = 1.;
        state.ess           = std::numeric_limits<double>::infinity();
        result_.numbers.clear();
        for (Index j = 0; j < n_numbers_; ++j)
        {
          result_.numbers.push_back(summarise(names[static_cast<std::size_t>(j)], draws_of(j)));
          const Convergence &c = result_.numbers.back().convergence;
          state.rhat           = std::max(state.rhat, c.rhat);
          if (std::min(c.ess_bulk, c.ess_tail) < state.ess)
          {
            state.ess   = std::min(c.ess_bulk, c.ess_tail);
            state.worst = names[static_cast<std::size_t>(j)];
          }
        }
        std::vector<const BatchMeans *> own;
        for (const Chain &chain : chains_)
          own.push_back(&*chain.moments);
        result_.values     = combine(groups(), own, settings_.chains);
        double extremes[2] = {1., -std::numeric_limits<double>::infinity()};
        for (Index i = 0; i < watch_.n_judged(); ++i)
        {
          extremes[0] = std::max(extremes[0], result_.values.rhat[i]);
          extremes[1] = std::max(extremes[1], -result_.values.ess[i]);
        }
        MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_DOUBLE, MPI_MAX, groups().world());
        state.rhat = std::max(state.rhat, extremes[0]);
        if (-extremes[1] < state.ess)
        {
          state.ess   = -extremes[1];
          state.worst = "a pointwise value";
        }
        state.ess           = density_.agreed(state.ess);
        state.rhat          = density_.agreed(state.rhat);
        result_.converged   = state.rhat <= settings_.rhat && state.ess >= settings_.ess;
        result_.interrupted = look(state) || result_.interrupted;
      }

      static NumberSummary summarise(const std::string &name, const Matrix &draws)
      {
        NumberSummary result;
        result.name        = name;
        result.convergence = convergence(draws);
        result.mean        = draws.mean();
        const double n     = static_cast<double>(draws.size());
        result.deviation   = std::sqrt((draws.array() - result.mean).square().sum() / (n - 1.));
        result.mean_error  = result.deviation / std::sqrt(result.convergence.ess_mean);
        const std::vector<double> values(draws.data(), draws.data() + draws.size());
        for (std::size_t i = 0; i < quantile_levels.size(); ++i)
          result.quantiles[i] = quantile(values, quantile_levels[i]);
        return result;
      }

      void finish()
      {
        result_.chains = settings_.chains;
        result_.modes  = static_cast<unsigned int>(std::min<std::size_t>(modes_.size(), settings_.chains / 2));
        save();
        conclude();
        if (!unsaved_.empty())
          result_.reason += "; the state of the chains could not be saved: " + unsaved_;
      }

      void conclude()
      {
        if (n_draws_ < 100)
        {
          result_.reason = "stopped before there were draws";
          return;
        }
        if ((result_.interrupted && !result_.converged) || (result_.numbers.empty() && n_numbers_ > 0))
          judge();
        gather_kept();
        const std::string figures = "largest R-hat " + with_digits(result_.end.rhat, 5) + ", smallest effective size " +
                                    to_text(std::round(result_.end.ess)) + " (" + result_.end.worst + ")";
        result_.reason = (result_.converged     ? "converged: "
                          : result_.interrupted ? "stopped before convergence: "
                                                : "the most iterations were made before convergence: ") +
                         figures;
      }

      void gather_kept()
      {
        // Chains of all groups kept the same iterations.
        const Index per_chain = chains_.empty() ? 0 : static_cast<Index>(chains_.front().kept.size());
        result_.kept          = MultiVector::Zero(judged_.n_local(), per_chain * settings_.chains);
        for (const Chain &chain : chains_)
          for (Index k = 0; k < per_chain; ++k)
            result_.kept.col(chain.id * per_chain + k) = chain.kept[static_cast<std::size_t>(k)];
        groups().sum(result_.kept);
      }

      /// How many draws a covariance of r directions is worth that is known already, in units of r.
      static constexpr double correlated = 5.;

      const LogDensity &density_;
      const Watch &watch_;
      const std::vector<Vector> &modes_;
      const ChainSettings &settings_;
      const std::string checkpoint_; ///< a folder; empty: none
      const std::uint64_t seed_;
      const std::function<bool(const ChainProgress &)> &progress_;
      FrozenGaussian q_; ///< the reference, adapted in warm-up
      const Index n_numbers_;
      const Layout judged_; ///< of the values that are kept
      const Cost cost_at_start_;
      std::vector<Chain> chains_;                ///< of this group
      unsigned int iteration_ = 0, n_draws_ = 0; ///< of each chain: all, and those that count
      using Clock                   = std::chrono::steady_clock;
      Clock::time_point last_saved_ = Clock::now();
      std::string unsaved_; ///< why the last state could not be written, or empty
      unsigned int thinning_ = 1;
      unsigned int next_look_; ///< draws at which the chains are judged
      ChainResults result_;
    };
  } // namespace

  ChainResults run_chains(const LogDensity &density, const FrozenGaussian &q, const Watch &watch,
                          const std::vector<Vector> &modes, const ChainSettings &settings, std::uint64_t seed,
                          const std::function<bool(const ChainProgress &)> &progress, const std::string &checkpoint)
  {
    return ChainRun(density, q, watch, modes, settings, seed, progress, checkpoint).run();
  }
} // namespace varfield
