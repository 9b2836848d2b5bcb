#ifndef varfield_response_surface_h
#define varfield_response_surface_h

#include <functional>
#include <varfield/vectors.h>

namespace varfield
{
  /// A log-likelihood of a few variables, known at some points up to errors, by a Gaussian process (Rasmussen, Williams
  /// 2006, Gaussian Processes for Machine Learning, alg. 2.1) for w(y) = −s log(1 + (top − y)/s), top the largest
  /// value: near the top y − top, and far below it pressed together, so that a range of thousands leaves the top
  /// resolved and still shows the way there. Its mean is a constant `below` the top, its kernel squared exponential;
  /// amplitude and one length for each variable maximise the marginal likelihood times a wide prior of the lengths, by
  /// steps from one to the next of a grid. Local: every rank makes the same one.
  class ResponseSurface
  {
  public:
    /// `points`: one column for each, in units in which the interesting part is about one wide. `errors`: standard
    /// deviations of the errors of the values.
    ResponseSurface(const Matrix &points, const Vector &values, const Vector &errors, double below = 12.);
    /// At the columns of x.
    Vector operator()(const Matrix &x) const;
    struct Prediction
    {
      Vector mean, variance;
    };
    Prediction predict(const Matrix &x) const;

  private:
    /// Factorises the covariance of the values; the log of what is maximised.
    double factorise(const Vector &settings);
    Matrix covariance_with(const Matrix &x) const;

    Matrix points_;
    std::vector<Matrix> squares_; ///< of the differences between points, for each variable
    double top_ = 0., below_ = 0.;
    Vector warped_, error_variance_;
    Vector settings_; ///< logarithms of the lengths and of the amplitude
    Eigen::LLT<Matrix> llt_;
    Vector weights_;
  };

  /// The first `n` standard normal points of an additive recurrence with the powers of the generalised golden ratio
  /// (Roberts 2018, The unreasonable effectiveness of quasirandom sequences): dim × n.
  Matrix normal_points(Index dim, Index n);

  /// Σ log φ(uᵢ) of a standard normal density, for each column.
  Vector log_normal_density(const Matrix &u);

  /// What is likely a posteriori: points with masses, and their mean and covariance.
  struct Population
  {
    Matrix points;      ///< dim × number
    Vector mass;        ///< sum 1
    Vector log_density; ///< φ(u) exp(log_likelihood(u)) at the points
    double log_integral = 0.;
    Vector mean;
    Matrix root; ///< lower triangular, root rootᵀ is the covariance
    /// Coordinates in which mean and covariance are 0 and I.
    Matrix to_unit(const Matrix &u) const { return root.triangularView<Eigen::Lower>().solve(u.colwise() - mean); }
  };

  /// The population of the posterior φ(u) exp(log_likelihood(u)) by importance sampling (Cappé, Guillin, Marin, Robert
  /// 2004, Journal of Computational and Graphical Statistics 13: population Monte Carlo): one half of `n` points is
  /// drawn from the prior φ, one from a Gaussian with the moments of the population before; as long as few points would
  /// have all the mass, with a power of it. `from`: the population to begin with.
  Population populate(const std::function<Vector(const Matrix &)> &log_likelihood, const Population &from, Index n);

  /// That of the prior, without points.
  Population prior_population(Index dim);
} // namespace varfield

#endif
