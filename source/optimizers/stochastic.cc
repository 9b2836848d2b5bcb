#include <algorithm>
#include <cmath>
#include <utility>
#include <varfield/exceptions.h>
#include <varfield/optimizer.h>

namespace varfield
{
  namespace
  {
    /// Stochastic gradient ascent on the ELBO with reparametrised gradients (Kucukelbir et al. 2017) in the
    /// sticking-the-landing form (Roeder, Wu, Duvenaud 2017) and Adam (Kingma, Ba 2015). The step size stays until the
    /// mean ELBO of a window of iterations is no higher than that of the window before, as far as their scatter can
    /// tell; then it is reduced, and the iteration goes on from the average of the iterates of the best window (Polyak,
    /// Juditsky 1992), which is the result in the end. An ELBO that has fallen takes it back there as well.
    class Stochastic : public Optimizer
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        using namespace dealii::Patterns;
        prm.add_parameter("Draws", n_draws, "Draws in an iteration, in antithetic pairs.", Integer(2));
        prm.add_parameter("Maximum iterations", max_iterations, "Iterations, at most.", Integer(1));
        prm.add_parameter("Step size", step_size, "First step size of Adam, in units of the coordinates.", Double(0.));
        prm.add_parameter("Step reduction", reduction, "Factor on the step size when the ELBO no longer rises.",
                          Double(0., 1.));
        prm.add_parameter("Reductions", n_reductions, "Number of reductions before the end.", Integer(0));
        prm.add_parameter("Window", window, "Iterations over which the ELBO is averaged.", Integer(4));
        prm.add_parameter("Judging draws", judging_draws,
                          "Independent draws on which the result is compared with the start.", Integer(4));
      }

      unsigned int draws_per_iteration() const override { return n_draws; }

      void check(const Family &) const override
      {
        if (n_draws % 2 != 0)
          throw UserError("Inference/stochastic/Draws: draws come in pairs, an even number is needed; " +
                          std::to_string(n_draws) + " was given.");
      }

      Termination maximize(const LogDensity &density, Family &family, std::uint64_t seed, const Monitor &monitor,
                           OptimizerMemory *memory) override;

    private:
      unsigned int n_draws = 2, max_iterations = 20000, n_reductions = 3, window = 100, judging_draws = 64;
      double step_size = 0.02, reduction = 0.3;
    };

    /// Adam: steps of the size of `step` along gradients scaled by their running root mean square.
    class Adam
    {
    public:
      explicit Adam(Index n) : first(Vector::Zero(n)), second(Vector::Zero(n)) {}

      Vector step(const Vector &gradient, double size)
      {
        ++count;
        first               = beta1 * first + (1. - beta1) * gradient;
        second              = beta2 * second + (1. - beta2) * gradient.cwiseAbs2();
        const double scale1 = 1. / (1. - std::pow(beta1, count)), scale2 = 1. / (1. - std::pow(beta2, count));
        return size * scale1 * (first.array() / ((scale2 * second.array()).sqrt() + 1e-8));
      }

      void keep(Archive &archive, const Family &family)
      {
        archive.number("steps", count);
        family.keep_parameters(archive, "first moments", first);
        family.keep_parameters(archive, "second moments", second);
      }

    private:
      static constexpr double beta1 = 0.9, beta2 = 0.99;
      unsigned int count = 0;
      Vector first, second;
    };

    struct SampledGradient
    {
      ElboEstimate elbo;
      Vector gradient; ///< ∂ELBO/∂η, the same in all groups
    };

    SampledGradient sample_gradient(const LogDensity &density, const Family &family, const DrawRange &draws)
    {
      SampledGradient result;
      result.gradient = Vector::Zero(family.parameters().size());
      result.elbo     = average_over_draws(density.groups(), family, draws,
                                           [&](unsigned int, const DrawKey &key) -> std::optional<DrawValue>
                                           {
                                         const Draw draw   = family.sample(key);
                                         const auto solved = density.potential_and_gradient(draw.m);
                                         if (!solved)
                                           return {};
                                         result.gradient += family.path_gradient(key, solved->second);
                                         return DrawValue{draw.log_ratio, solved->first};
                                       });
      density.groups().sum(result.gradient);
      result.gradient /= draws.count;
      return result;
    }

    /// Numbers of the iterations of one window.
    struct Window
    {
      std::vector<double> elbo;
      double misfit = 0., gradient = 0.;
      Vector parameters; ///< Σ η

      Estimate estimate() const { return mean_and_error(elbo, false); }
      void add(const SampledGradient &sampled, double gradient_norm, const Vector &eta)
      {
        elbo.push_back(sampled.elbo.elbo.value);
        misfit += sampled.elbo.misfit.value;
        gradient += gradient_norm;
        if (parameters.size() == 0)
          parameters = eta;
        else
          parameters += eta;
      }
    };

    /// The norm over all entries, those of the first rank's own included.
    double norm(const Layout &layout, const Vector &x)
    {
      double square = x.squaredNorm();
      sum_over(layout.comm(), &square, 1);
      return std::sqrt(square);
    }

    bool report(const LogDensity &density, const Family &family, const Monitor &monitor, unsigned int iteration,
                const Window &window, double step)
    {
      const auto n            = static_cast<double>(window.elbo.size());
      const Estimate estimate = window.estimate();
      IterationReport line;
      line.phase     = "stochastic";
      line.iteration = iteration;
      line.objective = estimate.value;
      line.error     = estimate.error;
      line.misfit    = window.misfit / n;
      line.kl        = family.kl();
      line.gradient  = window.gradient / n;
      line.step      = step;
      line.rank      = family.rank();
      line.cost      = density.cost();
      line.note      = "mean of " + std::to_string(window.elbo.size()) + " iterations";
      return density.groups().broadcast(monitor && monitor(line) ? 1. : 0.) > 0.;
    }

    /// The best mean ELBO so far, and the average iterate that goes with it.
    struct Best
    {
      Estimate elbo;
      Vector parameters;
    };

    enum class Progress
    {
      rises,
      stays,
      falls
    };

    Progress compare(const Estimate &elbo, const Estimate &best)
    {
      const double gain = elbo.value - best.value, error = std::hypot(elbo.error, best.error);
      if (!std::isfinite(gain))
        return Progress::falls;
      return gain > error ? Progress::rises : gain < -2. * error ? Progress::falls : Progress::stays;
    }

    Termination Stochastic::maximize(const LogDensity &density, Family &family, std::uint64_t seed,
                                     const Monitor &monitor, OptimizerMemory *memory)
    {
      check(family);
      constexpr unsigned int far_from_the_iteration = 0x40000000u;
      const DrawRange judging{seed, Stream::optimization, far_from_the_iteration, judging_draws, true};
      const auto start = family.clone();
      Vector eta       = family.parameters();
      ElboEstimate first;
      Best best{{}, eta};
      Adam adam(eta.size());
      Window current;
      Termination result;
      double step             = step_size;
      unsigned int reductions = 0;
      OptimizerMemory own;
      LoopState &loop = memory != nullptr ? memory->loop : own.loop;
      const auto keep = [&](Archive &archive)
      {
        archive.number("step", step);
        archive.number("reductions", reductions);
        archive.number("best ELBO", best.elbo.value);
        archive.number("its error", best.elbo.error);
        family.keep_parameters(archive, "best", best.parameters);
        family.keep_parameters(archive, "η now", eta);
        adam.keep(archive, family);
        archive.in("first ", [&] { first.keep(archive); });
        archive.in("start ", [&] { start->keep(archive); });
        archive.in("result ", [&] { result.keep(archive); });
      };
      if (loop.begin(keep))
        family.set_parameters(eta);
      else
      {
        first     = estimate_elbo(density, family, judging);
        best.elbo = first.elbo;
      }
      while (result.reason.empty())
      {
        const DrawRange draws{seed, Stream::optimization, result.iterations * n_draws, n_draws, true};
        const SampledGradient sampled = sample_gradient(density, family, draws);
        current.add(sampled, norm(density.prior().layout(), sampled.gradient), eta);
        eta += adam.step(sampled.gradient, step);
        family.set_parameters(eta);
        ++result.iterations;
        if (current.elbo.size() < window && result.iterations < max_iterations)
          continue;

        const double step_before = step;
        const Estimate estimate  = current.estimate();
        const Progress progress  = compare(estimate, best.elbo);
        if (progress != Progress::falls)
          best = {estimate, current.parameters / static_cast<double>(current.elbo.size())};
        if (progress != Progress::rises)
        {
          // Smaller steps from the best average so far.
          result.converged = ++reductions > n_reductions;
          step *= reduction;
          eta  = best.parameters;
          adam = Adam(eta.size());
          family.set_parameters(eta);
        }
        if (result.converged)
          result.reason = "the mean ELBO of a window no longer rises at the smallest step size";
        else if (result.iterations >= max_iterations)
          result.reason = "the maximum number of iterations was reached";
        result.gradient    = current.gradient / static_cast<double>(current.elbo.size());
        const Window seen  = std::exchange(current, Window());
        result.interrupted = report(density, family, monitor, result.iterations, seen, step_before);
        if (result.interrupted && result.reason.empty())
          result.reason = "stopped from outside";
      }
      loop.end();
      family.set_parameters(best.parameters);
      const Estimate difference = gain(first, estimate_elbo(density, family, judging), true);
      if (!(difference.value >= -2. * difference.error))
      {
        family.assign(*start);
        result.converged = false;
        result.reason += "; the start was better on independent draws and was kept";
      }
      return result;
    }

    const Registration<Optimizer, Stochastic>
        stochastic("stochastic", "Adam on reparametrised gradients of the evidence lower bound: many cheap iterations, "
                                 "for every family.");
  } // namespace
} // namespace varfield
