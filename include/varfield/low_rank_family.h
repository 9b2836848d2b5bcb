#ifndef varfield_low_rank_family_h
#define varfield_low_rank_family_h

#include <varfield/subspace_family.h>

namespace varfield
{
  /// S = (C⁻¹ + VΛVᵀ)⁻¹ with the leading eigenpairs of the averaged curvature (Bui-Thanh, Ghattas, Martin, Stadler
  /// 2013; Spantini et al. 2015). The span moves with each natural step.
  class LowRankFamily : public SubspaceFamily
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm) override;
    void initialize(const GaussianPrior &prior, std::uint64_t seed) override;
    double first_dropped() const override { return dropped_; }
    bool follows_curvature() const override { return true; }
    Curvature remembered(const Curvature &fresh, double rho) const override;
    void natural_step(const Curvature &curvature, double rho) override;
    CovarianceResidual covariance_residual(const Curvature &curvature) const override;
    bool has_prolongation() const override { return true; }
    void prolongate(const Family &coarse, const Transfer &transfer) override;
    void keep(Archive &archive) override;

  protected:
    bool diagonal_factor() const override { return false; }

  private:
    unsigned int max_rank_ = 100;
    double cutoff_ = 0.01, dropped_ = 0.;
    std::uint64_t seed_ = 0;
    Vector lambda_; ///< Λ at the last natural step
  };
} // namespace varfield

#endif
