#include <algorithm>
#include <filesystem>
#include <numeric>
#include <varfield/collective.h>
#include <varfield/measurements.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    const std::string reference_column = "reference_difference";

    /// Whether the program reads the column; others are for people.
    bool has_meaning(const std::string &column)
    {
      static const std::vector<std::string> names{"x",         "y",     "z",    "value", "std",           "experiment",
                                                  "component", "group", "time", "until", reference_column};
      return std::find(names.begin(), names.end(), column) != names.end();
    }

    std::vector<unsigned int> experiments_of(const Table &table, const std::vector<std::string> &experiments)
    {
      std::vector<unsigned int> result(table.n_rows(), 0);
      if (experiments.size() == 1 && !table.has("experiment"))
        return result;
      const auto names = table.strings("experiment");
      for (unsigned int row = 0; row < names.size(); ++row)
      {
        const auto found = std::find(experiments.begin(), experiments.end(), names[row]);
        if (found == experiments.end())
          throw UserError(table.where(row) + ": the experiment is one of " + join(experiments) + ", but found “" +
                          names[row] + "”" + did_you_mean(names[row], experiments) + ".");
        result[row] = found - experiments.begin();
      }
      return result;
    }

    /// The columns “time” and, for means over a time, “until”.
    std::vector<std::pair<double, double>> times_of(const Table &table)
    {
      std::vector<std::pair<double, double>> result;
      const auto from = table.numbers("time"), until = table.numbers(table.has("until") ? "until" : "time");
      for (unsigned int row = 0; row < from.size(); ++row)
      {
        if (until[row] < from[row])
          throw UserError(table.where(row) + ": “until” has to be a time that is not before “time”, but found " +
                          to_text(until[row]) + " and " + to_text(from[row]) + ".");
        result.emplace_back(from[row], until[row]);
      }
      return result;
    }

    /// “1.50” and “1.5” are the same place.
    std::string canonical(const std::string &text)
    {
      try
      {
        return to_text(parse_number(text, ""));
      }
      catch (const UserError &)
      {
        return text;
      }
    }

    /// `places`: the columns that say where.
    void refuse_duplicates(const Table &table, const std::vector<std::string> &places,
                           const std::vector<unsigned int> &experiments,
                           const std::vector<std::pair<double, double>> &times)
    {
      const auto components =
          table.has("component") ? table.strings("component") : std::vector<std::string>(table.n_rows());
      std::vector<std::vector<std::string>> columns;
      for (const auto &name : places)
        if (table.has(name))
          columns.push_back(table.strings(name));
      if (columns.empty())
        return;
      std::map<std::tuple<std::vector<std::string>, std::pair<double, double>, unsigned int, std::string>, unsigned int>
          seen;
      for (unsigned int row = 0; row < table.n_rows(); ++row)
      {
        std::vector<std::string> x;
        for (const auto &column : columns)
          x.push_back(canonical(column[row]));
        const auto time            = times.empty() ? std::pair<double, double>(0., 0.) : times[row];
        const auto [place, is_new] = seen.insert({{x, time, experiments[row], components[row]}, row});
        if (!is_new)
          throw UserError(table.where(row) + ": the same point was measured in line " +
                          std::to_string(table.line(place->second)) +
                          " already. Repeated measurements have to be averaged into one row, or belong to different "
                          "experiments.");
      }
    }
  } // namespace

  std::vector<bool> rows_in_use(const Table &table, const std::string &conditions, const std::string &origin)
  {
    std::vector<bool> used(table.n_rows(), true);
    for (const auto &condition : split(conditions, ';'))
    {
      const auto equals = condition.find('=');
      if (equals == std::string::npos)
        throw UserError(origin +
                        ": conditions have the form “column=value” and are separated by semicolons, but found “" +
                        condition + "”.");
      const auto column = trim(condition.substr(0, equals)), value = trim(condition.substr(equals + 1));
      if (!table.has(column))
        throw UserError(origin + ": the table “" + table.path() + "” has no column “" + column + "”" +
                        did_you_mean(column, table.names()) + ". Its columns are " + join(table.names()) + ".");
      const auto cells = table.strings(column);
      bool any         = false;
      for (std::size_t row = 0; row < cells.size(); ++row)
        if (cells[row] == value)
        {
          used[row] = false;
          any       = true;
        }
      if (!any)
        throw UserError(origin + ": no row of " + table.path() + " has “" + value + "” in the column “" + column +
                        "”.");
    }
    if (std::count(used.begin(), used.end(), true) == 0)
      throw UserError(origin + ": all rows of " + table.path() + " are held out; at least one has to be used.");
    return used;
  }

  template <int dim>
  void MeasurementSet<dim>::add_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter(
        "File", file,
        "CSV table with a header: the columns that the type asks for (x,y[,z]), value, and where needed std, "
        "group, experiment, component; other columns are carried through.",
        dealii::Patterns::FileName());
    prm.add_parameter(
        "Sensors", sensors,
        "For synthetic data: the same table without values, from which “varfield synthesize” makes the file.",
        dealii::Patterns::FileName());
    prm.add_parameter("Unit", unit, "of the values, for legends.");
    prm.add_parameter(
        "Held out", held_out,
        "Conditions “column=value”, separated by semicolons: rows that meet one are not used, but are predicted.");
    prm.add_parameter(
        "Reference", reference,
        "The observations.csv of a run with the same rows, of something that is known: by how much it was measured "
        "differently from what was predicted there (the error of the model) is added to the predictions here. A column "
        "“reference_difference” in the file does the same. See also Relative to reference of the noise.",
        dealii::Patterns::FileName());
    prm.add_parameter("Of", of, "“state”, or the name of a field that was measured itself: cores, logs, tests.");
    prm.add_parameter("Transformed", transformed,
                      "Of a field: whether its coefficient k = T(m) was measured rather than m. Of a mean, the "
                      "coefficient of the mean of m: of a logarithm, the geometric mean.");
    prm.add_parameter("Predict only", predict_only,
                      "Whether the rows are not used but predicted, as those held out; they need no value.");
    observation.add_parameters(prm);
    noise.add_parameters(prm);
  }

  template <int dim>
  void Measurements<dim>::read(MPI_Comm comm, const std::vector<std::string> &experiments, bool values_needed,
                               bool in_time)
  {
    values_.resize(0);
    times_.clear();
    used_.clear();
    known_.clear();
    experiments_.clear();
    locations_.clear();
    first_row_.assign(1, 0);
    for (auto &set : sets_)
    {
      if (set->file.empty())
        throw UserError(set->section() + "/File: has to name the file with the measurements.");
      const bool sensors = !values_needed && !set->sensors.empty();
      int rank           = 0;
      MPI_Comm_rank(comm, &rank);
      const bool nothing = rank == 0 && !values_needed && !sensors && !std::filesystem::exists(set->file);
      throw_together(nothing ? set->section() +
                                   "/Sensors: has to name the table of the points to be measured at, from "
                                   "which “" +
                                   set->file + "” is made."
                             : "",
                     comm);
      set->table = Table::read(sensors ? set->sensors : set->file, comm,
                               "table " + set->section() + (sensors ? "/Sensors" : "/File"));
      if (!set->reference.empty())
        read_reference(*set, comm);
      read_rows(*set, comm, experiments, values_needed, in_time);
      first_row_.push_back(values_.size());
      set->noise->read(comm, set->section() + "/" + set->noise.name());
      if (values_needed)
        prepare_noise(first_row_.size() - 2, values_.tail(set->table.n_rows()));
    }
    if (n_used() == 0)
      throw UserError("Measurements: all sets are only predicted (“Predict only”); one at least has to be used.");
  }

  template <int dim>
  void Measurements<dim>::read_reference(MeasurementSet<dim> &set, MPI_Comm comm) const
  {
    const std::string origin = set.section() + "/Reference";
    const Table table        = Table::read(set.reference, comm, "table " + origin);
    const auto sets          = table.strings("set");
    std::vector<unsigned int> rows;
    for (unsigned int row = 0; row < sets.size(); ++row)
      if (sets[row] == set.name)
        rows.push_back(row);
    if (rows.size() != set.table.n_rows())
      throw UserError(origin + ": " + set.reference + " has " + counted(rows.size(), "row") + " of the set “" +
                      set.name + "”, but " + set.table.path() + " has " + std::to_string(set.table.n_rows()) +
                      "; the rows have to be the same.");
    auto places = set.observation->place_columns();
    for (const char *column : {"experiment", "component", "time", "until"})
      places.push_back(column);
    for (const auto &column : places)
      if (set.table.has(column) && table.has(column))
        for (unsigned int i = 0; i < rows.size(); ++i)
          if (canonical(set.table.text(i, column)) != canonical(table.text(rows[i], column)))
            throw UserError(set.table.where(i) + ": “" + column + "” is “" + set.table.text(i, column) +
                            "”, but in the same row of " + origin + " (" + table.where(rows[i]) + ") it is “" +
                            table.text(rows[i], column) + "”.");
    std::vector<double> differences;
    for (const unsigned int row : rows)
      differences.push_back(parse_number(table.text(row, "measured"), table.where(row) + ", column measured") -
                            parse_number(table.text(row, "predicted_mean"), table.where(row)));
    if (set.table.has(reference_column))
      throw UserError(origin + ": " + set.table.path() + " has a column “" + reference_column +
                      "” already; take one of the two out.");
    set.table.set_column(reference_column, differences);
  }

  template <int dim>
  void Measurements<dim>::read_rows(MeasurementSet<dim> &set, MPI_Comm comm,
                                    const std::vector<std::string> &experiments, bool values_needed, bool in_time)
  {
    const auto points = set.observation->locations(set.table, comm);
    const auto used   = set.predict_only ? std::vector<bool>(set.table.n_rows(), false)
                                         : rows_in_use(set.table, set.held_out, set.section() + "/Held out");
    // Measurements of a field belong to no experiment and to no time.
    const bool is_of_state = set.is_of_state();
    const auto of =
        is_of_state ? experiments_of(set.table, experiments) : std::vector<unsigned int>(set.table.n_rows(), 0);
    std::vector<std::pair<double, double>> times;
    if (in_time)
      times = is_of_state ? times_of(set.table) : std::vector<std::pair<double, double>>(set.table.n_rows());
    refuse_duplicates(set.table, set.observation->place_columns(), of, times);
    Vector values       = Vector::Zero(set.table.n_rows());
    const bool is_known = !set.predict_only || set.table.has("value");
    if (values_needed && is_known)
    {
      const auto column = set.table.numbers("value");
      values            = Eigen::Map<const Vector>(column.data(), column.size());
    }
    locations_.insert(locations_.end(), points.begin(), points.end());
    times_.insert(times_.end(), times.begin(), times.end());
    used_.insert(used_.end(), used.begin(), used.end());
    known_.insert(known_.end(), used.size(), is_known);
    experiments_.insert(experiments_.end(), of.begin(), of.end());
    values_.conservativeResize(values_.size() + values.size());
    values_.tail(values.size()) = values;
  }

  template <int dim>
  void Measurements<dim>::initialize(const StateSpace<dim> &space, const std::vector<std::string> &state_names,
                                     const FieldSet<dim> &fields, const Electrodes<dim> *electrodes)
  {
    functionals_.clear();
    constants_.clear();
    for (const auto &set : sets_)
    {
      constants_.resize(functionals_.size(), 0.);
      if (set->observation->is_of_electrodes() && set->is_of_state() && electrodes != nullptr)
      {
        const auto first = experiments_.begin() + static_cast<std::ptrdiff_t>(functionals_.size());
        for (auto &functional :
             set->observation->voltages(set->table, *electrodes, {first, first + set->table.n_rows()}, constants_))
          functionals_.push_back(std::move(functional));
        continue;
      }
      const auto take = [&](const FunctionalSpace<dim> &of, const std::vector<unsigned int> &components)
      {
        const std::string section = set->section() + "/" + set->observation.name();
        for (auto &functional : set->observation->functionals(set->table, of, components, section))
          functionals_.push_back(std::move(functional));
      };
      if (set->is_of_state())
      {
        take(space.functional_space(), components_of(set->table, state_names));
        continue;
      }
      if (set->observation->is_flux())
        throw UserError(set->section() + "/Of: fluxes through boundaries are of the state, but found “" + set->of +
                        "”.");
      const unsigned int field = fields.find(set->of);
      auto known               = fields.names();
      known.push_back("state");
      if (field == fields.size())
        throw UserError(set->section() + "/Of: there is no field “" + set->of + "”; known are " + join(known) +
                        did_you_mean(set->of, known) + ".");
      const auto &of = fields[field].space();
      if (of.is_in_time())
        throw UserError(set->section() + "/Of: the field “" + set->of +
                        "” is on intervals of time; what is measured of it belongs into its prior.");
      // Values at constrained nodes are known as well: they are those of the field.
      const dealii::AffineConstraints<double> none;
      take({of.dof_handler(), of.mesh(), none}, std::vector<unsigned int>(set->table.n_rows(), 0));
    }
    constants_.resize(functionals_.size(), 0.);
    for (std::size_t s = 0; s < sets_.size(); ++s)
      if (const Table &table = sets_[s]->table; table.has(reference_column))
      {
        const auto differences = table.numbers(reference_column);
        for (std::size_t i = 0; i < differences.size(); ++i)
          constants_[static_cast<std::size_t>(first_row_[s]) + i] += differences[i];
      }
  }

  template <int dim>
  void Measurements<dim>::prepare_noise(std::size_t s, const Vector &values) const
  {
    const MeasurementSet<dim> &set = *sets_[s];
    try
    {
      set.noise->initialize(set.table, values, set.section() + "/" + set.noise.name());
    }
    catch (const UserError &error)
    {
      throw UserError(error.what() + std::string(set.predict_only
                                                     ? " (Rows that are only predicted have no values that noise "
                                                       "could be relative to: give an absolute one.)"
                                                     : ""));
    }
    set.noise->use({used_.begin() + first_row_[s], used_.begin() + first_row_[s + 1]});
  }

  template <int dim>
  void Measurements<dim>::set_values(const Vector &values)
  {
    values_ = values;
    for (std::size_t s = 0; s < sets_.size(); ++s)
      prepare_noise(s, values.segment(first_row_[s], first_row_[s + 1] - first_row_[s]));
  }

  template <int dim>
  std::string Measurements<dim>::where(Index i) const
  {
    const auto [s, row] = origin(i);
    return sets_[s]->table.where(row);
  }

  template <int dim>
  std::string Measurements<dim>::name_of_row(Index i) const
  {
    const auto [s, row] = origin(i);
    const Table &table  = sets_[s]->table;
    const auto places   = sets_[s]->observation->place_columns();
    for (const auto &column : table.names())
      if (!has_meaning(column) && std::find(places.begin(), places.end(), column) == places.end())
        return table.where(row) + " (" + column + " " + table.text(row, column) + ")";
    return table.where(row);
  }

  template <int dim>
  Vector Measurements<dim>::errors(const DrawKey &key) const
  {
    Vector result(size());
    for (std::size_t s = 0; s < sets_.size(); ++s)
    {
      const Index first = first_row_[s], n = first_row_[s + 1] - first;
      std::vector<std::uint64_t> keys(static_cast<std::size_t>(n));
      std::iota(keys.begin(), keys.end(), static_cast<std::uint64_t>(first));
      result.segment(first, n) = sets_[s]->noise->sample(standard_normal(Layout(MPI_COMM_SELF, keys), key));
    }
    return result;
  }

  template <int dim>
  Vector Measurements<dim>::simulated(const Vector &predictions, const DrawKey &key) const
  {
    // The noise may follow the values that are measured.
    for (std::size_t s = 0; s < sets_.size(); ++s)
      prepare_noise(s, predictions.segment(first_row_[s], first_row_[s + 1] - first_row_[s]));
    return predictions + errors(key);
  }

  template <int dim>
  void Measurements<dim>::use(const std::vector<bool> &used)
  {
    used_ = used;
    for (std::size_t s = 0; s < sets_.size(); ++s)
      sets_[s]->noise->use({used_.begin() + first_row_[s], used_.begin() + first_row_[s + 1]});
  }

  template <int dim>
  template <typename Function>
  void Measurements<dim>::for_each_set(const Function &function) const
  {
    for (std::size_t s = 0; s < sets_.size(); ++s)
      function(*sets_[s]->noise, first_row_[s], first_row_[s + 1] - first_row_[s]);
  }

  template <int dim>
  double Measurements<dim>::potential(const Vector &predictions) const
  {
    const Vector residuals = predictions - values_;
    double sum             = 0.;
    for_each_set([&](const Noise &noise, Index first, Index n)
                 { sum += noise.potential(residuals.segment(first, n)); });
    return sum;
  }

  template <int dim>
  Vector Measurements<dim>::gradient(const Vector &predictions) const
  {
    const Vector residuals = predictions - values_;
    Vector g(size());
    for_each_set([&](const Noise &noise, Index first, Index n)
                 { g.segment(first, n) = noise.gradient(residuals.segment(first, n)); });
    return g;
  }

  template <int dim>
  NoiseRoot Measurements<dim>::root(const Vector &predictions) const
  {
    const Vector residuals = predictions - values_;
    NoiseRoot result{Eigen::SparseMatrix<double>(size(), n_used()), Vector(n_used())};
    std::vector<Eigen::Triplet<double>> entries;
    Index column = 0;
    for_each_set(
        [&](const Noise &noise, Index first, Index n)
        {
          const NoiseRoot part = noise.root(residuals.segment(first, n));
          for (Index k = 0; k < part.root.outerSize(); ++k)
            for (Eigen::SparseMatrix<double>::InnerIterator entry(part.root, k); entry; ++entry)
              entries.emplace_back(first + entry.row(), column + k, entry.value());
          result.residuals.segment(column, part.residuals.size()) = part.residuals;
          column += part.residuals.size();
        });
    result.root.setFromTriplets(entries.begin(), entries.end());
    return result;
  }

  template <int dim>
  Vector Measurements<dim>::weights(const Vector &mean, const Vector &deviation) const
  {
    // Gauss–Hermite quadrature for N(0, 1) with seven points.
    static const double nodes[]   = {0., 1.154405394739968, 2.366759410734541, 3.750439717725742};
    static const double factors[] = {0.4571428571428571, 0.2401231786050127, 0.0307571239675865, 0.000548268855972217};
    Vector result(size());
    for_each_set(
        [&](const Noise &noise, Index first, Index n)
        {
          for (Index i = 0; i < n; ++i)
          {
            const double residual = mean[first + i] - values_[first + i], width = deviation[first + i];
            double sum = factors[0] * noise.weight(i, residual);
            for (unsigned int k = 1; k < 4; ++k)
              for (const double side : {-1., 1.})
                sum += factors[k] * noise.weight(i, residual + side * nodes[k] * width);
            result[first + i] = sum;
          }
        });
    return result;
  }

  template <int dim>
  std::vector<NormalMixture> Measurements<dim>::spreads(const Vector &deviation, const Vector &noise) const
  {
    std::vector<NormalMixture> result;
    for_each_set(
        [&](const Noise &model, Index first, Index n)
        {
          const NormalMixture errors = model.mixture();
          for (Index i = first; i < first + n; ++i)
            result.push_back(
                {((errors.deviations * noise[i]).array().square() + deviation[i] * deviation[i]).sqrt().matrix(),
                 errors.weights});
        });
    return result;
  }

  template <int dim>
  Vector Measurements<dim>::standard_deviations() const
  {
    Vector all(size());
    for_each_set([&](const Noise &noise, Index first, Index n)
                 { all.segment(first, n) = noise.standard_deviations(); });
    return all;
  }

  template <int dim>
  bool Measurements<dim>::is_gaussian() const
  {
    return std::all_of(sets_.begin(), sets_.end(), [](const auto &set) { return set->noise->is_gaussian(); });
  }

  template <int dim>
  std::pair<unsigned int, unsigned int> Measurements<dim>::origin(Index i) const
  {
    const auto set = std::upper_bound(first_row_.begin(), first_row_.end(), i) - first_row_.begin() - 1;
    return {set, i - first_row_[set]};
  }

  template struct MeasurementSet<2>;
  template struct MeasurementSet<3>;
  template class Measurements<2>;
  template class Measurements<3>;
} // namespace varfield
