#include <cmath>
#include <varfield/hyper_prior.h>
#include <varfield/normal_distribution.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// A prior with one parameter λ that follows from the probability to be beyond a limit.
    class PenalisedComplexity : public HyperPrior
    {
    public:
      explicit PenalisedComplexity(const std::string &beyond) : beyond_(beyond) {}
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Limit", limit_, "A value, for the probability below.", dealii::Patterns::Double(0.));
        prm.add_parameter("Probability", probability_, "of a value " + beyond_ + " the limit.",
                          dealii::Patterns::Double(0., 1.));
      }
      void check(const std::string &section, unsigned int dim) override
      {
        if (!(limit_ > 0.) || !(probability_ > 0.) || !(probability_ < 1.))
          throw UserError(section + ": needs a positive Limit and a Probability between 0 and 1, but found " +
                          to_text(limit_) + " and " + to_text(probability_) + ".");
        initialize(limit_, -std::log(probability_), dim);
      }

    private:
      /// `information`: −log of the probability.
      virtual void initialize(double limit, double information, unsigned int dim) = 0;

      const std::string beyond_;
      double limit_ = 0., probability_ = 0.05;
    };

    /// Simpson, Rue, Riebler, Martins, Sørbye (2017), Statistical Science 32, sec. 3.3: the penalised-complexity prior
    /// of a standard deviation is exponential, λ exp(−λθ), with λ from P(θ > limit) = probability.
    class PcUpper : public PenalisedComplexity
    {
    public:
      PcUpper() : PenalisedComplexity("above") {}
      double log_density(double t) const override { return std::log(lambda_) - lambda_ * std::exp(t) + t; }
      double quantile(double p) const override { return -std::log1p(-p) / lambda_; }

    private:
      void initialize(double limit, double information, unsigned int) override { lambda_ = information / limit; }

      double lambda_ = 1.;
    };

    /// Fuglstad, Simpson, Lindgren, Rue (2019), Journal of the American Statistical Association 114, eq. 5: of the
    /// correlation length of a Matérn field in d dimensions, (d/2) λ θ^{−d/2−1} exp(−λ θ^{−d/2}), with λ from
    /// P(θ < limit) = probability.
    class PcLower : public PenalisedComplexity
    {
    public:
      PcLower() : PenalisedComplexity("below") {}
      double log_density(double t) const override
      {
        return std::log(half_ * lambda_) - half_ * t - lambda_ * std::exp(-half_ * t);
      }
      double quantile(double p) const override { return std::pow(-std::log(p) / lambda_, -1. / half_); }

    private:
      void initialize(double limit, double information, unsigned int dim) override
      {
        half_   = 0.5 * dim;
        lambda_ = information * std::pow(limit, half_);
      }

      double half_ = 1., lambda_ = 1.;
    };

    /// log θ is normal.
    class LogNormal : public HyperPrior
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Median", median_, "of the parameter.", dealii::Patterns::Double(0.));
        prm.add_parameter("Factor", factor_, "A standard deviation up is this factor, down its inverse.",
                          dealii::Patterns::Double(1.));
      }
      void check(const std::string &section, unsigned int) override
      {
        if (!(median_ > 0.) || !(factor_ > 1.))
          throw UserError(section + ": needs a positive Median and a Factor above 1, but found " + to_text(median_) +
                          " and " + to_text(factor_) + ".");
      }
      double log_density(double t) const override
      {
        const double s = std::log(factor_), z = (t - std::log(median_)) / s;
        return -0.5 * z * z - std::log(s) - 0.5 * std::log(2. * M_PI);
      }
      double quantile(double p) const override { return median_ * std::exp(std::log(factor_) * normal_quantile(p)); }

    private:
      double median_ = 0., factor_ = 2.;
    };

    const Registration<HyperPrior, PcUpper>
        pc_upper("pc upper", "Penalised complexity, for standard deviations: P(parameter > limit) = probability.");
    const Registration<HyperPrior, PcLower>
        pc_lower("pc lower", "Penalised complexity, for correlation lengths: P(parameter < limit) = probability.");
    const Registration<HyperPrior, LogNormal> log_normal("lognormal", "The logarithm is normal.");
  } // namespace
} // namespace varfield
