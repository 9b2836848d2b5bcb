#include <cmath>
#include <numeric>
#include <varfield/exceptions.h>
#include <varfield/family.h>

namespace varfield
{
  namespace
  {
    /// Factor covariance in the white noise x, m = Lx: x = x̄ + Bε + d∘ξ, Σ = D² + BBᵀ with r columns B (Ong, Nott,
    /// Smith 2018). ε are r more random numbers of a draw, after those of ξ. A baseline: D² + BBᵀ widens directions
    /// cheaply, but data narrow them. Σ⁻¹ and log det Σ by the Woodbury identity with K = I + BᵀD⁻²B.
    class Factor : public CopyableFamily<Factor>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Factors", n_factors, "Number of columns of the factor.", dealii::Patterns::Integer(1));
      }

      void check(const GaussianPrior &prior) const override
      {
        if (!prior.has_square_factor())
          throw UserError("Inference/Family: the family “factor” needs as many white noise numbers as unknowns. Set "
                          "“Mass” of the prior to “lumped”, or use the family “low rank”.");
      }

      void initialize(const GaussianPrior &prior, std::uint64_t seed) override
      {
        check(prior);
        prior_        = &prior;
        const Index n = layout().n_local();
        // At B = 0 the gradient by B has mean zero: start beside it.
        parameters_ = Vector::Zero(n * (2 + n_columns()));
        for (Index j = 0; j < n_columns(); ++j)
          parameters_.segment((2 + j) * n, n) =
              0.01 * standard_normal(layout(), {seed, Stream::probing, static_cast<std::uint32_t>(j), 1.});
        set_parameters(parameters_);
      }

      void set_mean(const Vector &mean) override
      {
        Vector parameters              = parameters_;
        center                         = prior().apply_factor_transpose(prior().precision(mean));
        parameters.head(center.size()) = center;
        parameters_                    = parameters;
        mean_                          = mean;
      }

      Draw sample(const DrawKey &key) const override
      {
        const Noise noise  = standard_noise(key);
        const Vector delta = displacement(noise);
        return {prior().apply_factor(Vector(center + delta)), log_ratio_of(delta)};
      }

      double log_ratio(const Vector &m) const override
      {
        return log_ratio_of(prior().apply_factor_transpose(prior().precision(m)) - center);
      }

      double kl() const override
      {
        Vector terms = center.array().square() + d.array().square() - 1.;
        terms += b.rowwise().squaredNorm();
        return 0.5 * (layout().dot(terms, Vector::Ones(terms.size())) - log_det);
      }

      MultiVector covariance(const MultiVector &dual) const override
      {
        const MultiVector g = prior().apply_factor_transpose(dual);
        return prior().apply_factor(d.cwiseAbs2().asDiagonal() * g + product(b, layout().gram(b, g)));
      }

      unsigned int rank() const override { return n_factors; }
      bool has_natural_step() const override { return false; }

      void natural_step(const Curvature &, double) override
      {
        throw UserError("Inference/Family: the family “factor” has no natural step; use the optimizer “stochastic”.");
      }

      CovarianceResidual covariance_residual(const Curvature &) const override { return {}; }

      Vector parameters() const override { return parameters_; }

      void set_parameters(const Vector &parameters) override
      {
        const Index n = layout().n_local();
        parameters_   = parameters;
        center        = parameters.head(n);
        d             = parameters.segment(n, n).array().exp();
        b             = Eigen::Map<const Matrix>(parameters.data() + 2 * n, n, n_columns());
        scaled        = d.cwiseAbs2().cwiseInverse().asDiagonal() * b;
        capacity.compute(Matrix::Identity(n_columns(), n_columns()) + layout().gram(b, scaled));
        log_det = 2. * (layout().dot(parameters.segment(n, n), Vector::Ones(n)) +
                        capacity.matrixLLT().diagonal().array().log().sum());
        mean_   = prior().apply_factor(center);
      }

      Vector path_gradient(const DrawKey &key, const Vector &potential_gradient) const override
      {
        const Index n      = layout().n_local();
        const Noise noise  = standard_noise(key);
        const Vector delta = displacement(noise);
        const Vector gradient =
            precision(delta) - center - delta - Vector(prior().apply_factor_transpose(potential_gradient));
        Vector result(parameters_.size());
        result.head(n)       = gradient;
        result.segment(n, n) = gradient.cwiseProduct(d).cwiseProduct(noise.xi);
        for (Index j = 0; j < n_columns(); ++j)
          result.segment((2 + j) * n, n) = noise.epsilon[j] * gradient;
        return result;
      }

      void keep(Archive &archive) override
      {
        keep_parameters(archive, "η", parameters_);
        set_parameters(Vector(parameters_));
      }

      void keep_parameters(Archive &archive, const std::string &name, Vector &parameters) const override
      {
        MultiVector columns = parameters.reshaped(layout().n_local(), 2 + n_columns());
        archive.columns(name, layout(), columns);
        parameters = columns.reshaped();
      }

    private:
      struct Noise
      {
        Vector xi, epsilon;
      };

      const Layout &layout() const { return prior().noise_layout(); }
      Index n_columns() const { return static_cast<Index>(n_factors); }

      /// The same ε on every rank.
      Noise standard_noise(const DrawKey &key) const
      {
        std::vector<std::uint64_t> keys(n_factors);
        std::iota(keys.begin(), keys.end(), layout().key_bound());
        return {standard_normal(layout(), key), standard_normal(Layout(MPI_COMM_SELF, std::move(keys)), key)};
      }

      Vector displacement(const Noise &noise) const { return product(b, noise.epsilon) + d.cwiseProduct(noise.xi); }

      /// Σ⁻¹ δ
      Vector precision(const Vector &delta) const
      {
        return delta.cwiseQuotient(d.cwiseAbs2()) -
               product(scaled, capacity.solve(Matrix(layout().gram(scaled, delta))));
      }

      double log_ratio_of(const Vector &delta) const
      {
        const Vector x = center + delta;
        return 0.5 * (layout().dot(delta, precision(delta)) - layout().dot(x, x) + log_det);
      }

      unsigned int n_factors = 10;
      Vector parameters_; ///< x̄, log d, columns of B
      Vector center, d;
      MultiVector b, scaled; ///< B, D⁻²B
      Eigen::LLT<Matrix> capacity;
      double log_det = 0.; ///< log det Σ
    };

    const Registration<Family, Factor>
        factor("factor", "Diagonal plus low rank in the white noise (Ong, Nott, Smith 2018): a baseline, for the "
                         "stochastic optimizer only.");
  } // namespace
} // namespace varfield
