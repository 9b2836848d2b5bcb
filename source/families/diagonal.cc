#include <cmath>
#include <varfield/exceptions.h>
#include <varfield/family.h>

namespace varfield
{
  namespace
  {
    /// Independent coordinates x, m = Ax: S = A diag(s²) Aᵀ. With x the white noise, A = L (the family needs the square
    /// factor), or x the coefficients themselves, A = I. The prior of x is N(0, P⁻¹) with P = I or C⁻¹.
    ///
    ///     log p − log q = ½ log det P − ½ xᵀPx + ½|(x − x̄)/s|² + Σ log s,
    ///     KL(q‖p) = ½[x̄ᵀPx̄ + Σ(Pᵢᵢsᵢ² − 1 − log sᵢ²) − log det P].
    ///
    /// Both depend on the mesh: see the sentence of each in the table of families.
    class Diagonal : public Family
    {
    public:
      explicit Diagonal(bool whitened) : whitened(whitened) {}

      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Probes", n_probes,
                          "Random vectors for the diagonal of the curvature where it is not held explicitly.",
                          dealii::Patterns::Integer(1));
      }

      void check(const GaussianPrior &prior) const override
      {
        if (whitened && !prior.has_square_factor())
          throw UserError("Inference/Family: the family “white noise mean field” needs as many white noise numbers as "
                          "unknowns. Set “Mass” of the prior to “lumped”, or use the family “mean field”.");
      }

      void initialize(const GaussianPrior &prior, std::uint64_t seed) override
      {
        check(prior);
        prior_             = &prior;
        this->seed         = seed;
        prior_diagonal     = whitened ? Vector::Ones(coordinates().n_local()) : prior.precision_diagonal();
        log_det_precision  = whitened ? 0. : -prior.log_determinant();
        curvature_diagonal = Vector::Zero(coordinates().n_local());
        parameters_        = Vector::Zero(prior.noise_layout().n_local() + coordinates().n_local());
        set_precision(prior_diagonal);
        set_mean(Vector::Zero(prior.layout().n_local()));
      }

      void set_mean(const Vector &mean) override
      {
        mean_       = mean;
        center      = to_coordinates(mean);
        origin_mean = mean;
        parameters_.head(prior().noise_layout().n_local()).setZero();
      }

      Draw sample(const DrawKey &key) const override
      {
        const Vector xi = standard_normal(coordinates(), key), x = center + s.cwiseProduct(xi);
        Draw draw;
        draw.m         = to_primal(x);
        draw.log_ratio = log_ratio_of(x, xi);
        return draw;
      }

      double log_ratio(const Vector &m) const override
      {
        const Vector x = to_coordinates(m);
        return log_ratio_of(x, (x - center).cwiseQuotient(s));
      }

      double kl() const override
      {
        const Vector terms = prior_diagonal.array() * s.array().square() - 1. - 2. * s.array().log();
        return 0.5 * (coordinates().dot(center, prior_precision(center)) +
                      coordinates().dot(terms, Vector::Ones(terms.size())) - log_det_precision);
      }

      MultiVector covariance(const MultiVector &dual) const override
      {
        const MultiVector g = whitened ? prior().apply_factor_transpose(dual) : dual;
        const MultiVector x = s.cwiseAbs2().asDiagonal() * g;
        return whitened ? prior().apply_factor(x) : x;
      }

      unsigned int rank() const override { return static_cast<unsigned int>(coordinates().n_global()); }

      void natural_step(const Curvature &curvature, double rho) override
      {
        const Vector fresh = curvature.diagonal(whitened, n_probes, seed).mean.col(0);
        curvature_diagonal = (1. - rho) * curvature_diagonal + rho * fresh;
        // A full Hessian, or a probed diagonal, may be negative: S at most ten times as wide as the prior allows.
        set_precision((prior_diagonal + curvature_diagonal).cwiseMax(0.1 * prior_diagonal));
      }

      CovarianceResidual covariance_residual(const Curvature &curvature) const override
      {
        const Spread fresh    = curvature.diagonal(whitened, n_probes, seed);
        const Vector scale    = s.cwiseAbs2().cwiseInverse();
        const Vector differs  = (fresh.mean.col(0) + prior_diagonal - scale).cwiseAbs();
        const Vector relative = differs.cwiseQuotient(scale),
                     noise    = fresh.variance.col(0).cwiseQuotient(scale.cwiseAbs2());
        double value          = relative.size() > 0 ? relative.maxCoeff() : 0.;
        double sums[2]        = {0.25 * relative.squaredNorm(), 0.25 * noise.sum()};
        MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MAX, coordinates().comm());
        MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_DOUBLE, MPI_SUM, coordinates().comm());
        return {value, sums[0], sums[1], sums[1]};
      }

      Vector parameters() const override { return parameters_; }

      void set_parameters(const Vector &parameters) override
      {
        const Index n = prior().noise_layout().n_local();
        parameters_   = parameters;
        mean_         = origin_mean + prior().apply_factor(parameters.head(n));
        center        = to_coordinates(mean_);
        s             = origin_s.array() * parameters.tail(s.size()).array().exp();
      }

      Vector path_gradient(const DrawKey &key, const Vector &potential_gradient) const override
      {
        const Index n   = prior().noise_layout().n_local();
        const Vector xi = standard_normal(coordinates(), key), x = center + s.cwiseProduct(xi);
        // ∇ₓ[−Φ + log p − log q]
        Vector gradient = -prior_precision(x) + xi.cwiseQuotient(s);
        gradient -= whitened ? Vector(prior().apply_factor_transpose(potential_gradient)) : potential_gradient;
        Vector result(parameters_.size());
        result.head(n)        = whitened ? gradient : Vector(prior().apply_factor_transpose(gradient));
        result.tail(s.size()) = gradient.cwiseProduct(s).cwiseProduct(xi);
        return result;
      }

      void keep(Archive &archive) override
      {
        archive.columns("mean", prior().layout(), mean_);
        archive.columns("mean₀", prior().layout(), origin_mean);
        archive.columns("centre", coordinates(), center);
        archive.columns("s", coordinates(), s);
        archive.columns("s₀", coordinates(), origin_s);
        archive.columns("curvature", coordinates(), curvature_diagonal);
        keep_parameters(archive, "η", parameters_);
      }

      void keep_parameters(Archive &archive, const std::string &name, Vector &parameters) const override
      {
        const Layout &noise = prior().noise_layout();
        Vector of_mean = parameters.head(noise.n_local()), of_spread = parameters.tail(coordinates().n_local());
        archive.columns(name, noise, of_mean);
        archive.columns(name + " of s", coordinates(), of_spread);
        parameters << of_mean, of_spread;
      }

    private:
      const Layout &coordinates() const { return whitened ? prior().noise_layout() : prior().layout(); }
      Vector to_primal(const Vector &x) const { return whitened ? Vector(prior().apply_factor(x)) : x; }
      Vector to_coordinates(const Vector &m) const
      {
        return whitened ? Vector(prior().apply_factor_transpose(prior().precision(m))) : m;
      }
      Vector prior_precision(const Vector &x) const { return whitened ? x : Vector(prior().precision(x)); }

      double log_ratio_of(const Vector &x, const Vector &xi) const
      {
        const Vector terms = 0.5 * (xi.cwiseAbs2() - x.cwiseProduct(prior_precision(x))).array() + s.array().log();
        return 0.5 * log_det_precision + coordinates().dot(terms, Vector::Ones(terms.size()));
      }

      void set_precision(const Vector &precision)
      {
        s           = precision.cwiseSqrt().cwiseInverse();
        origin_s    = s;
        origin_mean = mean_;
        parameters_.setZero();
      }

      bool whitened;
      unsigned int n_probes = 64;
      std::uint64_t seed    = 0;
      Vector prior_diagonal;     ///< Pᵢᵢ
      Vector curvature_diagonal; ///< averaged
      double log_det_precision = 0.;
      Vector center, s; ///< x̄, s
      Vector origin_mean, origin_s, parameters_;
    };

    class NodalMeanField : public CopyableFamily<NodalMeanField, Diagonal>
    {
    public:
      NodalMeanField() : CopyableFamily(false) {}
    };

    class WhiteNoiseMeanField : public CopyableFamily<WhiteNoiseMeanField, Diagonal>
    {
    public:
      WhiteNoiseMeanField() : CopyableFamily(true) {}
    };

    const Registration<Family, NodalMeanField>
        nodal("nodal mean field", "Independent coefficients. The textbook choice, to compare with only: its variance "
                                  "collapses as the mesh is refined.");
    const Registration<Family, WhiteNoiseMeanField>
        white_noise("white noise mean field", "Independent numbers in the white noise behind the prior. A negative "
                                              "example: it tends to the prior as the mesh is refined.");
  } // namespace
} // namespace varfield
