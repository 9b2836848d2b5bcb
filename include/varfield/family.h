#ifndef varfield_family_h
#define varfield_family_h

#include <varfield/archive.h>
#include <varfield/curvature.h>
#include <varfield/registry.h>

namespace varfield
{
  /// One draw of a variational posterior.
  struct Draw
  {
    Vector m;             ///< the parameter vector
    double log_ratio = 0; ///< log p(m) − log q(m), p the prior N(0, C) and q the family
  };

  /// A covariance of the form S = C − U diag(shrinkage) Uᵀ, UᵀC⁻¹U = I.
  struct LowRankCorrection
  {
    SharedBlock modes; ///< U, primal
    SharedBlock dual;  ///< C⁻¹U
    Vector shrinkage;  ///< λ/(1+λ); below 1; negative where the posterior is wider than the prior

    /// To and from a file; U and V are of this layout.
    void keep(Archive &archive, const Layout &layout);
  };

  /// The same of one that may be missing.
  void keep(Archive &archive, const std::string &name, const Layout &layout,
            std::optional<LowRankCorrection> &correction);

  /// How far S is from the stationary point S⁻¹ = C⁻¹ + H within the family, over the family's directions uᵢ with
  /// precisions 1+λᵢ.
  struct CovarianceResidual
  {
    double value = 0; ///< max_i |uᵢᵀHuᵢ − λᵢ| / (1+λᵢ)
    double loss  = 0; ///< ¼ Σᵢ of its square: the ELBO that these differences cost [nat]
    double noise = 0; ///< the same of the sampling errors of uᵢᵀHuᵢ: what `loss` is in the mean without a difference
    double sampling_loss = 0; ///< ELBO lost in the mean through all sampling errors of H, were S set from H alone [nat]
  };

  class FrozenGaussian;

  /// A variational family q(m) with a mean and a covariance S: N(mean, S), unless a shape was found by refine().
  ///
  /// Works on parameter vectors (deviations from the prior mean) with the prior's inner product. All members are
  /// collective over the layout's communicator and must be called alike in all sample groups, except sample(),
  /// log_ratio() and path_gradient(), which are collective in their group only. Draws with the same key are the same
  /// function of (mean, covariance): common random numbers.
  class Family
  {
  public:
    virtual ~Family() = default;

    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// Throws UserError if this family cannot work with this prior: a whitened diagonal family with a rectangular
    /// factor, or too many unknowns for a dense one. Cheap, and the same on all ranks.
    virtual void check(const GaussianPrior &) const {}
    /// Starts from q = prior, or the member of the family closest to it. `prior` must outlive the family and pass
    /// check().
    virtual void initialize(const GaussianPrior &prior, std::uint64_t seed) = 0;

    const GaussianPrior &prior() const { return *prior_; }
    const Vector &mean() const { return mean_; }
    virtual void set_mean(const Vector &mean) = 0;

    /// A draw of q and its log ratio to the prior at that point.
    virtual Draw sample(const DrawKey &key) const = 0;
    /// log p(m) − log q(m) at any m.
    virtual double log_ratio(const Vector &m) const = 0;
    /// KL(q‖p) in closed form.
    virtual double kl() const = 0;
    /// S g, primal from dual.
    virtual MultiVector covariance(const MultiVector &dual) const = 0;
    /// S as a low-rank correction of C where it has that form, else nothing.
    virtual std::optional<LowRankCorrection> low_rank_correction() const { return {}; }
    /// Number of numbers that describe S beyond the prior (the rank, or n).
    virtual unsigned int rank() const = 0;
    /// |λ| of the first curvature eigenvalue that the last natural_step() left out; 0 where nothing is left out.
    virtual double first_dropped() const { return 0.; }

    /// Whether natural_step() is offered.
    virtual bool has_natural_step() const { return true; }
    /// Whether S⁻¹ − C⁻¹ is the averaged curvature itself, but for negligible eigenvalues, rather than a part of it.
    virtual bool follows_curvature() const { return false; }
    /// `fresh`, blended with weight ρ into the curvature that this family remembers; `fresh` itself where it remembers
    /// none.
    virtual Curvature remembered(const Curvature &fresh, double) const { return fresh; }
    /// S⁻¹ ← (1−ρ)S⁻¹ + ρ(C⁻¹ + H), restricted to the family; H the averaged curvature. Opper, Archambeau (2009), eq.
    /// 9–10.
    virtual void natural_step(const Curvature &curvature, double rho)                = 0;
    virtual CovarianceResidual covariance_residual(const Curvature &curvature) const = 0;

    /// Free parameters η of q for gradient methods, in coordinates in which q is of order one: the coordinates of the
    /// mean (as many as white noise has entries), then those of the covariance. Local entries; a few numbers that are
    /// not spread over the ranks belong to the first rank. Moving them never changes the meaning of the others.
    virtual Vector parameters() const                     = 0;
    virtual void set_parameters(const Vector &parameters) = 0;
    /// ∂/∂η of log p(d|m) + log p(m) − log q(m) at the draw m of `key` by the sticking-the-landing rule (Roeder, Wu,
    /// Duvenaud 2017): the path derivative (∂m/∂η)ᵀ∇ₘ[…], with q's own parameters held fixed inside log q.
    /// `potential_gradient` = ∇Φ(m), dual.
    virtual Vector path_gradient(const DrawKey &key, const Vector &potential_gradient) const = 0;

    /// What optimisers, which know mean and covariance, leave to be found: the shape of q. To be called once they have
    /// ended on the last mesh; every natural_step() forgets it. Words on what was gained; empty where a family has no
    /// shape, which is also what is left once `stop` says so. Collective over the world.
    virtual std::string refine(const LogDensity &, std::uint64_t /*seed*/, const StopCheck & /*stop*/ = {})
    {
      return {};
    }

    /// Whether q is N(mean, S), rather than of a shape that refine() has found.
    virtual bool is_normal() const { return true; }

    /// q as it is now, for coarser meshes; nullptr where its covariance is no low-rank correction. Collective.
    virtual std::unique_ptr<FrozenGaussian> frozen() const;

    /// Whether prolongate() is offered.
    virtual bool has_prolongation() const { return false; }
    /// Takes mean and covariance from the same family on a coarser mesh, after initialize().
    virtual void prolongate(const Family &, const Transfer &) {}

    /// All that q is, to and from a file; after initialize(). Collective over the world.
    virtual void keep(Archive &archive) = 0;
    /// The same of a vector like parameters().
    virtual void keep_parameters(Archive &archive, const std::string &name, Vector &parameters) const = 0;

    /// A copy, and taking over the state of another object of the same class.
    virtual std::unique_ptr<Family> clone() const = 0;
    virtual void assign(const Family &other)      = 0;

  protected:
    const GaussianPrior *prior_ = nullptr;
    Vector mean_;
  };

  /// Supplies clone() and assign() to a class derived from Base.
  template <typename Derived, typename Base = Family>
  class CopyableFamily : public Base
  {
  public:
    using Base::Base;
    std::unique_ptr<Family> clone() const override
    {
      return std::make_unique<Derived>(static_cast<const Derived &>(*this));
    }
    void assign(const Family &other) override { static_cast<Derived &>(*this) = dynamic_cast<const Derived &>(other); }
  };
} // namespace varfield

#endif
