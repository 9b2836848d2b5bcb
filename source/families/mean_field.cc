#include <cmath>
#include <varfield/subspace_family.h>

namespace varfield
{
  namespace
  {
    /// S = C − U diag(λ/(1+λ)) Uᵀ in the leading eigenvectors U of the prior (Karhunen–Loève modes): independent
    /// coefficients in a basis that does not change, well defined as the mesh is refined.
    class MeanField : public CopyableFamily<MeanField, SubspaceFamily>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Modes", n_modes, "Number of prior modes with a variance of their own.",
                          dealii::Patterns::Integer(1));
      }

      void initialize(const GaussianPrior &prior, std::uint64_t) override
      {
        start_from_prior(prior);
        MultiVector modes = prior.leading_modes(n_modes);
        MultiVector dual  = prior.precision(modes);
        lambda            = Vector::Zero(modes.cols());
        set_covariance(std::move(modes), std::move(dual), Matrix::Identity(lambda.size(), lambda.size()));
      }

      void natural_step(const Curvature &curvature, double rho) override
      {
        const Vector fresh = curvature.forms(modes_).mean.col(0);
        lambda             = ((1. - rho) * lambda + rho * fresh).cwiseMax(-0.9);
        set_covariance(modes_, dual_, Matrix((1. + lambda.array()).rsqrt().matrix().asDiagonal()));
      }

      CovarianceResidual covariance_residual(const Curvature &curvature) const override
      {
        const Spread fresh = curvature.forms(modes_);
        CovarianceResidual result;
        for (Index i = 0; i < lambda.size(); ++i)
        {
          const Spread one{fresh.mean.row(i), fresh.variance.row(i)};
          const CovarianceResidual r = matrix_residual(one, Matrix::Constant(1, 1, lambda[i]));
          result.value               = std::max(result.value, r.value);
          result.loss += r.loss;
          result.noise += r.noise;
          result.sampling_loss += r.sampling_loss;
        }
        return result;
      }

      void keep(Archive &archive) override
      {
        SubspaceFamily::keep(archive);
        archive.numbers("λ", lambda);
      }

    protected:
      bool diagonal_factor() const override { return true; }

    private:
      unsigned int n_modes = 512;
      Vector lambda; ///< at the last natural step
    };

    const Registration<Family, MeanField>
        mean_field("mean field", "Independent coefficients in the leading eigenvectors of the prior (Karhunen-Loeve), "
                                 "the prior elsewhere.");
  } // namespace
} // namespace varfield
