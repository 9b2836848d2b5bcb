#include <cmath>
#include <varfield/exceptions.h>
#include <varfield/subspace_family.h>

namespace varfield
{
  namespace
  {
    /// Any covariance matrix, dense: with a basis U of the whole space, UUᵀ = C, the precision of the coefficients is
    /// the full matrix P = I + UᵀHU, and T = P^{-1/2}. A reference for small problems.
    class Full : public CopyableFamily<Full, SubspaceFamily>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Maximum size", max_size, "Refuse parameter vectors with more entries.",
                          dealii::Patterns::Integer(1));
      }

      void check(const GaussianPrior &prior) const override
      {
        const Index n = prior.layout().n_global();
        if (n > static_cast<Index>(max_size))
          throw UserError("Inference/full/Maximum size: the problem has " + std::to_string(n) +
                          " unknowns; the family “full” takes at most " + std::to_string(max_size) +
                          ". Use the family “low rank”, or raise the limit (memory grows like n², work like n³).");
      }

      void initialize(const GaussianPrior &prior, std::uint64_t) override
      {
        check(prior);
        const Index n = prior.layout().n_global();
        start_from_prior(prior);
        OrthonormalBlock basis = complete_basis(prior);
        curvature_             = Matrix::Zero(n, n);
        set_covariance(std::move(basis.modes), std::move(basis.dual), Matrix::Identity(n, n));
      }

      bool follows_curvature() const override { return true; }

      Curvature remembered(const Curvature &fresh, double rho) const override
      {
        if (rho == 1.)
          return fresh;
        const Eigen::SelfAdjointEigenSolver<Matrix> eigen(curvature_);
        return fresh.blended(rho, product(dual_, eigen.eigenvectors()), eigen.eigenvalues());
      }

      void natural_step(const Curvature &curvature, double rho) override
      {
        const Matrix fresh = modes_form(curvature);
        const Eigen::SelfAdjointEigenSolver<Matrix> eigen((1. - rho) * curvature_ + rho * fresh);
        const Vector values = eigen.eigenvalues().cwiseMax(-0.9);
        curvature_          = eigen.eigenvectors() * values.asDiagonal() * eigen.eigenvectors().transpose();
        Matrix factor       = eigen.eigenvectors() * (1. + values.array()).rsqrt().matrix().asDiagonal() *
                        eigen.eigenvectors().transpose();
        prior().layout().broadcast(factor.data(), static_cast<std::size_t>(factor.size()));
        prior().layout().broadcast(curvature_.data(), static_cast<std::size_t>(curvature_.size()));
        set_covariance(modes_, dual_, factor);
      }

      CovarianceResidual covariance_residual(const Curvature &curvature) const override
      {
        return matrix_residual(curvature.form_matrix(modes_), curvature_);
      }

      void keep(Archive &archive) override
      {
        SubspaceFamily::keep(archive);
        archive.numbers("UᵀHU", curvature_);
      }

    protected:
      bool diagonal_factor() const override { return false; }

    private:
      Matrix modes_form(const Curvature &curvature) const
      {
        const Matrix form = prior().layout().gram(modes_, curvature.apply(modes_));
        return 0.5 * (form + form.transpose());
      }

      unsigned int max_size = 3000;
      Matrix curvature_; ///< UᵀHU, averaged
    };

    const Registration<Family, Full> full("full", "Any covariance matrix, dense: the reference for small problems.");
  } // namespace
} // namespace varfield
