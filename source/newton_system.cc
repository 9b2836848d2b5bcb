#include <cmath>
#include <varfield/exceptions.h>
#include <varfield/newton_system.h>

namespace varfield
{
  void NewtonSystem::approximate(const Curvature &curvature)
  {
    if (family_.follows_curvature())
      return approximate_by_family();
    if (!own_approximation_is_poor_)
      return;
    EigenOptions options;
    options.tolerance = 1e-3;
    options.cutoff    = 0.05;
    options.seed      = seed_;
    const Index n     = family_.mean().size();
    const Eigenpairs pairs =
        eigenpairs(curvature, options, approximation_ ? *approximation_->modes : MultiVector(n, 0));
    const Vector values        = pairs.values.cwiseMax(-0.5);
    approximation_             = LowRankCorrection{pairs.modes, pairs.dual, values.array() / (1. + values.array())};
    own_approximation_is_poor_ = false;
  }

  void NewtonSystem::keep(Archive &archive)
  {
    varfield::keep(archive, "approximation", family_.prior().layout(), approximation_);
    archive.number("approximation is poor", own_approximation_is_poor_);
  }

  NewtonStep NewtonSystem::solve(const Curvature &curvature, const Vector &gradient, double tolerance)
  {
    NewtonOptions options;
    options.tolerance = tolerance;
    // A few iterations with the family's covariance cost less than the exact inverse, unless it is to be exact.
    if (approximation_ && family_.follows_curvature() && tolerance > 1e-8)
      options.max_data_columns = 0;
    const NewtonStep step = solve_newton(curvature, gradient, options, approximation());
    if (step.iterations > 25)
      own_approximation_is_poor_ = true;
    return step;
  }

  double maximize_quadratic(const LogDensity &density, Family &family, std::uint64_t seed, Termination &result)
  {
    const SampleGroups &groups = density.groups();
    NewtonSystem newton(family, seed);
    double norm = 0., first_norm = 0.;
    for (; result.iterations < 4; ++result.iterations)
    {
      const auto at = linearize_at(density, family.mean(), "the mean of the posterior");
      const Curvature exact(density, *at);
      if (result.iterations == 0)
        family.natural_step(exact, 1.);
      newton.approximate(exact);
      Vector gradient = at->gradient + Vector(density.prior().precision(family.mean()));
      groups.broadcast(gradient);
      const NewtonStep step = newton.solve(exact, gradient, 1e-13);
      norm = std::sqrt(std::max(0., -density.agreed(density.prior().layout().dot(gradient, step.primal))));
      if (result.iterations == 0)
        first_norm = norm;
      else if (norm <= 1e-10 * (1. + first_norm))
        break;
      family.set_mean(family.mean() + step.primal);
    }
    result.converged = norm <= 1e-6 * (1. + first_norm);
    result.reason    = result.converged ? "the log density is quadratic: the optimum is exact"
                                        : "the linear systems could not be solved accurately";
    return norm;
  }
} // namespace varfield
