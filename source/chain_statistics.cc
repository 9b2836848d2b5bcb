#include <cmath>
#include <limits>
#include <numeric>
#include <varfield/chain_statistics.h>
#include <varfield/normal_distribution.h>

namespace varfield
{
  namespace
  {
    /// Every chain becomes two; the middle draw of an odd number is left out.
    Matrix halves(const Matrix &draws)
    {
      const Index n = draws.rows() / 2;
      Matrix result(n, 2 * draws.cols());
      result << draws.topRows(n), draws.bottomRows(n);
      return result;
    }

    /// Normal scores of the ranks, ties averaged (eq. 14).
    Matrix normal_scores(const Matrix &draws)
    {
      const Index n = draws.size();
      std::vector<Index> order(static_cast<std::size_t>(n));
      std::iota(order.begin(), order.end(), Index(0));
      std::sort(order.begin(), order.end(), [&](Index a, Index b) { return draws.data()[a] < draws.data()[b]; });
      Matrix result(draws.rows(), draws.cols());
      for (Index begin = 0, end = 0; begin < n; begin = end)
      {
        while (end < n && draws.data()[order[end]] == draws.data()[order[begin]])
          ++end;
        const double rank  = 0.5 * (begin + 1 + end);
        const double score = normal_quantile((rank - 0.375) / (n + 0.25));
        for (Index i = begin; i < end; ++i)
          result.data()[order[i]] = score;
      }
      return result;
    }

    struct Variances
    {
      double within = 0, total = 0; ///< W and (n−1)/n W + B/n
    };

    Variances variances(const Matrix &chains)
    {
      const auto n       = static_cast<double>(chains.rows());
      const auto m       = static_cast<double>(chains.cols());
      const Vector means = chains.colwise().mean();
      Variances result;
      for (Index j = 0; j < chains.cols(); ++j)
        result.within += (chains.col(j).array() - means[j]).square().sum() / ((n - 1.) * m);
      const double between = m > 1. ? (means.array() - means.mean()).square().sum() / (m - 1.) : 0.;
      result.total         = (n - 1.) / n * result.within + between;
      return result;
    }

    /// Relative size of a variance that is rounding only.
    constexpr double rounding = 1e-20;

    double rhat_of(const Matrix &chains)
    {
      const Variances v = variances(chains);
      if (v.within <= rounding * v.total)
        return v.total <= 0. ? 1. : std::numeric_limits<double>::infinity();
      return std::sqrt(v.total / v.within);
    }

    double ess_of(const Matrix &chains)
    {
      const Index n     = chains.rows();
      const double size = static_cast<double>(chains.size());
      const Variances v = variances(chains);
      if (v.within <= rounding * v.total)
        return v.total <= 0. ? size : 1.;
      const Matrix centred = chains.rowwise() - chains.colwise().mean();
      // 1 − (W − mean autocovariance of the chains)/total, lag by lag as long as they are needed.
      const auto correlation = [&](Index lag)
      {
        double sum = 0.;
        for (Index j = 0; j < chains.cols(); ++j)
          sum += centred.col(j).head(n - lag).dot(centred.col(j).tail(n - lag));
        const double covariance = sum / ((n - 1.) * chains.cols());
        return lag == 0 ? 1. : 1. - (v.within - covariance) / v.total;
      };
      double sum = 0., before = std::numeric_limits<double>::infinity();
      for (Index lag = 0; lag + 1 < n; lag += 2)
      {
        const double pair = correlation(lag) + correlation(lag + 1);
        if (pair <= 0.)
          break;
        before = std::min(before, pair);
        sum += before;
      }
      const double time = std::max(2. * sum - 1., 1. / std::log10(size));
      return size / time;
    }
  } // namespace

  double split_rhat(const Matrix &draws)
  {
    return rhat_of(halves(draws));
  }

  double quantile(std::vector<double> values, double p)
  {
    const double place = p * (values.size() - 1.);
    const auto below   = static_cast<std::size_t>(place);
    std::nth_element(values.begin(), values.begin() + below, values.end());
    const double low = values[below];
    if (below + 1 >= values.size())
      return low;
    return low + (place - below) * (*std::min_element(values.begin() + below + 1, values.end()) - low);
  }

  double weighted_quantile(const Vector &values, const Vector &mass, double p)
  {
    std::vector<Index> order(static_cast<std::size_t>(values.size()));
    std::iota(order.begin(), order.end(), Index(0));
    std::sort(order.begin(), order.end(), [&](Index a, Index b) { return values[a] < values[b]; });
    double sum = 0.;
    for (const Index i : order)
      if ((sum += mass[i]) >= p)
        return values[i];
    return values[order.back()];
  }

  Convergence convergence(const Matrix &draws)
  {
    const Matrix split = halves(draws);
    const std::vector<double> values(split.data(), split.data() + split.size());
    const double median = quantile(values, 0.5);
    const Matrix scores = normal_scores(split);
    const Matrix folded = normal_scores((split.array() - median).abs());
    const auto tail     = [&](double p)
    { return ess_of((split.array() <= quantile(values, p)).template cast<double>().matrix()); };
    return {std::max(rhat_of(scores), rhat_of(folded)), ess_of(scores), std::min(tail(0.05), tail(0.95)),
            ess_of(split)};
  }
} // namespace varfield
