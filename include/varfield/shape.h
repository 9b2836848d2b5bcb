#ifndef varfield_shape_h
#define varfield_shape_h

#include <varfield/vectors.h>

namespace varfield
{
  /// t(w) of a standard normal w with mean 0 and variance 1, a sinh–arcsinh transform (Jones, Pewsey 2009, Biometrika
  /// 96, eq. 2): t = (S − μ)/σ, S(w) = sinh(v), v = exp(−η) (arsinh w + ε). ε skews, η thins the tails.
  class SinhArcsinh
  {
  public:
    explicit SinhArcsinh(double epsilon = 0., double eta = 0.);

    /// ε and η.
    Eigen::Vector2d parameters() const { return {epsilon_, eta_}; }
    double operator()(double w) const;
    double inverse(double t) const;
    /// log t'(w).
    double log_slope(double w) const;
    /// ∂/∂ε and ∂/∂η of t and of log t' at w.
    Eigen::Vector2d derivatives(double w) const;
    Eigen::Vector2d log_slope_derivatives(double w) const;
    double mean_log_slope() const { return mean_log_slope_; }

  private:
    double angle(double w) const;

    double epsilon_, eta_, mean_ = 0., deviation_ = 1., mean_log_slope_ = 0.;
    Eigen::Vector2d mean_derivatives_ = Eigen::Vector2d::Zero(), log_deviation_derivatives_ = Eigen::Vector2d::Zero();
  };

  /// A distribution of r numbers with mean 0 and covariance I, made from w ~ N(0, I): along K orthonormal directions Q
  /// the marginals are t, u = w + Q (t(Qᵀw) − Qᵀw). Every rank holds all of it.
  struct Shape
  {
    Vector apply(const Vector &w) const;
    /// w of u.
    Vector inverse(const Vector &u) const;
    /// log |det ∂u/∂w|, and its mean.
    double log_det(const Vector &w) const;
    double mean_log_det() const;

    Matrix directions; ///< Q, r × K
    std::vector<SinhArcsinh> marginals;
  };
} // namespace varfield

#endif
