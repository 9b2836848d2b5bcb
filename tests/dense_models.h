#ifndef varfield_tests_dense_models_h
#define varfield_tests_dense_models_h

#include "tests_config.h"

#include <cmath>
#include <fstream>
#include <functional>
#include <sstream>
#include <varfield/map.h>
#include <varfield/optimizer.h>

namespace varfield::tests
{
  /// n keys dealt out in blocks over the ranks of comm, as a mesh would; ranks may be left without any.
  inline Layout block_layout(MPI_Comm comm, Index n)
  {
    int rank = 0, n_ranks = 1;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n_ranks);
    std::vector<std::uint64_t> keys;
    for (Index i = n * rank / n_ranks; i < n * (rank + 1) / n_ranks; ++i)
      keys.push_back(static_cast<std::uint64_t>(i));
    return Layout(comm, std::move(keys));
  }

  inline MultiVector local_rows(const Layout &layout, const Matrix &x)
  {
    return x.middleRows(layout.offset(), layout.n_local());
  }

  /// A random matrix that is the same on every rank: n rows of standard normal numbers.
  inline Matrix random_matrix(Index n, Index n_columns, std::uint64_t seed)
  {
    const Layout alone = block_layout(MPI_COMM_SELF, n);
    Matrix result(n, n_columns);
    for (Index j = 0; j < n_columns; ++j)
      result.col(j) = standard_normal(alone, {seed, Stream::verification, static_cast<std::uint32_t>(j), 1.});
    return result;
  }

  /// Runs a test body with one group, and with two where the number of ranks is even.
  inline void for_each_split(const std::function<void(const SampleGroups &)> &body)
  {
    int n_ranks = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    for (const unsigned int n_groups : {1u, 2u})
      if (n_ranks % static_cast<int>(n_groups) == 0)
        body(SampleGroups(MPI_COMM_WORLD, n_groups));
  }

  /// N(0, C) with C = L Lᵀ for any given n × k factor L, rows dealt out over the ranks.
  class FactorPrior : public GaussianPrior
  {
  public:
    FactorPrior(MPI_Comm comm, const Matrix &factor)
        : l(factor),
          c(factor * factor.transpose()),
          p(c.llt().solve(Matrix::Identity(c.rows(), c.rows()))),
          layout_(block_layout(comm, factor.rows())),
          noise_layout_(block_layout(comm, factor.cols()))
    {
    }

    const Layout &layout() const override { return layout_; }
    const Layout &noise_layout() const override { return noise_layout_; }
    bool has_square_factor() const override { return l.rows() == l.cols(); }
    MultiVector apply_factor(const MultiVector &xi, double = 0.) const override
    {
      return apply(l, noise_layout_, layout_, xi);
    }
    MultiVector apply_factor_transpose(const MultiVector &dual) const override
    {
      return apply(l.transpose(), layout_, noise_layout_, dual);
    }
    MultiVector covariance(const MultiVector &dual) const override { return apply(c, layout_, layout_, dual); }
    MultiVector precision(const MultiVector &primal) const override { return apply(p, layout_, layout_, primal); }
    double log_determinant() const override { return 2. * c.llt().matrixLLT().diagonal().array().log().sum(); }
    Vector precision_diagonal() const override { return local_rows(layout_, p.diagonal()); }
    MultiVector leading_modes(unsigned int n) const override
    {
      const Eigen::SelfAdjointEigenSolver<Matrix> eigen(c);
      const Matrix modes = eigen.eigenvectors() * eigen.eigenvalues().cwiseSqrt().asDiagonal();
      return local_rows(layout_, modes.rowwise().reverse()).leftCols(std::min<Index>(n, c.rows()));
    }

    const Matrix l, c, p; ///< L, C, C⁻¹, whole

  private:
    static MultiVector apply(const Matrix &a, const Layout &from, const Layout &to, const MultiVector &x)
    {
      return local_rows(to, a * from.gather(x));
    }
    Layout layout_, noise_layout_;
  };

  /// A covariance matrix with correlations and standard deviations from 0.5 to 1.5, as a lower triangular factor.
  inline Matrix smooth_factor(Index n, double length = 0.2)
  {
    Matrix c(n, n);
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < n; ++j)
      {
        const double x = double(i) / double(n), y = double(j) / double(n);
        c(i, j) = (0.5 + x) * (0.5 + y) * std::exp(-std::abs(x - y) / length);
      }
    return c.llt().matrixL();
  }

  /// What a dense density says at one whole parameter vector.
  struct DenseValues
  {
    double potential = 0.;
    Vector gradient;
    Matrix hessian; ///< any symmetric curvature
  };

  /// A density given by Φ of the whole parameter vector, evaluated on every rank; returns nothing where Φ is not
  /// finite.
  class DenseDensity : public LogDensity
  {
  public:
    using Function = std::function<DenseValues(const Vector &)>;

    DenseDensity(const SampleGroups &groups, const GaussianPrior &prior, Function function)
        : groups_(groups), prior_(prior), function_(std::move(function))
    {
    }

    const GaussianPrior &prior() const override { return prior_; }
    const SampleGroups &groups() const override { return groups_; }
    bool is_quadratic() const override { return quadratic; }
    bool keeps_linearizations(unsigned int) const override { return keeps; }
    std::optional<double> potential(const Vector &m) const override
    {
      ++n_potentials;
      const double result = function_(prior_.layout().gather(m)).potential;
      return std::isfinite(result) ? std::optional<double>(result) : std::nullopt;
    }
    std::unique_ptr<Linearization> linearize(const Vector &m, const Effort & = {}) const override
    {
      ++n_linearizations;
      const DenseValues values = function_(prior_.layout().gather(m));
      if (!std::isfinite(values.potential))
        return nullptr;
      auto result       = std::make_unique<DenseLinearization>();
      result->layout    = &prior_.layout();
      result->hessian   = values.hessian;
      result->potential = values.potential;
      result->gradient  = local_rows(prior_.layout(), values.gradient);
      if (factor.cols() > 0)
        result->factor = MultiVector(local_rows(prior_.layout(), factor));
      return result;
    }

    bool quadratic = false, keeps = true;
    Matrix factor                     = {}; ///< G with hessian = GGᵀ everywhere, if linearisations shall hold it
    mutable unsigned int n_potentials = 0, n_linearizations = 0;

  private:
    struct DenseLinearization : Linearization
    {
      MultiVector apply_curvature(const MultiVector &directions) const override
      {
        return local_rows(*layout, hessian * layout->gather(directions));
      }
      const SharedBlock *curvature_factor() const override { return factor.cols() > 0 ? &factor : nullptr; }
      const Layout *layout;
      Matrix hessian;
      SharedBlock factor;
    };

    const SampleGroups &groups_;
    const GaussianPrior &prior_;
    Function function_;
  };

  /// d = Gm + noise with unit variance: everything about its posterior in closed form.
  struct LinearGaussian
  {
    LinearGaussian(const Matrix &prior_covariance, const Matrix &g, const Vector &d) : c(prior_covariance), g(g), d(d)
    {
      const Matrix data_covariance = Matrix::Identity(d.size(), d.size()) + g * c * g.transpose();
      const Eigen::LLT<Matrix> llt(data_covariance);
      mean         = c * g.transpose() * llt.solve(d);
      covariance   = c - c * g.transpose() * llt.solve(g * c);
      precision    = covariance.llt().solve(Matrix::Identity(c.rows(), c.rows()));
      log_evidence = -0.5 * d.dot(llt.solve(d)) - llt.matrixLLT().diagonal().array().log().sum() -
                     0.5 * double(d.size()) * std::log(2. * M_PI);
    }

    DenseValues operator()(const Vector &m) const
    {
      const Vector r = g * m - d;
      return {0.5 * r.squaredNorm() + 0.5 * double(d.size()) * std::log(2. * M_PI), g.transpose() * r,
              g.transpose() * g};
    }

    Matrix c, g;
    Vector d, mean;
    Matrix covariance, precision;
    double log_evidence = 0.;
  };

  inline LinearGaussian dense_linear_gaussian(const FactorPrior &prior, Index n_data)
  {
    const Matrix g = random_matrix(n_data, prior.c.rows(), 5);
    return LinearGaussian(prior.c, g, Vector(3. * random_matrix(n_data, 1, 6)));
  }

  /// KL(N(mean, covariance) ‖ N(target_mean, P⁻¹)) for dense matrices, P the target's precision.
  inline double dense_kl(const Vector &mean, const Matrix &covariance, const Vector &target_mean,
                         const Matrix &precision)
  {
    const Vector shift   = mean - target_mean;
    const double log_det = 2. * covariance.llt().matrixLLT().diagonal().array().log().sum() +
                           2. * precision.llt().matrixLLT().diagonal().array().log().sum();
    return 0.5 * ((precision * covariance).trace() + shift.dot(precision * shift) - double(mean.size()) - log_det);
  }

  using Settings = std::map<std::string, std::string>;

  /// A registered member with the settings of those entries that it has.
  template <typename Base>
  std::unique_ptr<Base> create(const std::string &name, const Settings &settings)
  {
    auto result = Registry<Base>::members().at(name).create();
    dealii::ParameterHandler prm;
    result->add_parameters(prm);
    std::ostringstream entries;
    prm.print_parameters(entries, dealii::ParameterHandler::ShortText);
    for (const auto &[key, value] : settings)
      if (entries.str().find("set " + key + " ") != std::string::npos)
        prm.set(key, value);
    return result;
  }

  /// The covariance matrix of a family, whole.
  inline Matrix covariance_matrix(const Family &family)
  {
    const Layout &layout = family.prior().layout();
    return layout.gather(family.covariance(layout.identity()));
  }

  /// Numbers of a CSV file with one line of names, in columns by name; texts read as 0.
  inline std::map<std::string, std::vector<double>> read_columns(const std::string &file)
  {
    std::ifstream in(std::string(VARFIELD_SOURCE_DIR) + "/tests/reference/" + file);
    if (!in)
      throw std::runtime_error("cannot read " + file);
    std::map<std::string, std::vector<double>> columns;
    std::vector<std::string> names;
    for (std::string line; std::getline(in, line);)
    {
      std::istringstream cells(line);
      std::string cell;
      for (std::size_t j = 0; std::getline(cells, cell, ','); ++j)
        if (columns.size() < j + 1 || names.size() < j + 1)
        {
          names.push_back(cell);
          columns[cell];
        }
        else
          columns[names[j]].push_back(std::strtod(cell.c_str(), nullptr));
    }
    return columns;
  }

  inline double relative_difference(const Matrix &a, const Matrix &b)
  {
    return (a - b).norm() / (b.norm() + 1e-300);
  }
} // namespace varfield::tests

#endif
