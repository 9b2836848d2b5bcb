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
                         [this](const SearchEnd &end) { return end.converged && is_same(end); });
  }

  double SeveralStarts::best_elsewhere() const
  {
    double best = std::numeric_limits<double>::infinity();
    for (const SearchEnd &end : ends)
      if (end.converged && !is_same(end))
        best = std::min(best, end.objective - objective);
    if (before && !is_same(*before))
      best = std::min(best, before->objective - objective);
    return best;
  }

  void SeveralStarts::keep(Archive &archive, const Layout &layout)
  {
    // Ends and the point before, one row for each.
    Matrix rows(static_cast<Index>(ends.size() + (before ? 1 : 0)), 3);
    const auto row_of = [](const SearchEnd &end)
    { return Eigen::RowVector3d(end.converged, end.objective, end.distance); };
    for (std::size_t k = 0; k < ends.size(); ++k)
      rows.row(static_cast<Index>(k)) = row_of(ends[k]);
    bool has_before = before.has_value(), has_better = better.has_value();
    if (has_before)
      rows.row(rows.rows() - 1) = row_of(*before);
    MultiVector points(layout.n_local(), static_cast<Index>(elsewhere.size() + (has_better ? 1 : 0)));
    for (std::size_t k = 0; k < elsewhere.size(); ++k)
      points.col(static_cast<Index>(k)) = elsewhere[k];
    if (has_better)
      points.col(points.cols() - 1) = *better;
    archive.number("objective", objective);
    archive.number("gained", gained);
    archive.number("has before", has_before);
    archive.number("has better", has_better);
    archive.numbers("ends", rows);
    archive.columns("points", layout, points);
    if (!archive.is_reading())
      return;
    const auto end_of = [&](Index k) { return SearchEnd{rows(k, 0) > 0., rows(k, 1), rows(k, 2)}; };
    ends.clear();
    elsewhere.clear();
    for (Index k = 0; k + (has_before ? 1 : 0) < rows.rows(); ++k)
      ends.push_back(end_of(k));
    if (has_before)
      before = end_of(rows.rows() - 1);
    for (Index k = 0; k + (has_better ? 1 : 0) < points.cols(); ++k)
      elsewhere.push_back(points.col(k));
    if (has_better)
      better = points.col(points.cols() - 1);
  }

  SeveralStarts search_from_prior(const LogDensity &density, const MapSolver &solver, const Vector &found,
                                  unsigned int n, std::uint64_t seed, const StopCheck &stop)
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
    groups.together([&] { result.objective = objective(found).value_or(std::numeric_limits<double>::infinity()); });
    result.objective      = groups.broadcast(result.objective);
    Matrix numbers        = Matrix::Zero(n, 3); // of every search: converged, objective, distance
    MultiVector ends      = MultiVector::Zero(found.size(), n);
    const Monitor monitor = [&](const IterationReport &)
    { return result.interrupted = result.interrupted || (stop && stop(alone)); };
    for (unsigned int k = groups.group(); k < n && !result.interrupted; k += groups.n_groups())
    {
      try
      {
        Vector m              = prior.draw({seed, Stream::starts, k, 1.});
        const Termination end = solver.minimize(own, m, monitor);
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
    result.interrupted = groups.sum(result.interrupted ? 1. : 0.) > 0.;
    if (result.interrupted)
      return result;
    agreed_sum(groups, layout, numbers);
    groups.sum(ends);
    const auto distance = [&](const Vector &a, const Vector &b)
    {
      const Vector step = a - b;
      return density.agreed(std::sqrt(layout.dot(step, prior.precision(step))));
    };
    // All points, the one found first.
    std::vector<std::pair<double, Vector>> points{{result.objective, found}};
    for (unsigned int k = 0; k < n; ++k)
    {
      result.ends.push_back({numbers(k, 0) > 0., numbers(k, 1), numbers(k, 2)});
      if (result.ends.back().converged && !result.is_same(result.ends.back()))
        points.emplace_back(numbers(k, 1), ends.col(k));
    }
    const auto best =
        std::min_element(points.begin(), points.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
    if (best->first < result.objective - SeveralStarts::same)
    {
      result.gained    = result.objective - best->first;
      result.better    = best->second;
      result.objective = best->first;
      std::iter_swap(points.begin(), best);
      // A search that ended at the point found is now elsewhere.
      for (unsigned int k = 0; k < n; ++k)
        result.ends[k].distance = distance(ends.col(k), points[0].second);
      const auto &before = points[static_cast<std::size_t>(best - points.begin())];
      result.before      = SearchEnd{true, before.first, distance(found, points[0].second)};
    }
    std::stable_sort(points.begin() + 1, points.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
    for (std::size_t i = 1; i < points.size(); ++i)
    {
      bool is_new = true;
      for (std::size_t j = 0; j < i && is_new; ++j)
        is_new = std::abs(points[i].first - points[j].first) >= SeveralStarts::same ||
                 distance(points[i].second, points[j].second) >= SeveralStarts::near;
      if (is_new)
        result.elsewhere.push_back(points[i].second);
    }
    return result;
  }
} // namespace varfield
