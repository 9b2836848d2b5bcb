#include <deal.II/base/mpi.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <varfield/collective.h>
#include <varfield/exit_code.h>
#include <varfield/output.h>
#include <varfield/parameters.h>
#include <varfield/unfinished_run.h>

namespace varfield
{
  namespace
  {
    /// Entries of a parameter file by their paths.
    void flatten(const nlohmann::ordered_json &tree, const std::string &path, std::map<std::string, std::string> &found)
    {
      for (const auto &[name, node] : tree.items())
        if (node.is_object())
          flatten(node, path + name + "/", found);
        else
          found[path + name] = node.is_string() ? node.get<std::string>() : node.dump();
    }

    bool begins_with(const std::string &entry, const std::string &text)
    {
      return entry.rfind(text, 0) == 0;
    }

    /// Whether no number that a run finds depends on this entry.
    bool is_without_effect(const std::string &entry)
    {
      for (const char *beginning : {"Title", "Output/Directory", "Output/Overwrite", "Parallel/", "Checkpoint/",
                                    "Faults/", "Inference/Time budget"})
        if (begins_with(entry, beginning))
          return true;
      return false;
    }

    std::string last_of(const std::string &entry)
    {
      return entry.substr(entry.rfind('/') + 1);
    }

    /// Whether the inferences that a run consists of do not depend on this entry.
    bool is_outside_of_parts(const std::string &entry)
    {
      for (const char *section : {"Certification/", "Synthesis/", "Calibration/", "Scan/"})
        if (begins_with(entry, section))
          return true;
      return is_without_effect(entry) || last_of(entry) == "Truth" || last_of(entry) == "Truth file";
    }

    /// Whether another value of this entry leaves what an unfinished run has found as it is.
    bool is_harmless(const std::string &entry)
    {
      if (entry == "Certification/Chains" || entry == "Certification/Sampler")
        return false;
      for (const char *beginning :
           {"Output/", "Inference/ELBO error", "Inference/Minimum draws", "Inference/Maximum draws"})
        if (begins_with(entry, beginning))
          return true;
      return is_outside_of_parts(entry) || last_of(entry) == "Maximum iterations";
    }
  } // namespace

  SettingsChange compare_settings(const std::string &before, const std::string &now)
  {
    std::map<std::string, std::string> old_entries, new_entries;
    flatten(nlohmann::ordered_json::parse(before), "", old_entries);
    flatten(nlohmann::ordered_json::parse(now), "", new_entries);
    SettingsChange result;
    for (const auto &[entry, value] : new_entries)
    {
      const auto old = old_entries.find(entry);
      if (old != old_entries.end() && old->second == value)
        continue;
      const std::string change = entry + " = " + value + (old == old_entries.end() ? "" : " (was " + old->second + ")");
      (is_without_effect(entry) ? result.without_effect
       : is_harmless(entry)     ? result.harmless
                                : result.others)
          .push_back(change);
    }
    for (const auto &[entry, value] : old_entries)
      if (new_entries.count(entry) == 0 && !is_harmless(entry))
        result.others.push_back("without " + entry + " (was " + value + ")");
    return result;
  }

  namespace
  {
    template <int dim>
    std::string folder_of(const Case<dim> &problem)
    {
      const std::string &given = problem.checkpoint().folder;
      return given.empty() ? OutputFolder::name(problem.output()) + ".checkpoint" : given;
    }

    /// Measurements are known by their tables, wherever these are.
    void erase_files_of_sets(nlohmann::ordered_json &values)
    {
      for (auto &[name, set] : values["Measurements"].items())
        if (set.is_object())
          for (const char *file : {"File", "Sensors"})
            set.erase(file);
    }

    template <int dim>
    std::string settings_of(const Case<dim> &problem, const std::string &command, const std::string &content)
    {
      const auto given = problem.as_given();
      std::string result;
      if (problem.groups().is_root())
      {
        nlohmann::ordered_json settings = parameters_as_json(given->parameters());
        settings.merge_patch(contents_of_files(given->parameters()));
        erase_files_of_sets(settings);
        for (const auto &set : problem.measurements().sets())
          settings["Measurements"][set->name]["Table"] =
              "a table with the CRC-32 " + crc32(set->table.text_without(""));
        settings["Command"]          = command;
        settings["Content of files"] = content;
        result                       = settings.dump();
      }
      return dealii::Utilities::MPI::broadcast(problem.groups().world(), result, 0);
    }

    template <int dim>
    Matrix data_of(const Case<dim> &problem)
    {
      const auto &measurements = problem.measurements();
      Matrix data(measurements.size(), 3);
      data.col(0) = measurements.values();
      data.col(1) = measurements.standard_deviations();
      for (Index i = 0; i < data.rows(); ++i)
        data(i, 2) = measurements.used()[static_cast<std::size_t>(i)];
      return data;
    }

    /// Of all entries on which the parts of a run depend.
    std::string key_of(const std::string &settings, const Matrix &data)
    {
      std::map<std::string, std::string> entries;
      flatten(nlohmann::ordered_json::parse(settings), "", entries);
      std::string text;
      for (const auto &[entry, value] : entries)
        if (!is_outside_of_parts(entry))
          text += entry + "=" + value + "\n";
      const std::string numbers(reinterpret_cast<const char *>(data.data()),
                                sizeof(double) * static_cast<std::size_t>(data.size()));
      return crc32(text) + " " + crc32(numbers);
    }

    void keep_head(Archive &archive, std::string &settings, Matrix &data)
    {
      archive.text("settings", settings);
      archive.numbers("data", data);
    }
  } // namespace

  template <int dim>
  UnfinishedRun<dim>::UnfinishedRun(const Case<dim> &problem, const std::string &command, bool has_parts,
                                    const std::string &content)
      : resumes_(problem.checkpoint().resume),
        states_(problem.groups(), folder_of(problem), problem.checkpoint().interval),
        settings_(settings_of(problem, command, content)),
        data_(data_of(problem)),
        parts_(states_.folder(), key_of(settings_, data_))
  {
    anything_ = states_.exist();
    if (states_.exist() && !resumes_ && !problem.output().overwrite)
      throw UserError("Checkpoint/Folder: “" + states_.folder() +
                      "” has the state of a run that did not come to its end. Go on with it (--resume), or remove "
                      "the folder to begin again.");
    if (states_.exist() && !resumes_)
      states_.clear();
    if (states_.exist() && problem.groups().is_root())
      OutputFolder::remove_leftovers(problem.output());
    if (states_.has_states())
    {
      found_.emplace(states_.load());
      std::string settings;
      Matrix data;
      keep_head(*found_, settings, data);
      compare(settings, data);
    }
    if (!has_parts)
      return;
    std::string settings = settings_;
    Matrix data          = data_;
    FinishedParts(states_.folder(), "")
        .get(
            "settings", problem.groups(), [&](Archive &archive) { keep_head(archive, settings, data); },
            [] { return true; });
    compare(settings, data);
  }

  template <int dim>
  OutputSettings UnfinishedRun<dim>::output(const Case<dim> &problem)
  {
    OutputSettings result = problem.output();
    std::string message;
    if (const std::string &given = problem.checkpoint().folder; !given.empty())
    {
      const auto whole  = [](const std::string &path) { return std::filesystem::absolute(path).lexically_normal(); };
      const auto inside = whole(given).lexically_relative(whole(OutputFolder::name(result)));
      if (!inside.empty() && *inside.begin() != "..")
        throw UserError("Checkpoint/Folder: “" + given + "” is in the folder of the results, “" + result.directory +
                        "”, which is replaced as a whole. Choose a folder beside it.");
    }
    if (problem.checkpoint().resume && !result.overwrite &&
        dealii::Utilities::MPI::this_mpi_process(problem.world()) == 0)
    {
      std::ifstream file(result.directory + "/summary.json");
      const auto summary = nlohmann::json::parse(file, nullptr, false);
      const bool stopped =
          summary.is_object() && summary.contains("exit_code") && summary["exit_code"] == stopped_early;
      result.overwrite = stopped || Checkpoints::exist_in(folder_of(problem));
      if (!result.overwrite && file.is_open())
        message = "Output/Directory: “" + result.directory +
                  "” has the results of a run that has come to its end; there is nothing to go on with. Choose another "
                  "name, or set Output/Overwrite to true.";
    }
    throw_together(message, problem.world());
    result.overwrite = dealii::Utilities::MPI::broadcast(problem.world(), result.overwrite ? 1 : 0, 0) > 0;
    return result;
  }

  template <int dim>
  void UnfinishedRun<dim>::add_to(Extras &extras, const Report &report)
  {
    extras.checkpoints = &states_;
    extras.head        = [this](Archive &archive) { keep_head(archive, settings_, data_); };
    extras.go_on_from  = found_ ? &*found_ : nullptr;
    extras.parts       = &parts(report);
  }

  template <int dim>
  const FinishedParts &UnfinishedRun<dim>::parts(const Report &report)
  {
    parts_.say_by([&report](const std::string &text) { report.line(text); });
    return parts_;
  }

  template <int dim>
  std::vector<std::string> UnfinishedRun<dim>::lines() const
  {
    if (!resumes_)
      return {};
    if (!anything_)
      return {"", "There is no state in " + states_.folder() + ": the run begins anew."};
    std::vector<std::string> result;
    for (const std::string &change : changes_)
      result.push_back((result.empty() ? "goes on with  " : "              ") + change);
    return result;
  }

  /// UserError for settings with which what was found so far is not the beginning of an answer.
  template <int dim>
  void UnfinishedRun<dim>::compare(const std::string &settings, const Matrix &data)
  {
    SettingsChange change = compare_settings(settings, settings_);
    changes_              = std::move(change.harmless);
    changes_.insert(changes_.end(), change.without_effect.begin(), change.without_effect.end());
    if (change.others.empty() && (data.rows() != data_.rows() || data != data_))
      change.others.push_back("other measurements, or another noise of theirs");
    if (!change.others.empty())
      throw UserError(states_.folder() + ": the run cannot be gone on with: " + join(change.others, "; ") +
                      ". Set these as they were, or remove the folder to begin again.");
  }

  template class UnfinishedRun<2>;
  template class UnfinishedRun<3>;
} // namespace varfield
