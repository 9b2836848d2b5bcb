#ifndef varfield_newton_system_h
#define varfield_newton_system_h

#include <varfield/monitor.h>
#include <varfield/newton.h>

namespace varfield
{
  /// Newton systems (C⁻¹ + H) δ = −g of the mean of a family whose curvature H changes from one to the next, with a
  /// low-rank approximation of (C⁻¹ + H)⁻¹ as preconditioner: the family's covariance where that follows the curvature,
  /// else one made from the first H and again when conjugate gradients become slow with it. The family is borrowed.
  class NewtonSystem
  {
  public:
    NewtonSystem(const Family &family, std::uint64_t seed) : family_(family), seed_(seed) {}

    /// Brings the approximation up to date with the family or with this curvature. Collective over the world.
    void approximate(const Curvature &curvature);
    void approximate_by_family() { approximation_ = family_.low_rank_correction(); }
    /// U, s in C − U diag(s) Uᵀ, or nullptr as long as there is none.
    const LowRankCorrection *approximation() const { return approximation_ ? &*approximation_ : nullptr; }

    /// The approximation, to and from a file.
    void keep(Archive &archive);

    /// As solve_newton(). Collective over the world.
    NewtonStep solve(const Curvature &curvature, const Vector &gradient, double tolerance);

  private:
    const Family &family_;
    const std::uint64_t seed_;
    std::optional<LowRankCorrection> approximation_;
    bool own_approximation_is_poor_ = true;
  };

  /// The optimum of the ELBO where Φ is quadratic: H is the same everywhere and one Newton step ends there, a second
  /// one removes rounding. Returns the norm of the gradient in the family's covariance, iterations and outcome in
  /// `result`. Throws ComputationError where the model cannot be solved at the mean. Collective over the world.
  double maximize_quadratic(const LogDensity &density, Family &family, std::uint64_t seed, Termination &result);
} // namespace varfield

#endif
