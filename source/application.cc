#include <deal.II/base/mpi.h>

#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <varfield/application.h>
#include <varfield/inversion.h>
#include <varfield/output.h>
#include <varfield/parameters.h>
#include <varfield/scan.h>
#include <varfield/schema.h>
#include <varfield/server.h>
#include <varfield/synthesis.h>
#include <varfield/text.h>
#include <varfield/unfinished_run.h>
#include <varfield/verification.h>
#include <varfield/version.h>

namespace varfield
{
  namespace
  {
    /// Sections whose “Names” say which subsections there are.
    const std::vector<std::string> sections_of_names{"Fields", "Experiments", "Measurements", "Quantities",
                                                     "Hyperparameters"};

    template <int dim>
    int check(Case<dim> &problem)
    {
      problem.check();
      OutputFolder::check(problem.output(), problem.world());
      problem.build();
      refuse_unsolvable(problem);
      refuse_bad_truths(problem);
      const Report report(problem.groups(), 0.);
      print_header(problem, report);
      report.line("\nThe case is in order. Nothing was run.");
      return converged;
    }

    template <int dim>
    int run_server(Case<dim> &problem, const ServerSettings &settings)
    {
      problem.check();
      problem.build();
      refuse_unsolvable(problem);
      print_header(problem, Report(problem.groups(), 0.));
      serve(problem, settings);
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
      const OutputSettings output = UnfinishedRun<dim>::output(problem);
      OutputFolder::check(output, problem.world());
      problem.build();
      refuse_unsolvable(problem);
      Report report(problem.groups(), problem.inference().time_budget);
      print_header(problem, report);
      report.line("\ncalibration   " + std::to_string(problem.calibration().truths) + " truths from the prior");
      problem.begin_faults();
      UnfinishedRun<dim> unfinished(problem, "calibrate", true);
      for (const std::string &text : unfinished.lines())
        report.line(text);
      const Calibration found = calibrate(problem, report, &unfinished.parts(report));
      OutputFolder folder(output, problem.groups());
      write_calibration(problem, found, folder.path());
      folder.finish();
      if (!found.interrupted)
        unfinished.finish();
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
      const OutputSettings output = UnfinishedRun<dim>::output(problem);
      OutputFolder::check(output, problem.world());
      problem.build();
      const auto variants = read_variants(problem);
      const Report report(problem.groups(), problem.inference().time_budget);
      print_header(problem, report);
      report.line("\nscan          " + counted(variants.size(), "variant"));
      UnfinishedRun<dim> unfinished(problem, "scan", true, read_text_file(problem.scan().file, problem.world()));
      for (const std::string &text : unfinished.lines())
        report.line(text);
      const ModelScan found = scan(problem, variants, report, &unfinished.parts(report));
      OutputFolder folder(output, problem.groups());
      write_scan(problem, found, folder.path());
      folder.finish();
      if (!found.interrupted)
        unfinished.finish();
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
      if (command.action == "schema")
      {
        if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
          std::cout << json_schema(problem->parameters(), sections_of_names).dump(2) << std::endl;
        return converged;
      }
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
            if (command.action == "serve")
              return run_server(*problem, command.server);
            if (command.action == "verify")
              return run_verification(*problem);
            if (command.action == "calibrate")
              return run_calibration(*problem);
            if (command.action == "scan")
              return run_scan(*problem);
            if (command.action == "synthesize")
              return run_synthesis(*problem);
            return run_inversion(problem, {command.action == "certify", command.action == "cross-validate"});
          },
          problem->world());
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
    if (command.action == "batch")
      return run_batch(command.batch, MPI_COMM_WORLD);
    std::vector<Assignment> assignments;
    if (!command.file.empty())
      assignments = read_parameter_file(command.file, MPI_COMM_WORLD);
    for (const auto &text : command.overrides)
      assignments.push_back(parse_override(text));
    // Requests come one at a time: all ranks share the mesh.
    if (command.action == "serve")
      assignments.push_back(parse_override("Parallel/Sample groups=1"));
    if (command.action == "schema")
      for (const std::string &section : sections_of_names)
        assignments.push_back(parse_override(section + "/Names=name"));
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
