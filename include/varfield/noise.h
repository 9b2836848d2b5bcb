#ifndef varfield_noise_h
#define varfield_noise_h

#include <varfield/registry.h>
#include <varfield/table.h>
#include <varfield/vectors.h>

namespace varfield
{
  /// The density of measurement errors of one data set: p(d | predictions) as a function of the residuals r = F(m) − d.
  /// Every rank holds all residuals; nothing is collective.
  class Noise
  {
  public:
    virtual ~Noise()                                           = default;
    virtual void add_parameters(dealii::ParameterHandler &prm) = 0;
    /// Reads what it needs of the rows `rows` of the measurement file. UserError naming the line; `section` names the
    /// parameters.
    virtual void initialize(const Table &table, const Vector &values, const std::string &section) = 0;

    /// −log p, all constants included, summed over the residuals of the rows that are `used`.
    virtual double potential(const Vector &residuals, const std::vector<bool> &used) const = 0;
    /// ∂/∂r of −log p, zero where not used.
    virtual Vector gradient(const Vector &residuals, const std::vector<bool> &used) const = 0;
    /// Gauss–Newton weights w ≥ 0: the curvature of −log p is approximated by diag(w); zero where not used.
    virtual Vector weights(const Vector &residuals, const std::vector<bool> &used) const = 0;
    /// Standard deviation of the error of every row.
    virtual const Vector &standard_deviations() const = 0;
    /// An error of every row from standard normal numbers: for synthetic data.
    virtual Vector sample(const Vector &standard_normal) const = 0;
    /// Whether −log p is quadratic in the residuals.
    virtual bool is_gaussian() const = 0;
  };
} // namespace varfield

#endif
