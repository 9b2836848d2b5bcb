#ifndef varfield_noise_h
#define varfield_noise_h

#include <Eigen/SparseCore>
#include <varfield/registry.h>
#include <varfield/scores.h>
#include <varfield/table.h>

namespace varfield
{
  /// Gradient and curvature of −log p with respect to the residuals, by a square root of the curvature.
  struct NoiseRoot
  {
    Eigen::SparseMatrix<double> root; ///< R, rows × rows in use: the curvature is RRᵀ, or close to it
    Vector residuals;                 ///< y, with the gradient R y
  };

  /// The density of the measurement errors of one data set: p(d | predictions) as a function of the residuals r = F(m)
  /// − d. Every rank holds all residuals; nothing but read() is collective.
  class Noise
  {
  public:
    virtual ~Noise()                                           = default;
    virtual void add_parameters(dealii::ParameterHandler &prm) = 0;
    /// Reads the files that its parameters name. Collective; UserError that begins with `section`, which names the
    /// parameters.
    virtual void read(MPI_Comm, const std::string & /*section*/) {}
    /// Reads what it needs of the rows of the measurement file. UserError naming the line.
    virtual void initialize(const Table &table, const Vector &values, const std::string &section) = 0;
    /// The rows in use: what follows is of these alone. To be called after initialize().
    virtual void use(const std::vector<bool> &used);

    /// −log p, all constants included. `residuals` are of all rows.
    virtual double potential(const Vector &residuals) const = 0;
    virtual NoiseRoot root(const Vector &residuals) const   = 0;
    /// ∂/∂r of −log p.
    Vector gradient(const Vector &residuals) const;
    /// Standard deviation of the error of every row; of heavy-tailed noise the scale s of mixture().
    virtual const Vector &standard_deviations() const = 0;
    /// An error of every row from standard normal numbers: for synthetic data.
    virtual Vector sample(const Vector &standard_normal) const = 0;
    /// Whether −log p is quadratic in the residuals.
    virtual bool is_gaussian() const { return true; }
    /// Whether the errors of the rows are independent.
    virtual bool is_independent() const { return true; }
    /// The error of a row is a mixture of N(0, (deviation · s)²).
    virtual NormalMixture mixture() const { return {Vector::Ones(1), Vector::Ones(1)}; }
    /// What a row with this residual counts for, compared with one that fits: E[1/deviation² | r] in mixture().
    virtual double weight(Index /*row*/, double /*residual*/) const { return 1.; }

    /// Variance of −r ∂log p/∂r of one error r, whose mean is 1.
    virtual double square_variance() const { return 2.; }

  protected:
    /// A root that is diagonal, from curvatures w > 0 of all rows and the gradient.
    NoiseRoot diagonal_root(const Vector &weights, const Vector &gradient) const;

    std::vector<Index> rows_; ///< in use
  };

  /// What independent errors share: standard deviations with σᵢ² = aᵢ² + (b dᵢ)² + (c eᵢ)², aᵢ from the parameter, the
  /// group or the column “std”, b relative, eᵢ the difference of a reference measurement from its prediction.
  class ScaledNoise : public Noise
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm) override;
    void initialize(const Table &table, const Vector &values, const std::string &section) override;
    const Vector &standard_deviations() const override { return deviations_; }

  protected:
    Vector deviations_;

  private:
    Vector base(const Table &table, const std::string &section) const;
    void apply_groups(const Table &table, const std::string &section, Vector &absolute) const;

    double absolute_ = 0., relative_ = 0., to_reference_ = 0.;
    std::string groups_;
  };
} // namespace varfield

#endif
