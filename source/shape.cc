#include <cmath>
#include <varfield/shape.h>

namespace varfield
{
  namespace
  {
    /// Trapezoidal rule for averages over w ~ N(0, 1), which converges exponentially.
    template <typename Function>
    void for_each_normal_node(const Function &function)
    {
      constexpr int n      = 160;
      constexpr double end = 8.;
      for (int i = 0; i <= n; ++i)
      {
        const double w = -end + 2. * end * i / n;
        function(w, 2. * end / n * std::exp(-0.5 * w * w) / std::sqrt(2. * M_PI));
      }
    }
  } // namespace

  SinhArcsinh::SinhArcsinh(double epsilon, double eta) : epsilon_(epsilon), eta_(eta)
  {
    double square = 0., slope = 0.;
    Eigen::Vector2d product_derivatives = Eigen::Vector2d::Zero();
    for_each_normal_node(
        [&](double w, double weight)
        {
          const double v = angle(w), s = std::sinh(v);
          const Eigen::Vector2d of_s(std::cosh(v) * std::exp(-eta_), -std::cosh(v) * v);
          mean_ += weight * s;
          square += weight * s * s;
          mean_derivatives_ += weight * of_s;
          product_derivatives += weight * s * of_s;
          slope += weight * log_slope(w);
        });
    deviation_                 = std::sqrt(square - mean_ * mean_);
    mean_log_slope_            = slope - std::log(deviation_);
    log_deviation_derivatives_ = (product_derivatives - mean_ * mean_derivatives_) / (deviation_ * deviation_);
  }

  double SinhArcsinh::angle(double w) const
  {
    return std::exp(-eta_) * (std::asinh(w) + epsilon_);
  }

  double SinhArcsinh::operator()(double w) const
  {
    return (std::sinh(angle(w)) - mean_) / deviation_;
  }

  double SinhArcsinh::inverse(double t) const
  {
    return std::sinh(std::exp(eta_) * std::asinh(mean_ + deviation_ * t) - epsilon_);
  }

  double SinhArcsinh::log_slope(double w) const
  {
    return std::log(std::cosh(angle(w))) - eta_ - 0.5 * std::log1p(w * w) - std::log(deviation_);
  }

  Eigen::Vector2d SinhArcsinh::derivatives(double w) const
  {
    const double v = angle(w);
    const Eigen::Vector2d of_s(std::cosh(v) * std::exp(-eta_), -std::cosh(v) * v);
    return (of_s - mean_derivatives_) / deviation_ - (*this)(w)*log_deviation_derivatives_;
  }

  Eigen::Vector2d SinhArcsinh::log_slope_derivatives(double w) const
  {
    const double v = angle(w);
    return Eigen::Vector2d(std::tanh(v) * std::exp(-eta_), -std::tanh(v) * v - 1.) - log_deviation_derivatives_;
  }

  Vector Shape::apply(const Vector &w) const
  {
    Vector change = directions.transpose() * w;
    for (Index k = 0; k < change.size(); ++k)
      change[k] = marginals[static_cast<std::size_t>(k)](change[k]) - change[k];
    return w + directions * change;
  }

  Vector Shape::inverse(const Vector &u) const
  {
    Vector change = directions.transpose() * u;
    for (Index k = 0; k < change.size(); ++k)
      change[k] = marginals[static_cast<std::size_t>(k)].inverse(change[k]) - change[k];
    return u + directions * change;
  }

  double Shape::log_det(const Vector &w) const
  {
    const Vector along = directions.transpose() * w;
    double sum         = 0.;
    for (Index k = 0; k < along.size(); ++k)
      sum += marginals[static_cast<std::size_t>(k)].log_slope(along[k]);
    return sum;
  }

  double Shape::mean_log_det() const
  {
    double sum = 0.;
    for (const SinhArcsinh &marginal : marginals)
      sum += marginal.mean_log_slope();
    return sum;
  }
} // namespace varfield
