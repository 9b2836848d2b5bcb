#include <cmath>
#include <varfield/sampler.h>

namespace varfield
{
  std::optional<ChainPoint> ReferencedDensity::at(const Vector &m, bool with_gradient) const
  {
    ChainPoint result;
    result.m = m;
    try
    {
      if (with_gradient)
      {
        auto solved = density_.potential_and_gradient(m);
        if (!solved)
          return {};
        result.potential = solved->first;
        result.gradient  = q_.log_ratio_gradient(m) - solved->second;
      }
      else
      {
        const auto potential = density_.potential(m);
        if (!potential)
          return {};
        result.potential = *potential;
      }
      result.log_weight = q_.log_ratio(m) - result.potential;
    }
    catch (const ComputationError &)
    {
      return {};
    }
    return std::isfinite(result.log_weight) ? std::optional(std::move(result)) : std::nullopt;
  }
} // namespace varfield
