#include <cmath>
#include <iomanip>
#include <limits>
#include <numeric>
#include <sstream>
#include <varfield/chain_statistics.h>
#include <varfield/hyper_inference.h>
#include <varfield/response_surface.h>
#include <varfield/text.h>

namespace varfield
{
  double HyperPosterior::below(const Vector &direction, double log_value) const
  {
    return ((direction.transpose() * grid).array() < log_value).select(mass.transpose().array(), 0.).sum();
  }

  namespace
  {
    constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

    template <int dim>
    struct Evaluation
    {
      Vector t;
      double elbo = minus_infinity, log_prior = 0;
      Results<dim> results;
      Vector noise; ///< standard deviations of the measurements

      double height() const { return elbo + log_prior; }
    };

    template <int dim>
    class HyperInference
    {
    public:
      HyperInference(std::unique_ptr<Case<dim>> &problem, std::vector<bool> used, Report &report,
                     std::optional<Peak> near)
          : problem_(problem),
            original_(std::move(problem)),
            hyper_(original_->hyper_parameters()),
            used_(used.empty() ? original_->measurements().used() : std::move(used)),
            report_(report),
            near_(std::move(near))
      {
      }

      Results<dim> run()
      {
        std::string heading = "  evaluation";
        for (const std::string &name : hyper_.names())
          heading += "  " + name;
        report_.line("\nhyper-parameters: the posterior of the fields at one value after the other\n" + heading +
                     "   ELBO + log prior");
        Peak peak = near_ ? *near_ : search(hyper_.start());
        design(peak);
        require_an_inference();
        // A peak that was only believed to be there may be elsewhere.
        if (near_ && !interrupted_ && to_unit(peak, evaluations_[highest()].t).norm() > 2.)
        {
          peak = search(evaluations_[highest()].t);
          design(peak);
        }
        integrate(peak);
        Results<dim> results = mix();
        if (original_->inference().prior_draws > 0)
          results.prior_check = check_prior(*original_, original_->inference().prior_draws);
        results.hyper       = std::move(posterior_);
        results.interrupted = interrupted_;
        results.seconds     = report_.seconds();
        return results;
      }

    private:
      /// Of the inferences at one value after the other, at least, where the problem is nonlinear: many heights
      /// together are known better than each.
      static constexpr double tolerance = 0.3, elbo_error = 0.2;

      Peak search(const Vector &start)
      {
        const Peak peak = find_peak([this](const Vector &t) { return height_at(t); }, start, 0.4, 1.2, 8);
        require_an_inference();
        return peak;
      }

      void require_an_inference() const
      {
        if (evaluations_.empty() || evaluations_[highest()].height() == minus_infinity)
          throw ComputationError(interrupted_ ? "Hyperparameters: the run was stopped before there was any inference."
                                              : "Hyperparameters: the inference fails at every value that was tried.");
      }

      std::size_t highest() const
      {
        std::size_t best = 0;
        for (std::size_t k = 1; k < evaluations_.size(); ++k)
          if (evaluations_[k].height() > evaluations_[best].height())
            best = k;
        return best;
      }

      /// `settings`: more entries of the parameter file.
      std::unique_ptr<Case<dim>> case_at(const Vector &t, const std::vector<std::string> &settings = {}) const
      {
        auto overrides = hyper_.overrides(t);
        overrides.insert(overrides.end(), settings.begin(), settings.end());
        auto result = original_->with_overrides(overrides);
        result->use_measurements(used_);
        return result;
      }

      /// Those of linear problems are cheap, and exact but for this.
      double elbo_error_of_design() const
      {
        const double own = original_->inference().elbo_error;
        return original_->density().is_quadratic() ? own : std::max(elbo_error, own);
      }

      std::vector<std::string> settings_of_design() const
      {
        if (original_->density().is_quadratic())
          return {};
        const double own = original_->parameters().get_double({"Inference", "natural gradient"}, "Tolerance");
        return {"Inference/ELBO error=" + to_text(elbo_error_of_design()),
                "Inference/natural gradient/Tolerance=" + to_text(std::max(tolerance, own))};
      }

      Results<dim> infer_quietly(std::unique_ptr<Case<dim>> &problem)
      {
        Report silent        = report_.silent(problem->groups());
        Results<dim> results = infer(problem, silent);
        interrupted_         = report_.should_stop() || results.interrupted;
        return results;
      }

      /// The posterior at one value; −∞ where the inference fails, and once the run is to stop. Collective over the
      /// world.
      double height_at(const Vector &t)
      {
        interrupted_ = interrupted_ || report_.should_stop();
        if (interrupted_)
          return minus_infinity;
        Evaluation<dim> evaluation;
        evaluation.t         = t;
        evaluation.log_prior = hyper_.log_prior(t);
        try
        {
          auto at            = case_at(t, settings_of_design());
          evaluation.results = infer_quietly(at);
          evaluation.noise   = at->measurements().standard_deviations();
          // What was stopped half-way has no bound.
          if (interrupted_)
            return minus_infinity;
          if (evaluation.results.has_spread)
            evaluation.elbo = at->density().agreed(evaluation.results.averages.elbo.elbo.value);
        }
        catch (const ComputationError &)
        {
          evaluation.elbo = minus_infinity;
        }
        catch (const UserError &)
        {
          // The values of the file are the user's; others may be impossible together (a matrix with two of them).
          if (evaluations_.empty())
            throw;
        }
        std::ostringstream line;
        line << std::setw(12) << evaluations_.size() + 1;
        for (Index i = 0; i < t.size(); ++i)
          line << "  " << std::setprecision(4) << std::exp(t[i]);
        line << "   " << std::fixed << std::setprecision(2) << evaluation.height();
        report_.line(line.str());
        evaluations_.push_back(std::move(evaluation));
        return evaluations_.back().height();
      }

      /// log θ from coordinates in which the peak has unit width.
      static Vector from_unit(const Peak &peak, const Vector &z)
      {
        return peak.x + peak.precision.llt().matrixU().solve(z);
      }
      static Vector to_unit(const Peak &peak, const Vector &t) { return peak.precision.llt().matrixU() * (t - peak.x); }

      void design(const Peak &peak)
      {
        for (const Vector &z : central_composite_design(hyper_.size()))
          height_at(from_unit(peak, z));
      }

      /// Those that count: not far below the best.
      std::vector<std::size_t> usable() const
      {
        const double most = evaluations_[highest()].height();
        std::vector<std::size_t> result;
        for (std::size_t k = 0; k < evaluations_.size(); ++k)
          if (evaluations_[k].height() > most - 25.)
            result.push_back(k);
        return result;
      }

      /// The surface over the points of a cubature, and where it is known least for its height one evaluation after the
      /// other.
      void integrate(const Peak &peak)
      {
        const Index dim_t = hyper_.size();
        const Cubature cubature(dim_t);
        const Matrix &grid = cubature.points;
        for (Index extra = 0; extra <= 2 * dim_t; ++extra)
        {
          const auto points = usable();
          Matrix at(dim_t, static_cast<Index>(points.size()));
          Vector heights(at.cols());
          for (Index k = 0; k < at.cols(); ++k)
          {
            at.col(k)  = to_unit(peak, evaluations_[points[static_cast<std::size_t>(k)]].t);
            heights[k] = evaluations_[points[static_cast<std::size_t>(k)]].height();
          }
          if (at.cols() < ResponseSurface::n_coefficients(dim_t))
          {
            if (!interrupted_)
              throw ComputationError("Hyperparameters: too few values at which the inference succeeds.");
            return describe({evaluations_[highest()].t, Matrix::Identity(dim_t, dim_t)}, Matrix::Zero(dim_t, 1),
                            Vector::Ones(1), 0.);
          }
          const ResponseSurface surface(at, heights, elbo_error_of_design());
          Vector values(grid.cols()), gap(grid.cols());
          for (Index g = 0; g < grid.cols(); ++g)
          {
            values[g] = surface(grid.col(g));
            gap[g]    = (at.colwise() - grid.col(g)).colwise().squaredNorm().minCoeff();
          }
          const double top     = values.maxCoeff();
          const Vector density = (values.array() - top).exp();
          Index worst          = 0;
          const double least   = density.cwiseProduct(gap).maxCoeff(&worst);
          if (extra == 2 * dim_t || least < 0.3 || interrupted_)
          {
            const Vector mass = density.cwiseProduct(cubature.weights);
            describe(peak, grid, mass / mass.sum(), top + std::log(mass.sum()));
            return;
          }
          height_at(from_unit(peak, grid.col(worst)));
        }
      }

      /// `log_integral`: of exp(height) in unit coordinates.
      void describe(const Peak &peak, const Matrix &grid, const Vector &mass, double log_integral)
      {
        const Index dim_t = hyper_.size();
        HyperPosterior &q = posterior_;
        q.peak            = peak;
        q.mass            = mass;
        q.grid.resize(dim_t, grid.cols());
        for (Index g = 0; g < grid.cols(); ++g)
          q.grid.col(g) = from_unit(peak, grid.col(g));
        // A volume in log θ is one in unit coordinates over the root of the determinant of the precision.
        q.log_evidence    = log_integral - peak.precision.llt().matrixLLT().diagonal().array().log().sum();
        const Vector mean = q.grid * mass;
        const Matrix rest = q.grid.colwise() - mean;
        Matrix covariance = rest * mass.asDiagonal() * rest.transpose();
        const Vector root = covariance.diagonal().cwiseMax(1e-300).cwiseSqrt();
        q.correlation     = root.cwiseInverse().asDiagonal() * covariance * root.cwiseInverse().asDiagonal();
        for (Index i = 0; i < dim_t; ++i)
        {
          const Vector theta = q.grid.row(i).array().exp();
          HyperSummary summary;
          summary.name          = hyper_[i].name;
          summary.parameter     = hyper_[i].parameter;
          summary.mean          = theta.dot(mass);
          summary.deviation     = std::sqrt((theta.array() - summary.mean).square().matrix().dot(mass));
          summary.log_deviation = root[i];
          for (std::size_t k = 0; k < quantile_levels.size(); ++k)
            summary.quantiles[k] = weighted_quantile(theta, mass, quantile_levels[k]);
          q.parameters.push_back(summary);
        }
        share_out(peak, grid, mass);
      }

      /// Every point of the grid belongs to the nearest evaluation.
      void share_out(const Peak &peak, const Matrix &grid, const Vector &mass)
      {
        const auto points = usable();
        const auto n      = static_cast<Index>(evaluations_.size());
        Matrix at(hyper_.size(), static_cast<Index>(points.size()));
        for (Index k = 0; k < at.cols(); ++k)
          at.col(k) = to_unit(peak, evaluations_[points[static_cast<std::size_t>(k)]].t);
        HyperPosterior &q = posterior_;
        q.weights         = Vector::Zero(n);
        for (Index g = 0; g < grid.cols(); ++g)
        {
          Index nearest = 0;
          (at.colwise() - grid.col(g)).colwise().squaredNorm().minCoeff(&nearest);
          q.weights[static_cast<Index>(points[static_cast<std::size_t>(nearest)])] += mass[g];
        }
        q.points.resize(hyper_.size(), n);
        q.elbo = q.log_prior = Vector::Zero(n);
        for (Index k = 0; k < n; ++k)
        {
          const Evaluation<dim> &evaluation = evaluations_[static_cast<std::size_t>(k)];
          q.points.col(k)                   = evaluation.t;
          q.elbo[k]                         = evaluation.elbo;
          q.log_prior[k]                    = evaluation.log_prior;
        }
      }

      template <typename Block>
      struct Mixture
      {
        Block mean, square;
        void add(double weight, const Block &m, const Block &deviation)
        {
          if (mean.size() == 0)
          {
            mean   = Block::Zero(m.rows(), m.cols());
            square = mean;
          }
          mean += weight * m;
          square += weight * (m.cwiseAbs2() + deviation.cwiseAbs2());
        }
        Block deviation() const { return (square - mean.cwiseAbs2()).cwiseMax(0.).cwiseSqrt(); }
      };

      /// The inference at the best point as the case has it; what it adds to the ELBO there it adds everywhere.
      void settle()
      {
        Evaluation<dim> &best = evaluations_[highest()];
        problem_              = case_at(best.t);
        if (interrupted_ || problem_->density().is_quadratic())
          return;
        Results<dim> settled = infer_quietly(problem_);
        if (interrupted_ || !settled.has_spread)
          return;
        const double more = problem_->density().agreed(settled.averages.elbo.elbo.value) - best.elbo;
        posterior_.elbo.array() += more;
        posterior_.log_evidence += more;
        best.results = std::move(settled);
      }

      /// Means and spreads of the mixture of all posteriors; what is no average is that of the best point, where the
      /// problem is left.
      Results<dim> mix()
      {
        const std::size_t best = highest();
        settle();
        Results<dim> result = evaluations_[best].results;
        std::vector<Mixture<Vector>> fields(result.fields.size()), prior(result.fields.size());
        Mixture<MultiVector> states;
        Mixture<Vector> predictions, quantities;
        Vector noise_squares = Vector::Zero(evaluations_[best].noise.size());
        for (std::size_t k = 0; k < evaluations_.size(); ++k)
        {
          const double weight = posterior_.weights[static_cast<Index>(k)];
          if (weight < 1e-6)
            continue;
          const Results<dim> &part = evaluations_[k].results;
          for (std::size_t f = 0; f < fields.size(); ++f)
          {
            fields[f].add(weight, part.fields[f].mean, part.fields[f].variance.values.cwiseSqrt());
            prior[f].add(weight, Vector::Zero(part.fields[f].mean.size()),
                         part.fields[f].prior_variance.values.cwiseSqrt());
          }
          states.add(weight, part.averages.state_mean, part.averages.state_deviation);
          predictions.add(weight, part.averages.prediction_mean, part.averages.prediction_deviation);
          quantities.add(weight, part.averages.quantity_mean, part.averages.quantity_deviation);
          noise_squares += weight * evaluations_[k].noise.cwiseAbs2();
        }
        for (std::size_t f = 0; f < fields.size(); ++f)
        {
          result.fields[f].mean                  = fields[f].mean;
          result.fields[f].variance.values       = fields[f].deviation().cwiseAbs2();
          result.fields[f].prior_variance.values = prior[f].square;
        }
        result.averages.state_mean           = states.mean;
        result.averages.state_deviation      = states.deviation();
        result.averages.prediction_mean      = predictions.mean;
        result.averages.prediction_deviation = predictions.deviation();
        result.averages.quantity_mean        = quantities.mean;
        result.averages.quantity_deviation   = quantities.deviation();
        result.noise_deviation               = noise_squares.cwiseSqrt();
        mix_quantities(result);
        return result;
      }

      /// Quantiles of all draws of all posteriors, with their weights.
      void mix_quantities(Results<dim> &result) const
      {
        const auto n_quantities = static_cast<Index>(result.quantities.size());
        Index n                 = 0;
        for (const auto &evaluation : evaluations_)
          n += evaluation.results.quantity_draws.rows();
        result.quantity_draws   = Matrix::Zero(n, n_quantities);
        result.quantity_weights = Vector::Zero(n);
        Index first             = 0;
        for (std::size_t k = 0; k < evaluations_.size(); ++k)
        {
          const Matrix &draws = evaluations_[k].results.quantity_draws;
          const Index count   = draws.rows();
          if (count == 0)
            continue;
          result.quantity_draws.middleRows(first, count) = draws;
          result.quantity_weights.segment(first, count)
              .setConstant(posterior_.weights[static_cast<Index>(k)] / double(count));
          first += count;
        }
        for (Index i = 0; i < n_quantities; ++i)
        {
          QuantityResult &quantity = result.quantities[static_cast<std::size_t>(i)];
          quantity.mean            = result.averages.quantity_mean[i];
          quantity.deviation       = result.averages.quantity_deviation[i];
          for (std::size_t q = 0; q < quantile_levels.size() && n > 0; ++q)
            quantity.quantiles[q] =
                weighted_quantile(result.quantity_draws.col(i), result.quantity_weights, quantile_levels[q]);
        }
      }

      std::unique_ptr<Case<dim>> &problem_; ///< at the peak, in the end
      const std::unique_ptr<Case<dim>> original_;
      const HyperParameters &hyper_;
      const std::vector<bool> used_;
      Report &report_;
      const std::optional<Peak> near_; ///< where the peak is believed to be
      std::vector<Evaluation<dim>> evaluations_;
      HyperPosterior posterior_;
      bool interrupted_ = false;
    };
  } // namespace

  template <int dim>
  Results<dim> infer_with_hyper_parameters(std::unique_ptr<Case<dim>> &problem, const std::vector<bool> &used,
                                           Report &report, const std::optional<Peak> &near)
  {
    return HyperInference<dim>(problem, used, report, near).run();
  }

  template Results<2> infer_with_hyper_parameters(std::unique_ptr<Case<2>> &, const std::vector<bool> &, Report &,
                                                  const std::optional<Peak> &);
  template Results<3> infer_with_hyper_parameters(std::unique_ptr<Case<3>> &, const std::vector<bool> &, Report &,
                                                  const std::optional<Peak> &);
} // namespace varfield
