#include <deal.II/numerics/data_out.h>

#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <varfield/checkpoint.h>
#include <varfield/collective.h>
#include <varfield/normal_distribution.h>
#include <varfield/output.h>
#include <varfield/text.h>
#include <varfield/timing.h>
#include <varfield/version.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    std::string with_underscores(std::string name)
    {
      std::replace(name.begin(), name.end(), ' ', '_');
      return name;
    }

    /// The texts of all ranks, one after the other, on the first one: of any length, which a gather has not.
    /// Collective.
    void append_pieces(MPI_Comm comm, const std::string &piece, std::ostream &all)
    {
      constexpr std::size_t at_once = 1u << 28;
      const unsigned int me         = Utilities::MPI::this_mpi_process(comm);
      for (unsigned int rank = 0; rank < Utilities::MPI::n_mpi_processes(comm); ++rank)
      {
        const auto size = Utilities::MPI::broadcast(comm, static_cast<std::uint64_t>(piece.size()), rank);
        for (std::uint64_t done = 0; done < size; done += at_once)
        {
          const int n = static_cast<int>(std::min<std::uint64_t>(at_once, size - done));
          std::string part;
          if (me == rank)
            part = piece.substr(done, n);
          if (me == rank && rank > 0)
            MPI_Send(part.data(), n, MPI_CHAR, 0, 0, comm);
          if (me == 0 && rank > 0)
          {
            part.resize(n);
            MPI_Recv(part.data(), n, MPI_CHAR, static_cast<int>(rank), 0, comm, MPI_STATUS_IGNORE);
          }
          if (me == 0)
            all << part;
        }
      }
    }

    /// A record for ParaView: the files of some times.
    std::string record_of(const std::vector<std::pair<double, std::string>> &files)
    {
      std::ostringstream record;
      DataOutBase::write_pvd_record(record, files);
      return record.str();
    }

    /// Vectors on several handlers, written as one file of one time step.
    template <int dim>
    class FieldFile
    {
    public:
      explicit FieldFile(const Mesh<dim> &mesh) : mesh_(mesh) { data_.attach_triangulation(mesh.triangulation()); }

      void add(const DoFHandler<dim> &handler, GhostedVector vector, const std::string &name)
      {
        add(handler, std::move(vector), std::vector<std::string>{name});
      }
      /// One name for each component.
      void add(const DoFHandler<dim> &handler, GhostedVector vector, std::vector<std::string> names)
      {
        vectors_.push_back(std::make_unique<GhostedVector>(std::move(vector)));
        vectors_.back()->update_ghost_values();
        std::transform(names.begin(), names.end(), names.begin(), with_underscores);
        data_.add_data_vector(handler, *vectors_.back(), names);
      }

      /// Writes `name`_0012.pvtu, for the twelfth time, and returns that. Made in memory, and written as all other
      /// files are: what goes wrong is a ComputationError on all ranks. Collective over the mesh's communicator.
      std::string write(const std::string &path, const std::string &name, unsigned int degree, unsigned int time = 0)
      {
        DataOutBase::VtkFlags flags;
        flags.compression_level        = decltype(flags.compression_level)::best_speed;
        flags.write_higher_order_cells = degree > 1;
        data_.set_flags(flags);
        data_.build_patches(mesh_.mapping(), degree);
        std::ostringstream vtu;
        DataOutBase::write_vtu_header(vtu, flags);
        append_pieces(mesh_.comm(), data_.piece(flags), vtu);
        DataOutBase::write_vtu_footer(vtu);
        const std::string stem = name + "_" + Utilities::int_to_string(time, 4), whole = stem + ".0.vtu";
        std::string message;
        if (Utilities::MPI::this_mpi_process(mesh_.comm()) == 0)
          try
          {
            std::ostringstream pvtu;
            data_.write_pvtu_record(pvtu, {whole});
            write_text_file(path + whole, vtu.str());
            write_text_file(path + stem + ".pvtu", pvtu.str());
          }
          catch (const ComputationError &error)
          {
            message = error.what();
          }
        throw_together<ComputationError>(message, mesh_.comm());
        return stem + ".pvtu";
      }

    private:
      /// With what each rank contributes to a file.
      class Pieces : public DataOut<dim>
      {
      public:
        std::string piece(const DataOutBase::VtkFlags &flags) const
        {
          std::ostringstream text;
          if (!this->get_patches().empty())
            DataOutBase::write_vtu_main(this->get_patches(), this->get_dataset_names(),
                                        this->get_nonscalar_data_ranges(), flags, text);
          return text.str();
        }
      };

      const Mesh<dim> &mesh_;
      Pieces data_;
      std::vector<std::unique_ptr<GhostedVector>> vectors_;
    };

    /// P(field > m) at every degree of freedom: of a normal one, or the share of the draws.
    Vector probability_above(const FieldResult &result, const MultiVector *draws, double m)
    {
      Vector probability(result.mean.size());
      for (Index i = 0; i < probability.size(); ++i)
        if (draws != nullptr)
          probability[i] = (draws->row(i).array() > m).cast<double>().mean();
        else
          probability[i] =
              normal_probability((result.mean[i] - m) / std::sqrt(std::max(1e-300, result.variance.values[i])));
      return probability;
    }

    /// P(m is between thresholds i − 1 and i) at every degree of freedom, for every phase i.
    template <int dim>
    std::vector<Vector> phase_probabilities(const Field<dim> &field, const FieldResult &result,
                                            const MultiVector *draws)
    {
      std::vector<Vector> probabilities;
      Vector above = Vector::Ones(result.mean.size());
      for (const double threshold : field.transform().thresholds())
      {
        const Vector next = probability_above(result, draws, threshold);
        probabilities.push_back(above - next);
        above = next;
      }
      if (!probabilities.empty())
        probabilities.push_back(above);
      return probabilities;
    }

    using NamedVectors = std::vector<std::pair<std::string, Vector>>;

    /// What is known about a field, at its owned degrees of freedom.
    template <int dim>
    NamedVectors describe_field(const Field<dim> &field, const FieldResult &result, const Certificate *certificate,
                                unsigned int f, bool corrected)
    {
      NamedVectors all;
      const auto add         = [&](const Vector &values, const std::string &name) { all.emplace_back(name, values); };
      const Vector deviation = result.variance.values.cwiseSqrt();
      add(result.mean, "mean");
      add(deviation, "std");
      add(field.mean(), "prior_mean");
      add(result.prior_variance.values.cwiseSqrt(), "prior_std");
      add((1. - result.variance.values.array() / result.prior_variance.values.array().max(1e-300)).matrix(),
          "variance_reduction");
      add(result.map, "map");
      if (result.truth.size() > 0)
        add(result.truth, "truth");
      if (result.state_mean_field.size() > 0)
        add(result.state_mean_field, "state_mean_field_std");
      for (Index j = 0; j < result.modes.cols(); ++j)
        add(result.modes.col(j), "mode_" + std::to_string(j));
      for (Index j = 0; j < result.draws.cols(); ++j)
        add(result.draws.col(j), "draw_" + std::to_string(j));
      const MultiVector *draws = corrected ? &certificate->kept[f] : nullptr;
      // Transforms rise.
      for (const double threshold : field.thresholds())
        add(probability_above(result, draws, field.transform().inverse(threshold)), "exceeds_" + to_text(threshold));
      const auto phases = phase_probabilities(field, result, draws);
      for (std::size_t i = 0; i < phases.size(); ++i)
        add(phases[i], "phase_" + std::to_string(i) + "_probability");
      if (certificate != nullptr)
      {
        const ChainMoments &chains = certificate->fields[f];
        add(corrected ? result.variational_mean : chains.mean, corrected ? "variational_mean" : "chains_mean");
        add(corrected ? result.variational_deviation : chains.deviation, corrected ? "variational_std" : "chains_std");
        add(certificate->mean_shift[f], "mean_shift");
        add(certificate->deviation_ratio[f], "std_ratio");
        add(chains.ess, "effective_size");
        add(chains.rhat, "rhat");
      }
      if (field.transform().is_identity())
        return all;
      const auto physical_quantile = [&](double p)
      {
        // Transforms are monotone: quantiles of the coefficient are the coefficient of the quantiles, of a normal
        // distribution or, where it is not one, of the draws that were kept.
        Vector m = result.mean + normal_quantile(p) * deviation;
        if (corrected)
          for (Index i = 0; i < m.size(); ++i)
            m[i] = quantile({draws->row(i).begin(), draws->row(i).end()}, p);
        return Vector(m.unaryExpr([&](double x) { return field.transform().derivative(0, x); }));
      };
      add(physical_quantile(0.5), "physical_median");
      add(physical_quantile(0.05), "physical_p05");
      add(physical_quantile(0.95), "physical_p95");
      return all;
    }

    /// The posterior of a field on zones or intervals of time as a table, field_`name`.csv. Collective over the mesh's
    /// communicator.
    template <int dim>
    void write_zones(const Field<dim> &field, const NamedVectors &known, const std::string &path)
    {
      const auto &space = field.space();
      const auto &owned = space.dof_handler().locally_owned_dofs();
      const auto zones  = static_cast<Index>(space.zone_centres().size());
      Matrix values     = Matrix::Zero(zones, static_cast<Index>(known.size()));
      for (Index z = 0; z < zones; ++z)
        if (const auto dof = space.dof_of_zone(static_cast<unsigned int>(z)); owned.is_element(dof))
          for (std::size_t k = 0; k < known.size(); ++k)
            values(z, static_cast<Index>(k)) = known[k].second[static_cast<Index>(owned.index_within_set(dof))];
      sum_over(space.mesh().comm(), values.data(), static_cast<std::size_t>(values.size()));
      std::vector<std::string> names = space.is_in_time() ? std::vector<std::string>{"from", "until"}
                                                          : std::vector<std::string>{"zone", "x", "y", "z"};
      if (!space.is_in_time())
        names.resize(1 + dim);
      for (const auto &entry : known)
        names.push_back(entry.first);
      std::vector<std::vector<Cell>> rows;
      for (Index z = 0; z < zones; ++z)
      {
        const auto zone = static_cast<std::size_t>(z);
        std::vector<Cell> row;
        if (space.is_in_time())
          row = {space.times()[zone], space.times()[zone + 1]};
        else
        {
          row.push_back(z);
          for (unsigned int d = 0; d < dim; ++d)
            row.push_back(space.zone_centres()[zone][d]);
        }
        for (Index k = 0; k < values.cols(); ++k)
          row.push_back(values(z, k));
        rows.push_back(row);
      }
      std::string message;
      if (Utilities::MPI::this_mpi_process(space.mesh().comm()) == 0)
        try
        {
          write_csv(path + "field_" + with_underscores(field.name()) + ".csv", names, rows);
        }
        catch (const ComputationError &error)
        {
          message = error.what();
        }
      throw_together<ComputationError>(message, space.mesh().comm());
    }

    /// The posterior of the fields; those on zones and intervals of time as tables as well. Returns the record for
    /// ParaView.
    template <int dim>
    std::string write_fields(const Case<dim> &problem, const Results<dim> &results, const std::string &path)
    {
      const auto &fields = problem.fields();
      FieldFile<dim> file(problem.mesh());
      unsigned int degree = 1;
      for (unsigned int f = 0; f < fields.size(); ++f)
      {
        const Certificate *certificate =
            results.certificate && !results.certificate->fields.empty() ? &*results.certificate : nullptr;
        const auto &space = fields[f].space();
        const auto known  = describe_field(fields[f], results.fields[f], certificate, f, results.corrected);
        degree            = std::max(degree, space.dof_handler().get_fe().degree);
        if (!space.is_nodal())
          write_zones(fields[f], known, path);
        if (!space.is_in_time())
          for (const auto &[name, values] : known)
            file.add(space.dof_handler(), space.ghosted(values), fields[f].name() + "_" + name);
      }
      return record_of({{0., file.write(path, "posterior", degree)}});
    }

    /// At most so many of the snapshots, with the first and the last one.
    std::vector<unsigned int> some_snapshots(unsigned int n, unsigned int most)
    {
      std::vector<unsigned int> result;
      for (unsigned int i = 0; i < std::min(n, most); ++i)
        result.push_back(n <= most ? i : static_cast<unsigned int>(std::lround(i * (n - 1.) / (most - 1.))));
      return result;
    }

    /// Mean and standard deviation of the predicted state at some times.
    template <int dim>
    std::string write_states(const Case<dim> &problem, const Results<dim> &results, const std::string &path)
    {
      const auto &model     = problem.model();
      const auto names      = model.experiment_names();
      const auto components = model.state_names();
      std::vector<std::pair<double, std::string>> files;
      for (const unsigned int n : some_snapshots(model.n_snapshots(), std::max(2u, problem.output().n_snapshots)))
      {
        FieldFile<dim> file(problem.mesh());
        for (unsigned int e = 0; e < names.size(); ++e)
        {
          const auto add = [&](const MultiVector &values, const std::string &suffix)
          {
            std::vector<std::string> labels;
            for (const auto &component : components)
              labels.push_back("state" + (names.size() > 1 ? "_" + names[e] : "") +
                               (components.size() > 1 ? "_" + component : "") + suffix);
            file.add(model.space().dof_handler(), model.space().ghosted(values.col(model.column(n, e))), labels);
          };
          add(results.averages.state_mean, "_mean");
          add(results.averages.state_deviation, "_std");
        }
        const auto number = static_cast<unsigned int>(files.size());
        files.emplace_back(model.snapshot_time(n), file.write(path, "state", model.degree(), number));
      }
      return record_of(files);
    }

    /// Rows of measurement files: set and place, `columns` of the caller's, and what the program does not know.
    template <int dim>
    class MeasurementTable
    {
    public:
      MeasurementTable(const Measurements<dim> &measurements, const std::vector<std::string> &columns)
          : measurements_(measurements)
      {
        names = {"set"};
        for (unsigned int d = 0; d < dim; ++d)
          names.push_back(std::string(1, "xyz"[d]));
        names.insert(names.end(), columns.begin(), columns.end());
        const std::vector<std::string> known{"x", "y", "z", "value", "std", "experiment"};
        for (const auto &set : measurements.sets())
          for (const auto &column : set->table.names())
            if (std::find(known.begin(), known.end(), column) == known.end() &&
                std::find(carried_.begin(), carried_.end(), column) == carried_.end())
              carried_.push_back(column);
        names.insert(names.end(), carried_.begin(), carried_.end());
      }

      void add(Index i, const std::vector<Cell> &cells)
      {
        const auto [s, row] = measurements_.origin(i);
        const auto &set     = *measurements_.sets()[s];
        std::vector<Cell> all{set.name};
        for (unsigned int d = 0; d < dim; ++d)
        {
          const double x = measurements_.locations()[i][d];
          all.push_back(std::isfinite(x) ? Cell(x) : Cell(""));
        }
        all.insert(all.end(), cells.begin(), cells.end());
        for (const auto &column : carried_)
          all.push_back(set.table.has(column) ? set.table.text(row, column) : "");
        rows.push_back(all);
      }

      std::vector<std::string> names;
      std::vector<std::vector<Cell>> rows;

    private:
      const Measurements<dim> &measurements_;
      std::vector<std::string> carried_;
    };

    template <int dim>
    void write(const std::string &path, const MeasurementTable<dim> &table)
    {
      write_csv(path, table.names, table.rows);
    }

    /// All measurements, with what was predicted.
    template <int dim>
    MeasurementTable<dim> observations(const Case<dim> &problem, const Results<dim> &results)
    {
      const auto &measurements = problem.measurements();
      const Averages &averages = results.averages;
      const Vector &noise      = results.noise_deviation;
      const Vector weights     = measurements.weights(averages.prediction_mean, averages.prediction_deviation);
      MeasurementTable<dim> table(measurements, {"experiment", "measured", "std", "predicted_mean", "predicted_std",
                                                 "standardised_residual", "weight", "used"});
      for (Index i = 0; i < measurements.size(); ++i)
      {
        const double value = measurements.values()(i), mean = averages.prediction_mean(i),
                     deviation = averages.prediction_deviation(i);
        const bool known       = measurements.known()[i];
        const double residual  = (value - mean) / std::hypot(noise(i), deviation);
        table.add(i, {problem.model().experiment_names()[measurements.experiments()[i]], known ? Cell(value) : Cell(""),
                      noise(i), mean, deviation, known ? Cell(residual) : Cell(""), weights(i),
                      measurements.used()[i] ? 1 : 0});
      }
      return table;
    }

    /// Points with data for ParaView (VTK's XML PolyData).
    template <int dim>
    std::string as_vtp(const Case<dim> &problem, const Results<dim> &results)
    {
      const auto &measurements = problem.measurements();
      std::vector<Index> rows; // those with a value and a place
      for (Index i = 0; i < measurements.size(); ++i)
        if (measurements.known()[static_cast<std::size_t>(i)] &&
            std::isfinite(measurements.locations()[static_cast<std::size_t>(i)][0]))
          rows.push_back(i);
      const std::size_t n = rows.size();
      std::ostringstream out;
      out << std::setprecision(12);
      out << "<?xml version=\"1.0\"?>\n<VTKFile type=\"PolyData\" version=\"0.1\" "
             "byte_order=\"LittleEndian\">\n<PolyData>\n"
          << "<Piece NumberOfPoints=\"" << n << "\" NumberOfVerts=\"" << n << "\">\n<Points>\n"
          << "<DataArray type=\"Float64\" NumberOfComponents=\"3\" format=\"ascii\">\n";
      for (const Index i : rows)
      {
        const auto &point = measurements.locations()[static_cast<std::size_t>(i)];
        out << point[0] << ' ' << point[1] << ' ' << (dim == 3 ? point[dim - 1] : 0.) << '\n';
      }
      out << "</DataArray>\n</Points>\n<Verts>\n<DataArray type=\"Int64\" Name=\"connectivity\" format=\"ascii\">\n";
      for (std::size_t i = 0; i < n; ++i)
        out << i << ' ';
      out << "\n</DataArray>\n<DataArray type=\"Int64\" Name=\"offsets\" format=\"ascii\">\n";
      for (std::size_t i = 0; i < n; ++i)
        out << i + 1 << ' ';
      out << "\n</DataArray>\n</Verts>\n<PointData>\n";
      const auto array = [&](const std::string &name, const Vector &values)
      {
        out << "<DataArray type=\"Float64\" Name=\"" << name << "\" format=\"ascii\">\n";
        for (const Index i : rows)
          out << values[i] << ' ';
        out << "\n</DataArray>\n";
      };
      const Averages &averages = results.averages;
      const Vector total =
          (results.noise_deviation.cwiseAbs2() + averages.prediction_deviation.cwiseAbs2()).cwiseSqrt();
      array("measured", measurements.values());
      array("predicted_mean", averages.prediction_mean);
      array("predicted_std", averages.prediction_deviation);
      array("standardised_residual", (measurements.values() - averages.prediction_mean).cwiseQuotient(total));
      array("weight", measurements.weights(averages.prediction_mean, averages.prediction_deviation));
      Vector used(measurements.size());
      for (Index i = 0; i < used.size(); ++i)
        used(i) = measurements.used()[static_cast<std::size_t>(i)];
      array("used", used);
      out << "</PointData>\n</Piece>\n</PolyData>\n</VTKFile>\n";
      return out.str();
    }

    nlohmann::ordered_json as_json(const Termination &termination)
    {
      return {{"converged", termination.converged},
              {"iterations", termination.iterations},
              {"gradient", termination.gradient},
              {"reason", termination.reason}};
    }

    /// Seconds and counts of every stage, on the first rank.
    nlohmann::ordered_json stages_as_json()
    {
      nlohmann::ordered_json stages = nlohmann::ordered_json::array();
      for (const StageRecord &record : stage_records())
      {
        nlohmann::ordered_json seconds, counts;
        for (std::size_t k = 0; k < n_work_kinds; ++k)
          if (record.seconds[k] > 0.)
          {
            seconds[name_of(static_cast<Work>(k))] = record.seconds[k];
            counts[name_of(static_cast<Work>(k))]  = record.counts[k];
          }
        stages.push_back(
            {{"name", record.name}, {"total_seconds", record.total()}, {"seconds", seconds}, {"counts", counts}});
      }
      return stages;
    }

    nlohmann::ordered_json draws_as_json(const Averages &averages)
    {
      auto rows = nlohmann::ordered_json::array();
      for (const auto &mesh : averages.draws)
        rows.push_back({{"cells", mesh.cells}, {"draws", mesh.draws}});
      return rows;
    }

    /// What was predicted and the most that was held, in bytes: on the largest rank, on the computer with most of it,
    /// and over all ranks. Collective over the world.
    template <int dim>
    nlohmann::ordered_json memory_as_json(const Case<dim> &problem)
    {
      const auto figures = [](const MemoryFigures &memory) {
        return nlohmann::ordered_json{{"rank", memory.rank}, {"computer", memory.computer}, {"all", memory.all}};
      };
      nlohmann::ordered_json parts;
      for (const MemoryPart &part : problem.memory().parts)
        parts[part.name] = part.bytes;
      return {{"predicted_bytes", figures(problem.memory().predicted)},
              {"predicted_parts_of_a_group", parts},
              {"peak_bytes", figures(memory_figures(peak_memory(), problem.groups().world()))}};
    }

    /// JSON has no infinity.
    nlohmann::ordered_json number_as_json(double x)
    {
      return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json(nullptr);
    }

    nlohmann::ordered_json as_json(const TrustReport &trust)
    {
      auto findings = nlohmann::ordered_json::array();
      for (const Finding &finding : trust.findings)
      {
        nlohmann::ordered_json entry{{"name", finding.name},
                                     {"colour", name_of(finding.colour)},
                                     {"finding", finding.text},
                                     {"advice", finding.advice}};
        for (const auto &[name, value] : finding.figures)
          entry["figures"][name] = number_as_json(value);
        findings.push_back(entry);
      }
      return {{"colour", name_of(trust.colour())}, {"findings", findings}};
    }

    nlohmann::ordered_json as_json(const Certificate &certificate, bool corrected)
    {
      static const char *const verdicts[] = {"passed", "failed", "inconclusive"};
      const ChainResults &chains          = certificate.chains;
      return {{"verdict", verdicts[static_cast<int>(certificate.verdict)]},
              {"answer_is_of_chains", corrected},
              {"sampler", certificate.sampler},
              {"reason", chains.reason},
              {"chains", chains.chains},
              {"draws_of_each", chains.end.iterations},
              {"acceptance", chains.end.acceptance},
              {"step", chains.end.step},
              {"failed_proposals", chains.failed},
              {"largest_rhat", number_as_json(chains.end.rhat)},
              {"smallest_effective_size", number_as_json(chains.end.ess)},
              {"share_agreeing", certificate.share_agreeing},
              {"largest_shift", certificate.largest_shift},
              {"spread_ratio_range", {certificate.smallest_ratio, certificate.largest_ratio}},
              {"disagreeing", certificate.disagreeing},
              {"factorizations", chains.end.cost.factorizations},
              {"state_solves", chains.end.cost.state_solves},
              {"linear_solves", chains.end.cost.linear_solves}};
    }

    /// chains.csv: every number that was watched draw by draw.
    void write_chains(const std::string &path, const Certificate &certificate)
    {
      std::vector<std::vector<Cell>> rows;
      for (const NumberSummary &number : certificate.chains.numbers)
      {
        std::vector<Cell> row{number.name, number.mean, number.deviation, number.mean_error};
        row.insert(row.end(), number.quantiles.begin(), number.quantiles.end());
        for (const double x : {number.convergence.rhat, number.convergence.ess_bulk, number.convergence.ess_tail,
                               number.convergence.ess_mean})
          row.push_back(x);
        rows.push_back(row);
      }
      write_csv(path + "chains.csv",
                {"name", "mean", "std", "mean_error", "q025", "q05", "q50", "q95", "q975", "rhat", "ess_bulk",
                 "ess_tail", "ess_mean"},
                rows);
    }

    void write_quantities(const std::string &path, const std::vector<QuantityResult> &quantities)
    {
      std::vector<std::vector<Cell>> rows;
      for (const QuantityResult &quantity : quantities)
      {
        std::vector<Cell> row{quantity.name, quantity.unit, quantity.mean, quantity.deviation, quantity.mean_error};
        row.insert(row.end(), quantity.quantiles.begin(), quantity.quantiles.end());
        row.push_back(quantity.k);
        row.push_back(quantity.variational ? to_text(quantity.variational->first) : "");
        row.push_back(quantity.variational ? to_text(quantity.variational->second) : "");
        rows.push_back(row);
      }
      write_csv(path + "quantities.csv",
                {"name", "unit", "mean", "std", "mean_error", "q025", "q05", "q50", "q95", "q975", "k_hat",
                 "variational_mean", "variational_std"},
                rows);
    }

    /// Every measurement in a fold, predicted without that fold; `predicted_std` has the noise in it.
    template <int dim>
    MeasurementTable<dim> folds(const Case<dim> &problem, const CrossValidation &found)
    {
      const auto &measurements = problem.measurements();
      MeasurementTable<dim> table(
          measurements, {"line", "fold", "measured", "predicted_mean", "predicted_std", "standardised_residual"});
      for (Index i = 0; i < measurements.size(); ++i)
      {
        const int fold = found.fold_of[static_cast<std::size_t>(i)];
        if (fold < 0 || fold >= static_cast<int>(found.of_folds.size()) ||
            found.of_folds[static_cast<std::size_t>(fold)].n == 0)
          continue;
        const auto [s, row] = measurements.origin(i);
        const double value = measurements.values()(i), mean = found.mean(i), deviation = found.deviation(i);
        table.add(i, {measurements.sets()[s]->table.line(row), found.folds[static_cast<std::size_t>(fold)], value, mean,
                      deviation, (value - mean) / deviation});
      }
      return table;
    }

    nlohmann::ordered_json as_json(const QuantityResult &quantity)
    {
      nlohmann::ordered_json result{{"name", quantity.name},
                                    {"unit", quantity.unit},
                                    {"mean", quantity.mean},
                                    {"std", quantity.deviation},
                                    {"mean_error", quantity.mean_error},
                                    {"quantiles", quantity.quantiles},
                                    {"k_hat", number_as_json(quantity.k)}};
      if (quantity.variational)
        result["variational"] = {{"mean", quantity.variational->first}, {"std", quantity.variational->second}};
      return result;
    }

    nlohmann::ordered_json as_json(const HyperPosterior &hyper)
    {
      nlohmann::ordered_json result{{"log_evidence", hyper.log_evidence},
                                    {"weighted_log_evidence", hyper.weighted_log_evidence},
                                    {"evaluations", hyper.elbo.size()}};
      for (const HyperSummary &summary : hyper.parameters)
        result["parameters"].push_back({{"name", summary.name},
                                        {"parameter", summary.parameter},
                                        {"mean", summary.mean},
                                        {"std", summary.deviation},
                                        {"quantiles", summary.quantiles},
                                        {"std_of_log", summary.log_deviation}});
      for (Index i = 0; i < hyper.correlation.rows(); ++i)
        result["correlation_of_logs"].push_back(
            std::vector<double>(hyper.correlation.col(i).begin(), hyper.correlation.col(i).end()));
      return result;
    }

    /// hyperparameters.csv: the values at which the posterior of the fields was inferred, and its weight in the
    /// mixture.
    void write_hyper_parameters(const std::string &path, const HyperPosterior &hyper)
    {
      std::vector<std::string> names;
      for (const HyperSummary &summary : hyper.parameters)
        names.push_back(summary.name);
      for (const char *name : {"elbo", "log_prior", "weight"})
        names.push_back(name);
      std::vector<std::vector<Cell>> rows;
      for (Index k = 0; k < hyper.points.cols(); ++k)
      {
        std::vector<Cell> row;
        for (Index i = 0; i < hyper.points.rows(); ++i)
          row.push_back(std::exp(hyper.points(i, k)));
        for (const double x : {hyper.elbo[k], hyper.log_prior[k], hyper.weights[k]})
          row.push_back(x);
        rows.push_back(row);
      }
      write_csv(path + "hyperparameters.csv", names, rows);
    }

    nlohmann::ordered_json as_json(const Scores &scores)
    {
      return {{"n", scores.n},
              {"rmse", scores.rmse},
              {"coverage50", scores.coverage50},
              {"coverage95", scores.coverage95},
              {"nlpd", scores.nlpd},
              {"crps", scores.crps}};
    }

    template <int dim>
    nlohmann::ordered_json as_json(const Case<dim> &problem, const Results<dim> &results, const TrustReport &trust,
                                   int exit_code)
    {
      nlohmann::ordered_json summary;
      summary["case"]           = problem.title();
      summary["version"]        = version;
      summary["git_commit"]     = git_commit;
      summary["exit_code"]      = exit_code;
      summary["dimension"]      = dim;
      summary["ranks"]          = Utilities::MPI::n_mpi_processes(problem.groups().world());
      summary["groups"]         = problem.groups().n_groups();
      summary["seed"]           = problem.seed();
      summary["cells"]          = problem.mesh().triangulation().n_global_active_cells();
      summary["state_unknowns"] = problem.model().space().dof_handler().n_dofs();
      summary["state_unit"]     = problem.model().state_unit();
      summary["length_unit"]    = problem.mesh().unit();
      summary["measurements"]   = {{"used", problem.measurements().n_used()}, {"all", problem.measurements().size()}};
      for (unsigned int f = 0; f < problem.fields().size(); ++f)
      {
        const auto &field         = problem.fields()[f];
        const FieldResult &result = results.fields[f];
        const auto range          = [&](const Vector &variance)
        {
          const double low  = variance.size() > 0 ? variance.minCoeff() : std::numeric_limits<double>::max();
          const double high = variance.size() > 0 ? variance.maxCoeff() : 0.;
          return nlohmann::ordered_json{std::sqrt(Utilities::MPI::min(low, problem.mesh().comm())),
                                        std::sqrt(Utilities::MPI::max(high, problem.mesh().comm()))};
        };
        summary["fields"].push_back({{"name", field.name()},
                                     {"unit", field.unit()},
                                     {"transform", field.transform_name()},
                                     {"unknowns", field.prior()->layout().n_global()},
                                     {"prior_std_range", range(result.prior_variance.values)},
                                     {"std_range", range(result.variance.values)},
                                     {"std_relative_error", result.variance.relative_error / 2.}});
      }
      summary["map"]       = {{"objective", results.map_objective},
                              {"misfit", results.map_misfit},
                              {"regularisation", results.map_regularisation},
                              {"termination", as_json(results.map)}};
      summary["inference"] = {{"method", problem.inference().method},
                              {"family", problem.inference().family.name()},
                              {"termination", as_json(results.optimization)}};
      if (results.averages.elbo.elbo.draws > 0)
        summary["elbo"] = {{"value", results.averages.elbo.elbo.value},
                           {"error", results.averages.elbo.elbo.error},
                           {"draws", results.averages.elbo.elbo.draws},
                           {"draws_by_mesh", draws_as_json(results.averages)},
                           {"failed_draws", results.averages.elbo.elbo.failed},
                           {"expected_misfit", results.averages.elbo.misfit.value},
                           {"kl", results.averages.elbo.kl},
                           {"rank", results.eigenvalues.size()},
                           {"first_dropped_eigenvalue", results.first_dropped}};
      for (const QuantityResult &quantity : results.quantities)
        summary["quantities"].push_back(as_json(quantity));
      if (results.hyper)
        summary["hyperparameters"] = as_json(*results.hyper);
      if (results.scores)
        summary["held_out"] = as_json(*results.scores);
      if (results.cross_validation)
        summary["cross_validation"] = {{"folds", results.cross_validation->folds},
                                       {"not_converged", results.cross_validation->not_converged},
                                       {"failed", results.cross_validation->failed},
                                       {"scores", as_json(results.cross_validation->all)}};
      summary["trust"] = as_json(trust);
      if (results.certificate)
        summary["certificate"] = as_json(*results.certificate, results.corrected);
      const Cost cost       = problem.density().cost() + results.other_work;
      summary["cost"]       = {{"factorizations", cost.factorizations},
                               {"state_solves", cost.state_solves},
                               {"linear_solves", cost.linear_solves},
                               {"seconds", results.seconds}};
      summary["memory"]     = memory_as_json(problem);
      summary["stages"]     = stages_as_json();
      const auto given      = problem.as_given();
      summary["parameters"] = parameters_as_json(given->parameters());
      summary["files"]      = contents_of_files(given->parameters());
      return summary;
    }
  } // namespace

  template <int dim>
  void write_results(const Case<dim> &problem, const Results<dim> &results, const TrustReport &trust,
                     const Report &report, const std::string &path, int exit_code)
  {
    const Stage stage("output");
    const Timed timed(Work::files);
    std::string posterior_record, state_record;
    // A file that cannot be written is found by the first group alone.
    problem.groups().together(
        [&]
        {
          if (problem.groups().group() != 0)
            return;
          posterior_record = write_fields(problem, results, path);
          state_record     = write_states(problem, results, path);
          write_vector(path + "checkpoint.csv", problem.fields().prior().layout(), results.parameters);
        });
    const auto summary = as_json(problem, results, trust, exit_code); // collective
    const auto given   = problem.as_given();
    if (!problem.groups().is_root())
      return;
    write_text_file(path + "posterior.pvd", posterior_record);
    write_text_file(path + "state.pvd", state_record);
    write(path + "observations.csv", observations(problem, results));
    write_text_file(path + "observations.vtp", as_vtp(problem, results));
    write_csv(path + "convergence.csv", Report::column_names(), report.rows());
    std::vector<std::vector<Cell>> spectrum;
    for (Index i = 0; i < results.eigenvalues.size(); ++i)
      spectrum.push_back({i + 1, results.eigenvalues(i)});
    write_csv(path + "spectrum.csv", {"i", "lambda"}, spectrum);
    if (results.certificate)
      write_chains(path, *results.certificate);
    if (results.hyper)
      write_hyper_parameters(path, *results.hyper);
    if (results.cross_validation)
      write(path + "cross_validation.csv", folds(problem, *results.cross_validation));
    if (!results.quantities.empty())
      write_quantities(path, results.quantities);
    write_text_file(path + "parameters.prm", parameters_as_used(given->parameters()));
    write_text_file(path + "summary.json", summary.dump(2) + "\n");
  }

  namespace
  {
    /// What is common to the summaries of many inferences; with parameters.prm.
    template <int dim>
    void write_summary(const Case<dim> &problem, const nlohmann::ordered_json &found, const std::string &path)
    {
      nlohmann::ordered_json summary{{"case", problem.title()}, {"version", version}, {"git_commit", git_commit}};
      summary.update(found);
      summary["parameters"] = parameters_as_json(problem.parameters());
      summary["files"]      = contents_of_files(problem.parameters());
      write_text_file(path + "summary.json", summary.dump(2) + "\n");
      write_text_file(path + "parameters.prm", parameters_as_used(problem.parameters()));
    }

    /// Files by the root rank: what goes wrong is thrown on all.
    void on_root_rank(const SampleGroups &groups, const std::function<void()> &write)
    {
      std::string message;
      if (groups.is_root())
        try
        {
          write();
        }
        catch (const std::runtime_error &error)
        {
          message = error.what();
        }
      throw_together<ComputationError>(message, groups.world());
    }
  } // namespace

  template <int dim>
  void write_calibration(const Case<dim> &problem, const Calibration &found, const std::string &path)
  {
    on_root_rank(problem.groups(),
                 [&]
                 {
                   std::vector<std::string> names{"truth"};
                   for (const char *kind : {"rank ", "value "})
                     for (const std::string &name : found.names)
                       names.push_back(kind + name);
                   std::vector<std::vector<Cell>> rows;
                   for (Index k = 0; k < found.ranks.rows(); ++k)
                   {
                     std::vector<Cell> row{k};
                     for (const Matrix *numbers : {&found.ranks, &found.truths})
                       for (Index i = 0; i < numbers->cols(); ++i)
                         row.push_back((*numbers)(k, i));
                     rows.push_back(row);
                   }
                   write_csv(path + "calibration.csv", names, rows);
                   nlohmann::ordered_json summary{{"truths", found.ranks.rows()},
                                                  {"failed", found.failed},
                                                  {"not_converged", found.not_converged}};
                   for (std::size_t i = 0; i < found.names.size(); ++i)
                     summary["quantities"].push_back({{"name", found.names[i]},
                                                      {"p_value", found.uniformity[i].p_value},
                                                      {"coverage50", found.uniformity[i].coverage50},
                                                      {"coverage80", found.uniformity[i].coverage80},
                                                      {"coverage95", found.uniformity[i].coverage95}});
                   write_summary(problem, summary, path);
                 });
  }

  template <int dim>
  void write_scan(const Case<dim> &problem, const ModelScan &found, const std::string &path)
  {
    on_root_rank(problem.groups(),
                 [&]
                 {
                   write_csv(path + "scan.csv", ModelScan::column_names(), found.rows());
                   write_summary(problem, {{"variants", found.variants.size()}}, path);
                 });
  }

  namespace
  {
    /// Relative standard error of a standard deviation over n draws of a normal number that come in antithetic pairs,
    /// which have the same squares.
    double spread_error(unsigned int n)
    {
      return 1. / std::sqrt(std::max(1u, n));
    }

    std::string draws_in_words(const Averages &averages)
    {
      std::string numbers, cells;
      for (const auto &mesh : averages.draws)
      {
        numbers += (numbers.empty() ? "" : " + ") + std::to_string(mesh.draws);
        cells += (cells.empty() ? " on " : ", ") + std::to_string(mesh.cells);
      }
      return numbers + " draws" + (averages.draws.size() > 1 ? cells + " cells" : "");
    }
  } // namespace

  template <int dim>
  std::vector<std::string> summary_lines(const Case<dim> &problem, const Results<dim> &results)
  {
    std::vector<std::string> lines;
    const auto &measurements = problem.measurements();
    const Vector &noise      = results.noise_deviation;
    double chi               = 0.;
    for (Index i = 0; i < measurements.size(); ++i)
      if (measurements.used()[i])
        chi += std::pow((measurements.values()(i) - results.averages.prediction_mean(i)) / noise(i), 2);
    lines.push_back("data fit      root mean square of (measured − predicted)/std = " +
                    with_decimals(std::sqrt(chi / measurements.n_used()), 3));
    if (results.averages.elbo.elbo.draws > 0)
    {
      const ElboEstimate &elbo = results.averages.elbo;
      lines.push_back("ELBO          " + with_decimals(elbo.elbo.value, 3) + " ± " + with_decimals(elbo.elbo.error, 3) +
                      " nat (" + draws_in_words(results.averages) + "), expected misfit " +
                      with_decimals(elbo.misfit.value, 2) + ", KL to the prior " + with_decimals(elbo.kl, 2));
      if (results.averages.elbo.elbo.error > problem.inference().elbo_error && !results.interrupted)
        lines.push_back("              (an error of " + to_text(problem.inference().elbo_error) +
                        " was asked for: raise Inference/Maximum draws)");
      if (results.averages.elbo.elbo.failed > 0)
        lines.push_back("              " + std::to_string(results.averages.elbo.elbo.failed) +
                        " draws could not be solved and were replaced");
      lines.push_back("predictions   over these draws: standard deviations ± " +
                      with_decimals(100. * spread_error(results.averages.draws.back().draws), 1) + " %");
      if (results.eigenvalues.size() > 0)
        lines.push_back("rank          " + std::to_string(results.eigenvalues.size()) + ", largest eigenvalue " +
                        with_digits(results.eigenvalues(0), 3) + ", first one left out " +
                        with_digits(results.first_dropped, 3));
    }
    for (unsigned int f = 0; f < problem.fields().size(); ++f)
    {
      const auto &result  = results.fields[f];
      const MPI_Comm comm = problem.mesh().comm();
      const auto low      = [&](const Vector &v)
      { return with_decimals(std::sqrt(Utilities::MPI::min(v.size() > 0 ? v.minCoeff() : 1e300, comm)), 3); };
      const auto high = [&](const Vector &v)
      { return with_decimals(std::sqrt(Utilities::MPI::max(v.size() > 0 ? v.maxCoeff() : 0., comm)), 3); };
      lines.push_back((f == 0 ? "spread        " : "              ") + problem.fields()[f].name() +
                      ": standard deviation " + low(result.variance.values) + " to " + high(result.variance.values) +
                      ", prior " + low(result.prior_variance.values) + " to " + high(result.prior_variance.values) +
                      (result.prior_variance.relative_error > 0.
                           ? " (estimated, ± " + with_decimals(50. * result.prior_variance.relative_error, 1) + " %)"
                           : ""));
    }
    for (std::size_t i = 0; results.hyper && i < results.hyper->parameters.size(); ++i)
    {
      const HyperSummary &summary = results.hyper->parameters[i];
      lines.push_back((i == 0 ? "scales        " : "              ") + summary.name + ": " +
                      with_digits(summary.quantiles[2], 3) + ", 95 % from " + with_digits(summary.quantiles[0], 3) +
                      " to " + with_digits(summary.quantiles[4], 3));
    }
    if (results.hyper)
      lines.push_back("evidence      log evidence of fields and scales together at least " +
                      with_decimals(results.hyper->log_evidence, 2) + " nat, " +
                      with_decimals(results.hyper->weighted_log_evidence, 2) + " by importance weights (" +
                      std::to_string(results.hyper->elbo.size()) + " inferences)");
    for (std::size_t i = 0; i < results.quantities.size(); ++i)
    {
      const QuantityResult &quantity = results.quantities[i];
      const auto digits              = [](double x) { return with_digits(x, 4); };
      lines.push_back((i == 0 ? "quantities    " : "              ") + quantity.name + ": " + digits(quantity.mean) +
                      " ± " + digits(quantity.deviation) + (quantity.unit.empty() ? "" : " " + quantity.unit) +
                      ", 95 % from " + digits(quantity.quantiles[0]) + " to " + digits(quantity.quantiles[4]));
    }
    if (results.scores)
      lines.push_back("held out      " + std::to_string(results.scores->n) + ": root mean square error " +
                      with_digits(results.scores->rmse, 3) + ", in the 95 % interval " +
                      with_decimals(100. * results.scores->coverage95, 1) + " %, in the 50 % interval " +
                      with_decimals(100. * results.scores->coverage50, 1) + " %, mean −log density " +
                      with_digits(results.scores->nlpd, 3) + ", CRPS " + with_digits(results.scores->crps, 3));
    const Cost cost = problem.density().cost() + results.other_work;
    lines.push_back("work          " + to_text(cost.factorizations) + " factorisations, " + to_text(cost.state_solves) +
                    " state solves, " + to_text(cost.linear_solves) + " tangent and adjoint solves on the finest mesh" +
                    (problem.groups().n_groups() > 1 ? " in each group, " : ", ") + with_decimals(results.seconds, 1) +
                    " s");
    const MemoryFigures peak = memory_figures(peak_memory(), problem.groups().world());
    lines.push_back("memory        at most " + in_bytes(peak.rank) + " on each rank, " + in_bytes(peak.all) +
                    " in all (predicted: " + in_bytes(problem.memory().predicted.all) + ")");
    return lines;
  }

  template void write_results<2>(const Case<2> &, const Results<2> &, const TrustReport &, const Report &,
                                 const std::string &, int);
  template void write_results<3>(const Case<3> &, const Results<3> &, const TrustReport &, const Report &,
                                 const std::string &, int);
  template std::vector<std::string> summary_lines<2>(const Case<2> &, const Results<2> &);
  template std::vector<std::string> summary_lines<3>(const Case<3> &, const Results<3> &);
  template void write_scan<2>(const Case<2> &, const ModelScan &, const std::string &);
  template void write_scan<3>(const Case<3> &, const ModelScan &, const std::string &);
  template void write_calibration<2>(const Case<2> &, const Calibration &, const std::string &);
  template void write_calibration<3>(const Case<3> &, const Calibration &, const std::string &);
} // namespace varfield
