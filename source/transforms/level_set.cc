#include <array>
#include <cmath>
#include <limits>
#include <varfield/text.h>
#include <varfield/transform.h>

namespace varfield
{
  namespace
  {
    /// Phases with the constant values v₀ < v₁ < …, from one to the next where m crosses the thresholds c₁ < c₂ < …:
    ///   g = g₀ + Σᵢ (gᵢ − gᵢ₋₁) s((m − cᵢ)/w), s(x) = 1/(1 + e⁻ˣ),
    /// k = g with gᵢ = vᵢ, or k = exp(g) with gᵢ = log vᵢ. The sets {m > cᵢ} are unknown shapes (M. A. Iglesias, Y. Lu,
    /// A. M. Stuart, Interfaces and Free Boundaries 18 (2016) 181), with borders smoothed over some 4w in the unit of
    /// m.
    class LevelSet : public Transform
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        using namespace dealii::Patterns;
        prm.add_parameter("Values", values_, "of the coefficient in its phases, ascending, separated by commas.",
                          List(Double(), 2));
        prm.add_parameter("Thresholds", thresholds_,
                          "of the field between these phases, ascending, one less than phases: below the first one the "
                          "coefficient has the first value.",
                          List(Double(), 1));
        prm.add_parameter("Width", width_,
                          "w of the smooth step 1/(1 + exp(−(m − threshold)/w)), in the unit of the field.",
                          Double(1e-12));
        prm.add_parameter("Logarithmic", logarithmic_,
                          "Whether it is the logarithm of the coefficient that passes from one phase to the next.");
      }

      void check(const std::string &section) const override
      {
        refuse_descending(values_, section + "/Values");
        refuse_descending(thresholds_, section + "/Thresholds");
        if (values_.size() != thresholds_.size() + 1)
          throw UserError(section + "/Thresholds: there is one between two phases, " +
                          std::to_string(values_.size() - 1) + " for " + std::to_string(values_.size()) +
                          " values, but found " + std::to_string(thresholds_.size()) + ".");
        if (logarithmic_ && !(values_[0] > 0.))
          throw UserError(section + "/Values: have to be positive where their logarithm is meant, but the first is " +
                          to_text(values_[0]) + ".");
      }

      double derivative(unsigned int order, double m) const override
      {
        std::array<double, 4> g{{level(0)}};
        for (std::size_t i = 0; i < thresholds_.size(); ++i)
        {
          const double s = 1. / (1. + std::exp((thresholds_[i] - m) / width_)), jump = level(i + 1) - level(i),
                       slope = jump * s * (1. - s) / width_;
          g[0] += jump * s;
          g[1] += slope;
          g[2] += slope * (1. - 2. * s) / width_;
          g[3] += slope * (1. - 6. * s * (1. - s)) / (width_ * width_);
        }
        if (!logarithmic_)
          return g[order];
        const double k = std::exp(g[0]);
        switch (order)
        {
        case 0:
          return k;
        case 1:
          return k * g[1];
        case 2:
          return k * (g[2] + g[1] * g[1]);
        default:
          return k * (g[3] + 3. * g[1] * g[2] + g[1] * g[1] * g[1]);
        }
      }

      /// By bisection: the transform rises.
      double inverse(double k) const override
      {
        if (!(k > values_.front() && k < values_.back()))
          return std::numeric_limits<double>::quiet_NaN();
        double low = thresholds_.front() - 700. * width_, high = thresholds_.back() + 700. * width_;
        for (double middle; middle = 0.5 * (low + high), low < middle && middle < high;)
          (derivative(0, middle) < k ? low : high) = middle;
        return 0.5 * (low + high);
      }

      std::vector<double> thresholds() const override { return thresholds_; }

    private:
      static void refuse_descending(const std::vector<double> &numbers, const std::string &entry)
      {
        for (std::size_t i = 1; i < numbers.size(); ++i)
          if (!(numbers[i - 1] < numbers[i]))
            throw UserError(entry + ": have to ascend, but " + to_text(numbers[i]) + " comes after " +
                            to_text(numbers[i - 1]) + ".");
      }

      double level(std::size_t i) const { return logarithmic_ ? std::log(values_[i]) : values_[i]; }

      std::vector<double> values_{0., 1.}, thresholds_{0.};
      double width_     = 0.1;
      bool logarithmic_ = false;
    };

    const Registration<Transform, LevelSet>
        level_set("level set", "The coefficient has a constant value in each of two phases or more, with smooth steps "
                               "between them where the field crosses thresholds.");
  } // namespace
} // namespace varfield
