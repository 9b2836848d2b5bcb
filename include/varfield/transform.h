#ifndef varfield_transform_h
#define varfield_transform_h

#include <type_traits>
#include <varfield/registry.h>
#include <vector>

namespace varfield
{
  /// Maps the unbounded Gaussian field m to the physical coefficient k = T(m).
  class Transform
  {
  public:
    virtual ~Transform() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// Throws UserError; `section` is where the parameters of this transform stand.
    virtual void check(const std::string & /*section*/) const {}

    /// The derivative of T of the given order at m, orders 0 to 3.
    virtual double derivative(unsigned int order, double m) const = 0;
    /// T⁻¹(k); not a number where k is out of the range of T.
    virtual double inverse(double k) const = 0;
    /// Values of m, ascending, between which the coefficient is in one phase; none where there are no phases.
    virtual std::vector<double> thresholds() const { return {}; }
    /// Whether k = m: then the coefficient is not written a second time.
    virtual bool is_identity() const { return false; }
  };

  /// The derivative of T of the given order at a number that may itself carry (nested) Sacado derivatives.
  template <typename Number>
  Number compose(const Transform &transform, const Number &m, unsigned int order = 0)
  {
    if constexpr (std::is_arithmetic_v<Number>)
      return transform.derivative(order, m);
    else
    {
      Number result = m;
      result.val()  = compose(transform, m.val(), order);
      if (m.hasFastAccess())
      {
        const auto slope = compose(transform, m.val(), order + 1);
        for (int i = 0; i < m.size(); ++i)
          result.fastAccessDx(i) = slope * m.fastAccessDx(i);
      }
      return result;
    }
  }
} // namespace varfield

#endif
