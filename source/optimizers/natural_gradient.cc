#include <algorithm>
#include <cmath>
#include <utility>
#include <varfield/exceptions.h>
#include <varfield/newton_system.h>
#include <varfield/optimizer.h>
#include <varfield/sweep.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    struct Settings
    {
      unsigned int n_draws = 16, n_coupled_draws = 4, max_iterations = 30, judging_draws = 64;
      double tolerance = 0.05;
    };

    /// Tells the monitor about an iteration; whether it wants to stop.
    bool report(const Monitor &monitor, const LogDensity &density, const Family &family, unsigned int iteration,
                const ElboEstimate &elbo, double gradient, double step, const std::string &note)
    {
      IterationReport line;
      line.phase     = "natural gradient";
      line.iteration = iteration;
      line.objective = elbo.elbo.value;
      line.error     = elbo.elbo.error;
      line.misfit    = elbo.misfit.value;
      line.kl        = elbo.kl;
      line.gradient  = gradient;
      line.step      = step;
      line.rank      = family.rank();
      line.cost      = density.cost();
      line.note      = note;
      return density.agreed(monitor && monitor(line) ? 1. : 0.) > 0.;
    }

    /// Newton's method on the ELBO (Opper, Archambeau 2009): at the optimum E_q[∇Φ] + C⁻¹mean = 0 and S⁻¹ = C⁻¹ +
    /// E_q[H]. In the first phase full steps, checked on the draws they were made from. When fresh draws see no gain
    /// any more the second phase begins: weights 1/k, so that the sampling errors of all its draws average out.
    ///
    /// Where q settled on a coarser mesh before, that posterior serves as control variate for as long as it takes most
    /// of the sampling error away. Then a few draws are an average: steps are full ones until the gradient has
    /// vanished but for sampling error, and are averaged from there on.
    class Maximization
    {
    public:
      Maximization(const Settings &settings, const LogDensity &density, Family &family, std::uint64_t seed,
                   const Monitor &monitor, OptimizerMemory &memory)
          : settings(settings),
            density(density),
            family(family),
            seed(seed),
            monitor(monitor),
            memory(memory),
            carried_over(memory.n_averaged > 0),
            coupled(carried_over && memory.coarse),
            n_coupled_draws(settings.n_coupled_draws),
            newton(family, seed)
      {
        start_average();
      }

      Termination run();

    private:
      const SampleGroups &groups() const { return density.groups(); }
      DrawRange next_draws()
      {
        const unsigned int n = coupled ? n_coupled_draws : settings.n_draws;
        return {seed, Stream::optimization, std::exchange(memory.draws, memory.draws + n), n, true};
      }
      void start_average();
      void measure_residual(const Sweep &sweep) { residual = sweep.residual(newton.approximation()); }
      bool wants_full_step(const Sweep &sweep, unsigned int iteration);
      void take_full_step(const Sweep &sweep);
      bool take_averaging_step(const Sweep &sweep);
      void remember(bool converged);
      bool on_plateau(const Sweep &sweep, const ElboEstimate &previous) const;
      void full_step(const Sweep &sweep);
      void averaging_step(const Sweep &sweep);
      double excess(double residual, double noise) const;
      bool is_stationary() const;
      bool is_far() const;
      double tolerated_loss() const;
      std::unique_ptr<Sweep> next_sweep();
      std::unique_ptr<Sweep> coupled_sweep();
      bool judge_coupling(const Sweep &sweep);
      void uncouple();
      bool is_settled(const Family &before, const Sweep &sweep);
      bool lost_on_the_way(const Estimate &elbo) const;
      void forget();
      void judge(const Family &start, const ElboEstimate &first, Termination &result);
      void keep(Archive &archive, Family *start, ElboEstimate &first, Termination &result);

      const Settings &settings;
      const LogDensity &density;
      Family &family;
      const std::uint64_t seed;
      const Monitor &monitor;
      OptimizerMemory &memory;

      MeanResidual residual; ///< at the last measurement
      bool carried_over;     ///< q settled on a coarser mesh
      bool coupled;          ///< to the posterior there
      unsigned int n_coupled_draws;
      bool averaging          = false;
      unsigned int n_averaged = 1; ///< sweeps in the running average
      unsigned int n_settled  = 0; ///< of these, those that found nothing left to correct
      unsigned int n_noises   = 0;
      double noise_sum        = 0.; ///< of the residuals of so many
      double loss             = 0.; ///< ELBO lost through sampling, once it is known
      double step_length      = 1.;
      bool stepped            = false; ///< on this mesh
      std::string note, note_of_start;
      ElboEstimate last; ///< before the last step
      NewtonSystem newton;
    };

    /// Whether full steps gain no more: q, made from other draws, is no better than one step before as far as the draws
    /// can tell; less is asked for where its gradient is sampling error. (The gain on the draws of a step itself is no
    /// evidence: it is always there.)
    bool Maximization::on_plateau(const Sweep &sweep, const ElboEstimate &previous) const
    {
      const double gain  = sweep.elbo().elbo.value - previous.elbo.value;
      const double error = std::hypot(sweep.elbo().elbo.error, previous.elbo.error);
      return step_length == 0. || (step_length == 1. && gain < (is_stationary() ? 2. : 1.) * error);
    }

    /// Tries the full step, then shorter ones.
    void Maximization::full_step(const Sweep &sweep)
    {
      const auto before     = family.clone();
      const Vector mean     = family.mean();
      const Curvature fresh = sweep.curvature();
      NewtonStep step;
      double last_rho = 0.;
      for (const auto &[rho, t] : {std::pair(1., 1.), std::pair(1., 0.5), std::pair(0.5, 0.5), std::pair(0.25, 0.25),
                                   std::pair(0.1, 0.1), std::pair(0.02, 0.02)})
      {
        if (rho != last_rho)
        {
          family.assign(*before);
          family.natural_step(fresh, rho);
        }
        if (last_rho == 0.)
        {
          newton.approximate(fresh);
          measure_residual(sweep);
          step = newton.solve(fresh, sweep.gradient(), 1e-4);
        }
        last_rho = rho;
        family.set_mean(mean + t * step.primal);
        const Estimate gain = sweep.gain_of(family);
        if (std::isfinite(gain.value) && gain.value >= -std::min(gain.error, 0.25))
        {
          step_length = t;
          note        = t == 1. ? "full step" : "shorter step";
          return;
        }
      }
      family.assign(*before);
      step_length = 0.;
      note        = "no step raised the ELBO";
    }

    void Maximization::averaging_step(const Sweep &sweep)
    {
      const double weight     = 1. / (n_averaged + 1.);
      const Vector mean       = family.mean();
      const Curvature fresh   = sweep.curvature();
      const Curvature blended = family.remembered(fresh, weight);
      family.natural_step(fresh, weight);
      newton.approximate(blended);
      // With a coarse posterior it was measured before: a metric that a few draws dominate would hide their outliers.
      if (!coupled)
        measure_residual(sweep);
      const NewtonStep step = newton.solve(blended, sweep.gradient(), 1e-3);
      family.set_mean(mean + weight * step.primal);
      step_length = weight;
      note        = "averaging over " + std::to_string(n_averaged + 1) + (n_averaged == 0 ? " sweep" : " sweeps") +
             (coupled ? " of " + std::to_string(n_coupled_draws) + " draws" : "");
    }

    /// A squared residual, in ELBO, over its mean if it is pure sampling error; 0 below the tolerance. In the worst
    /// case, one direction, it is the square of a normal number: 4 is two standard errors.
    double Maximization::excess(double residual, double noise) const
    {
      return residual <= settings.tolerance ? 0. : residual / std::max(noise, 1e-300);
    }

    bool Maximization::is_stationary() const
    {
      return excess(0.5 * residual.value, 0.5 * residual.noise) <= 4.;
    }

    /// Three standard errors; two where sweeps are short, for a running average forgets slowly where it began.
    bool Maximization::is_far() const
    {
      return excess(0.5 * residual.value, 0.5 * residual.noise) > (coupled ? 4. : 9.);
    }

    /// Half of the tolerance that is left, where a finer mesh is to come: its own sampling errors add to these.
    double Maximization::tolerated_loss() const
    {
      return memory.loss + (settings.tolerance - memory.loss) * (memory.more_to_come ? 0.5 : 1.);
    }

    /// Without history, or with the running average of the mesh before.
    void Maximization::start_average()
    {
      averaging  = carried_over;
      n_averaged = coupled ? 0 : carried_over ? memory.n_averaged : 1;
      n_noises   = coupled ? 0 : n_averaged - 1;
      noise_sum  = coupled || !carried_over ? 0. : memory.noise_sum;
      n_settled  = 0;
      if (!coupled)
        memory.loss = carried_over ? memory.coupled_loss : 0.;
    }

    /// Gives the posterior on the mesh before up. The average that came from there stands as long as no step was made.
    void Maximization::uncouple()
    {
      coupled      = false;
      carried_over = carried_over && !stepped;
      start_average();
      note_of_start = "without the mesh before, ";
    }

    /// Whether the draws with the posterior on the mesh before are enough for a step. It is given up unless it takes
    /// nine tenths of the squared sampling error away at first (differences between meshes that are far apart have
    /// heavy tails, which a few draws do not show) and most of it later. Otherwise as many draws a sweep as bring the
    /// ELBO that this error costs down to the tolerance and resolve curvatures, up to as many as without it.
    bool Maximization::judge_coupling(const Sweep &sweep)
    {
      constexpr double resolved = 0.3; // an eigenvalue of the curvature that can be missed
      if (residual.noise > (stepped ? 0.3 : 0.1) * residual.uncoupled_noise)
      {
        uncouple();
        return false;
      }
      if (stepped && sweep.unresolved() <= resolved)
        return true;
      double wanted = n_coupled_draws * 0.5 * residual.noise / std::max(1e-300, settings.tolerance);
      if (sweep.unresolved() > resolved)
        wanted = std::max(wanted, 2. * n_coupled_draws);
      const auto n = static_cast<unsigned int>(std::min<double>(settings.n_draws, std::ceil(wanted)));
      if (n > n_coupled_draws)
      {
        n_coupled_draws = n + n % 2;
        return false;
      }
      if (sweep.unresolved() > resolved)
        uncouple();
      return coupled;
    }

    /// The next sweep with the posterior on the mesh before, or nullptr where that is given up: it fails too often, or
    /// is of too little use. Leaves the residual measured.
    std::unique_ptr<Sweep> Maximization::coupled_sweep()
    {
      while (coupled)
      {
        std::unique_ptr<Sweep> sweep;
        try
        {
          sweep = std::make_unique<Sweep>(density, family, next_draws(), memory.coarse.get());
        }
        catch (const ComputationError &)
        {
          // Perhaps the coarse model alone: the draws are tried without it.
          uncouple();
          break;
        }
        newton.approximate_by_family();
        measure_residual(*sweep);
        if (judge_coupling(*sweep))
          return sweep;
      }
      return nullptr;
    }

    std::unique_ptr<Sweep> Maximization::next_sweep()
    {
      auto sweep = coupled_sweep();
      return sweep ? std::move(sweep) : std::make_unique<Sweep>(density, family, next_draws());
    }

    /// Whether q, settled on a coarser mesh, is clearly worse on this one: its ELBO is lower by more than a nat and
    /// three standard errors, or the logarithms of its weights scatter much more. (Both are also large where q is far
    /// off, whereas its residuals then drown in their sampling errors.)
    bool Maximization::lost_on_the_way(const Estimate &elbo) const
    {
      const Estimate &before = memory.elbo.elbo;
      return elbo.value < before.value - 1. - 3. * std::hypot(elbo.error, before.error) ||
             elbo.error > 0.5 + 4. * before.error;
    }

    /// q has moved on: what was averaged so far is out of date. Where it comes from a coarser mesh it may have far to
    /// go, with full steps.
    void Maximization::forget()
    {
      averaging  = coupled || (averaging && !carried_over);
      n_averaged = coupled ? 0 : 1;
      noise_sum  = 0.;
      n_noises = n_settled = 0;
      carried_over         = carried_over && coupled;
    }

    /// After an averaging step from q = `before`: whether both residuals are settled and the ELBO that the sampling
    /// errors of mean and covariance cost, ½ noise and its like over the number of sweeps averaged, is below the
    /// tolerance.
    bool Maximization::is_settled(const Family &before, const Sweep &sweep)
    {
      if (is_far())
      {
        forget();
        return false;
      }
      noise_sum += residual.noise;
      ++n_noises;
      ++n_averaged;
      const double mean_loss = memory.loss + 0.5 * noise_sum / n_noises / n_averaged;
      if (mean_loss > tolerated_loss())
        return false;
      const CovarianceResidual covariance = before.covariance_residual(sweep.curvature());
      loss                                = density.agreed(mean_loss + covariance.sampling_loss / n_averaged);
      note += ", loss through sampling " + with_digits(loss, 2);
      const double covariance_excess = density.agreed(excess(covariance.loss, covariance.noise));
      if (covariance_excess > 9.)
      {
        forget();
        return false;
      }
      // One sweep may miss a slow drift: ask several.
      n_settled = is_stationary() && covariance_excess <= 4. ? n_settled + 1 : 0;
      return n_settled >= (carried_over ? 1u : 3u) && loss <= tolerated_loss();
    }

    /// What the next step is to be, full or averaged; measures the residual where that decides.
    bool Maximization::wants_full_step(const Sweep &sweep, unsigned int iteration)
    {
      if (coupled)
        return is_far() && residual.value > 2.;
      if (iteration == 0)
      {
        if (carried_over && lost_on_the_way(sweep.elbo().elbo))
          forget();
      }
      else if (!averaging)
      {
        measure_residual(sweep);
        averaging = on_plateau(sweep, last);
      }
      return !averaging;
    }

    void Maximization::take_full_step(const Sweep &sweep)
    {
      full_step(sweep);
      if (coupled && step_length > 0.)
        forget();
      else if (coupled)
        uncouple();
    }

    /// Whether q is settled. Measured before the step, in which q changes: these draws are new to it.
    bool Maximization::take_averaging_step(const Sweep &sweep)
    {
      const auto before = family.clone();
      averaging_step(sweep);
      return is_settled(*before, sweep);
    }

    /// For the next mesh.
    void Maximization::remember(bool converged)
    {
      if (!converged)
      {
        memory.n_averaged = 0;
        memory.loss = memory.coupled_loss = 0.;
      }
      else if (coupled)
        memory.coupled_loss += loss - memory.loss;
      else
      {
        memory.n_averaged   = n_averaged;
        memory.noise_sum    = noise_sum;
        memory.coupled_loss = carried_over ? memory.coupled_loss : 0.;
      }
      if (converged)
        memory.loss = loss;
      memory.elbo = last;
    }

    /// All that the next iteration begins from, but for what the caller keeps: the family and the memory.
    void Maximization::keep(Archive &archive, Family *start, ElboEstimate &first, Termination &result)
    {
      archive.number("carried over", carried_over);
      archive.number("coupled", coupled);
      archive.number("coupled draws", n_coupled_draws);
      archive.number("averaging", averaging);
      archive.number("averaged", n_averaged);
      archive.number("settled", n_settled);
      archive.number("noises", n_noises);
      archive.number("noise sum", noise_sum);
      archive.number("loss", loss);
      archive.number("step length", step_length);
      archive.number("stepped", stepped);
      archive.number("residual", residual.value);
      archive.number("noise", residual.noise);
      archive.number("uncoupled noise", residual.uncoupled_noise);
      archive.in("last ", [&] { last.keep(archive); });
      archive.in("first ", [&] { first.keep(archive); });
      archive.in("result ", [&] { result.keep(archive); });
      newton.keep(archive);
      if (start != nullptr)
        archive.in("start ", [&] { start->keep(archive); });
    }

    Termination Maximization::run()
    {
      // What is carried over from a coarser mesh is not judged: then no copy of its basis is kept.
      const auto start = memory.n_averaged == 0 ? family.clone() : nullptr;
      Termination result;
      result.reason = "the maximum number of iterations was reached";
      ElboEstimate first;
      memory.loop.begin([&](Archive &archive) { keep(archive, start.get(), first, result); });
      while (result.iterations < settings.max_iterations && !result.converged && !result.interrupted)
      {
        const auto sweep = next_sweep();
        const bool full  = wants_full_step(*sweep, result.iterations);
        last             = sweep->elbo();
        if (result.iterations == 0)
          first = last;
        if (full)
          take_full_step(*sweep);
        else
          result.converged = take_averaging_step(*sweep);
        stepped            = true;
        result.gradient    = std::sqrt(residual.value);
        result.interrupted = report(monitor, density, family, result.iterations++, last, result.gradient, step_length,
                                    std::exchange(note_of_start, "") + note);
      }
      if (result.converged)
        result.reason = "the gradient is zero but for sampling error, and the ELBO lost through sampling is below the "
                        "tolerance of " +
                        with_digits(settings.tolerance, 2);
      else if (result.interrupted)
        result.reason = "stopped from outside";
      if (memory.n_averaged == 0)
        judge(*start, first, result);
      remember(result.converged);
      memory.loop.end();
      return result;
    }

    /// What was tuned on some draws is judged on others; the better of start and end is kept.
    void Maximization::judge(const Family &start, const ElboEstimate &first, Termination &result)
    {
      const double seen = last.elbo.value - first.elbo.value;
      if (settings.judging_draws == 0 || seen > 5. * std::hypot(last.elbo.error, first.elbo.error))
        return;
      constexpr unsigned int far_from_the_iteration = 0x40000000u;
      const DrawRange draws{seed, Stream::optimization, far_from_the_iteration, settings.judging_draws, true};
      const ElboEstimate end = estimate_elbo(density, family, draws);
      const auto end_family  = family.clone();
      family.assign(start);
      const ElboEstimate begin  = estimate_elbo(density, family, draws);
      const Estimate difference = gain(begin, end, true);
      if (difference.value < -2. * difference.error)
      {
        // Not by more than the tolerance, as far as these draws can tell: both are where the ELBO is largest.
        result.converged = result.converged && difference.value + 2. * difference.error > -settings.tolerance;
        result.reason +=
            "; the start was better by " + with_digits(-difference.value, 2) + " nat on independent draws and was kept";
      }
      else
        family.assign(*end_family);
    }

    /// Φ quadratic.
    Termination maximize_exactly(const LogDensity &density, Family &family, const DrawRange &draws,
                                 const Monitor &monitor, LoopState &loop)
    {
      Termination result;
      if (!loop.begin([&result](Archive &archive) { result.keep(archive); }))
      {
        result.gradient    = maximize_quadratic(density, family, draws.seed, result);
        result.interrupted = report(monitor, density, family, result.iterations, estimate_elbo(density, family, draws),
                                    result.gradient, 1., "exact");
      }
      loop.end();
      return result;
    }

    /// The default optimiser; see Maximization.
    class NaturalGradient : public Optimizer
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        using namespace dealii::Patterns;
        prm.add_parameter("Draws", settings.n_draws, "Draws in an iteration, in antithetic pairs.", Integer(4));
        prm.add_parameter("Draws with coarse posterior", settings.n_coupled_draws,
                          "Draws in an iteration, at least, where the posterior on the mesh before serves as control "
                          "variate (family “low rank”, priors with consistent mass); more where sampling errors are "
                          "large, up to “Draws”; in antithetic pairs.",
                          Integer(4));
        prm.add_parameter("Maximum iterations", settings.max_iterations, "Iterations, at most.", Integer(1));
        prm.add_parameter("Tolerance", settings.tolerance,
                          "Stop when the ELBO still to be gained, and lost through sampling, is below. [nat]",
                          Double(0.));
        prm.add_parameter("Judging draws", settings.judging_draws,
                          "Independent draws on which the result is compared with the start; 0: not compared.",
                          Integer(0));
      }

      unsigned int draws_per_iteration() const override { return settings.n_draws; }

      void check(const Family &family) const override
      {
        if (!family.has_natural_step())
          throw UserError("Inference/Optimizer: “natural gradient” needs a family with a natural step, which the one "
                          "chosen has not. Use the optimizer “stochastic” with it.");
        for (const auto &[key, n] :
             {std::pair("Draws", settings.n_draws), std::pair("Draws with coarse posterior", settings.n_coupled_draws)})
          if (n % 2 != 0)
            throw UserError("Inference/natural gradient/" + std::string(key) +
                            ": draws come in pairs, an even number is needed; " + std::to_string(n) + " was given.");
      }

      Termination maximize(const LogDensity &density, Family &family, std::uint64_t seed, const Monitor &monitor,
                           OptimizerMemory *memory) override
      {
        check(family);
        OptimizerMemory own;
        if (density.is_quadratic())
          return maximize_exactly(density, family, {seed, Stream::optimization, 0, settings.n_draws, true}, monitor,
                                  (memory != nullptr ? *memory : own).loop);
        return Maximization(settings, density, family, seed, monitor, memory != nullptr ? *memory : own).run();
      }

    private:
      Settings settings;
    };

    const Registration<Optimizer, NaturalGradient>
        natural_gradient("natural gradient", "Newton's method on the evidence lower bound with averaged gradients and "
                                             "curvatures: few iterations, independent of the mesh.");
  } // namespace
} // namespace varfield
