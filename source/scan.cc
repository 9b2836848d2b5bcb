#include <deal.II/base/mpi.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>
#include <varfield/hyper_inference.h>
#include <varfield/petsc_options.h>
#include <varfield/scan.h>
#include <varfield/text.h>
#include <varfield/timing.h>
#include <varfield/trust.h>

namespace varfield
{
  void VariantResult::keep(Archive &archive)
  {
    archive.text("name", name);
    archive.text("status", status);
    for (const auto &[key, number] :
         {std::pair("ELBO", &elbo), std::pair("error of the ELBO", &elbo_error),
          std::pair("log evidence", &log_evidence), std::pair("error of the log evidence", &log_evidence_error),
          std::pair("k-hat", &k), std::pair("chi2", &reduced_chi2), std::pair("solves", &solves),
          std::pair("seconds", &seconds)})
      archive.number(key, *number);
    archive.number("converged", converged);
  }

  void ModelScan::compare()
  {
    double best = -std::numeric_limits<double>::infinity(), sum = 0.;
    for (const VariantResult &variant : variants)
      if (std::isfinite(variant.log_evidence))
        best = std::max(best, variant.log_evidence);
    for (VariantResult &variant : variants)
      if (std::isfinite(variant.log_evidence))
      {
        variant.difference = variant.log_evidence - best;
        sum += std::exp(variant.difference);
      }
    for (VariantResult &variant : variants)
      variant.probability = std::exp(variant.difference) / sum;
  }

  namespace
  {
    std::string right(double value, int width, int digits)
    {
      std::ostringstream out;
      out << std::setw(width);
      if (std::isfinite(value))
        out << std::fixed << std::setprecision(digits) << value;
      else
        out << "-";
      return out.str();
    }

    Cell cell_of(double value)
    {
      return std::isfinite(value) ? Cell(value) : Cell("");
    }
  } // namespace

  std::vector<std::string> ModelScan::lines() const
  {
    std::size_t width = 9;
    for (const VariantResult &variant : variants)
      width = std::max(width, variant.name.size() + 2);
    std::vector<std::string> result{
        padded("variant", width) +
        "log evidence   error  difference  probability        ELBO   error  k-hat  chi2/df  solves  seconds  status"};
    for (const VariantResult &v : variants)
      result.push_back(padded(v.name, width) + right(v.log_evidence, 12, 3) + right(v.log_evidence_error, 8, 3) +
                       right(v.difference, 12, 3) + right(v.probability, 13, 4) + right(v.elbo, 12, 3) +
                       right(v.elbo_error, 8, 3) + right(v.k, 7, 2) + right(v.reduced_chi2, 9, 2) +
                       right(v.solves, 8, 0) + right(v.seconds, 9, 1) + "  " + v.status);
    return result;
  }

  const std::vector<std::string> &ModelScan::column_names()
  {
    static const std::vector<std::string> names{
        "name",       "log_evidence", "log_evidence_error", "difference", "probability", "elbo",
        "elbo_error", "k_hat",        "reduced_chi2",       "solves",     "seconds",     "status"};
    return names;
  }

  std::vector<std::vector<Cell>> ModelScan::rows() const
  {
    std::vector<std::vector<Cell>> result;
    for (const VariantResult &v : variants)
      result.push_back({v.name, cell_of(v.log_evidence), cell_of(v.log_evidence_error), cell_of(v.difference),
                        cell_of(v.probability), cell_of(v.elbo), cell_of(v.elbo_error), cell_of(v.k),
                        cell_of(v.reduced_chi2), v.solves, v.seconds, v.status});
    return result;
  }

  namespace
  {
    std::vector<Variant> variants_of(const Table &table)
    {
      if (table.names()[0] != "name")
        throw UserError("The table “" + table.path() +
                        "”: the first column has to be “name”, that of the variants, but found “" + table.names()[0] +
                        "”. The others are entries that change, as in “Fields/log T/spde/Correlation length”.");
      return variants_in(table, {},
                         [](const Assignment &entry) -> std::string
                         {
                           if (entry.path() == "Dimension")
                             return "cannot differ between variants: it is that of the whole run.";
                           const std::string first = entry.section.empty() ? "" : entry.section[0];
                           return first == "Scan" || first == "Output"
                                      ? "is in a section that is common to all variants; leave it out."
                                      : "";
                         });
    }

    template <int dim>
    void refuse_other_data(const Measurements<dim> &wanted, const Measurements<dim> &found)
    {
      const std::string consequence =
          " Evidences of different data cannot be compared; noise models and everything else may differ.";
      if (found.size() != wanted.size())
        throw UserError("it has " + counted(found.size(), "measurement") + ", but the case has " +
                        std::to_string(wanted.size()) + "." + consequence);
      for (Index i = 0; i < wanted.size(); ++i)
      {
        const auto k        = static_cast<std::size_t>(i);
        const auto [s, row] = found.origin(i);
        const auto where    = found.sets()[s]->table.where(row);
        if (found.used()[k] != wanted.used()[k])
          throw UserError("the measurement in " + where + " is " + (found.used()[k] ? "used" : "held out") +
                          ", but the case has it " + (wanted.used()[k] ? "used" : "held out") + "." + consequence);
        if (found.used()[k] && found.values()[i] != wanted.values()[i])
          throw UserError("the measurement in " + where + " is " + to_text(found.values()[i]) + ", but the case has " +
                          to_text(wanted.values()[i]) + " in its place." + consequence);
      }
    }

    template <int dim>
    void check_variant(const Case<dim> &problem, const Variant &variant)
    {
      const OwnPetscOptions petsc_options;
      const auto changed = problem.variant(variant.changes);
      changed->check();
      if (changed->inference().method == "map")
        throw UserError("Inference/Method: “map” has no evidence. Use “variational” or “laplace”.");
      try
      {
        changed->build();
      }
      catch (const ComputationError &)
      {
        return; // is what its row will say
      }
      refuse_other_data(problem.measurements(), changed->measurements());
    }

    /// Right-hand sides so far, of this rank.
    double solves_so_far()
    {
      double sum = 0.;
      for (const StageRecord &record : stage_records())
        for (const Work kind : {Work::state_solves, Work::linear_solves})
          sum += record.counts[static_cast<std::size_t>(kind)];
      return sum;
    }

    double figure(const Finding &finding, const std::string &name)
    {
      for (const auto &[key, value] : finding.figures)
        if (key == name)
          return value;
      return VariantResult::none;
    }

    /// The numbers of the trust report.
    void read_findings(const TrustReport &trust, VariantResult &row)
    {
      double chi = 0., freedom = 0.;
      for (const Finding &finding : trust.findings)
        if (finding.name == "evidence")
        {
          row.log_evidence       = figure(finding, "log_evidence");
          row.log_evidence_error = figure(finding, "error");
        }
        else if (finding.name == "k-hat")
          row.k = figure(finding, "k");
        else if (finding.name.rfind("data fit, ", 0) == 0)
        {
          chi += figure(finding, "reduced_chi2") * figure(finding, "freedom");
          freedom += figure(finding, "freedom");
        }
      row.reduced_chi2 = chi / freedom;
    }

    template <int dim>
    void read_results(const Case<dim> &problem, const Results<dim> &results, VariantResult &row)
    {
      const Estimate &elbo = results.averages.elbo.elbo;
      if (elbo.draws > 0)
      {
        row.elbo = row.log_evidence = elbo.value;
        row.elbo_error = row.log_evidence_error = elbo.error;
      }
      read_findings(judge(problem, results), row);
      if (results.hyper)
      {
        row.elbo               = results.hyper->log_evidence;
        row.elbo_error         = results.hyper->surface_error;
        row.log_evidence       = results.hyper->weighted_log_evidence;
        row.log_evidence_error = std::hypot(results.hyper->surface_error, row.log_evidence_error);
      }
      row.converged = results.map.converged && results.optimization.converged;
      row.status    = row.converged
                          ? "converged"
                          : "not converged: " + (results.map.converged ? results.optimization.reason : results.map.reason);
    }

    template <int dim>
    VariantResult infer_variant(const Case<dim> &problem, const Variant &variant, const Report &report)
    {
      const MPI_Comm world  = problem.groups().world();
      const double before   = solves_so_far();
      unsigned int n_groups = 1;
      VariantResult row;
      row.name = variant.name;
      const OwnPetscOptions petsc_options;
      try
      {
        auto changed = problem.variant(variant.changes);
        changed->check();
        changed->build();
        changed->begin_faults();
        n_groups                   = changed->groups().n_groups();
        Report silent              = report.silent(changed->groups());
        const Results<dim> results = infer_all(changed, silent);
        if (results.interrupted)
          row.status = "stopped";
        else
          read_results(*changed, results, row);
      }
      catch (const StoppedEarly &)
      {
        row.status = "stopped";
      }
      catch (const ComputationError &error)
      {
        row.status = "failed: " + normalize(error.what());
      }
      catch (const UserError &error)
      {
        row.status = "failed: " + normalize(error.what());
      }
      // Ranks that share a mesh count the same solves.
      row.solves = dealii::Utilities::MPI::sum(solves_so_far() - before, world) * n_groups /
                   dealii::Utilities::MPI::n_mpi_processes(world);
      return row;
    }
  } // namespace

  template <int dim>
  std::vector<Variant> read_variants(const Case<dim> &problem)
  {
    const std::string &file = problem.scan().file;
    if (trim(file).empty())
      throw UserError("Scan/File: names no table of variants, which “varfield scan” needs: a CSV file with the column "
                      "“name” and one for each entry that changes, as in “Fields/log T/spde/Correlation length”.");
    const Table table   = Table::read(file, problem.groups().world(), "table Scan/File");
    const auto variants = variants_of(table);
    for (unsigned int row = 0; row < table.n_rows(); ++row)
      try
      {
        check_variant(problem, variants[row]);
      }
      catch (const UserError &error)
      {
        throw UserError(table.where(row) + ", variant “" + variants[row].name + "”: " + error.what());
      }
    return variants;
  }

  template <int dim>
  ModelScan scan(const Case<dim> &problem, const std::vector<Variant> &variants, const Report &report,
                 const FinishedParts *parts)
  {
    ModelScan result;
    for (const Variant &variant : variants)
    {
      const double began = report.seconds();
      result.interrupted = result.interrupted || report.should_stop();
      if (result.interrupted)
      {
        result.variants.emplace_back();
        result.variants.back().name   = variant.name;
        result.variants.back().status = "not run";
        continue;
      }
      VariantResult row;
      get_part(
          parts, "variant-" + std::to_string(result.variants.size()), problem.groups(),
          [&](Archive &archive) { row.keep(archive); },
          [&]
          {
            row         = infer_variant(problem, variant, report);
            row.seconds = report.seconds() - began;
            return row.status != "stopped" && row.status.rfind("failed", 0) != 0;
          });
      result.interrupted = row.status == "stopped";
      report.line("  " + row.name + ": log evidence " + right(row.log_evidence, 0, 3) + ", " +
                  right(row.seconds, 0, 1) + " s, " + row.status);
      result.variants.push_back(std::move(row));
    }
    result.compare();
    return result;
  }

  template std::vector<Variant> read_variants(const Case<2> &);
  template std::vector<Variant> read_variants(const Case<3> &);
  template ModelScan scan(const Case<2> &, const std::vector<Variant> &, const Report &, const FinishedParts *);
  template ModelScan scan(const Case<3> &, const std::vector<Variant> &, const Report &, const FinishedParts *);
} // namespace varfield
