#include <algorithm>
#include <cmath>
#include <utility>
#include <varfield/exceptions.h>
#include <varfield/map.h>
#include <varfield/newton.h>

namespace varfield
{
  void MapSolver::add_parameters(dealii::ParameterHandler &prm)
  {
    using namespace dealii::Patterns;
    prm.add_parameter("Maximum iterations", max_iterations, "Newton steps, at most.", Integer(0));
    prm.add_parameter("Maximum CG iterations", max_cg_iterations,
                      "Conjugate gradient steps in one Newton step, at most.", Integer(1));
    prm.add_parameter("Gradient tolerance", gradient_tolerance,
                      "Stop when the gradient has fallen by this factor, in the norm of the prior covariance.",
                      Double(0., 1.));
  }

  namespace
  {
    /// A point, what is known there, and the dual C⁻¹m.
    struct Iterate
    {
      Vector m, dual;
      std::unique_ptr<Linearization> at;
      double potential = 0., regularization = 0., gradient_norm = 0.;
      Vector gradient; ///< dual
      double objective() const { return potential + regularization; }
    };

    /// One run of the iteration; keeps what its steps share.
    class Minimization
    {
    public:
      Minimization(const MapSolver &settings, const LogDensity &density, const Monitor &monitor)
          : settings(settings), density(density), monitor(monitor)
      {
      }

      Termination run(Vector &m, MapMemory &memory);

    private:
      void begin(const Vector &m, MapMemory &memory);
      void keep(Archive &archive, Termination &result, std::string &note);
      bool everywhere(bool good) const { return density.groups().sum(good ? 0. : 1.) == 0.; }
      double agreed(double x) const { return density.agreed(x); }
      double dot(const Vector &x, const Vector &y) const { return agreed(density.prior().layout().dot(x, y)); }

      Effort effort() const;
      bool linearize(Iterate &point, bool gradient_only) const;
      /// Tried twice, where the search cannot go on without.
      bool linearize_surely(Iterate &point, bool gradient_only) const
      {
        return linearize(point, gradient_only) || linearize(point, gradient_only);
      }
      bool evaluate(Iterate &point) const;
      Iterate shifted(const NewtonStep &step, double t) const;
      NewtonStep newton_step();
      bool step_by(bool inverse_at_hand, double &slope, std::string &note);
      bool advance(const NewtonStep &step);
      bool report(unsigned int iteration, const std::string &note);

      const MapSolver &settings;
      const LogDensity &density;
      const Monitor &monitor;
      Iterate current;
      double first_gradient_norm = 0., step_length = 0.;
      bool last_step_was_full = false;
      std::optional<LowRankCorrection> inverse; ///< of C⁻¹ + H at some earlier point
      bool inverse_serves = false;              ///< the last step lowered the gradient enough
      double tightening   = 1.;                 ///< of solves for Jacobians, where they were too loose
    };

    /// The solves that the curvature is made from need not be better than the step: an error ε of the Jacobian leaves
    /// about ε sqrt(λ₁) of the gradient.
    Effort Minimization::effort() const
    {
      const double fall = first_gradient_norm > 0. ? current.gradient_norm / first_gradient_norm : 1.;
      return {density.is_quadratic() ? 0. : tightening * std::min(1e-4, 1e-2 * std::sqrt(fall)), true};
    }

    /// Potential and gradient at the point, and unless `gradient_only` what its curvature needs; false where the model
    /// cannot be solved or a number overflows.
    bool Minimization::linearize(Iterate &point, bool gradient_only) const
    {
      std::optional<std::pair<double, Vector>> value;
      if (gradient_only)
        value = density.potential_and_gradient(point.m, /* together */ true);
      else if ((point.at = density.linearize(point.m, effort())))
        value = std::make_pair(point.at->potential, point.at->gradient);
      const bool finite = value && std::isfinite(value->first) &&
                          std::isfinite(density.prior().layout().dot(value->second, value->second));
      if (!everywhere(finite))
      {
        point.at.reset();
        return false;
      }
      point.potential = agreed(value->first);
      point.gradient  = value->second + point.dual;
      density.groups().broadcast(point.gradient);
      point.gradient_norm = std::sqrt(std::max(0., dot(point.gradient, density.prior().covariance(point.gradient))));
      return std::isfinite(point.gradient_norm);
    }

    bool Minimization::evaluate(Iterate &point) const
    {
      const auto potential = density.potential_together(point.m);
      if (!everywhere(potential && std::isfinite(*potential)))
        return false;
      point.potential = agreed(*potential);
      return true;
    }

    Iterate Minimization::shifted(const NewtonStep &step, double t) const
    {
      Iterate point;
      point.m              = current.m + t * step.primal;
      point.dual           = current.dual + t * step.dual;
      point.regularization = 0.5 * dot(point.m, point.dual);
      return point;
    }

    NewtonStep Minimization::newton_step()
    {
      NewtonOptions options;
      options.keep_inverse   = true;
      options.max_iterations = settings.max_cg_iterations;
      options.tolerance      = std::min(0.5, std::sqrt(current.gradient_norm / first_gradient_norm));
      if (density.is_quadratic())
        options.tolerance = 1e-12;
      NewtonStep step =
          solve_newton(Curvature(density, *current.at), current.gradient, options, inverse ? &*inverse : nullptr);
      if (step.inverse)
        inverse = std::move(step.inverse);
      return step;
    }

    /// Armijo line search; moves `current` and linearises there. After a full step the next full step is linearised at
    /// once: it is nearly always accepted, and a state is not computed twice.
    bool Minimization::advance(const NewtonStep &step)
    {
      const double slope = dot(current.gradient, step.primal);
      const double noise = density.potential_error() * (std::abs(current.objective()) + 1.);
      if (!(slope < 0.))
        return false;
      double t = 1.;
      for (unsigned int halving = 0; halving <= settings.max_halvings; ++halving, t *= 0.5)
      {
        Iterate trial    = shifted(step, t);
        const bool eager = halving == 0 && last_step_was_full;
        if (!(eager ? linearize(trial, inverse.has_value()) : evaluate(trial)))
          continue;
        const double change = trial.objective() - current.objective();
        const bool lower = change <= settings.armijo * t * slope || (std::abs(slope) < 100. * noise && change <= noise);
        // Where the change drowns in the errors of solves the gradient decides, which is known to more digits.
        const bool flatter =
            eager && std::abs(slope) < 1e4 * noise && trial.gradient_norm < 0.9 * current.gradient_norm;
        if (!lower && !flatter)
          continue;
        if (!eager && !linearize(trial, inverse.has_value()))
          continue;
        last_step_was_full = halving == 0;
        step_length        = t;
        inverse_serves =
            inverse && halving == 0 && trial.gradient_norm < (inverse_serves ? 0.5 : 0.1) * current.gradient_norm;
        current = std::move(trial);
        density.start_from_last();
        return true;
      }
      return false;
    }

    bool Minimization::report(unsigned int iteration, const std::string &note)
    {
      IterationReport line;
      line.phase     = "MAP";
      line.iteration = iteration;
      line.objective = current.objective();
      line.misfit    = current.potential;
      line.kl        = current.regularization;
      line.gradient  = current.gradient_norm;
      line.step      = step_length;
      line.cost      = density.cost();
      line.note      = note;
      return agreed(monitor && monitor(line) ? 1. : 0.) > 0.;
    }

    /// One step from the current point, by the inverse at hand or with the curvature there; `slope` is that of the
    /// objective along it.
    bool Minimization::step_by(bool inverse_at_hand, double &slope, std::string &note)
    {
      NewtonStep step;
      if (inverse_at_hand)
      {
        step = approximate_step(density, current.gradient, *inverse);
        note = "step with the last curvature";
      }
      else
      {
        if (!current.at && !linearize_surely(current, false))
          throw ComputationError("The model could be solved at a point, and then could not be linearised there.");
        step = newton_step();
        note = step.iterations == 0 ? "exact Newton step" : std::to_string(step.iterations) + " CG iterations";
        if (step.negative_curvature)
          note = "negative curvature";
      }
      slope               = dot(current.gradient, step.primal);
      const double before = current.gradient_norm;
      const bool advanced = advance(step);
      if (!inverse_at_hand && !(advanced && current.gradient_norm < 0.5 * before))
        tightening *= 0.01;
      return advanced;
    }

    void Minimization::begin(const Vector &m, MapMemory &memory)
    {
      inverse        = std::exchange(memory.inverse, std::nullopt);
      inverse_serves = inverse.has_value();
      current.m      = m;
      density.groups().broadcast(current.m);
      current.dual           = density.prior().precision(current.m);
      current.regularization = 0.5 * dot(current.m, current.dual);
      if (!linearize_surely(current, inverse.has_value()))
        throw ComputationError("The model could not be solved at the point where the search for the MAP point starts.");
      density.start_from_last();
      if (memory.reference_gradient == 0.)
        memory.reference_gradient = current.gradient_norm;
      first_gradient_norm = memory.reference_gradient;
      last_step_was_full  = inverse_serves;
    }

    void Minimization::keep(Archive &archive, Termination &result, std::string &note)
    {
      const Layout &layout = density.prior().layout();
      archive.columns("m", layout, current.m);
      archive.columns("C⁻¹m", layout, current.dual);
      archive.columns("gradient", layout, current.gradient);
      archive.number("potential", current.potential);
      archive.number("regularization", current.regularization);
      archive.number("gradient norm", current.gradient_norm);
      archive.number("first gradient norm", first_gradient_norm);
      archive.number("step length", step_length);
      archive.number("last step was full", last_step_was_full);
      archive.number("inverse serves", inverse_serves);
      archive.number("tightening", tightening);
      archive.in("result ", [&] { result.keep(archive); });
      archive.text("note", note);
      varfield::keep(archive, "inverse", layout, inverse);
    }

    Termination Minimization::run(Vector &m, MapMemory &memory)
    {
      Termination result;
      std::string note;
      const bool goes_on = memory.loop.begin([&](Archive &archive) { keep(archive, result, note); });
      if (!goes_on)
        begin(m, memory);
      const double target = std::max(settings.absolute_tolerance, settings.gradient_tolerance * first_gradient_norm);
      for (bool is_known = goes_on;; is_known = false)
      {
        // What the last run has said is not said again.
        if (!is_known)
          result.interrupted = report(result.iterations, note);
        m = current.m;
        if (!result.reason.empty())
          break;
        if (current.gradient_norm <= target)
        {
          result.converged = true;
          result.reason    = "the gradient is below its tolerance";
        }
        else if (result.interrupted)
          result.reason = "stopped from outside";
        else if (result.iterations == settings.max_iterations)
          result.reason = "the maximum number of iterations was reached";
        if (!result.reason.empty())
          break;

        const double objective = current.objective(), gradient_norm = current.gradient_norm;
        bool by_inverse = inverse_serves;
        double slope    = 0.;
        bool advanced   = step_by(by_inverse, slope, note);
        if (!advanced && by_inverse)
        {
          by_inverse = false;
          advanced   = step_by(by_inverse, slope, note);
        }
        if (advanced)
          ++result.iterations;
        // The gain that the model predicts is below rounding: a step that fails, or hardly lowers the gradient, ends
        // it.
        const double gain = std::abs(slope) / (1. + std::abs(objective));
        if (advanced ? !by_inverse && gain < 1e-11 && current.gradient_norm > 0.5 * gradient_norm : gain < 1e-10)
        {
          result.converged = true;
          result.reason    = "the objective cannot be lowered further in floating-point numbers";
        }
        else if (!advanced)
          result.reason = "the line search found no lower objective";
        if (!advanced)
          break;
      }
      result.gradient = current.gradient_norm;
      memory.inverse  = std::move(inverse);
      memory.loop.end();
      return result;
    }
  } // namespace

  Termination MapSolver::minimize(const LogDensity &density, Vector &m, const Monitor &monitor, MapMemory *memory) const
  {
    MapMemory own;
    return Minimization(*this, density, monitor).run(m, memory != nullptr ? *memory : own);
  }
} // namespace varfield
