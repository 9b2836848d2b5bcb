#ifndef varfield_gaussian_prior_h
#define varfield_gaussian_prior_h

#include <memory>
#include <string>
#include <varfield/random.h>
#include <varfield/vectors.h>

namespace varfield
{
  /// A block of parameter vectors m with C⁻¹m.
  struct PrimalDual
  {
    MultiVector primal, dual;
  };

  /// The Gaussian prior N(0, C) of the parameter vector m, the deviation of the unknown fields from their prior means.
  ///
  /// Two kinds of vectors occur. *Primal* ones are parameter vectors; *dual* ones are gradients. C maps dual to primal,
  /// its inverse primal to dual. C = L Lᵀ with a factor L that may have more columns than rows (one random number for
  /// every quadrature point where the mass matrix is consistent). Every member function is collective over
  /// layout().comm() and takes a block of columns; blocks are what makes it fast.
  class GaussianPrior
  {
  public:
    virtual ~GaussianPrior() = default;

    /// Layout of m.
    virtual const Layout &layout() const = 0;
    /// Layout of the white noise ξ with m = Lξ.
    virtual const Layout &noise_layout() const = 0;
    /// Whether L is square, hence ξ a coordinate: what the whitened diagonal families need. Then L⁻¹ = LᵀC⁻¹.
    virtual bool has_square_factor() const = 0;

    /// L ξ. `tolerance`: of iterative solves, 0: that of all others.
    virtual MultiVector apply_factor(const MultiVector &xi, double tolerance = 0.) const = 0;
    /// Lᵀ g for dual g. For any factor LᵀC⁻¹m is the ξ of least norm with Lξ = m.
    virtual MultiVector apply_factor_transpose(const MultiVector &dual) const = 0;
    /// C g, primal from dual.
    virtual MultiVector covariance(const MultiVector &dual) const = 0;
    /// C⁻¹ m, dual from primal.
    virtual MultiVector precision(const MultiVector &primal) const = 0;
    /// What is carried between meshes in the place of m, where C = A⁻¹MA⁻¹ (a prior without a mesh has A = M = C⁻¹):
    /// the load w = Am, which is N(0, M), and the source s = M⁻¹w. load() gives w from m, from_load() m from w, and
    /// random_load() the w of a draw, from_load(random_load(ξ)) = Lξ.
    virtual MultiVector load(const MultiVector &primal) const { return precision(primal); }
    virtual MultiVector from_load(const MultiVector &load) const { return covariance(load); }
    virtual MultiVector random_load(const MultiVector &xi) const { return precision(apply_factor(xi)); }
    /// Whether a random load of the same prior on a finer mesh, restricted to this one, has the distribution of one
    /// made here, as with the consistent mass.
    virtual bool has_nested_loads() const { return true; }
    /// s = A⁻¹C⁻¹m from the dual vector C⁻¹m, and m = A⁻¹Ms with C⁻¹m from s.
    MultiVector source(const MultiVector &dual) const { return from_load(dual); }
    virtual PrimalDual from_source(const MultiVector &source) const { return {source, precision(source)}; }
    /// log det C.
    virtual double log_determinant() const = 0;
    /// Diagonal of C⁻¹ (local entries): what a mean field on the coefficients themselves needs. May be costly.
    virtual Vector precision_diagonal() const = 0;
    /// The leading `n` eigenvectors of the prior (fewer if there are not so many), columns u with uᵢᵀC⁻¹uⱼ = δᵢⱼ, by
    /// falling prior variance. For a field on a mesh these are the Karhunen–Loève modes, eigenvectors of C in L².
    virtual MultiVector leading_modes(unsigned int n) const = 0;

    /// A draw Lξ with ξ = sign · standard_normal(noise_layout(), key).
    Vector draw(const DrawKey &key) const;
    /// One such draw for every key. `tolerance` as of apply_factor().
    MultiVector draws(const std::vector<DrawKey> &keys, double tolerance = 0.) const;
  };

  /// Carries parameter vectors between a problem on a coarse mesh and the same problem on a finer one. Members are
  /// collective over the mesh's communicator.
  class Transfer
  {
  public:
    /// Both priors must outlive the object.
    Transfer(const GaussianPrior &coarse, const GaussianPrior &fine) : coarse_(&coarse), fine_(&fine) {}
    virtual ~Transfer() = default;

    const GaussianPrior &coarse() const { return *coarse_; }
    const GaussianPrior &fine() const { return *fine_; }

    /// From dual vectors C⁻¹m on the coarse mesh to m on the fine one, by their sources.
    PrimalDual prolongate(const MultiVector &coarse_dual) const;
    /// The dual part of prolongate() alone: D = A P A⁻¹ with A of the fine and of the coarse mesh and P =
    /// interpolate().
    MultiVector prolongate_dual(const MultiVector &coarse_dual) const;
    /// m on the coarse mesh from m on the fine one, by their loads: Dᵀ. For a function Φ on the coarse mesh D∇Φ(Dᵀm) is
    /// the gradient of Φ(Dᵀm).
    MultiVector restrict_primal(const MultiVector &fine_primal) const;
    /// Loads (see GaussianPrior::load()) on the coarse mesh from loads on the fine one, tested with the coarse
    /// functions, Pᵀ: where the fine load is white noise of covariance M the coarse one is so with the coarse M.
    virtual MultiVector restrict_load(const MultiVector &fine_load) const = 0;

  protected:
    /// P: the same functions on the fine mesh.
    virtual MultiVector interpolate(const MultiVector &coarse_source) const = 0;

  private:
    const GaussianPrior *coarse_, *fine_;
  };

  /// Independent priors of several blocks of one parameter vector, in the order of concatenate(). Blocks are shared
  /// with their owners.
  class BlockPrior : public GaussianPrior
  {
  public:
    BlockPrior(MPI_Comm comm, std::vector<std::shared_ptr<const GaussianPrior>> blocks);

    const Layout &layout() const override { return layout_; }
    const Layout &noise_layout() const override { return noise_layout_; }
    bool has_square_factor() const override;
    MultiVector apply_factor(const MultiVector &xi, double tolerance = 0.) const override;
    MultiVector apply_factor_transpose(const MultiVector &dual) const override;
    MultiVector covariance(const MultiVector &dual) const override;
    MultiVector precision(const MultiVector &primal) const override;
    MultiVector load(const MultiVector &primal) const override;
    MultiVector from_load(const MultiVector &load) const override;
    MultiVector random_load(const MultiVector &xi) const override;
    bool has_nested_loads() const override;
    PrimalDual from_source(const MultiVector &source) const override;
    double log_determinant() const override;
    Vector precision_diagonal() const override;
    /// `n` modes of every block, so that a block in small units is not lost behind one in large units.
    MultiVector leading_modes(unsigned int n) const override;

  private:
    std::vector<std::shared_ptr<const GaussianPrior>> blocks_;
    Layout layout_, noise_layout_;
  };

  /// N(0, C) with a dense covariance matrix for a handful of numbers (zones, trend coefficients), all of which the
  /// first rank of the communicator owns. L is the lower Cholesky factor of C; keys are 0, 1, ….
  class DensePrior : public GaussianPrior
  {
  public:
    /// Throws UserError if `covariance` is not symmetric positive definite; `origin` says in the message where it is
    /// from.
    DensePrior(MPI_Comm comm, const Matrix &covariance, const std::string &origin);

    const Layout &layout() const override { return layout_; }
    const Layout &noise_layout() const override { return layout_; }
    bool has_square_factor() const override { return true; }
    MultiVector apply_factor(const MultiVector &xi, double tolerance = 0.) const override;
    MultiVector apply_factor_transpose(const MultiVector &dual) const override;
    MultiVector covariance(const MultiVector &dual) const override;
    MultiVector precision(const MultiVector &primal) const override;
    double log_determinant() const override;
    Vector precision_diagonal() const override;
    /// Eigenvectors of the covariance matrix.
    MultiVector leading_modes(unsigned int n) const override;

  private:
    Layout layout_;
    Matrix covariance_;
    Eigen::LLT<Matrix> cholesky_;
  };
} // namespace varfield

#endif
