#include <CLI/CLI.hpp>
#include <iostream>
#include <sstream>
#include <varfield/command_line.h>
#include <varfield/exceptions.h>
#include <varfield/version.h>

namespace varfield
{
  namespace
  {
    void add_batch(CLI::App &app, Command &command)
    {
      BatchCommand &batch = command.batch;
      auto *sub = app.add_subcommand("batch", "Run many cases, the rows of a table, each by a group of the ranks");
      sub->add_option(
             "list", batch.list,
             "Table (CSV) with the columns “name”, “case” (a parameter file) and one for each entry that changes, "
             "as in “Random seed” or “Fields/log T/spde/Correlation length”")
          ->required();
      sub->add_option("--output", batch.folder, "Folder of all results; by itself: the name of the list");
      sub->add_option("--set", batch.overrides, "Override a parameter of all members: \"Section/Name=value\"")
          ->allow_extra_args(false);
      sub->add_flag("--resume", batch.resume, "Go on with a batch that was stopped or killed");
      sub->add_flag("--retry-failed", batch.retry_failed,
                    "With --resume: members that failed or did not converge are run again");
      sub->add_flag("--dry-run", batch.dry_run, "Say what each member would take, and run nothing");
      sub->add_option("--ranks-per-member", batch.ranks_per_member,
                      "Ranks that work on a member together; by itself 1");
      sub->add_option("--time-budget", batch.time_budget, "Seconds after which the batch stops with what it has")
          ->check(CLI::NonNegativeNumber);
      sub->add_option_function<std::string>(
             "--part",
             [&batch](const std::string &text)
             {
               std::istringstream in(text);
               char slash = 0;
               if (!(in >> batch.part >> slash >> batch.parts) || slash != '/' || in.peek() != EOF)
                 throw CLI::ValidationError("--part: “" + text + "” is not understood; allowed is “2/10”, say.");
             },
             "Run only the second, twelfth, … member (2/10): for job arrays, whose jobs share the folder")
          ->type_name("K/N");
      sub->callback([&command] { command.action = "batch"; });
    }
  } // namespace

  int parse_command_line(int argc, char **argv, Command &command, bool speaks)
  {
    CLI::App app("Infers fields from measurements of a PDE's solution, and says how sure it is.\n"
                 "  mpirun -np N varfield case.prm",
                 "varfield");
    app.footer(plugin_help() + "\nExit codes: 0 converged, 1 failure, 2 bad input, 3 stopped early, 4 "
                               "finished without convergence, 5 finished, but the "
                               "trust report is red.");
    app.set_version_flag("--version", std::string(version) + " (" + git_commit + ")");
    app.require_subcommand(0, 1);
    app.add_option("case", command.file, "Parameter file of the case to run");
    app.add_option("--set", command.overrides, "Override a parameter: \"Section/Name=value\"")->allow_extra_args(false);
    const auto resume = [&command] { command.overrides.emplace_back("Checkpoint/Resume=true"); };
    app.add_flag_callback("--resume", resume, "Go on with a run that was stopped or killed, where there is one");
    const std::vector<std::pair<std::string, std::string>> actions{
        {"certify", "Run, then judge the variational posterior by Markov chains of the exact one, and correct it"},
        {"cross-validate",
         "Run, then predict each fold of the measurements from the others, and score the predictions"},
        {"calibrate",
         "Infer from data simulated from many draws of the prior, and rank the truths in their posteriors"},
        {"scan", "Infer by several models, the variants in the table Scan/File, and compare their evidence"},
        {"check", "Read and validate everything, build mesh, prior and observation operator, run nothing"},
        {"verify", "Check derivatives and symmetries of the case"},
        {"synthesize", "Make synthetic measurements from a truth or a draw of the prior"},
        {"schema", "Print the JSON Schema of parameter files in JSON, for editors"},
        {"serve", "Serve forward map and log posterior, with derivatives, by the protocol of UM-Bridge"},
        {"template", "Print the complete documented parameter file (for the fields of a case, if one is given)"}};
    for (const auto &[name, text] : actions)
    {
      auto *sub = app.add_subcommand(name, text);
      sub->add_option("case", command.file, "Parameter file of the case");
      sub->add_option("--set", command.overrides, "Override a parameter: \"Section/Name=value\"")
          ->allow_extra_args(false);
      if (name == "certify" || name == "cross-validate" || name == "calibrate" || name == "scan")
        sub->add_flag_callback("--resume", resume, "Go on with a run that was stopped or killed, where there is one");
      if (name == "serve")
      {
        sub->add_option("--port", command.server.port, "to listen at, by itself 4242; 0: any that is free")
            ->check(CLI::Range(0, 65535));
        sub->add_option("--host", command.server.host,
                        "Address to listen at, by itself that of this computer for its own programs, 127.0.0.1");
      }
      sub->callback([&command, action = name] { command.action = action; });
    }
    add_batch(app, command);
    std::ostringstream out, err;
    try
    {
      app.parse(argc, argv);
      if (command.file.empty() && command.action != "template" && command.action != "schema" &&
          command.action != "batch")
        throw CLI::ValidationError("A parameter file is needed, as in “varfield " +
                                   (command.action == "run" ? "" : command.action + " ") + "case.prm”.");
      return -1;
    }
    catch (const CLI::ParseError &error)
    {
      const int code = app.exit(error, out, err);
      std::vector<std::string> names;
      for (const auto &[name, text] : actions)
        names.push_back(name);
      names.emplace_back("batch");
      if (dynamic_cast<const CLI::ExtrasError *>(&error) != nullptr)
        if (const auto guess = did_you_mean(command.file, names); !guess.empty())
          err.str("“" + command.file + "” is not a command" + guess + ".\nRun with --help for more information.\n");
      if (speaks)
      {
        std::cout << out.str();
        std::cerr << err.str();
      }
      return code == 0 ? converged : bad_input;
    }
  }
} // namespace varfield
