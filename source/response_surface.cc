#include <cmath>
#include <limits>
#include <varfield/normal_distribution.h>
#include <varfield/response_surface.h>

namespace varfield
{
  namespace
  {
    constexpr double press      = 10.;  // s, in nat
    constexpr double least_part = 1e-7; // of the amplitude's square, added to the diagonal

    double warp(double y, double top)
    {
      return -press * std::log1p((top - y) / press);
    }

    /// ∂y/∂w and y(w) are exponentials, which are not to overflow.
    double stretch(double w)
    {
      return std::exp(std::min(-w / press, 50.));
    }

    double unwarp(double w, double top)
    {
      return top - press * std::expm1(std::min(-w / press, 50.));
    }

    struct Range
    {
      double least, most;
    };

    double log_sum(double a, double b)
    {
      const double most = std::max(a, b);
      return most + std::log(std::exp(a - most) + std::exp(b - most));
    }

    /// (Σw)²/Σw² of the weights exp(power · log_weights).
    double effective_size(const Vector &log_weights, double power)
    {
      const Vector w = (power * log_weights).array().exp();
      return w.sum() * w.sum() / w.squaredNorm();
    }

    /// The largest power ≤ 1 with which this many count.
    double power_with(const Vector &log_weights, double wanted)
    {
      if (effective_size(log_weights, 1.) >= wanted)
        return 1.;
      double low = 0., high = 1.;
      for (int i = 0; i < 30; ++i)
      {
        const double middle                                         = 0.5 * (low + high);
        (effective_size(log_weights, middle) < wanted ? high : low) = middle;
      }
      return low;
    }
  } // namespace

  ResponseSurface::ResponseSurface(const Matrix &points, const Vector &values, const Vector &errors, double below)
      : points_(points), top_(values.maxCoeff()), below_(below)
  {
    const Index n = points.cols(), dim = points.rows();
    warped_.resize(n);
    error_variance_.resize(n);
    for (Index k = 0; k < n; ++k)
    {
      warped_[k]         = warp(values[k], top_);
      error_variance_[k] = std::pow(errors[k] / stretch(warped_[k]), 2) + 1e-10;
    }
    for (Index i = 0; i < dim; ++i)
      squares_.push_back((points.row(i).replicate(n, 1).transpose() - points.row(i).replicate(n, 1)).cwiseAbs2());

    constexpr Range lengths{0.02, 12.}, amplitudes{0.3, 300.};
    const double step = std::log(1.5);
    Vector settings   = Vector::Zero(dim + 1);
    settings[dim]     = std::log(10.);
    double best       = factorise(settings);
    bool moved        = true;
    for (int round = 0; round < 30 && moved; ++round)
    {
      moved = false;
      for (Index i = 0; i <= dim; ++i)
        for (const double change : {step, -step})
        {
          Vector other = settings;
          other[i] += change;
          const Range &range = i < dim ? lengths : amplitudes;
          if (std::exp(other[i]) < range.least || std::exp(other[i]) > range.most)
            continue;
          const double value = factorise(other);
          if (value > best + 1e-9)
          {
            best     = value;
            settings = other;
            moved    = true;
            break;
          }
        }
    }
    factorise(settings);
    weights_ = llt_.solve((warped_.array() + below_).matrix());
  }

  double ResponseSurface::factorise(const Vector &settings)
  {
    settings_     = settings;
    const Index n = points_.cols(), dim = points_.rows();
    const double variance = std::exp(2. * settings[dim]);
    Matrix covariance     = Matrix::Zero(n, n);
    for (Index i = 0; i < dim; ++i)
      covariance -= 0.5 * std::exp(-2. * settings[i]) * squares_[static_cast<std::size_t>(i)];
    covariance = variance * covariance.array().exp();
    covariance.diagonal() += error_variance_;
    covariance.diagonal().array() += least_part * variance;
    llt_.compute(covariance);
    if (llt_.info() != Eigen::Success)
      return -std::numeric_limits<double>::infinity();
    // Lengths are lognormal around 1.5, by a factor of exp(1.5).
    const Vector rest = llt_.matrixL().solve((warped_.array() + below_).matrix());
    return -0.5 * rest.squaredNorm() - llt_.matrixLLT().diagonal().array().log().sum() -
           0.5 * (settings.head(dim).array() - std::log(1.5)).square().sum() / (1.5 * 1.5);
  }

  /// Points of the surface × columns of x.
  Matrix ResponseSurface::covariance_with(const Matrix &x) const
  {
    const Index dim     = points_.rows();
    const Vector scales = (-settings_.head(dim)).array().exp();
    const Matrix a = scales.asDiagonal() * points_, b = scales.asDiagonal() * x;
    Matrix result = a.transpose() * b;
    result.colwise() -= 0.5 * a.colwise().squaredNorm().transpose();
    result.rowwise() -= 0.5 * b.colwise().squaredNorm();
    return std::exp(2. * settings_[dim]) * result.array().exp();
  }

  Vector ResponseSurface::operator()(const Matrix &x) const
  {
    Vector values = (covariance_with(x).transpose() * weights_).array() - below_;
    for (double &value : values)
      value = unwarp(value, top_);
    return values;
  }

  ResponseSurface::Prediction ResponseSurface::predict(const Matrix &x) const
  {
    const Matrix covariance = covariance_with(x);
    Prediction result{(covariance.transpose() * weights_).array() - below_, {}};
    const Matrix known = llt_.matrixL().solve(covariance);
    result.variance =
        (std::exp(2. * settings_[points_.rows()]) - known.colwise().squaredNorm().array()).cwiseMax(0.).transpose();
    for (Index k = 0; k < x.cols(); ++k)
    {
      result.variance[k] *= std::pow(stretch(result.mean[k]), 2);
      result.mean[k] = unwarp(result.mean[k], top_);
    }
    return result;
  }

  Matrix normal_points(Index dim, Index n)
  {
    double ratio = 1.5; // x^(dim + 1) = x + 1
    for (int i = 0; i < 100; ++i)
      ratio = std::pow(1. + ratio, 1. / (double(dim) + 1.));
    Matrix points(dim, n);
    for (Index k = 0; k < n; ++k)
      for (Index i = 0; i < dim; ++i)
      {
        const double place = 0.5 + double(k + 1) * std::pow(ratio, -double(i + 1)), u = place - std::floor(place);
        points(i, k) = normal_quantile(std::clamp(u, 1e-7, 1. - 1e-7));
      }
    return points;
  }

  Vector log_normal_density(const Matrix &u)
  {
    return -0.5 * u.colwise().squaredNorm().transpose().array() - 0.5 * double(u.rows()) * std::log(2. * M_PI);
  }

  Population prior_population(Index dim)
  {
    Population result;
    result.mean = Vector::Zero(dim);
    result.root = Matrix::Identity(dim, dim);
    return result;
  }

  Population populate(const std::function<Vector(const Matrix &)> &log_likelihood, const Population &from, Index n)
  {
    constexpr double wider = 1.3; // than the population before
    constexpr int rounds   = 30;
    const Index dim        = from.mean.size();
    const Matrix z         = normal_points(dim, n);
    const double wanted    = std::max(0.05 * double(n), 20. * double(dim));
    Population result      = from;
    for (int round = 0; round < rounds; ++round)
    {
      const Population before        = result;
      result.points                  = z;
      result.points.rightCols(n / 2) = (wider * before.root * z.rightCols(n / 2)).colwise() + before.mean;
      const Vector prior             = log_normal_density(result.points);
      const Vector near              = log_normal_density(before.to_unit(result.points) / wider).array() -
                          before.root.diagonal().array().log().sum() - double(dim) * std::log(wider);
      result.log_density = log_likelihood(result.points) + prior;
      Vector log_weights = result.log_density;
      for (Index k = 0; k < n; ++k)
        log_weights[k] -= log_sum(prior[k], near[k]) - M_LN2;
      const double most = log_weights.maxCoeff();
      log_weights.array() -= most;
      const double power  = round + 1 < rounds ? power_with(log_weights, wanted) : 1.;
      result.mass         = (power * log_weights).array().exp();
      result.log_integral = most + std::log(result.mass.mean());
      result.mass /= result.mass.sum();
      result.mean       = result.points * result.mass;
      const Matrix rest = result.points.colwise() - result.mean;
      Matrix covariance = rest * result.mass.asDiagonal() * rest.transpose();
      covariance.diagonal().array() += 1e-10;
      result.root = covariance.llt().matrixL();
      if (power == 1. && result.to_unit(before.mean).cwiseAbs().maxCoeff() < 0.1)
        break;
    }
    return result;
  }
} // namespace varfield
