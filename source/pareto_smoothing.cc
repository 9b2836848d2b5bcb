#include <cmath>
#include <limits>
#include <numeric>
#include <varfield/pareto_smoothing.h>

namespace varfield
{
  namespace
  {
    struct GeneralisedPareto
    {
      double k = 0, sigma = 0;
      /// Inverse of the distribution function.
      double quantile(double p) const
      {
        return std::abs(k) < 1e-15 ? -sigma * std::log1p(-p) : sigma * std::expm1(-k * std::log1p(-p)) / k;
      }
    };

    double log_sum_exp(const Vector &x)
    {
      const double largest = x.maxCoeff();
      return largest + std::log((x.array() - largest).exp().sum());
    }

    /// Zhang, Stephens (2009), Technometrics 51, eq. 7–10, and for k the weak prior of Vehtari et al. (2024), appendix
    /// C. `x` ascending, positive.
    GeneralisedPareto fit_pareto(const Vector &x)
    {
      const auto n         = static_cast<double>(x.size());
      const Index m        = 30 + static_cast<Index>(std::sqrt(n));
      const double quarter = x[static_cast<Index>(n / 4. + 0.5) - 1];
      const auto shape     = [&](double b) { return (-b * x.array()).log1p().mean(); };
      Vector b(m), profile(m);
      for (Index i = 0; i < m; ++i)
      {
        b[i]           = 1. / x[x.size() - 1] + (1. - std::sqrt(m / (i + 0.5))) / (3. * quarter);
        const double k = shape(b[i]);
        profile[i]     = n * (std::log(-b[i] / k) - k - 1.);
      }
      const Vector weights = (profile.array() - log_sum_exp(profile)).exp();
      const double mean = weights.dot(b), k = shape(mean);
      return {(n * k + 5.) / (n + 10.), -k / mean};
    }

    std::vector<Index> ascending(const Vector &x)
    {
      std::vector<Index> order(static_cast<std::size_t>(x.size()));
      std::iota(order.begin(), order.end(), Index(0));
      std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return x[a] < x[b]; });
      return order;
    }
  } // namespace

  SmoothedWeights pareto_smooth(const Vector &log_ratios)
  {
    constexpr double infinity     = std::numeric_limits<double>::infinity();
    constexpr Index least         = 5;
    constexpr double least_excess = 1e-6;
    const Index n                 = log_ratios.size();
    const double largest          = log_ratios.maxCoeff();
    SmoothedWeights result;
    result.k           = infinity;
    result.k_error     = infinity;
    result.log_weights = log_ratios.array() - largest;
    const auto tail    = static_cast<Index>(std::ceil(std::min(0.2 * n, 3. * std::sqrt(double(n)))));
    if (tail >= least && tail < n)
    {
      const auto order    = ascending(result.log_weights);
      const double cutoff = std::exp(result.log_weights[order[n - tail - 1]]);
      Vector excess(tail);
      for (Index i = 0; i < tail; ++i)
        excess[i] = std::exp(result.log_weights[order[n - tail + i]]) - cutoff;
      result.k = excess[tail - 1] > least_excess ? infinity : -infinity;
      // Ratios that are equal but for rounding have no tail.
      if (excess[static_cast<Index>(tail / 4. + 0.5) - 1] > 0. && excess[tail - 1] > least_excess)
      {
        const GeneralisedPareto fitted = fit_pareto(excess);
        result.k                       = std::isfinite(fitted.k) ? fitted.k : infinity;
        result.k_error                 = (1. + std::max(0., fitted.k)) / std::sqrt(double(tail));
        for (Index i = 0; i < tail; ++i)
          result.log_weights[order[n - tail + i]] = std::min(0., std::log(cutoff + fitted.quantile((i + 0.5) / tail)));
      }
    }
    const double log_sum = log_sum_exp(result.log_weights);
    result.log_weights.array() -= log_sum;
    result.effective_size = 1. / (2. * result.log_weights.array()).exp().sum();
    result.log_mean       = largest + log_sum - std::log(double(n));
    result.log_mean_error = std::sqrt(std::max(0., 1. / result.effective_size - 1. / n));
    return result;
  }

  double tail_shape(const Vector &log_ratios, const Vector &h)
  {
    const Vector scaled = log_ratios.array() + h.array().abs().max(1e-300).log();
    return std::max(pareto_smooth(log_ratios).k, pareto_smooth(scaled).k);
  }

  double largest_good_k(Index n)
  {
    return std::min(1. - 1. / std::log10(std::max(2., double(n))), 0.7);
  }
} // namespace varfield
