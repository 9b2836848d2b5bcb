#include <cmath>
#include <varfield/scores.h>

namespace varfield
{
  Scores score(const Vector &values, const Vector &mean, const Vector &deviation)
  {
    constexpr double z50 = 0.6744897501960817, z95 = 1.959963984540054;
    Scores sum;
    sum.n = values.size();
    for (Index i = 0; i < values.size(); ++i)
    {
      const double s = deviation[i], z = (values[i] - mean[i]) / s;
      const double density = std::exp(-0.5 * z * z) / std::sqrt(2. * M_PI), below = 0.5 * std::erfc(-z / M_SQRT2);
      sum.rmse += std::pow(values[i] - mean[i], 2);
      sum.coverage50 += std::abs(z) <= z50;
      sum.coverage95 += std::abs(z) <= z95;
      sum.nlpd += 0.5 * z * z + std::log(s) + 0.5 * std::log(2. * M_PI);
      sum.crps += s * (z * (2. * below - 1.) + 2. * density - 1. / std::sqrt(M_PI));
    }
    const double n = std::max<double>(1., static_cast<double>(sum.n));
    return {sum.n, std::sqrt(sum.rmse / n), sum.coverage50 / n, sum.coverage95 / n, sum.nlpd / n, sum.crps / n};
  }
} // namespace varfield
