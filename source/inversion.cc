#include <deal.II/base/mpi.h>

#include <varfield/collective.h>
#include <varfield/exit_code.h>
#include <varfield/hyper_inference.h>
#include <varfield/inversion.h>
#include <varfield/output.h>
#include <varfield/state_mean_field.h>
#include <varfield/text.h>
#include <varfield/trust.h>
#include <varfield/unfinished_run.h>
#include <varfield/version.h>

namespace varfield
{
  template <int dim>
  void print_header(const Case<dim> &problem, const Report &report)
  {
    report.line("varfield " + std::string(version) + " (" + git_commit + "), " +
                counted(dealii::Utilities::MPI::n_mpi_processes(problem.groups().world()), "rank"));
    if (!problem.title().empty())
      report.line(problem.title());
    report.line("");
    for (const auto &text : problem.warnings())
      report.line("WARNING       " + text);
    for (const auto &text : problem.describe())
      report.line(text);
  }

  template <int dim>
  void refuse_unsolvable(const Case<dim> &problem)
  {
    const auto &model = problem.model();
    const bool solved = model.solve(Vector::Zero(problem.fields().prior().layout().n_local())) != nullptr;
    if (dealii::Utilities::MPI::min(solved ? 1 : 0, problem.groups().world()) > 0)
      return;
    for (const auto &experiment : model.experiments())
      if (trim(experiment.dirichlet).empty() && trim(experiment.robin).empty())
        throw UserError(experiment.section +
                        "/Dirichlet: the equation has no unique solution, because no condition fixes the "
                        "level of the state. Give its value on a part of the boundary here, or a Robin condition in "
                        "Physics/Robin.");
    throw UserError(
        "Physics: the equation cannot be solved where all fields have their prior mean. Is every coefficient "
        "positive and finite there? (For that a field with the transform “identity” needs a mean above zero; "
        "with “exp” the mean is that of the logarithm.)");
  }

  template <int dim>
  void refuse_bad_truths(const Case<dim> &problem)
  {
    for (unsigned int i = 0; i < problem.fields().size(); ++i)
      problem.truth(i);
  }

  template <int dim>
  void refuse_impossible(const Case<dim> &problem, const Extras &extras)
  {
    const InferenceSettings &inference = problem.inference();
    if (extras.chains && problem.hyper_parameters().size() > 0)
      throw UserError("Hyperparameters/Names: chains are for fixed hyper-parameters. Set them to values that a run has "
                      "found, and take the names out.");
    if (extras.chains)
      inference.require_low_rank("Inference/Family: chains need");
    if (extras.cross_validation && inference.method == "map")
      throw UserError("Inference/Method: “map” has no spread, which cross-validation and calibration need. Use "
                      "“variational” or “laplace”.");
  }

  namespace
  {
    /// A file that the root rank cannot write ends the run on all.
    template <int dim>
    void write_together(const Case<dim> &problem, const Results<dim> &results, const TrustReport &trust,
                        const Report &report, const std::string &path, int exit_code, bool has_state)
    {
      std::string message;
      try
      {
        write_results(problem, results, trust, report, path, exit_code);
      }
      catch (const std::runtime_error &error)
      {
        message = error.what();
      }
      if (!message.empty())
        message += " What could be written is in " + path +
                   (has_state ? "; the run is not lost: the same command with --resume goes on from its state." : "");
      throw_together<ComputationError>(message, problem.groups().world());
    }

    /// What did not come to its end, or nothing.
    template <int dim>
    std::optional<std::string> what_is_undone(const Results<dim> &results)
    {
      if (!results.map.converged && !results.is_certified())
        return results.map.reason;
      if (!results.optimization.converged && !results.is_certified())
        return results.optimization.reason;
      if (!results.cross_validation)
        return {};
      const CrossValidation &folds = *results.cross_validation;
      if (!folds.failed.empty())
        return "the inference failed without the folds " + join(folds.failed, ", ");
      if (!folds.not_converged.empty())
        return "the inferences without the folds " + join(folds.not_converged, ", ");
      return {};
    }

    /// The tables at the end of a run.
    template <int dim>
    void report_end(const Case<dim> &problem, const Results<dim> &results, const TrustReport &trust,
                    const Report &report)
    {
      const auto print = [&](const std::vector<std::string> &lines)
      {
        report.line("");
        for (const std::string &text : lines)
          report.line(text);
      };
      print(summary_lines(problem, results));
      print(Report::timing_table());
      if (results.cross_validation)
        print(results.cross_validation->lines());
      print(trust.lines());
    }
  } // namespace

  template <int dim>
  int run_inversion(std::unique_ptr<Case<dim>> &problem, Extras extras, const Surroundings &surroundings)
  {
    const auto start = Report::Clock::now();
    problem->check();
    extras.chains = extras.chains || problem->certification().enabled;
    refuse_impossible(*problem, extras);
    const OutputSettings output = UnfinishedRun<dim>::output(*problem);
    OutputFolder::check(output, problem->world());
    problem->build();
    if (extras.chains && problem->certification().method == "chains")
      problem->certification().chains.check_groups(problem->groups().n_groups());
    refuse_unsolvable(*problem);
    refuse_bad_truths(*problem);
    check_state_mean_field(*problem);
    problem->begin_faults();
    if (extras.cross_validation)
      assign_folds(*problem);
    Report report(problem->groups(), problem->inference().time_budget, start, surroundings);
    print_header(*problem, report);
    UnfinishedRun<dim> unfinished(*problem, "run", extras.cross_validation || problem->hyper_parameters().size() > 0);
    unfinished.add_to(extras, report);
    for (const std::string &text : unfinished.lines())
      report.line(text);
    const Results<dim> results = infer_all(problem, report, extras);
    const TrustReport trust    = judge(*problem, results);
    const auto undone          = what_is_undone(results);
    const int exit_code        = results.interrupted             ? stopped_early
                                 : undone                        ? not_converged
                                 : trust.colour() == Colour::red ? untrusted
                                                                 : converged;

    OutputFolder folder(output, problem->groups());
    write_together(*problem, results, trust, report, folder.path(), exit_code, unfinished.has_states());
    folder.finish();
    if (!results.interrupted)
      unfinished.finish();
    report_end(*problem, results, trust, report);
    report.line("\nresults       " + folder.final_path() + "/ (open posterior.pvd and state.pvd in ParaView)");
    if (results.interrupted)
      report.line("\nSTOPPED EARLY (" + report.stop_reason() +
                  "): the results are those of the last complete iteration" +
                  (results.has_spread ? ", their spread a coarse estimate" : ", without a spread") +
                  (unfinished.has_states()
                       ? ".\nTo go on from there: the same command with --resume (" + unfinished.folder() + ")"
                       : ".\nThere is no state to go on from."));
    else if (undone)
      report.line("\nNOT CONVERGED: " + *undone + "\nThe results are written, but they are not the answer yet.");
    else if (exit_code == untrusted)
      report.line("\nNOT TO BE TRUSTED AS IT IS: see what is red in the report above (exit code 5).");
    return exit_code;
  }

  template int run_inversion(std::unique_ptr<Case<2>> &, Extras, const Surroundings &);
  template int run_inversion(std::unique_ptr<Case<3>> &, Extras, const Surroundings &);
  template void print_header(const Case<2> &, const Report &);
  template void print_header(const Case<3> &, const Report &);
  template void refuse_unsolvable(const Case<2> &);
  template void refuse_unsolvable(const Case<3> &);
  template void refuse_bad_truths(const Case<2> &);
  template void refuse_bad_truths(const Case<3> &);
  template void refuse_impossible(const Case<2> &, const Extras &);
  template void refuse_impossible(const Case<3> &, const Extras &);
} // namespace varfield
