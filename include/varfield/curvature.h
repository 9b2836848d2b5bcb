#ifndef varfield_curvature_h
#define varfield_curvature_h

#include <functional>
#include <varfield/log_density.h>

namespace varfield
{
  class CurvatureSketch;

  /// An average over draws and the sampling variance of that average, entry by entry.
  struct Spread
  {
    Matrix mean, variance;
  };

  /// The average H of the curvatures of several linearisations, spread over sample groups; possibly blended with an
  /// older average of low rank: H = ρ · average + (1−ρ) V diag(λ) Vᵀ.
  ///
  /// Linearisations are borrowed and must outlive the object. All members are collective over the world (the space of
  /// every group and all groups), and give the same numbers in all groups.
  class Curvature
  {
  public:
    /// `local` are the linearisations of this group, `n_total` their number over all groups. With `antithetic` two
    /// consecutive ones belong to one pair of draws (used for sampling variances only).
    Curvature(const LogDensity &density, std::vector<const Linearization *> local, unsigned int n_total,
              bool antithetic = false);
    /// One linearisation at the same point in all groups, which share the work on a block of columns.
    Curvature(const LogDensity &density, const Linearization &shared);
    /// An average that was gathered draw by draw.
    Curvature(const LogDensity &density, const CurvatureSketch &sketch);

    const LogDensity &density() const { return *density_; }
    const GaussianPrior &prior() const { return density_->prior(); }
    const Layout &layout() const { return prior().layout(); }
    const SampleGroups &groups() const { return density_->groups(); }
    /// Number of linearisations averaged.
    unsigned int n_draws() const;

    /// The blend with V diag(λ) Vᵀ of weight 1−ρ; `dual` = V.
    Curvature blended(double rho, const SharedBlock &dual, const Vector &lambda) const;

    /// H X, dual from primal.
    MultiVector apply(const MultiVector &directions) const;
    /// G with H = G Gᵀ where all linearisations hold theirs and there are at most `max_columns` columns over all
    /// groups; else a matrix without columns.
    SharedBlock factor(unsigned int max_columns) const;

    /// uᵢᵀHuᵢ for the columns, as column vectors. Of the average alone, without the blend.
    Spread forms(const MultiVector &directions) const;
    /// UᵀHU. Of the average alone, without the blend. The sampling variances of both are known from a sketch for the
    /// directions that it was made with only, and zero else.
    Spread form_matrix(const MultiVector &directions) const;
    /// Diagonal (local entries) of LᵀHL in whitened coordinates, or of H in the coefficients: exact from explicit
    /// factors and for small vectors, else by Rademacher probing (Hutchinson 1989) with `n_probes` vectors. Without the
    /// blend.
    Spread diagonal(bool whitened, unsigned int n_probes, std::uint64_t seed) const;

  private:
    using Action = std::function<Matrix(const Linearization &)>;
    Spread spread(const Action &action, Index rows, Index cols) const;
    MultiVector average(const MultiVector &directions) const;
    Matrix one_diagonal(const Linearization &at, bool whitened, const MultiVector &probes) const;

    const LogDensity *density_;
    const CurvatureSketch *sketch_ = nullptr;
    std::vector<const Linearization *> local_;
    unsigned int n_total_;
    bool antithetic_ = false, shared_ = false;
    double rho_ = 1.;
    SharedBlock old_dual_;
    Vector old_values_;
  };

  /// C G for the same G in all groups, which share the columns, a few at a time; the same bits in all of them. With
  /// `last`, C of that vector is one column more. Collective over the world.
  MultiVector covariance_over_groups(const SampleGroups &groups, const GaussianPrior &prior, const MultiVector &dual,
                                     const Vector *last = nullptr);

  struct SymmetricEigen
  {
    Vector values; ///< ascending
    Matrix vectors;
  };

  /// Dense eigen-decomposition, the same bits in all groups because decisions hang on it. Collective over the world.
  SymmetricEigen symmetric_eigen(const SampleGroups &groups, const Layout &layout, const Matrix &a);

  /// Columns u with uᵢᵀC⁻¹uⱼ = δᵢⱼ, and C⁻¹u.
  struct OrthonormalBlock
  {
    MultiVector modes; ///< U, primal
    MultiVector dual;  ///< V = C⁻¹U
  };

  /// An orthonormal basis of the span of the columns of `primal`, given with `dual` = C⁻¹ · `primal`: to rounding over
  /// the relative length of the shortest direction, since primal and dual are combined apart from each other. Columns
  /// may be of very different lengths and dependent: directions shorter than `drop` relative to the longest column,
  /// after the columns were scaled to length one, are left out. Collective over the world of `groups`.
  OrthonormalBlock orthonormalize(const SampleGroups &groups, const Layout &layout, MultiVector primal,
                                  MultiVector dual, double drop = 1e-12);

  /// A basis of the whole space, n_global() columns: for small vectors only. Collective over the layout's communicator.
  OrthonormalBlock complete_basis(const GaussianPrior &prior);

  /// Leading eigenpairs H u = λ C⁻¹ u by |λ|, uᵢᵀC⁻¹uⱼ = δᵢⱼ.
  struct Eigenpairs
  {
    Vector values;                ///< by falling |λ|
    MultiVector modes;            ///< U, primal
    MultiVector dual;             ///< V = C⁻¹U
    double first_dropped = 0.;    ///< |λ| of the first one left out, an estimate unless `exact`; 0: none
    bool exact           = false; ///< from a dense eigenproblem rather than from a subspace iteration
  };

  struct EigenOptions
  {
    unsigned int rank         = 100;   ///< at most so many pairs
    unsigned int oversampling = 20;    ///< extra columns of the random subspace
    unsigned int passes       = 4;     ///< applications of H to a block, at most
    double tolerance          = 1e-10; ///< stop earlier when the wanted eigenvalues change by less, relative to 1+|λ|
    double cutoff             = 0.;    ///< pairs with |λ| below are dropped
    unsigned int dense_size   = 400;   ///< vectors of at most so many entries are treated as dense
    std::uint64_t seed        = 0;     ///< of the random start
  };

  /// Three routes, by count. Vectors of few entries: a dense eigenproblem in parameter space. Explicit factors with
  /// fewer than 4 (rank + oversampling) columns: exact, in data space. Otherwise a randomised block Davidson iteration
  /// in the prior's inner product (Halko, Martinsson, Tropp 2011; Villa, Petra, Ghattas 2021, sect. 5), warm-started by
  /// the columns of `start`; each pass applies H to the residuals C H u − λ u that have not converged. C⁻¹ is never
  /// applied, H may be indefinite or singular. Collective over the world.
  Eigenpairs eigenpairs(const Curvature &curvature, const EigenOptions &options, const MultiVector &start = {});
} // namespace varfield

#endif
