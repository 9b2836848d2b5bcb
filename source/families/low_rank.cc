#include <cmath>
#include <varfield/subspace_family.h>

namespace varfield
{
  namespace
  {
    /// S = (C⁻¹ + VΛVᵀ)⁻¹ with the leading eigenpairs of the averaged curvature (Bui-Thanh, Ghattas, Martin, Stadler
    /// 2013; Spantini et al. 2015). The span moves with each natural step.
    class LowRank : public CopyableFamily<LowRank, SubspaceFamily>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Rank", max_rank, "At most so many directions in which the posterior differs from the prior.",
                          dealii::Patterns::Integer(1));
        prm.add_parameter("Cutoff", cutoff,
                          "Curvature eigenvalues below are left to the prior: a direction with eigenvalue x narrows by "
                          "the factor (1+x)^(-1/2).",
                          dealii::Patterns::Double(0.));
      }

      void initialize(const GaussianPrior &prior, std::uint64_t seed) override
      {
        this->seed = seed;
        lambda     = Vector(0);
        start_from_prior(prior);
      }

      double first_dropped() const override { return dropped; }
      bool follows_curvature() const override { return true; }

      Curvature remembered(const Curvature &fresh, double rho) const override
      {
        return rho == 1. || rank() == 0 ? fresh : fresh.blended(rho, dual_, lambda);
      }

      void natural_step(const Curvature &curvature, double rho) override
      {
        EigenOptions options;
        options.rank   = max_rank;
        options.cutoff = cutoff;
        options.seed   = seed;
        // An average over draws is not worth more digits than its sampling error leaves.
        options.tolerance   = curvature.n_draws() > 1 ? 1e-4 : 1e-8;
        const double weight = rank() == 0 ? 1. : rho;
        Eigenpairs pairs    = eigenpairs(remembered(curvature, weight), options, modes_);
        if (rank() == 0)
          pairs.values *= rho;
        dropped = pairs.first_dropped;
        // A full Hessian away from the optimum may have λ ≤ −1: S at most ten times as wide as the prior.
        lambda = pairs.values.cwiseMax(-0.9);
        set_covariance(std::move(pairs.modes), std::move(pairs.dual),
                       Matrix((1. + lambda.array()).rsqrt().matrix().asDiagonal()));
      }

      bool has_prolongation() const override { return true; }

      void prolongate(const Family &coarse, const Transfer &transfer) override
      {
        const auto &other = dynamic_cast<const LowRank &>(coarse);
        prolongate_all(other, transfer);
        dropped = other.dropped;
        lambda  = factor_.diagonal().array().square().inverse() - 1.;
      }

      CovarianceResidual covariance_residual(const Curvature &curvature) const override
      {
        return matrix_residual(curvature.form_matrix(modes_), Matrix(lambda.asDiagonal()));
      }

    protected:
      bool diagonal_factor() const override { return false; }

    private:
      unsigned int max_rank = 100;
      double cutoff = 0.01, dropped = 0.;
      std::uint64_t seed = 0;
      Vector lambda; ///< Λ at the last natural step
    };

    const Registration<Family, LowRank>
        low_rank("low rank", "The prior, narrowed in the directions that the data inform: exact for linear problems "
                             "with Gaussian noise once the rank covers these.");
  } // namespace
} // namespace varfield
