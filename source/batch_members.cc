#include <algorithm>
#include <filesystem>
#include <fstream>
#include <varfield/batch_members.h>
#include <varfield/exit_code.h>
#include <varfield/table.h>
#include <varfield/text.h>
#include <varfield/variants.h>

namespace varfield
{
  namespace fs = std::filesystem;
  using Json   = nlohmann::ordered_json;

  std::vector<BatchMember> read_members(const std::string &list, MPI_Comm world)
  {
    const Table table = Table::read(list, world, "list of the batch");
    for (const char *column : {"name", "case"})
      if (!table.has(column))
        throw UserError("The table “" + list + "”: there is no column “" + column +
                        "”. A batch has the columns “name” (of the results) and “case” (a parameter file, relative "
                        "to the list), and one for each entry that changes, as in “Random seed” or "
                        "“Fields/log T/spde/Correlation length”.");
    const auto refuse = [](const Assignment &entry) -> std::string
    {
      const std::string path = entry.path();
      return path == "Output/Directory" || path == "Output/Overwrite" || entry.section.at(0) == "Checkpoint"
                 ? "is for the batch to say; leave it out."
                 : "";
    };
    std::vector<BatchMember> members;
    for (Variant &variant :
         variants_in(table, {"case"},
                     [&](const Assignment &entry) { return entry.section.empty() ? std::string() : refuse(entry); }))
    {
      const std::string where = table.where(variant.row);
      if (variant.name.find('/') != std::string::npos || variant.name[0] == '.')
        throw UserError(where + ": “" + variant.name +
                        "” is to be the name of a folder: without “/”, and not with a point first.");
      for (const char *ending : {".log", ".error", ".started", ".checkpoint", ".csv"})
        if (fs::path(variant.name).extension() == ending)
          throw UserError(where + ": “" + variant.name + "” cannot be the name of a member: “" + ending +
                          "” is for files of the batch.");
      std::string file = table.text(variant.row, "case");
      if (file.empty())
        throw UserError(where + ": the column “case” names no parameter file.");
      file = (fs::path(list).parent_path() / file).lexically_normal().string();
      members.push_back({variant.name, file, where, std::move(variant.changes)});
    }
    return members;
  }

  BatchOutcome BatchOutcome::read(const std::string &folder, const std::string &error)
  {
    BatchOutcome outcome;
    std::ifstream mistake(error);
    std::ifstream summary(folder + "/summary.json");
    if (mistake >> outcome.code)
    {
      mistake >> std::ws;
      outcome.message.assign(std::istreambuf_iterator<char>(mistake), {});
    }
    else if (summary)
    {
      outcome.summary = Json::parse(summary, nullptr, false);
      outcome.code    = outcome.summary.is_object() ? outcome.summary.value("exit_code", -1) : -1;
    }
    return outcome;
  }

  std::string BatchOutcome::status() const
  {
    switch (code)
    {
    case converged:
      return "converged";
    case failure:
      return "failed";
    case bad_input:
      return "bad input";
    case stopped_early:
      return "stopped";
    case not_converged:
      return "not converged";
    case untrusted:
      return "untrusted";
    default:
      return "not run";
    }
  }

  bool BatchOutcome::has_failed() const
  {
    return code == failure || code == bad_input;
  }

  namespace
  {
    const Json *find(const Json &tree, const std::vector<std::string> &path)
    {
      const Json *node = &tree;
      for (const std::string &name : path)
      {
        if (!node->is_object() || !node->contains(name))
          return nullptr;
        node = &(*node)[name];
      }
      return node;
    }

    Cell cell(const Json &tree, const std::vector<std::string> &path)
    {
      const Json *node = find(tree, path);
      return node == nullptr || node->is_null() ? Cell("")
             : node->is_string()                ? Cell(node->get<std::string>())
             : node->is_number()                ? Cell(node->get<double>())
                                                : Cell(node->dump());
    }

    Cell figure(const Json &summary, const std::string &finding, const std::string &name)
    {
      if (const Json *findings = find(summary, {"trust", "findings"}))
        for (const Json &one : *findings)
          if (one.value("name", "") == finding)
            return cell(one, {"figures", name});
      return "";
    }
  } // namespace

  void write_batch_table(const std::string &path, const std::vector<BatchMember> &members,
                         const std::vector<BatchOutcome> &outcomes)
  {
    std::vector<std::string> names{"name",  "case",       "status",       "exit_code",
                                   "elbo",  "elbo_error", "log_evidence", "log_evidence_error",
                                   "k_hat", "trust",      "cells",        "seconds"};
    std::vector<std::string> quantities;
    for (const BatchOutcome &outcome : outcomes)
      if (const Json *all = find(outcome.summary, {"quantities"}))
        for (const Json &quantity : *all)
          if (const std::string name = quantity.value("name", "");
              std::find(quantities.begin(), quantities.end(), name) == quantities.end())
            quantities.push_back(name);
    for (const std::string &name : quantities)
    {
      names.push_back("mean " + name);
      names.push_back("std " + name);
    }
    names.emplace_back("message");
    std::vector<std::vector<Cell>> rows;
    for (std::size_t i = 0; i < members.size(); ++i)
    {
      const Json &summary = outcomes[i].summary;
      std::vector<Cell> row{members[i].name,
                            members[i].file,
                            outcomes[i].status(),
                            outcomes[i].code < 0 ? Cell("") : Cell(outcomes[i].code),
                            cell(summary, {"elbo", "value"}),
                            cell(summary, {"elbo", "error"}),
                            figure(summary, "evidence", "log_evidence"),
                            figure(summary, "evidence", "error"),
                            figure(summary, "k-hat", "k"),
                            cell(summary, {"trust", "colour"}),
                            cell(summary, {"cells"}),
                            cell(summary, {"cost", "seconds"})};
      for (const std::string &name : quantities)
      {
        Cell mean = "", deviation = "";
        if (const Json *all = find(summary, {"quantities"}))
          for (const Json &quantity : *all)
            if (quantity.value("name", "") == name)
            {
              mean      = cell(quantity, {"mean"});
              deviation = cell(quantity, {"std"});
            }
        row.push_back(mean);
        row.push_back(deviation);
      }
      row.emplace_back(normalize(outcomes[i].message));
      rows.push_back(row);
    }
    write_csv(path, names, rows);
  }
} // namespace varfield
