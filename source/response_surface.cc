#include <boost/math/special_functions/erf.hpp>

#include <bitset>
#include <cmath>
#include <varfield/response_surface.h>

namespace varfield
{
  namespace
  {
    /// 1, xᵢ, xᵢxⱼ with i ≤ j.
    Vector monomials(const Vector &x)
    {
      Vector result(ResponseSurface::n_coefficients(x.size()));
      Index k     = 0;
      result[k++] = 1.;
      for (Index i = 0; i < x.size(); ++i)
        result[k++] = x[i];
      for (Index i = 0; i < x.size(); ++i)
        for (Index j = i; j < x.size(); ++j)
          result[k++] = x[i] * x[j];
      return result;
    }

    /// Weighted least squares.
    Vector fit_quadratic(const Matrix &points, const Vector &values, const Vector &weights)
    {
      Matrix design(points.cols(), ResponseSurface::n_coefficients(points.rows()));
      for (Index k = 0; k < points.cols(); ++k)
        design.row(k) = weights[k] * monomials(points.col(k)).transpose();
      return design.colPivHouseholderQr().solve(weights.cwiseProduct(values));
    }

    /// Gradient at zero and Hessian of a quadratic.
    std::pair<Vector, Matrix> derivatives(const Vector &coefficients, Index dim)
    {
      const Vector gradient = coefficients.segment(1, dim);
      Matrix hessian(dim, dim);
      Index k = 1 + dim;
      for (Index i = 0; i < dim; ++i)
        for (Index j = i; j < dim; ++j, ++k)
          hessian(i, j) = hessian(j, i) = coefficients[k] * (i == j ? 2. : 1.);
      return {gradient, hessian};
    }

    /// −hessian with eigenvalues of at least `least`.
    Matrix positive_part(const Matrix &hessian, double least)
    {
      const Eigen::SelfAdjointEigenSolver<Matrix> eigen(-hessian);
      return eigen.eigenvectors() * eigen.eigenvalues().cwiseMax(least).asDiagonal() * eigen.eigenvectors().transpose();
    }
  } // namespace

  ResponseSurface::ResponseSurface(const Matrix &points, const Vector &values, double noise)
      : points_(points), coefficients_(fit_quadratic(points, values, Vector::Ones(values.size())))
  {
    Vector rest(values.size());
    for (Index k = 0; k < rest.size(); ++k)
      rest[k] = values[k] - coefficients_.dot(monomials(points.col(k)));
    const double degrees = std::max<double>(1., static_cast<double>(rest.size() - coefficients_.size()));
    variance_            = std::max(rest.squaredNorm() / degrees, 1e-12);
    Matrix covariance(rest.size(), rest.size());
    for (Index i = 0; i < rest.size(); ++i)
      for (Index j = 0; j < rest.size(); ++j)
        covariance(i, j) = kernel(points.col(i), points.col(j));
    covariance.diagonal().array() += noise * noise + 1e-8 * variance_;
    weights_ = covariance.ldlt().solve(rest);
  }

  double ResponseSurface::kernel(const Vector &x, const Vector &y) const
  {
    constexpr double length = 1.5;
    return variance_ * std::exp(-0.5 * (x - y).squaredNorm() / (length * length));
  }

  double ResponseSurface::operator()(const Vector &x) const
  {
    double value = coefficients_.dot(monomials(x));
    for (Index k = 0; k < points_.cols(); ++k)
      value += weights_[k] * kernel(x, points_.col(k));
    return value;
  }

  std::vector<Vector> central_composite_design(Index dim)
  {
    std::vector<Vector> points{Vector::Zero(dim)};
    if (dim == 1)
    {
      for (double z = 0.7; z < 3.; z += 0.7)
        for (const double side : {-1., 1.})
          points.push_back(Vector::Constant(1, side * z));
      return points;
    }
    for (Index i = 0; i < dim; ++i)
      for (const double z : {-2.6, -1.3, 1.3, 2.6})
        points.push_back(z * Vector::Unit(dim, i));
    // Sign i of a corner is the parity of the bits that it has in common with number i; resolution V.
    static constexpr unsigned int patterns[] = {1, 2, 4, 8, 15, 16, 32, 51};
    static constexpr unsigned int corners[]  = {1, 2, 4, 8, 16, 16, 32, 64, 64};
    const double radius                      = std::max(2.1, 1.05 * std::sqrt(double(dim)));
    for (unsigned int corner = 0; corner < corners[dim]; ++corner)
    {
      Vector x(dim);
      for (Index i = 0; i < dim; ++i)
        x[i] = std::bitset<8>(corner & patterns[i]).count() % 2 == 0 ? 1. : -1.;
      points.push_back(radius / std::sqrt(double(dim)) * x);
    }
    return points;
  }

  Cubature::Cubature(Index dim)
  {
    constexpr double width = 1.5, limit = 4.;
    const Index n = dim == 1 ? 5000 : 20000;
    double ratio  = 1.5; // x^(dim + 1) = x + 1
    for (int i = 0; i < 100; ++i)
      ratio = std::pow(1. + ratio, 1. / (double(dim) + 1.));
    const double inside = std::erf(limit / (width * M_SQRT2));
    points.resize(dim, n);
    weights = Vector::Constant(n, std::pow(inside * width * std::sqrt(2. * M_PI), double(dim)) / double(n));
    for (Index k = 0; k < n; ++k)
    {
      for (Index i = 0; i < dim; ++i)
      {
        const double place = 0.5 + double(k + 1) * std::pow(ratio, -double(i + 1)), u = place - std::floor(place);
        points(i, k) = width * M_SQRT2 * boost::math::erf_inv(inside * (2. * u - 1.));
      }
      weights[k] *= std::exp(0.5 * points.col(k).squaredNorm() / (width * width));
    }
  }

  Peak find_peak(const std::function<double(const Vector &)> &evaluate, const Vector &start, double spacing,
                 double reach, unsigned int max_rounds)
  {
    const Index dim = start.size();
    std::vector<Vector> points;
    std::vector<double> values;
    const auto add = [&](const Vector &x)
    {
      if (std::any_of(points.begin(), points.end(), [&](const Vector &y) { return (x - y).norm() < 1e-6 * spacing; }))
        return;
      points.push_back(x);
      values.push_back(evaluate(x));
    };
    const auto best = [&]
    { return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin()); };
    add(start);
    Peak result{start, Matrix::Identity(dim, dim)};
    // Steps of the design, one column for each, and distances in these steps.
    Matrix steps = spacing * Matrix::Identity(dim, dim), to_steps = steps.inverse();
    for (unsigned int round = 0; round < max_rounds; ++round)
    {
      const Vector centre = points[best()];
      // Around the centre on both sides of each axis, and one point for each pair of axes.
      for (Index i = 0; i < dim; ++i)
        for (const double side : {-1., 1.})
          add(centre + side * steps.col(i));
      for (Index i = 0; i < dim; ++i)
        for (Index j = i + 1; j < dim; ++j)
          add(centre + ((i + j) % 2 == 0 ? 1. : -1.) * (steps.col(i) + steps.col(j)) / M_SQRT2);
      // Points nearby count, those far below the best hardly.
      const Vector at   = points[best()];
      const double most = values[best()];
      if (!std::isfinite(most))
        return result;
      Matrix local(dim, static_cast<Index>(points.size()));
      Vector weights(local.cols()), heights(local.cols());
      for (Index k = 0; k < local.cols(); ++k)
      {
        local.col(k) = points[static_cast<std::size_t>(k)] - at;
        heights[k]   = values[static_cast<std::size_t>(k)];
        weights[k] =
            std::exp(-0.25 * (to_steps * local.col(k)).squaredNorm() / dim) / (1. + std::max(0., most - heights[k]));
        if (!std::isfinite(heights[k]))
        {
          heights[k] = most - 100.;
          weights[k] = 1e-6;
        }
      }
      const auto [gradient, hessian] = derivatives(fit_quadratic(local, heights, weights), dim);
      result.precision               = positive_part(hessian, 0.05);
      Vector step                    = result.precision.ldlt().solve(gradient);
      const double size              = step.cwiseAbs().maxCoeff();
      if (size > reach)
        step *= reach / size;
      result.x           = at + step;
      const double width = std::sqrt(step.dot(result.precision * step));
      add(result.x);
      if (width < 0.5 && size <= reach)
        return result;
      // From now on steps of about the width of the peak: shorter ones would drown in the errors of the values.
      steps = result.precision.llt().matrixU().solve(Matrix::Identity(dim, dim));
      for (Index i = 0; i < dim; ++i)
        steps.col(i) *= std::min(1., reach / steps.col(i).norm());
      to_steps = steps.inverse();
    }
    result.x = points[best()];
    return result;
  }
} // namespace varfield
