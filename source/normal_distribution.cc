#include <boost/math/special_functions/erf.hpp>

#include <cmath>
#include <varfield/normal_distribution.h>

namespace varfield
{
  double normal_density(double z)
  {
    return std::exp(-0.5 * z * z) / std::sqrt(2. * M_PI);
  }

  double normal_probability(double z)
  {
    return 0.5 * std::erfc(-z / M_SQRT2);
  }

  double normal_quantile(double p)
  {
    return -M_SQRT2 * boost::math::erfc_inv(2. * p);
  }
} // namespace varfield
