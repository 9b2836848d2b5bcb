#ifndef varfield_measurements_h
#define varfield_measurements_h

#include <varfield/field.h>
#include <varfield/noise.h>
#include <varfield/observation.h>
#include <varfield/random.h>

namespace varfield
{
  /// False for the rows that meet one of the conditions “column=value”, which semicolons separate. UserError that
  /// begins with `origin`, also where no row is left.
  std::vector<bool> rows_in_use(const Table &table, const std::string &conditions, const std::string &origin);

  /// One measurement file: what its rows measure, how uncertain they are, and which of them are held out.
  template <int dim>
  struct MeasurementSet
  {
    explicit MeasurementSet(const std::string &name) : name(name) {}
    /// Inside the set's subsection.
    void add_parameters(dealii::ParameterHandler &prm);
    std::string section() const { return "Measurements/" + name; }

    const std::string name;
    std::string file, sensors, held_out, reference, unit, of = "state";
    bool predict_only = false, transformed = true;
    bool is_of_state() const { return of == "state"; }
    Choice<Observation<dim>> observation{"Type", "point values"};
    Choice<Noise> noise{"Noise", "gaussian"};
    Table table;
  };

  /// All measurements, the rows of the first file, then those of the second, and so on. Every rank holds all of them.
  template <int dim>
  class Measurements
  {
  public:
    explicit Measurements(std::vector<std::unique_ptr<MeasurementSet<dim>>> sets) : sets_(std::move(sets)) {}

    /// Reads the files; with `values_needed` false the files of sensors, whose values are zero and have no noise model
    /// yet. `experiments` are the names of the experiments; `in_time`: every row has a time. Collective; UserError.
    void read(MPI_Comm comm, const std::vector<std::string> &experiments, bool values_needed, bool in_time);
    /// Sets the functionals of the rows up, on the state or on a field. `electrodes` may be null. Collective;
    /// UserError.
    void initialize(const StateSpace<dim> &space, const std::vector<std::string> &state_names,
                    const FieldSet<dim> &fields, const Electrodes<dim> *electrodes);

    const std::vector<std::unique_ptr<MeasurementSet<dim>>> &sets() const { return sets_; }
    Index size() const { return values_.size(); }
    Index n_used() const { return std::count(used_.begin(), used_.end(), true); }
    const std::vector<dealii::Point<dim>> &locations() const { return locations_; }
    const Vector &values() const { return values_; }
    Vector standard_deviations() const;
    const std::vector<bool> &used() const { return used_; }
    /// Whether there is a measured value; there is none in the rows of sets that are only predicted, whose values are
    /// 0.
    const std::vector<bool> &known() const { return known_; }
    /// Other values in place of those of the files; noise that follows the values is theirs.
    void set_values(const Vector &values);
    /// Errors as the noise has them, with its numbers by `key`.
    Vector errors(const DrawKey &key) const;
    /// Measurements of these predictions: noise is added, with its numbers by `key`.
    Vector simulated(const Vector &predictions, const DrawKey &key) const;
    /// Changes which rows are in use.
    void use(const std::vector<bool> &used);
    /// Index of the experiment that row i belongs to.
    const std::vector<unsigned int> &experiments() const { return experiments_; }
    const std::vector<Functional> &functionals() const { return functionals_; }
    /// What is added to the functional of the state.
    const std::vector<double> &constants() const { return constants_; }
    /// The set that row i belongs to.
    const MeasurementSet<dim> &set_of(Index i) const { return *sets_[origin(i).first]; }
    /// Of problems in time: what was measured is the mean from the first time to the second, or the value where these
    /// are the same.
    const std::vector<std::pair<double, double>> &times() const { return times_; }
    /// Index of the set that row i belongs to, and its row in that file.
    std::pair<unsigned int, unsigned int> origin(Index i) const;

    /// “wells.csv, line 7”, to begin a message about a row with.
    std::string where(Index i) const;
    /// “wells.csv, line 7 (well 12)”: for people.
    std::string name_of_row(Index i) const;

    /// Φ = −log p(d | predictions) over the rows in use, and its derivatives with respect to the predictions; see
    /// Noise.
    double potential(const Vector &predictions) const;
    Vector gradient(const Vector &predictions) const;
    NoiseRoot root(const Vector &predictions) const;
    bool is_gaussian() const;
    /// What every measurement counts for, compared with one that fits: the mean of Noise::weight() over predictions
    /// N(mean, deviation²).
    Vector weights(const Vector &mean, const Vector &deviation) const;
    /// How new measurements spread around predictions with these standard deviations; `noise` are the standard
    /// deviations of the noise.
    std::vector<NormalMixture> spreads(const Vector &deviation, const Vector &noise) const;

  private:
    template <typename Function>
    void for_each_set(const Function &function) const;
    void read_reference(MeasurementSet<dim> &set, MPI_Comm comm) const;
    void read_rows(MeasurementSet<dim> &set, MPI_Comm comm, const std::vector<std::string> &experiments,
                   bool values_needed, bool in_time);
    /// The noise of set s, of these values of all its rows.
    void prepare_noise(std::size_t s, const Vector &values) const;

    std::vector<std::unique_ptr<MeasurementSet<dim>>> sets_;
    std::vector<Index> first_row_;
    Vector values_;
    std::vector<bool> used_, known_;
    std::vector<unsigned int> experiments_;
    std::vector<dealii::Point<dim>> locations_;
    std::vector<std::pair<double, double>> times_;
    std::vector<Functional> functionals_;
    std::vector<double> constants_;
  };
} // namespace varfield

#endif
