#include <cmath>
#include <varfield/normal_distribution.h>
#include <varfield/scores.h>

namespace varfield
{
  namespace
  {
    /// E|X| of N(x, s²), Grimit et al. (2006).
    double mean_distance(double x, double s)
    {
      return x * (2. * normal_probability(x / s) - 1.) + 2. * s * normal_density(x / s);
    }

    /// log density at a distance x from the mean.
    double log_density(const NormalMixture &spread, double x)
    {
      const Vector log = spread.weights.array().log() - spread.deviations.array().log() -
                         0.5 * (x / spread.deviations.array()).square() - 0.5 * std::log(2. * M_PI);
      const double top = log.maxCoeff();
      return top + std::log((log.array() - top).exp().sum());
    }

    /// Probability of a distance below x from the mean.
    double probability_within(const NormalMixture &spread, double x)
    {
      double sum = 0.;
      for (Index k = 0; k < spread.weights.size(); ++k)
        sum += spread.weights[k] * (2. * normal_probability(x / spread.deviations[k]) - 1.);
      return sum;
    }

    double crps(const NormalMixture &spread, double x)
    {
      double sum = 0.;
      for (Index k = 0; k < spread.weights.size(); ++k)
      {
        sum += spread.weights[k] * mean_distance(x, spread.deviations[k]);
        for (Index l = 0; l < spread.weights.size(); ++l)
          sum -= 0.5 * spread.weights[k] * spread.weights[l] *
                 mean_distance(0., std::hypot(spread.deviations[k], spread.deviations[l]));
      }
      return sum;
    }
  } // namespace

  double NormalMixture::normal_score(double x) const
  {
    // By the lower tail, which keeps its digits.
    double tail = 0.;
    for (Index k = 0; k < weights.size(); ++k)
      tail += weights[k] * normal_probability(-std::abs(x) / deviations[k]);
    return std::copysign(normal_quantile(std::clamp(tail, 1e-300, 0.5)), x);
  }

  Scores score(const Vector &values, const Vector &mean, const std::vector<NormalMixture> &spreads)
  {
    Scores sum;
    sum.n = values.size();
    for (Index i = 0; i < values.size(); ++i)
    {
      const NormalMixture &spread = spreads[static_cast<std::size_t>(i)];
      const double x = std::abs(values[i] - mean[i]), within = probability_within(spread, x);
      sum.rmse += x * x;
      sum.coverage50 += within <= 0.5;
      sum.coverage95 += within <= 0.95;
      sum.nlpd -= log_density(spread, x);
      sum.crps += crps(spread, x);
    }
    const double n = std::max<double>(1., static_cast<double>(sum.n));
    return {sum.n, std::sqrt(sum.rmse / n), sum.coverage50 / n, sum.coverage95 / n, sum.nlpd / n, sum.crps / n};
  }
} // namespace varfield
