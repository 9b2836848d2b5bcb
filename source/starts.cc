#include <algorithm>
#include <cmath>
#include <limits>
#include <varfield/starts.h>

namespace varfield
{
  unsigned int SeveralStarts::n_converged() const
  {
    return std::count_if(ends.begin(), ends.end(), [](const SearchEnd &end) { return end.converged; });
  }

  unsigned int SeveralStarts::at_the_same() const
  {
    return std::count_if(ends.begin(), ends.end(),
                         [this](const SearchEnd &end)
                         { return end.converged && std::abs(end.objective - objective) < same; });
  }

  double SeveralStarts::best_elsewhere() const
  {
    double best = std::numeric_limits<double>::infinity();
    for (const SearchEnd &end : ends)
      if (end.converged && std::abs(end.objective - objective) >= same)
        best = std::min(best, end.objective - objective);
    return best;
  }

  SeveralStarts search_from_prior(const LogDensity &density, const MapSolver &solver, const Vector &found,
                                  unsigned int n, std::uint64_t seed)
  {
    const SampleGroups &groups = density.groups();
    const GaussianPrior &prior = density.prior();
    const Layout &layout       = prior.layout();
    const SampleGroups alone(groups.space(), 1);
    const InOneGroup own(density, alone);
    const auto objective = [&](const Vector &m) -> std::optional<double>
    {
      const auto potential = own.potential(m);
      if (!potential)
        return {};
      return *potential + 0.5 * layout.dot(m, prior.precision(m));
    };

    SeveralStarts result;
    result.objective = groups.broadcast(objective(found).value_or(std::numeric_limits<double>::infinity()));
    Matrix numbers   = Matrix::Zero(n, 3); // of every search: converged, objective, distance
    MultiVector ends = MultiVector::Zero(found.size(), n);
    for (unsigned int k = groups.group(); k < n; k += groups.n_groups())
    {
      Vector m = prior.draw({seed, Stream::starts, k, 1.});
      try
      {
        const Termination end = solver.minimize(own, m, {});
        if (const auto value = objective(m))
        {
          const Vector step = m - found;
          numbers.row(k) << (end.converged ? 1. : 0.), *value, std::sqrt(layout.dot(step, prior.precision(step)));
          ends.col(k) = m;
        }
      }
      catch (const ComputationError &)
      {
        // Counts as a search that did not converge.
      }
    }
    agreed_sum(groups, layout, numbers);
    groups.sum(ends);
    std::vector<unsigned int> order;
    for (unsigned int k = 0; k < n; ++k)
    {
      result.ends.push_back({numbers(k, 0) > 0., numbers(k, 1), numbers(k, 2)});
      if (result.ends.back().converged && std::abs(numbers(k, 1) - result.objective) >= SeveralStarts::same)
        order.push_back(k);
    }
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return numbers(a, 1) < numbers(b, 1); });
    for (std::size_t i = 0; i < order.size(); ++i)
      if (i == 0 || numbers(order[i], 1) - numbers(order[i - 1], 1) >= SeveralStarts::same)
        result.elsewhere.push_back(ends.col(order[i]));
    if (!order.empty() && numbers(order[0], 1) < result.objective)
      result.better = result.elsewhere[0];
    return result;
  }
} // namespace varfield
