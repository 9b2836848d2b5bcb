#include <cmath>
#include <limits>
#include <varfield/elbo.h>
#include <varfield/exceptions.h>

namespace varfield
{
  Estimate mean_and_error(const std::vector<double> &values, bool antithetic)
  {
    // One pair says nothing about its error: then take the draws one by one.
    const std::size_t per_unit = antithetic && values.size() >= 4 ? 2 : 1;
    std::vector<double> units;
    for (std::size_t k = 0; k < values.size(); k += per_unit)
      units.push_back(per_unit == 2 && k + 1 < values.size() ? 0.5 * (values[k] + values[k + 1]) : values[k]);
    const auto n = static_cast<double>(units.size());
    double sum = 0., squares = 0.;
    for (const double x : values)
      sum += x;
    Estimate result;
    result.draws = static_cast<unsigned int>(values.size());
    result.value = sum / static_cast<double>(values.size());
    for (const double x : units)
      squares += (x - result.value) * (x - result.value);
    result.error = n > 1. ? std::sqrt(squares / (n * (n - 1.))) : std::numeric_limits<double>::infinity();
    return result;
  }

  void ElboEstimate::estimate(bool antithetic)
  {
    const unsigned int failed = elbo.failed;
    elbo                      = mean_and_error(log_weights, antithetic);
    misfit                    = mean_and_error(potentials, antithetic);
    elbo.failed = misfit.failed = failed;
  }

  void ElboEstimate::add(const ElboEstimate &more, bool antithetic)
  {
    log_weights.insert(log_weights.end(), more.log_weights.begin(), more.log_weights.end());
    potentials.insert(potentials.end(), more.potentials.begin(), more.potentials.end());
    elbo.failed += more.elbo.failed;
    kl = more.kl;
    estimate(antithetic);
  }

  void ElboEstimate::keep(Archive &archive)
  {
    for (const auto &[name, estimate] : {std::pair("ELBO ", &elbo), std::pair("misfit ", &misfit)})
      archive.in(name,
                 [&archive, estimate = estimate]
                 {
                   archive.number("value", estimate->value);
                   archive.number("error", estimate->error);
                   archive.number("draws", estimate->draws);
                   archive.number("failed", estimate->failed);
                 });
    archive.number("KL", kl);
    archive.numbers("log weights", log_weights);
    archive.numbers("potentials", potentials);
  }

  Estimate gain(const ElboEstimate &before, const ElboEstimate &after, bool antithetic)
  {
    std::vector<double> differences = after.log_weights;
    for (std::size_t k = 0; k < differences.size(); ++k)
      differences[k] -= before.log_weights[k];
    return mean_and_error(differences, antithetic);
  }

  DrawKey DrawRange::key(unsigned int k) const
  {
    return {seed, stream, antithetic ? k / 2 : k, antithetic && k % 2 == 1 ? -1. : 1.};
  }

  unsigned int DrawRange::group(unsigned int k, unsigned int n_groups) const
  {
    return (antithetic ? k / 2 : k) % n_groups;
  }

  namespace
  {
    /// What is summed over the groups: every entry is set by one of them.
    struct Record
    {
      explicit Record(unsigned int n) : numbers(Matrix::Zero(n, 4)) {}
      auto log_ratio() { return numbers.col(0); }
      auto potential() { return numbers.col(1); }
      auto failed() { return numbers.col(2); }
      auto lost() { return numbers.col(3); }
      template <typename Column>
      unsigned int count(const Column &column) const
      {
        return static_cast<unsigned int>(column.sum());
      }
      Matrix numbers;
    };

    /// What the solver says; nothing also where a linear solve fails, on all ranks of the group alike.
    std::optional<DrawValue> attempt_draw(unsigned int k, const DrawKey &key, const DrawSolver &solver)
    {
      try
      {
        return solver(k, key);
      }
      catch (const ComputationError &)
      {
        return {};
      }
    }

    /// A draw that cannot be solved counts as failed and is replaced; one that no replacement can be found for is lost.
    void solve_draw(const DrawRange &draws, unsigned int k, const DrawSolver &solver, Record &record)
    {
      constexpr unsigned int most_attempts = 4;
      DrawKey key                          = draws.key(draws.first + k);
      for (unsigned int attempt = 0; attempt < most_attempts; ++attempt)
      {
        if (const auto solved = attempt_draw(k, key, solver))
        {
          record.log_ratio()[k] = solved->log_ratio;
          record.potential()[k] = solved->potential;
          return;
        }
        record.failed()[k] = 1.;
        // The other half of the draws first, then other seeds.
        if (attempt == 0)
          key.draw += 0x80000000u;
        else
          key.seed += 0x9E3779B97F4A7C15u;
      }
      record.lost()[k] = 1.;
    }

    std::vector<double> to_std(const Vector &x)
    {
      return {x.data(), x.data() + x.size()};
    }
  } // namespace

  void refuse_failures(unsigned int failed, unsigned int draws, double share, unsigned int lost)
  {
    if (lost > 0 || failed > std::max(1., share * draws))
      throw ComputationError("The model could not be solved at " + std::to_string(failed) + " of " +
                             std::to_string(draws) + " draws of the posterior (replacements failed for " +
                             std::to_string(lost) +
                             "). The posterior reaches into parameters where the model has no solution: a narrower "
                             "prior or a bounded transform helps.");
  }

  ElboEstimate average_over_draws(const SampleGroups &groups, const Family &family, const DrawRange &draws,
                                  const DrawSolver &solver)
  {
    Record record(draws.count);
    for (unsigned int k = 0; k < draws.count; ++k)
      if (draws.group(draws.first + k, groups.n_groups()) == groups.group())
        solve_draw(draws, k, solver, record);
    agreed_sum(groups, family.prior().layout(), record.numbers);
    refuse_failures(record.count(record.failed()), draws.count, draws.most_failed, record.count(record.lost()));

    ElboEstimate result;
    result.log_weights = to_std(record.log_ratio() - record.potential());
    result.potentials  = to_std(record.potential());
    result.elbo.failed = record.count(record.failed());
    result.estimate(draws.antithetic);
    result.kl = groups.broadcast(family.kl());
    return result;
  }

  namespace
  {
    /// Solves at the draws of a family.
    DrawSolver solver_at_draws(const LogDensity &density, const Family &family)
    {
      return [&](unsigned int, const DrawKey &key) -> std::optional<DrawValue>
      {
        const Draw draw      = family.sample(key);
        const auto potential = density.potential(draw.m);
        if (!potential)
          return {};
        return DrawValue{draw.log_ratio, *potential};
      };
    }
  } // namespace

  std::optional<double> log_weight_at(const LogDensity &density, const Family &family, const DrawKey &key)
  {
    const auto solved = attempt_draw(0, key, solver_at_draws(density, family));
    return solved ? std::optional(solved->log_ratio - solved->potential) : std::nullopt;
  }

  ElboEstimate estimate_elbo(const LogDensity &density, const Family &family, const DrawRange &draws)
  {
    return average_over_draws(density.groups(), family, draws, solver_at_draws(density, family));
  }
} // namespace varfield
