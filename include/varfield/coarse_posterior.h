#ifndef varfield_coarse_posterior_h
#define varfield_coarse_posterior_h

#include <varfield/elbo.h>
#include <varfield/subspace_family.h>

namespace varfield
{
  /// A posterior that is settled on a coarse mesh, as the control variate of averages over one on a finer mesh.
  ///
  /// For a stationary point q' the averages are known: E_q'[∇Φ'] = −C'⁻¹mean' and E_q'[H'] = S'⁻¹ − C'⁻¹. With the
  /// dual transfer D (Transfer::prolongate_dual()) and draws m of q and m' of q' from the same white noise,
  ///
  ///     E_q[∇Φ] = −D C'⁻¹mean' + E[∇Φ(m) − D ∇Φ'(m')],
  ///     E_q[H]  = D (S'⁻¹ − C'⁻¹) Dᵀ + E[H(m) − D H'(m') Dᵀ],
  ///
  /// where what is left to the draws is small: two levels of multilevel Monte Carlo (Giles 2008, Operations Research
  /// 56), of which the coarse one was drawn before. Free of bias up to what q' itself is away from its stationary
  /// point.
  class CoarsePosterior
  {
  public:
    /// q' = `family`, as it is now, on the coarse mesh of `transfer`; `elbo` is its ELBO. `density` must outlive the
    /// object. Nothing where the family does not follow the curvature or leaves out eigenvalues that matter
    /// (first_dropped() above 0.3), or where the white noise of the fine mesh is not that of the coarse one
    /// (GaussianPrior::has_nested_loads()). Collective over the world.
    static std::shared_ptr<const CoarsePosterior> create(const LogDensity &density, const Family &family,
                                                         std::shared_ptr<const Transfer> transfer,
                                                         const ElboEstimate &elbo);

    struct Value
    {
      double log_weight = 0; ///< log p(d,m') − log q'(m')
      std::unique_ptr<Linearization> at;
    };
    /// What Φ' is at the draw with this fine load; nothing where the model fails. Collective in the group.
    std::optional<Value> linearize(const Vector &fine_load) const;

    const ElboEstimate &elbo() const { return elbo_; }
    const Transfer &transfer() const { return *transfer_; }
    /// E_q'[∇Φ'], dual on the coarse mesh.
    Vector gradient() const { return -posterior_.mean_dual(); }
    /// E_q'[H'] x on the coarse mesh, dual from primal. Collective in the group.
    MultiVector curvature(const MultiVector &primal) const { return posterior_.added_precision(primal); }

  private:
    CoarsePosterior(const LogDensity &density, FrozenGaussian posterior, std::shared_ptr<const Transfer> transfer,
                    const ElboEstimate &elbo);

    const LogDensity &density_;
    const FrozenGaussian posterior_;
    const std::shared_ptr<const Transfer> transfer_;
    const ElboEstimate elbo_;
  };
} // namespace varfield

#endif
