#include <cmath>
#include <limits>
#include <varfield/newton.h>
#include <varfield/sweep.h>

namespace varfield
{
  Sweep::Sweep(const LogDensity &density, const Family &family, const DrawRange &draws)
      : density_(density), n_draws_(draws.count), prior_gradient_(density.prior().precision(family.mean()))
  {
    if (family.follows_curvature() && !density.keeps_linearizations(draws.count))
      if (auto correction = family.low_rank_correction())
        sketch_ = std::make_unique<CurvatureSketch>(
            density, OrthonormalBlock{std::move(correction->modes), std::move(correction->dual)},
            DrawKey{draws.seed, Stream::probing, 1000 * (1 + draws.first), 1.});
    Vector sum = Vector::Zero(density.prior().layout().n_local());
    elbo_      = average_over_draws(density.groups(), family, draws,
                                    [&](unsigned int k, const DrawKey &key) -> std::optional<DrawValue>
                                    {
                                 const Draw draw = family.sample(key);
                                 auto at         = density.linearize(draw.m);
                                 if (!at)
                                   return {};
                                 const double potential = at->potential;
                                 if (sketch_)
                                   sketch_->add(*at);
                                 sum += at->gradient;
                                 Vector gradient = std::move(at->gradient);
                                 if (sketch_)
                                   at.reset();
                                 solved_.push_back({k, key, std::move(gradient), std::move(at)});
                                 return DrawValue{draw.log_ratio, potential};
                               });
    density.groups().sum(sum);
    gradient_ = sum / n_draws_ + prior_gradient_;
    density.groups().broadcast(gradient_);
    if (sketch_)
      sketch_->finish(n_draws_);
  }

  Curvature Sweep::curvature() const
  {
    if (sketch_)
      return Curvature(density_, *sketch_);
    std::vector<const Linearization *> local;
    for (const Solved &s : solved_)
      local.push_back(s.at.get());
    return Curvature(density_, local, n_draws_, true);
  }

  MeanResidual Sweep::residual(const LowRankCorrection *approximation) const
  {
    // Gradients of antithetic pairs: their scatter is the sampling error of the average.
    const Index n_pairs = static_cast<Index>(solved_.size() / 2);
    MultiVector deviations(gradient_.size(), n_pairs + 1);
    for (Index j = 0; j < n_pairs; ++j)
      deviations.col(j) = 0.5 * (solved_[static_cast<std::size_t>(2 * j)].gradient +
                                 solved_[static_cast<std::size_t>(2 * j + 1)].gradient) +
                          prior_gradient_ - gradient_;
    deviations.col(n_pairs) = gradient_;
    Vector squares;
    const SampleGroups &groups = density_.groups();
    groups.together(
        [&]
        {
          squares = density_.prior().layout().column_dots(
              deviations, apply_approximation(density_.prior(), deviations, approximation));
        });
    const double n = n_draws_ / 2;
    return {density_.agreed(std::max(0., squares[n_pairs])),
            density_.agreed(groups.sum(squares.head(n_pairs).sum()) / (n * (n - 1.)))};
  }

  Estimate Sweep::gain_of(const Family &changed) const
  {
    Vector gain = Vector::Zero(n_draws_);
    for (const Solved &s : solved_)
    {
      const auto log_weight = log_weight_at(density_, changed, s.key);
      gain[s.k] = log_weight ? *log_weight - elbo_.log_weights[s.k] : std::numeric_limits<double>::infinity();
    }
    density_.groups().sum(gain);
    density_.groups().broadcast(gain);
    density_.prior().layout().broadcast(gain.data(), static_cast<std::size_t>(gain.size()));
    return mean_and_error({gain.data(), gain.data() + gain.size()}, true);
  }
} // namespace varfield
