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
        const std::string name = table.text(row, column);
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
    family.initialize(problem.density().prior(), problem.seed());
    family.set_mean(m);
    if (family.has_natural_step())
    {
      const auto at_map = linearize_at(problem.density(), m, "the MAP point");
      family.natural_step(Curvature(problem.density(), *at_map), 1.);
    }
    if (inference.method == "variational" && result.end.converged)
      result.end = inference.optimizer->maximize(problem.density(), family, problem.seed(), monitor);
    if (result.end.interrupted)
      return result;
    if (inference.method == "variational")
      family.refine(problem.density(), problem.seed(), report.stop_check());
    const Averages averages = average_over_posterior<dim>({&problem}, family, false, report);
    result.mean             = averages.prediction_mean;
    result.deviation        = averages.prediction_deviation;
    result.noise            = problem.measurements().standard_deviations();
    result.end.interrupted  = averages.interrupted || report.should_stop();
    return result;
  }

  namespace
  {
    /// Folds of one case, a round of one for each group after the other.
    template <int dim>
    class Folds
    {
    public:
      Folds(Case<dim> &problem, const Refit<dim> &refit, Report &report, const FinishedParts *parts)
          : problem_(problem),
            refit_(refit),
            report_(report),
            parts_(parts),
            groups_(problem.groups()),
            own_(groups_.n_groups() > 1 ? problem.for_one_group() : nullptr),
            result_(assign_folds(problem))
      {
        const Index n = problem.measurements().size();
        result_.mean = result_.deviation = Vector::Zero(n);
        result_.spreads.resize(static_cast<std::size_t>(n));
      }

      CrossValidation run()
      {
        report_.line("\ncross-validation: the inference again without each of " + std::to_string(result_.folds.size()) +
                     " folds");
        for (std::size_t first = 0; first < result_.folds.size() && !result_.interrupted; first += groups_.n_groups())
          round(first);
        if (!scored_.empty())
          result_.all = score_rows(problem_.measurements(), result_, scored_);
        return std::move(result_);
      }

    private:
      std::vector<Index> rows_of(std::size_t fold) const
      {
        std::vector<Index> rows;
        for (std::size_t i = 0; i < result_.fold_of.size(); ++i)
          if (result_.fold_of[i] == static_cast<int>(fold))
            rows.push_back(static_cast<Index>(i));
        return rows;
      }

      /// One fold in each group; what was found, in all groups.
      void round(std::size_t first)
      {
        const auto &measurements = problem_.measurements();
        // Mean, standard deviation and noise of the predictions; of each fold whether it ended early, badly, or failed.
        Matrix predictions = Matrix::Zero(measurements.size(), 3), ends = Matrix::Zero(groups_.n_groups(), 3);
        groups_.together(
            [&]
            {
              const std::size_t f = first + groups_.group();
              if (f >= result_.folds.size())
                return;
              const auto rows   = rows_of(f);
              const FoldFit fit = infer_without(f, rows);
              const bool failed = !fit.end.interrupted && fit.mean.size() == 0;
              ends.row(groups_.group()) << double(fit.end.interrupted), double(!fit.end.converged), double(failed);
              if (!fit.end.interrupted && !failed)
                predictions(rows, Eigen::all) << fit.mean(rows), fit.deviation(rows), fit.noise(rows);
            });
        const Layout &like = problem_.density().prior().layout();
        agreed_sum(groups_, like, predictions);
        agreed_sum(groups_, like, ends);
        result_.interrupted = report_.should_stop() || ends.col(0).sum() > 0.;
        if (result_.interrupted)
          return;
        const auto spreads = measurements.spreads(predictions.col(1), predictions.col(2));
        for (std::size_t f = first; f < std::min(first + groups_.n_groups(), result_.folds.size()); ++f)
        {
          const auto rows = rows_of(f);
          if (ends(static_cast<Index>(f - first), 2) > 0.)
          {
            result_.failed.push_back(result_.folds[f]);
            result_.of_folds.emplace_back();
            report_.line("  fold " + result_.folds[f] + ": the inference failed");
            continue;
          }
          for (const Index i : rows)
          {
            const NormalMixture &spread                  = spreads[static_cast<std::size_t>(i)];
            result_.mean[i]                              = predictions(i, 0);
            result_.deviation[i]                         = spread.standard_deviation();
            result_.spreads[static_cast<std::size_t>(i)] = spread;
          }
          const bool converged = ends(static_cast<Index>(f - first), 1) == 0.;
          if (!converged)
            result_.not_converged.push_back(result_.folds[f]);
          scored_.insert(scored_.end(), rows.begin(), rows.end());
          add_scores(f, rows, converged);
        }
      }

      FoldFit infer_without(std::size_t f, const std::vector<Index> &rows)
      {
        const std::vector<bool> all = problem_.measurements().used();
        std::vector<bool> used      = all;
        for (const Index i : rows)
          used[static_cast<std::size_t>(i)] = false;
        Case<dim> &of_group = own_ ? *own_ : problem_;
        Report silent       = report_.silent(of_group.groups());
        FoldFit fit;
        get_part(
            parts_, "fold-" + std::to_string(f), of_group.groups(), [&](Archive &archive) { fit.keep(archive); },
            [&]
            {
              try
              {
                fit = refit_(of_group, used, silent);
                return !fit.end.interrupted;
              }
              catch (const std::runtime_error &)
              {
                // Nothing was predicted. What was stopped at its beginning has not failed.
                fit.end.interrupted = silent.should_stop();
                return false;
              }
            });
        of_group.use_measurements(all);
        return fit;
      }

      void add_scores(std::size_t f, const std::vector<Index> &rows, bool converged)
      {
        result_.of_folds.push_back(score_rows(problem_.measurements(), result_, rows));
        std::ostringstream line;
        line << "  fold " << result_.folds[f] << ": " << rows.size() << " predicted, root mean square error "
             << std::setprecision(4) << result_.of_folds.back().rmse << (converged ? "" : "; did not converge");
        report_.line(line.str());
      }

      Case<dim> &problem_;
      const Refit<dim> &refit_;
      Report &report_;
      const FinishedParts *const parts_;
      const SampleGroups &groups_;
      const std::unique_ptr<Case<dim>> own_; ///< of this group alone, where there are several
      CrossValidation result_;
      std::vector<Index> scored_; ///< rows of the folds so far
    };
  } // namespace

  template <int dim>
  CrossValidation cross_validate(Case<dim> &problem, const Refit<dim> &refit, Report &report,
                                 const FinishedParts *parts)
  {
    return Folds<dim>(problem, refit, report, parts).run();
  }

  std::vector<std::string> CrossValidation::lines() const
  {
    std::vector<std::string> result{"fold              n        RMSE   in 50 %   in 95 %        NLPD        CRPS"};
    const auto line = [&](const std::string &name, const Scores &scores)
    {
      std::ostringstream out;
      out << padded(name, 12) << std::setw(7) << scores.n << std::setprecision(5) << std::setw(12) << scores.rmse
          << std::setprecision(3) << std::setw(10) << scores.coverage50 << std::setw(10) << scores.coverage95
          << std::setprecision(5) << std::setw(12) << scores.nlpd << std::setw(12) << scores.crps;
      result.push_back(out.str());
    };
    for (std::size_t f = 0; f < of_folds.size(); ++f)
      if (of_folds[f].n > 0)
        line(folds[f], of_folds[f]);
      else
        result.push_back(padded(folds[f], 12) + "  failed");
    line("all", all);
    return result;
  }

  template CrossValidation assign_folds(const Case<2> &);
  template CrossValidation assign_folds(const Case<3> &);
  template CrossValidation cross_validate(Case<2> &, const Refit<2> &, Report &, const FinishedParts *);
  template CrossValidation cross_validate(Case<3> &, const Refit<3> &, Report &, const FinishedParts *);
  template FoldFit infer_again(Case<2> &, const Vector &, const std::vector<bool> &, Report &);
  template FoldFit infer_again(Case<3> &, const Vector &, const std::vector<bool> &, Report &);
} // namespace varfield
