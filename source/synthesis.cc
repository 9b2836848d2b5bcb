#include <filesystem>
#include <varfield/collective.h>
#include <varfield/synthesis.h>

namespace varfield
{
  namespace
  {
    /// The rows of the sensors' file with a value and a standard deviation each.
    template <int dim>
    void write_set(const MeasurementSet<dim> &set, const Vector &values)
    {
      std::vector<std::string> names;
      for (const auto &name : set.table.names())
        if (name != "value" && name != "std")
          names.push_back(name);
      std::vector<std::vector<Cell>> rows(set.table.n_rows());
      for (const auto &name : names)
      {
        const auto column = set.table.strings(name);
        for (std::size_t i = 0; i < rows.size(); ++i)
          rows[i].push_back(column[i]);
      }
      names.push_back("value");
      names.push_back("std");
      for (std::size_t i = 0; i < rows.size(); ++i)
      {
        rows[i].push_back(values(i));
        rows[i].push_back(set.noise->standard_deviations()(i));
      }
      write_csv(set.file, names, rows);
    }

    template <int dim>
    void refuse_existing(const Case<dim> &problem)
    {
      std::string message;
      if (problem.groups().is_root() && !problem.output().overwrite)
        for (const auto &set : problem.measurements().sets())
          if (std::filesystem::exists(set->file))
            message = set->section() + "/File: “" + set->file +
                      "” exists already. Choose another name, or set Output/Overwrite to true.";
      throw_together(message, problem.groups().world());
    }
  } // namespace

  template <int dim>
  std::vector<std::string> synthesize(const Case<dim> &problem)
  {
    refuse_existing(problem);
    const auto state = problem.model().solve(problem.truth_or_draw());
    if (!state)
      throw ComputationError("The model cannot be solved at the truth.");
    DrawKey key;
    key.seed            = problem.seed();
    key.stream          = Stream::data_noise;
    const Vector values = problem.measurements().simulated(state->predictions, key);
    std::vector<std::string> lines;
    std::string message;
    Index first = 0;
    for (const auto &set : problem.measurements().sets())
    {
      const Index n = set->table.n_rows();
      if (problem.groups().is_root())
        try
        {
          write_set(*set, values.segment(first, n));
        }
        catch (const ComputationError &error)
        {
          message = error.what();
        }
      lines.push_back("wrote " + std::to_string(n) + " measurements to " + set->file);
      first += n;
    }
    throw_together(message, problem.groups().world());
    return lines;
  }

  template std::vector<std::string> synthesize(const Case<2> &);
  template std::vector<std::string> synthesize(const Case<3> &);
} // namespace varfield
