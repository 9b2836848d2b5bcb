#ifndef varfield_sampler_h
#define varfield_sampler_h

#include <varfield/registry.h>
#include <varfield/subspace_family.h>

namespace varfield
{
  /// A point of a chain.
  struct ChainPoint
  {
    Vector m;
    double log_weight = 0; ///< log p(d,m) − log q(m)
    double potential  = 0; ///< Φ(m)
    Vector gradient;       ///< of log_weight, dual; empty for samplers that need none
  };

  /// The posterior as a density with respect to a Gaussian q: π(m) ∝ exp(w(m)) q(m), w(m) = log p(d,m) − log q(m), in
  /// which the prior cancels but for r directions. References must outlive the object.
  class ReferencedDensity
  {
  public:
    ReferencedDensity(const LogDensity &density, const FrozenGaussian &q) : density_(density), q_(q) {}
    const FrozenGaussian &reference() const { return q_; }
    const Layout &layout() const { return q_.prior().layout(); }
    /// Nothing where the model cannot be solved. Collective in its group.
    std::optional<ChainPoint> at(const Vector &m, bool with_gradient) const;

  private:
    const LogDensity &density_;
    const FrozenGaussian &q_;
  };

  /// What a sampler proposes.
  struct Proposal
  {
    std::optional<ChainPoint> point; ///< nothing where the model failed on the way
    double log_acceptance = 0;       ///< log of the ratio that decides; may be above 0
  };

  /// A transition that leaves the posterior invariant and is defined on functions: with w constant it leaves q
  /// invariant and always moves, whatever the mesh. A plugin; states are kept in ChainPoint alone.
  class Sampler
  {
  public:
    virtual ~Sampler() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    virtual bool needs_gradient() const = 0;
    /// The share of proposals to be accepted, towards which the step is adapted in warm-up.
    virtual double target_acceptance() const = 0;
    /// Where that adaptation begins. Steps are angles in (0, π/2]: at π/2 one step is an independent draw of q.
    virtual double first_step() const = 0;
    /// The model is last solved at the point proposed. Collective in its group.
    virtual Proposal propose(const ReferencedDensity &density, const ChainPoint &from, double step,
                             const DrawKey &key) const = 0;
  };
} // namespace varfield

#endif
