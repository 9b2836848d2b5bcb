#include <deal.II/base/mpi.h>

#include <cmath>
#include <iomanip>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <varfield/application.h>
#include <varfield/hyper_inference.h>
#include <varfield/output.h>
#include <varfield/parameters.h>
#include <varfield/scan.h>
#include <varfield/synthesis.h>
#include <varfield/text.h>
#include <varfield/trust.h>
#include <varfield/verification.h>
#include <varfield/version.h>

namespace varfield
{
  namespace
  {
    template <int dim>
    void print_header(const Case<dim> &problem, const Report &report)
    {
      report.line("varfield " + std::string(version) + " (" + git_commit + "), " +
                  counted(dealii::Utilities::MPI::n_mpi_processes(problem.groups().world()), "rank"));
      if (!problem.title().empty())
        report.line(problem.title());
      report.line("");
      for (const auto &text : problem.describe())
        report.line(text);
    }

    /// A file that the root rank cannot write ends the run on all.
    template <int dim>
    void write_together(const Case<dim> &problem, const Results<dim> &results, const TrustReport &trust,
                        const Report &report, const std::string &path, int exit_code)
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
      if (dealii::Utilities::MPI::max(message.empty() ? 0 : 1, problem.groups().world()) > 0)
        throw ComputationError(message + " What could be written is in " + path);
    }

    /// A case that cannot be solved where all fields have their prior mean is refused before anything else is done.
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

    /// Truths are needed at the end of a run only: mistakes in them are found before.
    template <int dim>
    void refuse_bad_truths(const Case<dim> &problem)
    {
      for (unsigned int i = 0; i < problem.fields().size(); ++i)
        problem.truth(i);
    }

    /// What would only be found out after the inference.
    template <int dim>
    void refuse_impossible(const Case<dim> &problem, const Extras &extras)
    {
      const InferenceSettings &inference = problem.inference();
      if (extras.chains && problem.hyper_parameters().size() > 0)
        throw UserError(
            "Hyperparameters/Names: chains are for fixed hyper-parameters. Set them to values that a run has "
            "found, and take the names out.");
      if (extras.chains)
        inference.require_low_rank("Inference/Family: chains need");
      if (extras.cross_validation && inference.method == "map")
        throw UserError("Inference/Method: “map” has no spread, which cross-validation and calibration need. Use "
                        "“variational” or “laplace”.");
    }

    /// Entries of a parameter file by their paths.
    void flatten(const nlohmann::ordered_json &tree, const std::string &path, std::map<std::string, std::string> &found)
    {
      for (const auto &[name, node] : tree.items())
        if (node.is_object())
          flatten(node, path + name + "/", found);
        else
          found[path + name] = node.is_string() ? node.get<std::string>() : node.dump();
    }

    /// Whether another value of this entry leaves what an unfinished run has found as it is.
    bool is_harmless(const std::string &entry)
    {
      const auto begins_with = [&](const std::string &text) { return entry.rfind(text, 0) == 0; };
      const std::string last = entry.substr(entry.rfind('/') + 1);
      return begins_with("Title") || begins_with("Output/") || begins_with("Parallel/") || begins_with("Checkpoint/") ||
             begins_with("Certification/") || begins_with("Quantities/") || begins_with("Cross-validation/") ||
             begins_with("Inference/Time budget") || begins_with("Inference/ELBO error") ||
             begins_with("Inference/Minimum draws") || begins_with("Inference/Maximum draws") ||
             last == "Maximum iterations";
    }

    /// The state of a run that did not come to its end, in the folder beside its results.
    template <int dim>
    class UnfinishedRun
    {
    public:
      UnfinishedRun(const Case<dim> &problem)
          : resumes_(problem.checkpoint().resume),
            states_(problem.groups(), folder_of(problem), problem.checkpoint().interval),
            settings_(parameters_as_json(problem.as_given()->parameters()).dump()),
            data_(data_of(problem))
      {
        if (states_.exist() && !resumes_ && !problem.output().overwrite)
          throw UserError("Checkpoint/Folder: “" + states_.folder() +
                          "” has the state of a run that did not come to its end. Go on with it (--resume), or remove "
                          "the folder to begin again.");
        if (states_.exist() && !resumes_)
          states_.remove();
        else if (states_.exist())
        {
          found_.emplace(states_.load());
          compare();
        }
      }

      /// For infer().
      void add_to(Extras &extras)
      {
        extras.checkpoints = &states_;
        extras.head        = [this](Archive &archive) { keep_head(archive, settings_, data_); };
        extras.go_on_from  = found_ ? &*found_ : nullptr;
      }

      std::vector<std::string> lines() const
      {
        if (!resumes_)
          return {};
        if (!found_)
          return {"", "There is no state in " + states_.folder() + ": the run begins anew."};
        std::vector<std::string> result;
        for (const std::string &change : changes_)
          result.push_back((result.empty() ? "goes on with  " : "              ") + change);
        return result;
      }

      const std::string &folder() const { return states_.folder(); }
      void finish() { states_.remove(); }

    private:
      static std::string folder_of(const Case<dim> &problem)
      {
        const std::string &given = problem.checkpoint().folder;
        return given.empty() ? OutputFolder::name(problem.output()) + ".checkpoint" : given;
      }

      static Matrix data_of(const Case<dim> &problem)
      {
        const auto &measurements = problem.measurements();
        Matrix data(measurements.size(), 3);
        data.col(0) = measurements.values();
        data.col(1) = measurements.standard_deviations();
        for (Index i = 0; i < data.rows(); ++i)
          data(i, 2) = measurements.used()[static_cast<std::size_t>(i)];
        return data;
      }

      void keep_head(Archive &archive, std::string &settings, Matrix &data)
      {
        archive.text("settings", settings);
        archive.numbers("data", data);
      }

      /// UserError for settings with which what was found so far is not the beginning of an answer.
      void compare()
      {
        std::string settings;
        Matrix data;
        keep_head(*found_, settings, data);
        std::map<std::string, std::string> before, now;
        flatten(nlohmann::ordered_json::parse(settings), "", before);
        flatten(nlohmann::ordered_json::parse(settings_), "", now);
        std::vector<std::string> refused;
        for (const auto &[entry, value] : now)
        {
          const auto old = before.find(entry);
          if (old != before.end() && old->second == value)
            continue;
          const std::string change = entry + " = " + value + (old == before.end() ? "" : " (was " + old->second + ")");
          (is_harmless(entry) ? changes_ : refused).push_back(change);
        }
        for (const auto &[entry, value] : before)
          if (now.count(entry) == 0 && !is_harmless(entry))
            refused.push_back("without " + entry + " (was " + value + ")");
        if (refused.empty() && (data.rows() != data_.rows() || data != data_))
          refused.push_back("other measurements, or another noise of theirs");
        if (!refused.empty())
          throw UserError(states_.folder() + ": the run cannot be gone on with: " + join(refused, "; ") +
                          ". Set these as they were, or remove the folder to begin again.");
      }

      const bool resumes_;
      Checkpoints states_;
      std::string settings_;
      Matrix data_;
      std::optional<Archive> found_;
      std::vector<std::string> changes_;
    };

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

    template <int dim>
    int run(std::unique_ptr<Case<dim>> &problem, Extras extras)
    {
      const auto start = Report::Clock::now();
      problem->check();
      extras.chains = extras.chains || problem->certification().enabled;
      refuse_impossible(*problem, extras);
      OutputSettings output = problem->output();
      // The results of a run that was stopped give way to those of the whole.
      output.overwrite = output.overwrite || problem->checkpoint().resume;
      OutputFolder::check(output, MPI_COMM_WORLD);
      problem->build();
      if (extras.chains && problem->certification().method == "chains")
        problem->certification().chains.check_groups(problem->groups().n_groups());
      refuse_unsolvable(*problem);
      refuse_bad_truths(*problem);
      if (extras.cross_validation)
        assign_folds(*problem);
      Report report(problem->groups(), problem->inference().time_budget, start);
      print_header(*problem, report);
      std::optional<UnfinishedRun<dim>> unfinished;
      if (problem->hyper_parameters().size() == 0)
      {
        unfinished.emplace(*problem);
        unfinished->add_to(extras);
        for (const std::string &text : unfinished->lines())
          report.line(text);
      }
      const Results<dim> results = infer_all(problem, report, extras);
      const TrustReport trust    = judge(*problem, results);
      const auto undone          = what_is_undone(results);
      const int exit_code        = results.interrupted             ? stopped_early
                                   : undone                        ? not_converged
                                   : trust.colour() == Colour::red ? untrusted
                                                                   : converged;

      OutputFolder folder(output, problem->groups());
      write_together(*problem, results, trust, report, folder.path(), exit_code);
      folder.finish();
      if (unfinished && !results.interrupted)
        unfinished->finish();
      report.line("");
      for (const auto &text : summary_lines(*problem, results))
        report.line(text);
      report.line("");
      for (const auto &text : Report::timing_table())
        report.line(text);
      if (results.cross_validation)
      {
        report.line("");
        for (const auto &text : results.cross_validation->lines())
          report.line(text);
      }
      report.line("");
      for (const auto &text : trust.lines())
        report.line(text);
      report.line("\nresults       " + folder.final_path() + "/ (open posterior.pvd and state.pvd in ParaView)");
      if (results.interrupted)
        report.line("\nSTOPPED EARLY (" + report.stop_reason() +
                    "): the results are those of the last complete iteration" +
                    (results.has_spread ? ", their spread a coarse estimate" : ", without a spread") +
                    ".\nTo go on from there: " +
                    (unfinished ? "the same command with --resume (" + unfinished->folder() + ")"
                                : "--set \"Inference/Start from=" + folder.final_path() + "/checkpoint.csv\""));
      else if (undone)
        report.line("\nNOT CONVERGED: " + *undone + "\nThe results are written, but they are not the answer yet.");
      else if (exit_code == untrusted)
        report.line("\nNOT TO BE TRUSTED AS IT IS: see what is red in the report above (exit code 5).");
      return exit_code;
    }

    template <int dim>
    int check(Case<dim> &problem)
    {
      problem.check();
      OutputFolder::check(problem.output(), MPI_COMM_WORLD);
      problem.build();
      refuse_unsolvable(problem);
      refuse_bad_truths(problem);
      const Report report(problem.groups(), 0.);
      print_header(problem, report);
      report.line("\nThe case is in order. Nothing was run.");
      return converged;
    }

    template <int dim>
    int run_verification(Case<dim> &problem)
    {
      problem.check();
      problem.build();
      refuse_unsolvable(problem);
      const Report report(problem.groups(), 0.);
      print_header(problem, report);
      report.line("");
      bool passed = true;
      for (const auto &check : verify(problem))
      {
        std::ostringstream line;
        line << (check.passed ? "  ok      " : "  FAILED  ");
        line << padded(check.name, 49) << ' ' << std::setw(12) << std::setprecision(3) << check.observed
             << "   wanted: " << check.wanted;
        report.line(line.str());
        passed = passed && check.passed;
      }
      report.line(passed ? "\nAll checks passed." : "\nSome checks FAILED.");
      return passed ? converged : failure;
    }

    template <int dim>
    int run_synthesis(Case<dim> &problem)
    {
      problem.check();
      problem.build(false);
      const Report report(problem.groups(), 0.);
      print_header(problem, report);
      report.line("");
      for (const auto &text : synthesize(problem))
        report.line(text);
      return converged;
    }

    template <int dim>
    int run_calibration(Case<dim> &problem)
    {
      problem.check();
      refuse_impossible(problem, {false, true});
      OutputFolder::check(problem.output(), MPI_COMM_WORLD);
      problem.build();
      refuse_unsolvable(problem);
      Report report(problem.groups(), problem.inference().time_budget);
      print_header(problem, report);
      report.line("\ncalibration   " + std::to_string(problem.calibration().truths) + " truths from the prior");
      const Calibration found = calibrate(problem, report);
      OutputFolder folder(problem.output(), problem.groups());
      write_calibration(problem, found, folder.path());
      folder.finish();
      report.line("");
      for (const auto &text : found.lines())
        report.line(text);
      if (found.failed + found.not_converged > 0)
        report.line("\n" + std::to_string(found.failed) + " inferences failed, " + std::to_string(found.not_converged) +
                    " did not converge.");
      report.line("\nresults       " + folder.final_path() + "/calibration.csv");
      return found.interrupted ? stopped_early : found.failed + found.not_converged > 0 ? not_converged : converged;
    }

    template <int dim>
    int run_scan(Case<dim> &problem)
    {
      problem.check();
      OutputFolder::check(problem.output(), MPI_COMM_WORLD);
      problem.build();
      const auto variants = read_variants(problem);
      const Report report(problem.groups(), problem.inference().time_budget);
      print_header(problem, report);
      report.line("\nscan          " + counted(variants.size(), "variant"));
      const ModelScan found = scan(problem, variants, report);
      OutputFolder folder(problem.output(), problem.groups());
      write_scan(problem, found, folder.path());
      folder.finish();
      report.line("");
      for (const auto &text : found.lines())
        report.line(text);
      report.line("\nresults       " + folder.final_path() + "/scan.csv");
      const bool all = std::all_of(found.variants.begin(), found.variants.end(),
                                   [](const VariantResult &variant) { return variant.converged; });
      return found.interrupted ? stopped_early : all ? converged : not_converged;
    }

    template <int dim>
    int execute_in(const Command &command, const std::vector<Assignment> &assignments)
    {
      auto problem = std::make_unique<Case<dim>>(MPI_COMM_WORLD, assignments);
      if (command.action == "template")
      {
        if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
          print_template(std::cout, problem->parameters());
        return converged;
      }
      return or_abort(
          [&]
          {
            if (command.action == "check")
              return check(*problem);
            if (command.action == "verify")
              return run_verification(*problem);
            if (command.action == "calibrate")
              return run_calibration(*problem);
            if (command.action == "scan")
              return run_scan(*problem);
            if (command.action == "synthesize")
              return run_synthesis(*problem);
            return run(problem, {command.action == "certify", command.action == "cross-validate"});
          });
    }

    template <typename Base>
    std::string list_members(const std::string &kind)
    {
      std::string text = kind + "\n";
      for (const auto &[name, member] : Registry<Base>::members())
        text += "  " + name + ": " + member.documentation + "\n";
      return text;
    }
  } // namespace

  int execute(const Command &command)
  {
    std::vector<Assignment> assignments;
    if (!command.file.empty())
      assignments = read_parameter_file(command.file, MPI_COMM_WORLD);
    for (const auto &text : command.overrides)
      assignments.push_back(parse_override(text));
    if (command.action == "verify" && !find_assignment(assignments, {"Linear solver"}, "Tolerance"))
      assignments.push_back(parse_override("Linear solver/Tolerance=1e-12"));
    return dimension_of(assignments) == 2 ? execute_in<2>(command, assignments) : execute_in<3>(command, assignments);
  }

  std::string plugin_help()
  {
    return list_members<Physics<2>>("Equations:") + list_members<Prior<2>>("Priors:") +
           list_members<Transform>("Transforms:") + list_members<Observation<2>>("Measurements:") +
           list_members<Noise>("Noise:") + list_members<Indicator<2>>("Refinement indicators:") +
           list_members<Family>("Variational families:") + list_members<Optimizer>("Optimisers:") +
           list_members<Sampler>("Samplers:") + list_members<Quantity<2>>("Quantities of interest:") +
           list_members<HyperPrior>("Priors of hyper-parameters:");
  }
} // namespace varfield
