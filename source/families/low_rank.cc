#include <cmath>
#include <varfield/low_rank_family.h>

namespace varfield
{
  void LowRankFamily::add_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter("Rank", max_rank_, "At most so many directions in which the posterior differs from the prior.",
                      dealii::Patterns::Integer(1));
    prm.add_parameter("Cutoff", cutoff_,
                      "Curvature eigenvalues below are left to the prior: a direction with eigenvalue x narrows by the "
                      "factor (1+x)^(-1/2).",
                      dealii::Patterns::Double(0.));
  }

  void LowRankFamily::initialize(const GaussianPrior &prior, std::uint64_t seed)
  {
    seed_   = seed;
    lambda_ = Vector(0);
    start_from_prior(prior);
  }

  Curvature LowRankFamily::remembered(const Curvature &fresh, double rho) const
  {
    return rho == 1. || rank() == 0 ? fresh : fresh.blended(rho, dual_, lambda_);
  }

  void LowRankFamily::natural_step(const Curvature &curvature, double rho)
  {
    EigenOptions options;
    options.rank   = max_rank_;
    options.cutoff = cutoff_;
    options.seed   = seed_;
    // An average over draws is not worth more digits than its sampling error leaves.
    options.tolerance   = curvature.n_draws() > 1 ? 1e-4 : 1e-8;
    const double weight = rank() == 0 ? 1. : rho;
    Eigenpairs pairs    = eigenpairs(remembered(curvature, weight), options, modes_);
    if (rank() == 0)
      pairs.values *= rho;
    dropped_ = pairs.first_dropped;
    // A full Hessian away from the optimum may have λ ≤ −1: S at most ten times as wide as the prior.
    lambda_ = pairs.values.cwiseMax(-0.9);
    set_covariance(std::move(pairs.modes), std::move(pairs.dual),
                   Matrix((1. + lambda_.array()).rsqrt().matrix().asDiagonal()));
  }

  void LowRankFamily::prolongate(const Family &coarse, const Transfer &transfer)
  {
    const auto &other = dynamic_cast<const LowRankFamily &>(coarse);
    prolongate_all(other, transfer);
    dropped_ = other.dropped_;
    lambda_  = factor_.diagonal().array().square().inverse() - 1.;
  }

  void LowRankFamily::keep(Archive &archive)
  {
    SubspaceFamily::keep(archive);
    archive.numbers("Λ", lambda_);
    archive.number("first dropped", dropped_);
  }

  CovarianceResidual LowRankFamily::covariance_residual(const Curvature &curvature) const
  {
    return matrix_residual(curvature.form_matrix(modes_), Matrix(lambda_.asDiagonal()));
  }

  namespace
  {
    class LowRank : public CopyableFamily<LowRank, LowRankFamily>
    {
    };

    const Registration<Family, LowRank>
        low_rank("low rank", "The prior, narrowed in the directions that the data inform: exact for linear problems "
                             "with Gaussian noise once the rank covers these.");
  } // namespace
} // namespace varfield
