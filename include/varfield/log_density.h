#ifndef varfield_log_density_h
#define varfield_log_density_h

#include <optional>
#include <varfield/gaussian_prior.h>
#include <varfield/parallel.h>

namespace varfield
{
  /// Work done so far, the unit in which speed is stated.
  struct Cost
  {
    double factorizations = 0; ///< factorisations, or set-ups of a multigrid hierarchy
    double state_solves   = 0; ///< right-hand sides solved for states
    double linear_solves  = 0; ///< right-hand sides solved for tangents and adjoints

    Cost operator-(const Cost &other) const
    {
      return {factorizations - other.factorizations, state_solves - other.state_solves,
              linear_solves - other.linear_solves};
    }
    Cost operator+(const Cost &other) const
    {
      return {factorizations + other.factorizations, state_solves + other.state_solves,
              linear_solves + other.linear_solves};
    }
    /// All PDE solves.
    double solves() const { return state_solves + linear_solves; }
  };

  /// How a linearisation is made.
  struct Effort
  {
    /// Of the iterative solves that the curvature is made from, relative to their right-hand sides; 0: that of all
    /// other solves. Potential and gradient are as accurate as ever.
    double tolerance = 0.;
    /// All groups ask for the same m and share the work: the experiments of a nonlinear law, and in data space the
    /// columns of the Jacobian (in parameter space they share what they do with the curvature). The call is then
    /// collective over the world.
    bool together = false;
  };

  /// `Effort::tolerance` of what enters averages over draws: below their sampling errors, and far enough below for
  /// every split of the ranks to give the same results.
  constexpr double tolerance_for_averages = 1e-7;

  /// The potential Φ = −log p(d|m) (all constants included) at one m, its gradient and its curvature.
  class Linearization
  {
  public:
    virtual ~Linearization() = default;

    double potential = 0; ///< Φ(m)
    Vector gradient;      ///< ∇Φ(m), dual

    /// H V, dual from primal, H the symmetric curvature of Φ at m: the Gauss–Newton matrix JᵀΓ⁻¹J or the full Hessian.
    /// Collective over the layout's communicator.
    virtual MultiVector apply_curvature(const MultiVector &directions) const = 0;
    /// G with H = G Gᵀ (one column for every measurement, dual) where it is held explicitly, else nullptr.
    virtual const SharedBlock *curvature_factor() const { return nullptr; }
  };

  /// The posterior density p(m|d) ∝ exp(−Φ(m)) N(m; 0, C), all that families, objectives and optimisers know of a
  /// problem.
  ///
  /// A model that cannot be solved at some m is a value, not an error: `potential` and `linearize` then return nothing,
  /// on all ranks of the layout's communicator together. Member functions are collective over that communicator; other
  /// sample groups may make other calls.
  class LogDensity
  {
  public:
    virtual ~LogDensity() = default;

    virtual const GaussianPrior &prior() const = 0;
    /// Φ(m), finite, or nothing.
    virtual std::optional<double> potential(const Vector &m) const = 0;
    /// The same where all groups ask for the same m and may share the work. Collective over the world.
    virtual std::optional<double> potential_together(const Vector &m) const { return potential(m); }
    /// Φ, gradient and curvature at m, or nullptr. The object may be kept while others are made.
    virtual std::unique_ptr<Linearization> linearize(const Vector &m, const Effort &effort = {}) const = 0;
    /// Φ and its gradient only: cheaper than linearize() where the curvature is not wanted. `together` as in Effort.
    virtual std::optional<std::pair<double, Vector>> potential_and_gradient(const Vector &m,
                                                                            bool together = false) const;
    /// The last model solved is where iterative solves begin from now on. Not collective; to be called alike in all
    /// groups, where all of them solved the same.
    virtual void start_from_last() const {}
    /// Error of Φ relative to 1 + |Φ|: smaller differences say nothing.
    virtual double potential_error() const { return 1e-13; }
    /// Whether Φ is quadratic, so that its curvature is the same everywhere.
    virtual bool is_quadratic() const { return false; }
    /// Whether the linearisations at so many draws may be held at the same time. Where not, an average of curvatures is
    /// gathered draw by draw.
    virtual bool keeps_linearizations(unsigned int) const { return true; }
    /// Work done since the object was made, by this group.
    virtual Cost cost() const { return {}; }
    /// Over which the draws of an expectation are spread.
    virtual const SampleGroups &groups() const;
    /// `x` as the first rank of the first group has it, on all ranks: decisions hang on numbers that are the same to
    /// the last bit. Collective over the world.
    double agreed(double x) const;
    void agree(Vector &values) const;
  };

  /// The linearisation at a point that the computation cannot go on without, tried twice: “The model cannot be
  /// linearised at `place`.” is a ComputationError on all ranks. Collective over the world.
  std::unique_ptr<Linearization> linearize_at(const LogDensity &density, const Vector &m, const std::string &place);
} // namespace varfield

#endif
