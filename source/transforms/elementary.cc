#include <cmath>
#include <limits>
#include <varfield/transform.h>

namespace varfield
{
  namespace
  {
    class Identity : public Transform
    {
    public:
      double derivative(unsigned int order, double m) const override { return order == 0 ? m : order == 1 ? 1. : 0.; }
      double inverse(double k) const override { return k; }
      bool is_identity() const override { return true; }
    };

    class Exponential : public Transform
    {
    public:
      double derivative(unsigned int, double m) const override { return std::exp(m); }
      double inverse(double k) const override { return std::log(k); }
    };

    /// k = a + (b − a)/(1 + e^{−m}), between the bounds a and b.
    class Logit : public Transform
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Lower bound", lower_, "of the coefficient, in its unit.");
        prm.add_parameter("Upper bound", upper_, "of the coefficient, in its unit.");
      }

      void check(const std::string &section) const override
      {
        if (!(lower_ < upper_))
          throw UserError(section + "/Upper bound: has to be larger than the lower bound " + std::to_string(lower_) +
                          ", but is " + std::to_string(upper_) + ".");
      }

      double derivative(unsigned int order, double m) const override
      {
        const double s = 1. / (1. + std::exp(-m)), range = upper_ - lower_;
        switch (order)
        {
        case 0:
          return lower_ + range * s;
        case 1:
          return range * s * (1. - s);
        case 2:
          return range * s * (1. - s) * (1. - 2. * s);
        default:
          return range * s * (1. - s) * (1. - 6. * s + 6. * s * s);
        }
      }

      double inverse(double k) const override
      {
        const double s = (k - lower_) / (upper_ - lower_);
        return s > 0. && s < 1. ? std::log(s / (1. - s)) : std::numeric_limits<double>::quiet_NaN();
      }

    private:
      double lower_ = 0., upper_ = 1.;
    };

    const Registration<Transform, Identity> identity("identity", "The coefficient is the field itself.");
    const Registration<Transform, Exponential> exponential("exp", "The coefficient is exp(m): positive.");
    const Registration<Transform, Logit> logit("logit", "The coefficient lies between a lower and an upper bound.");
  } // namespace
} // namespace varfield
