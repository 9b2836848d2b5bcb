#ifndef varfield_subspace_family_h
#define varfield_subspace_family_h

#include <varfield/family.h>
#include <varfield/shape.h>

namespace varfield
{
  /// N(mean, C + U(TTᵀ − I)Uᵀ) made from draws z of the prior N(0, C), V = C⁻¹U: a view of its parts. With a shape
  /// u(Vᵀz) takes the place of Vᵀz.
  struct SubspaceGaussian
  {
    const Vector &mean, &mean_dual;  ///< mean, C⁻¹mean
    const MultiVector &modes, &dual; ///< U, V
    const Matrix &factor;            ///< T
    double log_det;                  ///< log |det T|
    const Shape *shape = nullptr;
    /// m = mean + z + U(T u(Vᵀz) − Vᵀz), and log p(m) − log q(m). Collective over the layout's communicator.
    Draw draw(const Layout &layout, const Vector &z) const;
  };

  /// N(mean, S) with S = C + U(TTᵀ − I)Uᵀ: a posterior as it is at one moment, the same on coarser meshes, and the
  /// reference measure of chains.
  class FrozenGaussian
  {
  public:
    /// S = C − U diag(shrinkage) Uᵀ. `prior` must outlive the object. Collective over its communicator, as are all
    /// members.
    FrozenGaussian(const GaussianPrior &prior, Vector mean, LowRankCorrection correction);
    /// On the coarse mesh of `transfer`, of which this belongs to the fine one: mean and U by their loads.
    FrozenGaussian restricted(const Transfer &transfer) const;
    /// The same U, with another mean and the factor T.
    FrozenGaussian with(Vector mean, const Matrix &factor) const;

    const GaussianPrior &prior() const { return *prior_; }
    const Vector &mean() const { return mean_; }
    /// C⁻¹mean.
    const Vector &mean_dual() const { return mean_dual_; }
    const SharedBlock &modes() const { return modes_; }
    const Matrix &factor() const { return factor_; }
    Index rank() const { return factor_.rows(); }
    /// What draw() draws is not this Gaussian but the one with the shape; nullptr: none.
    void set_shape(std::shared_ptr<const Shape> shape) { shape_ = std::move(shape); }
    /// The draw made from the prior's draw with this load, and its log ratio.
    Draw draw(const Vector &load) const;
    /// A draw of N(0, S).
    Vector deviation(const DrawKey &key) const;
    /// Vᵀm, r numbers: the coordinates of m in the span of U.
    Vector coordinates(const Vector &m) const;
    /// log p(m) − log q(m), and its gradient, dual.
    double log_ratio(const Vector &m) const;
    Vector log_ratio_gradient(const Vector &m) const;
    /// S g, primal from dual.
    Vector covariance(const Vector &dual) const;
    /// (S⁻¹ − C⁻¹) x, dual from primal.
    MultiVector added_precision(const MultiVector &primal) const;

  private:
    void set_factor(const Matrix &factor);

    const GaussianPrior *prior_;
    Vector mean_, mean_dual_;
    SharedBlock modes_, dual_;
    Matrix factor_, added_; ///< T, (TTᵀ)⁻¹ − I
    double log_det_ = 0.;   ///< log |det T|
    std::shared_ptr<const Shape> shape_;
  };

  /// What the families `low rank`, `mean field` and `full` share: the covariance differs from the prior's in the span
  /// of r columns U with UᵀC⁻¹U = I only. With V = C⁻¹U and an r × r factor T
  ///
  ///     m = mean + z + U (T − I) Vᵀz,   z = Lξ,      S = C + U (T Tᵀ − I) Uᵀ,
  ///     log p − log q = −(C⁻¹mean)ᵀ(m − mean/2) + ½(|T⁻¹Vᵀ(m−mean)|² − |Vᵀ(m−mean)|²) + log |det T|,
  ///     KL(q‖p) = ½[meanᵀC⁻¹mean + |T|²_F − r − 2 log |det T|],
  ///
  /// so that one application of C⁻¹, to the mean, serves for any number of draws. T = diag((1+λ)^{-1/2}) after a
  /// natural step of the first two.
  ///
  /// Coordinates for gradient methods, U fixed: mean = mean₀ + R₀η with the root R₀ = (I + U(T₀ − I)Vᵀ)L of the
  /// covariance at the last natural step, and T = T₀Δ with Δ lower triangular (or diagonal), its diagonal in
  /// logarithms. q at that step is then standard normal, however badly scaled the posterior is.
  class SubspaceFamily : public Family
  {
  public:
    void set_mean(const Vector &mean) override;
    Draw sample(const DrawKey &key) const override;
    double log_ratio(const Vector &m) const override;
    double kl() const override;
    MultiVector covariance(const MultiVector &dual) const override;
    std::optional<LowRankCorrection> low_rank_correction() const override;
    unsigned int rank() const override { return static_cast<unsigned int>(modes_.cols()); }
    Vector parameters() const override { return parameters_; }
    void set_parameters(const Vector &parameters) override;
    Vector path_gradient(const DrawKey &key, const Vector &potential_gradient) const override;
    void keep(Archive &archive) override;
    void keep_parameters(Archive &archive, const std::string &name, Vector &parameters) const override;

  protected:
    /// Mean, U, V and T of the same family on a coarser mesh, the columns made orthonormal again.
    void prolongate_all(const SubspaceFamily &coarse, const Transfer &transfer);
    /// Whether gradient methods vary the diagonal of T only.
    virtual bool diagonal_factor() const = 0;
    /// Takes U, V and T and makes them the origin of the coordinates η. Collective.
    void set_covariance(SharedBlock modes, SharedBlock dual, Matrix factor);
    /// The prior itself.
    void start_from_prior(const GaussianPrior &prior);
    /// max_i and sampling loss from UᵀHU, H = `fresh`, for the precision I + `precision` in the span of U.
    static CovarianceResidual matrix_residual(const Spread &fresh, const Matrix &old_curvature);

    SharedBlock modes_, dual_; ///< U, V
    Matrix factor_, inverse_;  ///< T, T⁻¹
    double log_det_ = 0.;      ///< log |det T|
    Vector mean_dual_;         ///< C⁻¹ mean

  private:
    void set_factor(Matrix factor);
    Index n_factor_parameters() const;
    /// Unit of the entries of Δ beside the diagonal: a step of the same size in all of them turns T by no more.
    double off_diagonal_scale() const;
    Vector root(const Vector &xi, const Matrix &factor) const;
    Vector root_transpose(const Vector &dual, const Matrix &factor) const;

    Matrix origin_factor_;            ///< T₀
    Vector origin_mean_, parameters_; ///< mean₀, η
  };
} // namespace varfield

#endif
