#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

#include <cmath>
#include <varfield/noise.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// Independent errors sᵢ t_ν, of heavy tails (Lange, Little, Taylor 1989, Journal of the American Statistical
    /// Association 84). As a scale mixture rᵢ | λᵢ ~ N(0, sᵢ²/λᵢ), λᵢ ~ Gamma(ν/2, ν/2), of which the λᵢ are integrated
    /// out: with z = r/s
    ///
    ///     −log p = log s + ½ log(πν) + log Γ(ν/2) − log Γ((ν+1)/2) + ½(ν+1) log(1 + z²/ν),
    ///     E[λ | r] = (ν+1)/(ν+z²), and ∂(−log p)/∂r = E[λ | r] r/s².
    ///
    /// The curvature E[λ|r]/s² · (ν−z²)/(ν+z²) is negative beyond z² = ν, where a tenth of E[λ|r]/s² takes its place.
    class StudentT : public ScaledNoise
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        ScaledNoise::add_parameters(prm);
        prm.add_parameter("Degrees of freedom", freedom_,
                          "The fewer, the heavier the tails; standard deviations are the scales s of errors s t.",
                          dealii::Patterns::Double(0.));
      }

      void initialize(const Table &table, const Vector &values, const std::string &section) override
      {
        if (!(freedom_ > 0.))
          throw UserError(section + "/Degrees of freedom: has to be positive, but is " + to_text(freedom_) + ".");
        ScaledNoise::initialize(table, values, section);
      }

      double potential(const Vector &residuals) const override
      {
        const double constant =
            0.5 * std::log(M_PI * freedom_) + std::lgamma(0.5 * freedom_) - std::lgamma(0.5 * (freedom_ + 1.));
        double sum = 0.;
        for (const Index i : rows_)
        {
          const double z = residuals(i) / deviations_(i);
          sum += constant + std::log(deviations_(i)) + 0.5 * (freedom_ + 1.) * std::log1p(z * z / freedom_);
        }
        return sum;
      }

      NoiseRoot root(const Vector &residuals) const override
      {
        constexpr double least = 0.1;
        Vector curvature(residuals.size()), gradient(residuals.size());
        for (Index i = 0; i < residuals.size(); ++i)
        {
          const double z        = residuals(i) / deviations_(i),
                       majorant = weight(i, residuals(i)) / std::pow(deviations_(i), 2);
          gradient(i)           = majorant * residuals(i);
          curvature(i)          = majorant * std::max(least, (freedom_ - z * z) / (freedom_ + z * z));
        }
        return diagonal_root(curvature, gradient);
      }

      /// The quantile of the t distribution at the normal number's probability.
      Vector sample(const Vector &standard_normal) const override
      {
        const boost::math::normal normal;
        const boost::math::students_t t(freedom_);
        Vector result(standard_normal.size());
        for (Index i = 0; i < result.size(); ++i)
        {
          // By the lower tail, which keeps its digits.
          const double x = standard_normal(i);
          result(i)      = std::copysign(deviations_(i) * boost::math::quantile(t, cdf(normal, -std::abs(x))), x);
        }
        return result;
      }

      bool is_gaussian() const override { return false; }
      double weight(Index row, double residual) const override
      {
        const double z = residual / deviations_(row);
        return (freedom_ + 1.) / (freedom_ + z * z);
      }

      /// z²/(ν+z²) is Beta(½, ν/2).
      double square_variance() const override { return 2. * freedom_ / (freedom_ + 3.); }

      /// Trapezoidal rule in log λ, which converges exponentially.
      NormalMixture mixture() const override
      {
        constexpr Index n  = 200;
        const double reach = 80. / freedom_ + 10. * std::sqrt(2. / freedom_), first = -reach, last = std::log1p(reach);
        NormalMixture result{Vector(n), Vector(n)};
        for (Index k = 0; k < n; ++k)
        {
          const double u       = first + (last - first) * double(k) / double(n - 1);
          result.deviations[k] = std::exp(-0.5 * u);
          result.weights[k]    = std::exp(0.5 * freedom_ * (u - std::exp(u) + 1.));
        }
        result.weights /= result.weights.sum();
        return result;
      }

    private:
      double freedom_ = 4.;
    };

    const Registration<Noise, StudentT> student_t("student t",
                                                  "Independent errors with heavy tails: outliers count for little.");
  } // namespace
} // namespace varfield
