#include <cmath>
#include <limits>
#include <varfield/newton.h>
#include <varfield/sweep.h>

namespace varfield
{
  Sweep::Sweep(const LogDensity &density, const Family &family, const DrawRange &draws, const CoarsePosterior *coarse)
      : density_(density),
        coarse_(coarse),
        n_draws_(draws.count),
        prior_gradient_(density.prior().precision(family.mean()))
  {
    if (coarse != nullptr || (family.follows_curvature() && !density.keeps_linearizations(draws.count)))
    {
      // In a basis of the whole space there is nothing that a sketch would leave out; with a coarse posterior it is the
      // sketch that corrects.
      const auto correction = family.low_rank_correction();
      if (correction && (coarse != nullptr || correction->modes.cols() < density.prior().layout().n_global()))
        sketch_ = std::make_unique<CurvatureSketch>(
            density, *correction, DrawKey{draws.seed, Stream::sketch, 1000 * draws.first, 1.}, coarse);
    }
    solve_draws(family, draws);
    average_gradients();
    if (sketch_)
      sketch_->finish(n_draws_);
  }

  void Sweep::solve_draws(const Family &family, const DrawRange &draws)
  {
    const GaussianPrior &prior = density_.prior();
    Matrix on_coarse_mesh      = Matrix::Zero(n_draws_, 2); // log weight and potential
    elbo_                      = average_over_draws(
                             density_.groups(), family, draws,
                             [&](unsigned int k, const DrawKey &key) -> std::optional<DrawValue>
                             {
          const Draw draw = family.sample(key);
          Solved solved{k, key, {}, density_.linearize(draw.m, {tolerance_for_averages, false}), {}, {}};
          if (!solved.at)
            return {};
          const double potential = solved.at->potential;
          solved.gradient        = std::move(solved.at->gradient);
          std::optional<CoarsePosterior::Value> partner;
          if (coarse_ != nullptr)
          {
            partner = coarse_->linearize(prior.random_load(standard_normal(prior.noise_layout(), key)));
            if (!partner)
              return {};
            on_coarse_mesh.row(k) << partner->log_weight, partner->at->potential;
            solved.uncoupled = solved.gradient;
            solved.coarse    = partner->at->gradient;
          }
          if (sketch_)
          {
            sketch_->add(*solved.at, partner ? partner->at.get() : nullptr);
            solved.at.reset();
          }
          solved_.push_back(std::move(solved));
          return DrawValue{draw.log_ratio, potential};
        });
    if (coarse_ != nullptr)
      correct_elbo(on_coarse_mesh);
  }

  /// The estimates, from those on the coarse mesh and the differences to it.
  void Sweep::correct_elbo(const Matrix &on_coarse_mesh)
  {
    Matrix numbers = on_coarse_mesh;
    agreed_sum(density_.groups(), density_.prior().layout(), numbers);
    const auto corrected =
        [](Estimate own, const std::vector<double> &values, const Vector &less, const Estimate &known)
    {
      std::vector<double> differences = values;
      for (std::size_t k = 0; k < differences.size(); ++k)
        differences[k] -= less[static_cast<Index>(k)];
      const Estimate change = mean_and_error(differences, true);
      own.value             = known.value + change.value;
      own.error             = std::hypot(known.error, change.error);
      return own;
    };
    elbo_.elbo   = corrected(elbo_.elbo, elbo_.log_weights, numbers.col(0), coarse_->elbo().elbo);
    elbo_.misfit = corrected(elbo_.misfit, elbo_.potentials, numbers.col(1), coarse_->elbo().misfit);
  }

  void Sweep::average_gradients()
  {
    const SampleGroups &groups = density_.groups();
    Vector sum = Vector::Zero(density_.prior().layout().n_local()), known = sum;
    if (coarse_ != nullptr)
    {
      const auto n         = static_cast<Index>(solved_.size());
      const Vector average = coarse_->gradient();
      MultiVector block(average.size(), n + 1);
      for (Index j = 0; j < n; ++j)
        block.col(j) = solved_[static_cast<std::size_t>(j)].coarse;
      block.col(n) = average;
      groups.together([&] { block = coarse_->transfer().prolongate_dual(block); });
      for (Index j = 0; j < n; ++j)
        solved_[static_cast<std::size_t>(j)].gradient -= block.col(j);
      known = block.col(n);
    }
    for (const Solved &solved : solved_)
      sum += solved.gradient;
    groups.sum(sum);
    gradient_ = sum / n_draws_ + known + prior_gradient_;
    groups.broadcast(gradient_);
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
    // Averages over antithetic pairs: their scatter is the sampling error of the average over all.
    const Index n_pairs  = static_cast<Index>(solved_.size() / 2);
    const auto pair_mean = [&](Index j, Vector Solved::*gradient)
    {
      const auto first = static_cast<std::size_t>(2 * j);
      return Vector(0.5 * (solved_[first].*gradient + solved_[first + 1].*gradient));
    };
    const SampleGroups &groups = density_.groups();
    const double n             = n_draws_ / 2;
    const auto columns         = [&](Vector Solved::*gradient)
    {
      MultiVector deviations(gradient_.size(), n_pairs);
      for (Index j = 0; j < n_pairs; ++j)
        deviations.col(j) = pair_mean(j, gradient);
      Vector mean = deviations.rowwise().sum();
      groups.sum(mean);
      deviations.colwise() -= mean / n;
      return deviations;
    };
    MultiVector block(gradient_.size(), 1);
    block.col(0)      = gradient_;
    const auto append = [&block](const MultiVector &more)
    {
      block.conservativeResize(Eigen::NoChange, block.cols() + more.cols());
      block.rightCols(more.cols()) = more;
    };
    append(columns(&Solved::gradient));
    if (coarse_ != nullptr)
      append(columns(&Solved::uncoupled));
    Vector squares;
    groups.together(
        [&]
        {
          squares =
              density_.prior().layout().column_dots(block, apply_approximation(density_.prior(), block, approximation));
        });
    const auto noise = [&](Index first)
    { return density_.agreed(groups.sum(squares.segment(first, n_pairs).sum()) / (n * (n - 1.))); };
    MeanResidual result;
    result.value           = density_.agreed(std::max(0., squares[0]));
    result.noise           = noise(1);
    result.uncoupled_noise = coarse_ != nullptr ? noise(1 + n_pairs) : result.noise;
    return result;
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
