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
    /// Whether the program reads the column; others are for people.
    bool has_meaning(const std::string &column)
    {
      static const std::vector<std::string> names{"x", "y", "z", "value", "std", "experiment", "component", "group"};
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

    template <int dim>
    void refuse_duplicates(const Table &table, const std::vector<dealii::Point<dim>> &points,
                           const std::vector<unsigned int> &experiments)
    {
      const auto components =
          table.has("component") ? table.strings("component") : std::vector<std::string>(table.n_rows());
      std::map<std::tuple<std::vector<double>, unsigned int, std::string>, unsigned int> seen;
      for (unsigned int row = 0; row < points.size(); ++row)
      {
        std::vector<double> x(dim);
        for (unsigned int d = 0; d < dim; ++d)
          x[d] = points[row][d];
        const auto [place, is_new] = seen.insert({{x, experiments[row], components[row]}, row});
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
    observation.add_parameters(prm);
    noise.add_parameters(prm);
  }

  template <int dim>
  void Measurements<dim>::read(MPI_Comm comm, const std::vector<std::string> &experiments, bool values_needed)
  {
    values_.resize(0);
    used_.clear();
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
      read_rows(*set, experiments, values_needed);
      first_row_.push_back(values_.size());
      set->noise->read(comm, set->section() + "/" + set->noise.name());
      if (values_needed)
        prepare_noise(first_row_.size() - 2, values_.tail(set->table.n_rows()));
    }
  }

  template <int dim>
  void Measurements<dim>::read_rows(MeasurementSet<dim> &set, const std::vector<std::string> &experiments,
                                    bool values_needed)
  {
    const auto points = set.observation->locations(set.table);
    const auto used   = rows_in_use(set.table, set.held_out, set.section() + "/Held out");
    const auto of     = experiments_of(set.table, experiments);
    refuse_duplicates<dim>(set.table, points, of);
    Vector values = Vector::Zero(set.table.n_rows());
    if (values_needed)
    {
      const auto column = set.table.numbers("value");
      values            = Eigen::Map<const Vector>(column.data(), column.size());
    }
    locations_.insert(locations_.end(), points.begin(), points.end());
    used_.insert(used_.end(), used.begin(), used.end());
    experiments_.insert(experiments_.end(), of.begin(), of.end());
    values_.conservativeResize(values_.size() + values.size());
    values_.tail(values.size()) = values;
  }

  template <int dim>
  void Measurements<dim>::initialize(const StateSpace<dim> &space, const std::vector<std::string> &state_names)
  {
    functionals_.clear();
    for (const auto &set : sets_)
      for (const auto &functional : set->observation->functionals(set->table, space, state_names))
        functionals_.push_back(functional);
  }

  template <int dim>
  void Measurements<dim>::prepare_noise(std::size_t s, const Vector &values) const
  {
    const MeasurementSet<dim> &set = *sets_[s];
    set.noise->initialize(set.table, values, set.section() + "/" + set.noise.name());
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
  std::string Measurements<dim>::name_of_row(Index i) const
  {
    const auto [s, row] = origin(i);
    const Table &table  = sets_[s]->table;
    for (const auto &column : table.names())
      if (!has_meaning(column))
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
