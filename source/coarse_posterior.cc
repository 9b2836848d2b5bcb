#include <varfield/coarse_posterior.h>

namespace varfield
{
  CoarsePosterior::CoarsePosterior(const LogDensity &density, FrozenGaussian posterior,
                                   std::shared_ptr<const Transfer> transfer, const ElboEstimate &elbo)
      : density_(density), posterior_(std::move(posterior)), transfer_(std::move(transfer)), elbo_(elbo)
  {
  }

  std::shared_ptr<const CoarsePosterior> CoarsePosterior::create(const LogDensity &density, const Family &family,
                                                                 std::shared_ptr<const Transfer> transfer,
                                                                 const ElboEstimate &elbo)
  {
    // A step that takes a direction of curvature λ for one of none overshoots by the factor λ.
    constexpr double negligible = 0.3;
    if (!family.follows_curvature() || !transfer->coarse().has_nested_loads() ||
        density.groups().broadcast(family.first_dropped()) > negligible)
      return nullptr;
    auto correction = family.low_rank_correction();
    if (!correction)
      return nullptr;
    FrozenGaussian posterior(density.prior(), family.mean(), std::move(*correction));
    return std::shared_ptr<const CoarsePosterior>(
        new CoarsePosterior(density, std::move(posterior), std::move(transfer), elbo));
  }

  std::optional<CoarsePosterior::Value> CoarsePosterior::linearize(const Vector &fine_load) const
  {
    const Draw draw = posterior_.draw(transfer_->restrict_load(fine_load));
    Value value;
    value.at = density_.linearize(draw.m, {tolerance_for_averages, false});
    if (!value.at)
      return {};
    value.log_weight = draw.log_ratio - value.at->potential;
    return value;
  }
} // namespace varfield
