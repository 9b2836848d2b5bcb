#ifndef varfield_response_surface_h
#define varfield_response_surface_h

#include <functional>
#include <varfield/vectors.h>
#include <vector>

namespace varfield
{
  /// A smooth function of a few variables, known at some points with small errors: a quadratic, fitted to the points by
  /// least squares, and a Gaussian process of unit length scales for what it leaves (Rasmussen, Williams 2006, Gaussian
  /// Processes for Machine Learning, sec. 2.7). Local: every rank makes the same one.
  class ResponseSurface
  {
  public:
    /// `points`: one column for each point, at least as many as the quadratic has coefficients. `noise`: standard
    /// deviation of the errors of the values.
    ResponseSurface(const Matrix &points, const Vector &values, double noise);
    double operator()(const Vector &x) const;
    /// Coefficients that a quadratic of `dim` variables has.
    static Index n_coefficients(Index dim) { return (dim + 1) * (dim + 2) / 2; }

  private:
    double kernel(const Vector &x, const Vector &y) const;

    Matrix points_;
    Vector coefficients_, weights_;
    double variance_ = 0.;
  };

  /// Points around a peak of unit width, for a quadratic and what it leaves: the peak, points on the axes, and the
  /// corners of a fractional factorial design of resolution V, all of them up to 4 variables (Sanchez, Sanchez 2005,
  /// ACM Transactions on Modeling and Computer Simulation 15, table 2): a central composite design as in Rue, Martino,
  /// Chopin (2009), sec. 6.5. At most 8 variables.
  std::vector<Vector> central_composite_design(Index dim);

  /// Integrals over the box [−4, 4]^dim of what is large near its middle: Σₖ weights[k] f(points.col(k)). The points
  /// are an additive recurrence with the powers of the generalised golden ratio, transformed to a normal density of
  /// standard deviation 1.5 inside of the box.
  struct Cubature
  {
    explicit Cubature(Index dim);
    Matrix points; ///< dim × number
    Vector weights;
  };

  /// A value of the function with the quadratic around it.
  struct Peak
  {
    Vector x;
    Matrix precision; ///< −∂²/∂x² there, positive definite
  };

  /// The maximum of a function of a few variables that is dear to evaluate and known up to errors of a few tenths:
  /// quadratic models over points around the best one so far, at a distance of `spacing` at first and of the width of
  /// the peak later, steps to their maxima of at most `reach` in each variable, until a step is small against the width
  /// of the peak. No point is evaluated twice; `evaluate` is to keep what it finds.
  Peak find_peak(const std::function<double(const Vector &)> &evaluate, const Vector &start, double spacing,
                 double reach, unsigned int max_rounds);
} // namespace varfield

#endif
