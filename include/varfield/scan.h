#ifndef varfield_scan_h
#define varfield_scan_h

#include <varfield/report.h>
#include <varfield/run.h>
#include <varfield/variants.h>

namespace varfield
{
  /// What one variant has to say for itself. Numbers that there are none of are not a number.
  struct VariantResult
  {
    static constexpr double none = std::numeric_limits<double>::quiet_NaN();

    std::string name, status; ///< converged, not converged: …, failed: …, stopped, not run
    double elbo = none, elbo_error = none;
    /// ELBO plus what importance weights add to it; with hyper-parameters HyperPosterior::log_evidence, without error.
    double log_evidence = none, log_evidence_error = none;
    double k            = none; ///< k-hat of these weights; with hyper-parameters at their best values
    double difference   = none; ///< of log_evidence to the largest, at most 0
    double probability  = none; ///< of the model, all having the same before the data
    double reduced_chi2 = none; ///< of all data, as in the trust report
    double solves       = 0.;   ///< right-hand sides for states, tangents and adjoints, of all groups and meshes
    double seconds      = 0.;
    bool converged      = false;

    void keep(Archive &archive);
  };

  /// The same data explained by several models: which of them did the data expect most? Bayes factors (Kass, Raftery
  /// 1995, Journal of the American Statistical Association 90, 773–795) by estimates of the log evidence.
  struct ModelScan
  {
    std::vector<VariantResult> variants;
    bool interrupted = false;

    /// Sets `difference` and `probability` ∝ exp(log evidence).
    void compare();
    std::vector<std::string> lines() const;
    static const std::vector<std::string> &column_names();
    std::vector<std::vector<Cell>> rows() const;
  };

  /// The rows of the table Scan/File: a column “name”, and one for each entry that changes, named by its path; an empty
  /// cell changes nothing. Names of files in it are relative to it. Every variant is read, checked and built once:
  /// UserError that begins with its line and its name where one is not in order, has no evidence or infers from other
  /// data than `problem`, in values or in which of them are used. Collective over the world.
  template <int dim>
  std::vector<Variant> read_variants(const Case<dim> &problem);

  /// Infers one variant after the other; one that fails does not stop the rest. A line of `report` for each. `parts`:
  /// the variants that are done; nullptr: none are kept. Collective over the world.
  template <int dim>
  ModelScan scan(const Case<dim> &problem, const std::vector<Variant> &variants, const Report &report,
                 const FinishedParts *parts = nullptr);
} // namespace varfield

#endif
