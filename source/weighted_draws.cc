#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>
#include <varfield/elbo.h>
#include <varfield/pareto_smoothing.h>
#include <varfield/weighted_draws.h>

namespace varfield
{
  namespace
  {
    class WeightedDraws
    {
    public:
      WeightedDraws(const LogDensity &density, const Family &q, const Watch &watch, const ChainSettings &settings,
                    std::uint64_t seed)
          : density_(density), q_(q), watch_(watch), settings_(settings), cost_(density.cost())
      {
        range_.seed        = seed;
        range_.first       = 0x20000000u; // not those that the ELBO is from
        range_.antithetic  = false;
        range_.most_failed = 0.1;
      }

      ChainResults run(const std::function<bool(const ChainProgress &)> &progress)
      {
        const unsigned int most = settings_.maximum * settings_.chains;
        unsigned int wanted     = std::min(most, std::max(1000u, settings_.minimum * settings_.chains));
        bool stop               = false;
        while (true)
        {
          while (range_.count < wanted && !stop)
          {
            draw(std::min(block, wanted - range_.count));
            stop = progress(result_.end);
          }
          smoothed_              = pareto_smooth(log_weights_);
          result_.end.ess        = smoothed_.effective_size;
          result_.end.rhat       = 1.;
          result_.end.iterations = range_.count;
          stop                   = progress(result_.end) || stop;
          const bool hopeless = range_.count >= 4000 && smoothed_.k > 0.7 && !(smoothed_.k - smoothed_.k_error <= 0.7);
          if (stop || hopeless || range_.count >= most || smoothed_.effective_size >= settings_.ess)
            break;
          wanted = std::min(most, 2 * range_.count);
        }
        const bool good     = smoothed_.k < largest_good_k(log_weights_.size());
        result_.interrupted = stop;
        result_.converged   = !stop && smoothed_.effective_size >= settings_.ess && good;
        result_.chains      = 1;
        std::ostringstream reason;
        reason.precision(3);
        reason << "k-hat " << smoothed_.k << ", effective size " << smoothed_.effective_size << " of " << range_.count
               << " weighted draws"
               << (result_.converged ? ""
                   : stop            ? " when the time was up"
                   : good            ? ": too few"
                                     : ": weights do not make up for the difference, chains do");
        result_.reason = reason.str();
        // A stop is not the time to solve all of them again, nor are they worth it if their weights are not.
        if (!stop && good)
          average();
        return std::move(result_);
      }

    private:
      static constexpr unsigned int block = 200; ///< draws between two questions whether to stop

      const SampleGroups &groups() const { return density_.groups(); }

      /// `count` more draws: their weights and numbers.
      void draw(unsigned int count)
      {
        const auto n     = static_cast<Index>(watch_.names().size());
        DrawRange more   = range_;
        more.first       = range_.first + range_.count;
        more.count       = count;
        Matrix of_draws  = Matrix::Zero(count, n + 1);
        const auto found = average_over_draws(groups(), q_, more,
                                              [&](unsigned int k, const DrawKey &key) -> std::optional<DrawValue>
                                              {
                                                const Draw draw = q_.sample(key);
                                                const auto phi  = density_.potential(draw.m);
                                                if (!phi)
                                                  return {};
                                                Vector numbers, values;
                                                watch_.evaluate(draw.m, numbers, values);
                                                of_draws.row(k) << static_cast<double>(key.draw), numbers.transpose();
                                                return DrawValue{draw.log_ratio, *phi};
                                              });
        agreed_sum(groups(), q_.prior().layout(), of_draws);
        range_.count += count;
        log_weights_.conservativeResize(range_.count);
        log_weights_.tail(count) = Eigen::Map<const Vector>(found.log_weights.data(), count);
        of_draws_.conservativeResize(range_.count, n + 1);
        of_draws_.bottomRows(count) = of_draws;
        result_.failed += found.elbo.failed;
      }

      void average()
      {
        const Vector weights = smoothed_.log_weights.array().exp();
        average_values(weights);
        for (Index i = 0; i + 1 < of_draws_.cols(); ++i)
        {
          const Vector x = of_draws_.col(i + 1);
          NumberSummary number;
          number.name       = watch_.names()[static_cast<std::size_t>(i)];
          number.mean       = weights.dot(x);
          const Vector rest = x.array() - number.mean;
          number.deviation  = std::sqrt(weights.dot(rest.cwiseAbs2()));
          number.mean_error = weights.cwiseProduct(rest).norm();
          for (std::size_t k = 0; k < quantile_levels.size(); ++k)
            number.quantiles[k] = weighted_quantile(x, weights, quantile_levels[k]);
          const double ess            = std::pow(number.deviation / std::max(1e-300, number.mean_error), 2);
          number.convergence          = {};
          number.convergence.rhat     = 1.;
          number.convergence.ess_mean = number.convergence.ess_bulk = number.convergence.ess_tail =
              std::min(ess, static_cast<double>(x.size()));
          result_.numbers.push_back(number);
        }
        const Cost cost                 = density_.cost() - cost_;
        result_.end.cost.state_solves   = groups().sum(static_cast<double>(cost.state_solves));
        result_.end.cost.linear_solves  = groups().sum(static_cast<double>(cost.linear_solves));
        result_.end.cost.factorizations = groups().sum(static_cast<double>(cost.factorizations));
      }

      /// The draws of this group once more, with their weights; and those that stand for all at quantiles.
      void average_values(const Vector &weights)
      {
        const std::vector<Index> kept = resampled(weights);
        const Index n                 = watch_.layout().n_local();
        Vector centre = Vector::Zero(n), sum = centre, squares = centre, squared_sum = centre, squared_squares = centre;
        result_.kept = MultiVector::Zero(watch_.n_judged(), static_cast<Index>(kept.size()));
        Vector numbers, values;
        groups().together(
            [&]
            {
              if (density_.potential(q_.mean()))
                watch_.evaluate(q_.mean(), numbers, centre);
            });
        groups().broadcast(centre);
        groups().together(
            [&]
            {
              for (Index k = 0; k < weights.size(); ++k)
                if (range_.group(static_cast<unsigned int>(k), groups().n_groups()) == groups().group())
                {
                  DrawKey key     = range_.key(static_cast<unsigned int>(k));
                  key.draw        = static_cast<std::uint32_t>(of_draws_(k, 0));
                  const Draw draw = q_.sample(key);
                  // What could be solved once can be solved again.
                  if (!density_.potential(draw.m))
                    continue;
                  watch_.evaluate(draw.m, numbers, values);
                  const Vector rest = values - centre;
                  const double w    = weights[k];
                  sum += w * rest;
                  squares += w * rest.cwiseAbs2();
                  squared_sum += w * w * rest;
                  squared_squares += w * w * rest.cwiseAbs2();
                  for (std::size_t i = 0; i < kept.size(); ++i)
                    if (kept[i] == k)
                      result_.kept.col(static_cast<Index>(i)) = values.head(watch_.n_judged());
                }
            });
        for (Vector *x : {&sum, &squares, &squared_sum, &squared_squares})
          groups().sum(*x);
        groups().sum(result_.kept);
        ChainMoments &moments = result_.values;
        moments.mean          = centre + sum;
        moments.deviation     = (squares - sum.cwiseAbs2()).cwiseMax(0.).cwiseSqrt();
        moments.mean_error =
            (squared_squares - 2. * sum.cwiseProduct(squared_sum) + weights.squaredNorm() * sum.cwiseAbs2())
                .cwiseMax(0.)
                .cwiseSqrt();
        moments.deviation_error = moments.deviation / std::sqrt(2. * std::max(2., smoothed_.effective_size));
        moments.ess             = Vector::Constant(n, smoothed_.effective_size);
        moments.rhat            = Vector::Ones(n);
      }

      /// Systematic resampling: draws in numbers proportional to their weights.
      std::vector<Index> resampled(const Vector &weights) const
      {
        const auto n = std::min<Index>(settings_.kept, weights.size());
        std::vector<Index> result;
        double sum = 0.;
        for (Index k = 0; k < weights.size(); ++k)
        {
          sum += weights[k];
          while (static_cast<Index>(result.size()) < n && (static_cast<double>(result.size()) + 0.5) / double(n) <= sum)
            result.push_back(k);
        }
        while (static_cast<Index>(result.size()) < n)
          result.push_back(weights.size() - 1);
        return result;
      }

      const LogDensity &density_;
      const Family &q_;
      const Watch &watch_;
      const ChainSettings &settings_;
      const Cost cost_; ///< before
      DrawRange range_; ///< of all draws so far
      Vector log_weights_;
      Matrix of_draws_; ///< number of the draw, then the numbers watched
      SmoothedWeights smoothed_;
      ChainResults result_;
    };
  } // namespace

  ChainResults weigh_draws(const LogDensity &density, const Family &q, const Watch &watch,
                           const ChainSettings &settings, std::uint64_t seed,
                           const std::function<bool(const ChainProgress &)> &progress)
  {
    return WeightedDraws(density, q, watch, settings, seed).run(progress);
  }
} // namespace varfield
