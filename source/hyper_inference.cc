#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <memory>
#include <numeric>
#include <sstream>
#include <varfield/chain_statistics.h>
#include <varfield/hyper_inference.h>
#include <varfield/pareto_smoothing.h>
#include <varfield/response_surface.h>
#include <varfield/text.h>

namespace varfield
{
  double HyperPosterior::below(const Vector &direction, double log_value) const
  {
    return ((direction.transpose() * population).array() < log_value).select(mass.transpose().array(), 0.).sum();
  }

  Matrix HyperPosterior::heaviest(Index n) const
  {
    std::vector<Index> order(static_cast<std::size_t>(weights.size()));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [this](Index a, Index b) { return weights[a] > weights[b]; });
    order.resize(static_cast<std::size_t>(std::min<Index>(n, (weights.array() > 0.).count())));
    return scores(Eigen::all, order);
  }

  namespace
  {
    constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

    template <int dim>
    struct Evaluation
    {
      Vector u, t; ///< normal scores and log θ
      double elbo = minus_infinity, elbo_error = 0;
      Results<dim> results;
      Vector noise; ///< standard deviations of the measurements

      double height() const { return elbo - 0.5 * u.squaredNorm(); }
      bool converged() const { return results.map.converged && results.optimization.converged; }
    };

    template <int dim>
    class HyperInference
    {
    public:
      HyperInference(std::unique_ptr<Case<dim>> &problem, std::vector<bool> used, Report &report,
                     const HyperPosterior *similar, const FinishedParts *parts)
          : problem_(problem),
            original_(std::move(problem)),
            hyper_(original_->hyper_parameters()),
            used_(used.empty() ? original_->measurements().used() : std::move(used)),
            report_(report),
            similar_(similar),
            parts_(parts)
      {
      }

      Results<dim> run()
      {
        std::ostringstream heading;
        heading << "  inference";
        for (const std::string &name : hyper_.names())
          heading << std::setw(width(name)) << name;
        report_.line("\nhyper-parameters: the posterior of the fields at one value after the other\n" + heading.str() +
                     "          ELBO");
        std::optional<PriorCheck> prior_check;
        if (original_->inference().prior_draws > 0)
        {
          prior_check = check_prior(*original_, original_->inference().prior_draws, report_.stop_check());
          if (prior_check)
            for (const std::string &line : prior_check->lines(original_->measurements()))
              report_.line(line);
        }
        begin();
        explore();
        Results<dim> results = mix();
        results.prior_check  = std::move(prior_check);
        results.other_work   = work_;
        results.hyper        = std::move(posterior_);
        results.interrupted  = interrupted_;
        results.seconds      = report_.seconds();
        return results;
      }

    private:
      /// Of the inferences at one value after the other, at least, where the problem is nonlinear: many together are
      /// known better than each.
      static constexpr double tolerance = 0.3, elbo_error = 0.2;
      /// Of values that are exact, for the numbers' sake; and of what counts as not known at one place.
      static constexpr double least_error = 1e-3, most_variance = 9.;

      /// Of a column of the table.
      static int width(const std::string &name) { return static_cast<int>(std::max<std::size_t>(12, name.size() + 2)); }

      /// Values at the beginning: that of the file, and some spread over the prior or taken from what is similar.
      void begin()
      {
        const Index n = std::max<Index>(10, 2 * hyper_.size() + 2);
        if (similar_)
        {
          const Matrix heaviest = similar_->heaviest(n);
          for (Index k = 0; k < heaviest.cols(); ++k)
            evaluate(heaviest.col(k));
        }
        else
        {
          evaluate(hyper_.scores(hyper_.start()));
          // What is far out is hard to infer where the problem is nonlinear, and seldom of use.
          const double width  = original_->density().is_quadratic() ? 1. : 0.7;
          const Matrix points = width * normal_points(hyper_.size(), n);
          for (Index k = 0; k < n; ++k)
            evaluate(points.col(k));
        }
        if (evaluations_.empty() || evaluations_[highest()].elbo == minus_infinity)
        {
          if (interrupted_)
            throw StoppedEarly("Hyperparameters: the run was stopped before there was any inference.");
          throw ComputationError("Hyperparameters: the inference fails at every value that was tried.");
        }
      }

      std::size_t highest() const
      {
        std::size_t best = 0;
        for (std::size_t k = 1; k < evaluations_.size(); ++k)
          if (evaluations_[k].height() > evaluations_[best].height())
            best = k;
        return best;
      }

      std::unique_ptr<Case<dim>> rough_case_at(const Vector &t) const
      {
        auto overrides      = hyper_.overrides(t);
        const auto settings = rough_settings();
        overrides.insert(overrides.end(), settings.begin(), settings.end());
        auto result = original_->with_overrides(overrides);
        result->use_measurements(used_);
        return result;
      }

      std::unique_ptr<Case<dim>> case_at(const Vector &t) const
      {
        auto result = original_->in_full_with(hyper_.overrides(t));
        result->use_measurements(used_);
        return result;
      }

      /// Those of linear problems are cheap as they are.
      std::vector<std::string> rough_settings() const
      {
        if (original_->density().is_quadratic())
          return {};
        const double own = original_->parameters().get_double({"Inference", "natural gradient"}, "Tolerance");
        return {"Inference/ELBO error=" + to_text(std::max(elbo_error, original_->inference().elbo_error)),
                "Inference/natural gradient/Tolerance=" + to_text(std::max(tolerance, own))};
      }

      Results<dim> infer_quietly(std::unique_ptr<Case<dim>> &problem)
      {
        Report silent        = report_.silent(problem->groups());
        Results<dim> results = infer(problem, silent);
        interrupted_         = report_.should_stop() || results.interrupted;
        return results;
      }

      /// The posterior at one value; an ELBO of −∞ where the inference fails, nothing once the run is to stop.
      /// Collective over the world.
      void evaluate(const Vector &u)
      {
        interrupted_ = interrupted_ || report_.should_stop();
        if (interrupted_)
          return;
        Evaluation<dim> evaluation;
        evaluation.u = u;
        original_->density().agree(evaluation.u);
        evaluation.t = hyper_.from_scores(evaluation.u);
        try
        {
          auto at          = rough_case_at(evaluation.t);
          evaluation.noise = at->measurements().standard_deviations();
          get_part(
              parts_, "inference-" + std::to_string(evaluations_.size() + 1), original_->groups(),
              [&](Archive &archive)
              {
                Vector u = evaluation.u;
                archive.numbers("u", u);
                // An inference at another place is none of this.
                if ((u - evaluation.u).cwiseAbs().maxCoeff() > 1e-6)
                  throw UserError("It is of other values.");
                evaluation.results.keep(archive, *at);
              },
              [&]
              {
                evaluation.results = infer_quietly(at);
                work_              = work_ + at->density().cost();
                return !interrupted_;
              });
          // What was stopped half-way has no bound.
          if (interrupted_)
            return;
          if (evaluation.results.has_spread)
          {
            const auto &elbo      = evaluation.results.averages.elbo.elbo;
            evaluation.elbo       = at->density().agreed(elbo.value);
            evaluation.elbo_error = at->density().agreed(elbo.error);
            if (!std::isfinite(evaluation.elbo_error))
              evaluation.elbo_error = elbo_error; // of a single draw
          }
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
        line << std::setw(11) << evaluations_.size() + 1;
        for (Index i = 0; i < evaluation.t.size(); ++i)
          line << std::setw(width(hyper_[i].name)) << std::setprecision(4) << std::exp(evaluation.t[i]);
        line << std::setw(14) << std::fixed << std::setprecision(2) << evaluation.elbo;
        report_.line(line.str());
        evaluations_.push_back(std::move(evaluation));
        lighten();
      }

      /// Of all but the best what the mixture has no use for goes.
      void lighten()
      {
        const std::size_t best = highest();
        for (std::size_t k = 0; k < evaluations_.size(); ++k)
          if (k != best)
            for (FieldResult &field : evaluations_[k].results.fields)
            {
              field.map = field.truth = Vector();
              field.modes = field.draws = MultiVector();
            }
      }

      /// Normal scores of all evaluations, one column for each.
      Matrix scores() const
      {
        Matrix result(hyper_.size(), static_cast<Index>(evaluations_.size()));
        for (Index k = 0; k < result.cols(); ++k)
          result.col(k) = evaluations_[static_cast<std::size_t>(k)].u;
        return result;
      }

      /// The ELBO between its values, in coordinates of a frame; where there is something similar, what is to be added
      /// to its. Where an inference failed there is something low, which keeps others from there.
      ResponseSurface surface(const Population &frame) const
      {
        const auto n = static_cast<Index>(evaluations_.size());
        Vector elbos(n), errors(n);
        for (Index k = 0; k < n; ++k)
        {
          elbos[k]  = evaluations_[static_cast<std::size_t>(k)].elbo;
          errors[k] = std::max(least_error, evaluations_[static_cast<std::size_t>(k)].elbo_error);
        }
        if (similar_)
          elbos -= similar_->elbo_at(scores());
        const double top    = elbos.maxCoeff();
        const Vector values = elbos.array().isFinite().select(elbos.array(), top - 100.);
        if (similar_)
          return {frame.to_unit(scores()), values, errors, top - values.mean()};
        return {frame.to_unit(scores()), values, errors};
      }

      /// What is not known that is small: the values themselves are not known much better. One of many of a kind is for
      /// predictions, which hang on the scales less than the scales themselves.
      double enough() const
      {
        double sum = 0.;
        for (const Evaluation<dim> &evaluation : evaluations_)
          sum += evaluation.elbo_error;
        return std::max(similar_ ? 0.3 : 0.05, 2. * sum / double(evaluations_.size()));
      }

      /// One evaluation after the other where it tells most.
      void explore()
      {
        const Index n_scales  = hyper_.size();
        const auto most       = static_cast<std::size_t>(30 + 20 * n_scales);
        Population population = prior_population(n_scales);
        for (int n_good = 0;;)
        {
          const Population frame = population;
          const auto elbo        = std::make_shared<const ResponseSurface>(surface(frame));
          posterior_.elbo_at     = [elbo, frame, similar = similar_ ? similar_->elbo_at : nullptr](const Matrix &u)
          {
            const Vector values = (*elbo)(frame.to_unit(u));
            return similar ? Vector(values + similar(u)) : values;
          };
          population            = populate(posterior_.elbo_at, frame, std::max<Index>(1000, 250 * n_scales));
          const Matrix &points  = population.points;
          const Vector variance = elbo->predict(frame.to_unit(points)).variance.cwiseMin(most_variance);
          const double error    = original_->density().agreed(std::sqrt(population.mass.dot(variance)));
          n_good                = error < enough() ? n_good + 1 : 0;
          if (n_good == 3 || evaluations_.size() >= most || interrupted_)
          {
            posterior_.surface_error = error;
            describe(populate(posterior_.elbo_at, population, n_scales == 1 ? 5000 : 20000));
            return;
          }
          // The logarithm of the variance of a lognormal density.
          Vector merit =
              2. * population.log_density + variance + (variance.array().exp() - 1.).max(1e-12).log().matrix();
          const Matrix unit = population.to_unit(points), known = population.to_unit(scores());
          for (Index k = 0; k < merit.size(); ++k)
            if ((known.colwise() - unit.col(k)).colwise().squaredNorm().minCoeff() < 1e-4)
              merit[k] = minus_infinity;
          Index next = 0;
          merit.maxCoeff(&next);
          evaluate(points.col(next));
        }
      }

      void describe(const Population &population)
      {
        const Index n_scales = hyper_.size();
        const Vector &mass   = population.mass;
        HyperPosterior &q    = posterior_;
        q.mass               = mass;
        q.log_evidence       = population.log_integral;
        q.population.resize(n_scales, mass.size());
        for (Index k = 0; k < mass.size(); ++k)
          q.population.col(k) = hyper_.from_scores(population.points.col(k));
        const Matrix rest       = q.population.colwise() - q.population * mass;
        const Matrix covariance = rest * mass.asDiagonal() * rest.transpose();
        const Vector root       = covariance.diagonal().cwiseMax(1e-300).cwiseSqrt();
        q.correlation           = root.cwiseInverse().asDiagonal() * covariance * root.cwiseInverse().asDiagonal();
        for (Index i = 0; i < n_scales; ++i)
        {
          const Vector theta = q.population.row(i).array().exp();
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
        share_out(population);
      }

      /// Every point of the population belongs to the nearest evaluation that is not far below the best.
      void share_out(const Population &population)
      {
        const auto n      = static_cast<Index>(evaluations_.size());
        const double best = evaluations_[highest()].height();
        std::vector<Index> usable;
        for (Index k = 0; k < n; ++k)
          if (evaluations_[static_cast<std::size_t>(k)].height() > best - 25.)
            usable.push_back(k);
        const Matrix at     = population.to_unit(scores()(Eigen::all, usable)),
                     points = population.to_unit(population.points);
        HyperPosterior &q   = posterior_;
        q.weights           = Vector::Zero(n);
        for (Index k = 0; k < points.cols(); ++k)
        {
          Index nearest = 0;
          (at.colwise() - points.col(k)).colwise().squaredNorm().minCoeff(&nearest);
          q.weights[usable[static_cast<std::size_t>(nearest)]] += population.mass[k];
        }
        q.scores = scores();
        q.points.resize(hyper_.size(), n);
        q.elbo = q.log_prior = Vector::Zero(n);
        for (Index k = 0; k < n; ++k)
        {
          const Evaluation<dim> &evaluation = evaluations_[static_cast<std::size_t>(k)];
          q.points.col(k)                   = evaluation.t;
          q.elbo[k]                         = evaluation.elbo;
          q.log_prior[k]                    = hyper_.log_prior(evaluation.t);
          q.failed += evaluation.elbo == minus_infinity;
        }
      }

      /// With what importance weights add to each ELBO.
      double weighted_log_evidence() const
      {
        double gain = 0.;
        for (std::size_t k = 0; k < evaluations_.size(); ++k)
        {
          const double weight = posterior_.weights[static_cast<Index>(k)];
          if (weight == 0.)
            continue;
          const Vector &log_weights = evaluations_[k].results.averages.log_weights;
          const double more = log_weights.size() == 0 ? 0. : pareto_smooth(log_weights).log_mean - log_weights.mean();
          gain += weight * std::exp(more);
        }
        return posterior_.log_evidence + std::log(gain);
      }

      /// Weights sum to one.
      template <typename Block>
      struct Mixture
      {
        Block origin, shift, square; ///< the first mean, and moments about it
        void add(double weight, const Block &m, const Block &deviation)
        {
          if (origin.size() == 0)
          {
            origin = m;
            shift  = Block::Zero(m.rows(), m.cols());
            square = shift;
          }
          shift += weight * (m - origin);
          square += weight * ((m - origin).cwiseAbs2() + deviation.cwiseAbs2());
        }
        Block mean() const { return origin + shift; }
        Block deviation() const { return (square - shift.cwiseAbs2()).cwiseMax(0.).cwiseSqrt(); }
      };

      /// The inference at the best point as the case has it; what it adds to the ELBO there it adds everywhere. One of
      /// many of a kind is good enough as it is.
      void settle()
      {
        Evaluation<dim> &best = evaluations_[highest()];
        problem_              = case_at(best.t);
        if (interrupted_ || similar_ || problem_->density().is_quadratic())
          return;
        Results<dim> settled;
        try
        {
          settled = infer_quietly(problem_);
        }
        catch (const ComputationError &)
        {
          problem_ = case_at(best.t); // with what is there already
          return;
        }
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
        posterior_.weighted_log_evidence = weighted_log_evidence();
        for (std::size_t k = 0; k < evaluations_.size(); ++k)
          if (!evaluations_[k].converged())
            posterior_.weight_not_converged += posterior_.weights[static_cast<Index>(k)];
        Results<dim> result = evaluations_[best].results;
        std::vector<Mixture<Vector>> fields(result.fields.size()), prior(result.fields.size());
        Mixture<MultiVector> states;
        Mixture<Vector> predictions, quantities;
        Vector noise_squares = Vector::Zero(evaluations_[best].noise.size());
        const Vector weights = (posterior_.weights.array() < 1e-6).select(0., posterior_.weights.array()).matrix();
        for (std::size_t k = 0; k < evaluations_.size(); ++k)
        {
          const double weight = weights[static_cast<Index>(k)] / weights.sum();
          if (weight == 0.)
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
          result.fields[f].mean                  = fields[f].mean();
          result.fields[f].variance.values       = fields[f].deviation().cwiseAbs2();
          result.fields[f].prior_variance.values = prior[f].square;
        }
        result.averages.state_mean           = states.mean();
        result.averages.state_deviation      = states.deviation();
        result.averages.prediction_mean      = predictions.mean();
        result.averages.prediction_deviation = predictions.deviation();
        result.averages.quantity_mean        = quantities.mean();
        result.averages.quantity_deviation   = quantities.deviation();
        result.noise_deviation               = noise_squares.cwiseSqrt();
        if (problem_->measurements().n_used() < problem_->measurements().size())
          result.scores = score_held_out(problem_->measurements(), result.averages, result.noise_deviation);
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

      std::unique_ptr<Case<dim>> &problem_; ///< at the best values, in the end
      const std::unique_ptr<Case<dim>> original_;
      const HyperParameters &hyper_;
      const std::vector<bool> used_;
      Report &report_;
      const HyperPosterior *const similar_; ///< may be null
      const FinishedParts *const parts_;    ///< may be null
      std::vector<Evaluation<dim>> evaluations_;
      HyperPosterior posterior_;
      Cost work_;
      bool interrupted_ = false;
    };
  } // namespace

  template <int dim>
  Results<dim> infer_with_hyper_parameters(std::unique_ptr<Case<dim>> &problem, const std::vector<bool> &used,
                                           Report &report, const HyperPosterior *similar, const FinishedParts *parts)
  {
    return HyperInference<dim>(problem, used, report, similar, parts).run();
  }

  template <int dim>
  Results<dim> infer_all(std::unique_ptr<Case<dim>> &problem, Report &report, const Extras &extras)
  {
    if (problem->hyper_parameters().size() == 0)
      return infer(problem, report, extras);
    Results<dim> results = infer_with_hyper_parameters(problem, {}, report, nullptr, extras.parts);
    if (extras.cross_validation && !results.interrupted)
    {
      const Refit<dim> refit = [&results](Case<dim> &of_group, const std::vector<bool> &used, Report &silent)
      {
        auto again               = of_group.with_overrides({});
        const Results<dim> found = infer_with_hyper_parameters(again, used, silent, &*results.hyper);
        FoldFit fit{found.map.converged ? found.optimization : found.map, found.averages.prediction_mean,
                    found.averages.prediction_deviation, found.noise_deviation};
        fit.end.interrupted = found.interrupted;
        return fit;
      };
      results.cross_validation = cross_validate<dim>(*problem, refit, report, extras.parts);
      results.interrupted      = results.cross_validation->interrupted;
    }
    return results;
  }

  template Results<2> infer_all(std::unique_ptr<Case<2>> &, Report &, const Extras &);
  template Results<3> infer_all(std::unique_ptr<Case<3>> &, Report &, const Extras &);
  template Results<2> infer_with_hyper_parameters(std::unique_ptr<Case<2>> &, const std::vector<bool> &, Report &,
                                                  const HyperPosterior *, const FinishedParts *);
  template Results<3> infer_with_hyper_parameters(std::unique_ptr<Case<3>> &, const std::vector<bool> &, Report &,
                                                  const HyperPosterior *, const FinishedParts *);
} // namespace varfield
