#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <sstream>
#include <varfield/cross_validation.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// Folds of equal size, the rows in an order by lot.
    void by_lot(unsigned int n_folds, std::uint64_t seed, const std::vector<Index> &rows, CrossValidation &result)
    {
      std::vector<std::pair<double, Index>> lots;
      for (const Index i : rows)
        lots.emplace_back(uniform_number({seed, Stream::folds, 0, 1.}, static_cast<std::uint32_t>(i)), i);
      std::sort(lots.begin(), lots.end());
      for (unsigned int f = 0; f < n_folds; ++f)
        result.folds.push_back(std::to_string(f + 1));
      for (std::size_t k = 0; k < lots.size(); ++k)
        result.fold_of[static_cast<std::size_t>(lots[k].second)] = static_cast<int>(k % n_folds);
    }

    template <int dim>
    void by_column(const Measurements<dim> &measurements, const std::string &column, const std::vector<Index> &rows,
                   CrossValidation &result)
    {
      for (const Index i : rows)
      {
        const auto [s, row] = measurements.origin(i);
        const auto &table   = measurements.sets()[s]->table;
        if (!table.has(column))
          throw UserError("Cross-validation/Column: the table “" + table.path() + "” has no column “" + column + "”" +
                          did_you_mean(column, table.names()) + ".");
        const std::string name = table.strings(column)[row];
        auto found             = std::find(result.folds.begin(), result.folds.end(), name);
        if (found == result.folds.end())
          found = result.folds.insert(found, name);
        result.fold_of[static_cast<std::size_t>(i)] = static_cast<int>(found - result.folds.begin());
      }
    }

    template <int dim>
    bool is_excluded(const Measurements<dim> &measurements, Index i, const std::string &conditions)
    {
      const auto [s, row] = measurements.origin(i);
      return !rows_in_use(measurements.sets()[s]->table, conditions, "Cross-validation/Exclude")[row];
    }

    template <int dim>
    Scores score_rows(const Measurements<dim> &measurements, const CrossValidation &found,
                      const std::vector<Index> &rows)
    {
      std::vector<NormalMixture> spreads;
      for (const Index i : rows)
        spreads.push_back(found.spreads[static_cast<std::size_t>(i)]);
      return score(measurements.values()(rows), found.mean(rows), spreads);
    }
  } // namespace

  template <int dim>
  CrossValidation assign_folds(const Case<dim> &problem)
  {
    const auto &settings     = problem.cross_validation();
    const auto &measurements = problem.measurements();
    CrossValidation result;
    result.fold_of.assign(static_cast<std::size_t>(measurements.size()), -1);
    std::vector<Index> rows;
    for (Index i = 0; i < measurements.size(); ++i)
      if (measurements.used()[static_cast<std::size_t>(i)] && !is_excluded(measurements, i, settings.exclude))
        rows.push_back(i);
    const std::string column = trim(settings.column);
    if (column.empty())
      by_lot(settings.folds, problem.seed(), rows, result);
    else
      by_column(measurements, column, rows, result);
    if (result.folds.size() < 2 || result.folds.size() > rows.size())
      throw UserError("Cross-validation/" + std::string(column.empty() ? "Folds" : "Column") + ": " +
                      counted(result.folds.size(), "fold") + " of " + counted(rows.size(), "row") +
                      " make no sense: from 2 to as many as there are rows are possible.");
    return result;
  }

  template <int dim>
  FoldFit infer_again(Case<dim> &problem, const Vector &map, const std::vector<bool> &used, Report &report)
  {
    problem.use_measurements(used);
    const InferenceSettings &inference = problem.inference();
    const Monitor monitor              = [&](const IterationReport &) { return report.should_stop(); };
    Family &family                     = *inference.family;
    Vector m                           = map;
    FoldFit result;
    result.end = inference.map.minimize(problem.density(), m, monitor);
    family.set_mean(m);
    if (family.has_natural_step())
    {
      const auto at_map = problem.density().linearize(m, {0., true});
      if (!at_map)
        throw ComputationError("The model cannot be linearised at the MAP point.");
      family.natural_step(Curvature(problem.density(), *at_map), 1.);
    }
    if (inference.method == "variational" && result.end.converged)
      result.end = inference.optimizer->maximize(problem.density(), family, problem.seed(), monitor);
    if (result.end.interrupted)
      return result;
    if (inference.method == "variational")
      family.refine(problem.density(), problem.seed());
    const Averages averages = average_over_posterior<dim>({&problem}, family, false, report);
    result.mean             = averages.prediction_mean;
    result.deviation        = averages.prediction_deviation;
    result.noise            = problem.measurements().standard_deviations();
    return result;
  }

  template <int dim>
  CrossValidation cross_validate(const Case<dim> &problem,
                                 const std::function<FoldFit(const std::vector<bool> &used)> &refit, Report &report)
  {
    const auto &measurements    = problem.measurements();
    const std::vector<bool> all = measurements.used();
    CrossValidation result      = assign_folds(problem);
    result.mean = result.deviation = Vector::Zero(measurements.size());
    result.spreads.resize(static_cast<std::size_t>(measurements.size()));
    std::vector<Index> scored;
    report.line("\ncross-validation: the inference again without each of " + std::to_string(result.folds.size()) +
                " folds");
    for (std::size_t f = 0; f < result.folds.size(); ++f)
    {
      std::vector<bool> used = all;
      std::vector<Index> rows;
      for (std::size_t i = 0; i < used.size(); ++i)
        if (result.fold_of[i] == static_cast<int>(f))
        {
          used[i] = false;
          rows.push_back(static_cast<Index>(i));
        }
      const FoldFit fit  = refit(used);
      result.interrupted = fit.end.interrupted || report.should_stop();
      if (result.interrupted)
        break;
      result.mean(rows)      = fit.mean(rows);
      result.deviation(rows) = (fit.deviation.cwiseAbs2() + fit.noise.cwiseAbs2()).cwiseSqrt()(rows);
      const auto spreads     = measurements.spreads(fit.deviation, fit.noise);
      for (const Index i : rows)
        result.spreads[static_cast<std::size_t>(i)] = spreads[static_cast<std::size_t>(i)];
      result.of_folds.push_back(score_rows(measurements, result, rows));
      scored.insert(scored.end(), rows.begin(), rows.end());
      if (!fit.end.converged)
        result.not_converged.push_back(result.folds[f]);
      std::ostringstream line;
      line << "  fold " << result.folds[f] << ": " << rows.size() << " predicted, root mean square error "
           << std::setprecision(4) << result.of_folds.back().rmse
           << (fit.end.converged ? "" : "; did not converge: " + fit.end.reason);
      report.line(line.str());
    }
    result.all = score_rows(measurements, result, scored);
    return result;
  }

  std::vector<std::string> CrossValidation::lines() const
  {
    std::vector<std::string> result{"fold              n        RMSE   in 50 %   in 95 %        NLPD        CRPS"};
    const auto line = [&](const std::string &name, const Scores &scores)
    {
      std::ostringstream out;
      out << std::left << std::setw(12) << name << std::right << std::setw(7) << scores.n << std::setprecision(5)
          << std::setw(12) << scores.rmse << std::setprecision(3) << std::setw(10) << scores.coverage50 << std::setw(10)
          << scores.coverage95 << std::setprecision(5) << std::setw(12) << scores.nlpd << std::setw(12) << scores.crps;
      result.push_back(out.str());
    };
    for (std::size_t f = 0; f < of_folds.size(); ++f)
      line(folds[f], of_folds[f]);
    line("all", all);
    return result;
  }

  template CrossValidation assign_folds(const Case<2> &);
  template CrossValidation assign_folds(const Case<3> &);
  template CrossValidation cross_validate(const Case<2> &, const std::function<FoldFit(const std::vector<bool> &)> &,
                                          Report &);
  template CrossValidation cross_validate(const Case<3> &, const std::function<FoldFit(const std::vector<bool> &)> &,
                                          Report &);
  template FoldFit infer_again(Case<2> &, const Vector &, const std::vector<bool> &, Report &);
  template FoldFit infer_again(Case<3> &, const Vector &, const std::vector<bool> &, Report &);
} // namespace varfield
