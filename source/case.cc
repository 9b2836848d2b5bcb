#include <iomanip>
#include <nlohmann/json.hpp>
#include <petscsys.h>
#include <sstream>
#include <varfield/case.h>
#include <varfield/checkpoint.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// The names in a list that decides which subsections there are.
    std::vector<std::string> names_in(const std::vector<Assignment> &assignments, const std::string &section,
                                      const std::string &default_value)
    {
      const auto given         = find_assignment(assignments, {section}, "Names");
      const std::string origin = (given ? given->origin + ": " : "") + section + "/Names: ";
      auto names               = split(given ? given->value : default_value, ',');
      if (names.empty() && !default_value.empty())
        throw UserError(origin + "at least one name is needed.");
      for (std::size_t i = 0; i < names.size(); ++i)
      {
        names[i] = normalize(names[i]);
        if (names[i].empty())
          throw UserError(origin + "a name between two commas is empty.");
        if (names[i] == "Names" || names[i].find_first_of("/|()<>&\"") != std::string::npos)
          throw UserError(origin + "“" + names[i] +
                          "” cannot be a name; “Names” is taken, and the letters / | ( ) < > & \" are not allowed.");
        if (std::find(names.begin(), names.begin() + i, names[i]) != names.begin() + i)
          throw UserError(origin + "the name “" + names[i] + "” occurs twice.");
      }
      return names;
    }
  } // namespace

  unsigned int dimension_of(const std::vector<Assignment> &assignments)
  {
    const auto given = find_assignment(assignments, {}, "Dimension");
    const auto text  = given ? trim(given->value) : "2";
    if (text != "2" && text != "3")
      throw UserError(given->origin + ": Dimension: the dimension of the mesh is 2 or 3, but found “" + text + "”.");
    return text == "2" ? 2 : 3;
  }

  void OutputSettings::add_parameters(ParameterHandler &prm)
  {
    using namespace Patterns;
    prm.add_parameter("Directory", directory, "Folder for the results, made by the run.", DirectoryName());
    prm.add_parameter("Overwrite", overwrite, "Whether a folder of that name that exists already may be replaced.");
    prm.add_parameter("Draws", n_draws, "Number of draws of the posterior that are written.", Integer(0, 1000));
    prm.add_parameter("Snapshots", n_snapshots, "Times of a problem in time whose states are written, at most.",
                      Integer(2));
    prm.add_parameter("Modes", n_modes, "Number of leading directions of the covariance's change that are written.",
                      Integer(0, 1000));
    prm.add_parameter(
        "Exact variance limit", exact_variance_limit,
        "Pointwise variances are exact up to so many unknowns (a solve for each); beyond, they are estimated from "
        "draws.",
        Integer(0));
    prm.add_parameter("Variance draws", variance_probes,
                      "Number of draws of that estimate; its relative standard error is sqrt(2/draws).", Integer(10));
  }

  void InferenceSettings::add_parameters(ParameterHandler &prm)
  {
    using namespace Patterns;
    prm.add_parameter(
        "Method", method,
        "“map”: the most probable field only. “laplace”: the Gaussian approximation there. “variational”: the member "
        "of the family with the largest evidence lower bound.",
        Selection("map|laplace|variational"));
    prm.add_parameter("ELBO error", elbo_error, "Standard error at which the final estimate of the ELBO ends, in nat.",
                      Double(0));
    prm.add_parameter("Minimum draws", minimum_draws, "of that estimate and of the predicted state.", Integer(2));
    prm.add_parameter("Maximum draws", maximum_draws, "of the same.", Integer(2));
    prm.add_parameter("Coarse to fine", coarse_to_fine,
                      "Whether the inference begins on ancestors of the mesh: most of the work is done there.");
    prm.add_parameter("Coarsest cells", coarsest_cells, "The coarsest of these meshes has at least so many cells.",
                      Integer(1));
    prm.add_parameter(
        "Start from", start_from,
        "The file checkpoint.csv of an earlier run of the same problem, from whose mean the search for the MAP point "
        "begins; empty: the prior mean.",
        FileName());
    prm.add_parameter("Prior draws", prior_draws,
                      "Draws of the prior on the coarsest mesh, whose predictions are compared with the data before "
                      "these are used, at least 10; 0: none.",
                      Integer(0, 100000));
    prm.add_parameter(
        "State mean field", state_mean_field,
        "Name of a field of white noise in the Source, the error of the equation. For comparison, what is "
        "written of the other fields has the standard deviation (“state_mean_field_std”) of a posterior "
        "in which state and fields are independent, which collapses as the error goes to zero. Empty: "
        "none.");
    prm.add_parameter("Starts", starts,
                      "Searches for the MAP point on the coarsest mesh from draws of the prior, which look for other "
                      "modes; 0: none.",
                      Integer(0, 10000));
    prm.add_parameter("Time budget", time_budget,
                      "Wall time in seconds after which the run stops with what it has; 0: none.", Double(0));
    prm.enter_subsection("MAP");
    map.add_parameters(prm);
    prm.leave_subsection();
    prm.enter_subsection("Curvature");
    curvature.add_parameters(prm);
    prm.leave_subsection();
    family.add_parameters(prm);
    optimizer.add_parameters(prm);
  }

  void InferenceSettings::require_low_rank(const std::string &who) const
  {
    if (method == "map" || !family->low_rank_correction())
      throw UserError(who +
                      " a posterior whose covariance is a low-rank correction of the prior's, which the method “" +
                      method + "” with the family “" + family.name() +
                      "” does not give. Use the method “variational” or “laplace” (Inference/Method) and the family "
                      "“low rank”, “mean field” or “full” (Inference/Family).");
  }

  void CrossValidationSettings::add_parameters(ParameterHandler &prm)
  {
    prm.add_parameter("Column", column,
                      "of the measurement files, which names the fold that a row belongs to. Empty: folds by lot.");
    prm.add_parameter("Folds", folds, "Number of folds by lot.", Patterns::Integer(2));
    prm.add_parameter(
        "Exclude", exclude,
        "Conditions “column=value”, separated by semicolons: rows that meet one are used always and never "
        "scored.");
  }

  void CalibrationSettings::add_parameters(ParameterHandler &prm)
  {
    prm.add_parameter(
        "Truths", truths,
        "Draws of the prior from which data are simulated and inferred from again by “varfield calibrate”.",
        Patterns::Integer(2));
  }

  void ScanSettings::add_parameters(ParameterHandler &prm)
  {
    prm.add_parameter(
        "File", file,
        "Variants of this case that “varfield scan” compares: a CSV table with the column “name” and one column for "
        "each entry that changes, such as “Fields/log T/spde/Correlation length”. An empty cell changes nothing.",
        Patterns::FileName());
  }

  template <int dim>
  Case<dim>::Case(MPI_Comm world, const std::vector<Assignment> &assignments)
      : world_(world), assignments_(assignments), given_(assignments)
  {
    declare(assignments);
    warnings_ = apply_assignments(assignments, prm_);
  }

  template <int dim>
  void Case<dim>::declare(const std::vector<Assignment> &assignments)
  {
    using namespace Patterns;
    prm_.add_parameter("Title", title_, "What this case is, for reports and pictures.");
    prm_.add_parameter("Dimension", dimension_, "of the mesh.", Integer(2, 3));
    prm_.add_parameter("Random seed", seed_, "All random numbers follow from it, on any number of ranks.");

    prm_.enter_subsection("Mesh");
    mesh_->add_parameters(prm_);
    prm_.enter_subsection("Adaptive refinement");
    adaptive_refinement_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.leave_subsection();

    prm_.enter_subsection("Fields");
    prm_.add_parameter("Names", field_names_, "The unknown fields, separated by commas; each has a subsection.");
    for (const auto &name : names_in(assignments, "Fields", field_names_))
    {
      declared_fields_.push_back(std::make_unique<Field<dim>>(name));
      prm_.enter_subsection(name);
      declared_fields_.back()->add_parameters(prm_);
      prm_.add_parameter(
          "Truth", synthesis_.truth[name],
          "The true coefficient k where it is known, for pictures and synthetic data: an expression, or “draw” "
          "for the draw of the prior that Synthesis/Draw names.");
      prm_.add_parameter(
          "Truth file", synthesis_.truth_file[name],
          "The true field m as a CSV table x,y[,z],value on the nodes of a tensor grid; in place of Truth.",
          FileName());
      prm_.leave_subsection();
    }
    prm_.leave_subsection();

    prm_.enter_subsection("Physics");
    model_->add_parameters(prm_);
    prm_.leave_subsection();

    prm_.enter_subsection("Experiments");
    prm_.add_parameter(
        "Names", experiment_names_,
        "Experiments that share the fields, separated by commas; each has a subsection. Empty: one experiment, as "
        "in Physics.");
    const auto experiments = names_in(assignments, "Experiments", experiment_names_);
    declared_experiments_.resize(experiments.size());
    for (std::size_t e = 0; e < experiments.size(); ++e)
    {
      declared_experiments_[e].name    = experiments[e];
      declared_experiments_[e].section = "Experiments/" + experiments[e];
      prm_.enter_subsection(experiments[e]);
      declared_experiments_[e].add_own_parameters(prm_);
      prm_.leave_subsection();
    }
    prm_.leave_subsection();

    prm_.enter_subsection("Measurements");
    prm_.add_parameter("Names", measurement_names_,
                       "Sets of measurements, separated by commas; each has a subsection.");
    for (const auto &name : names_in(assignments, "Measurements", measurement_names_))
    {
      declared_sets_.push_back(std::make_unique<MeasurementSet<dim>>(name));
      prm_.enter_subsection(name);
      declared_sets_.back()->add_parameters(prm_);
      prm_.leave_subsection();
    }
    prm_.leave_subsection();

    prm_.enter_subsection("Quantities");
    prm_.add_parameter("Names", quantity_names_,
                       "Quantities of interest, separated by commas; each has a subsection. Means, standard deviations "
                       "and quantiles of them are written.");
    quantities_.add_parameters(prm_, names_in(assignments, "Quantities", quantity_names_));
    prm_.leave_subsection();

    prm_.enter_subsection("Hyperparameters");
    prm_.add_parameter("Names", hyper_names_,
                       "Positive numbers of this file that are inferred with the fields (standard deviations and "
                       "correlation lengths of priors, standard deviations of noise), separated by commas; each has a "
                       "subsection.");
    hyper_.add_parameters(prm_, names_in(assignments, "Hyperparameters", hyper_names_));
    prm_.leave_subsection();
    declare_inference();
  }

  template <int dim>
  void Case<dim>::declare_inference()
  {
    prm_.enter_subsection("Inference");
    inference_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Cross-validation");
    cross_validation_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Calibration");
    calibration_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Scan");
    scan_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Certification");
    certification_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Checkpoint");
    checkpoint_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Linear solver");
    solver_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Faults");
    faults_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Parallel");
    prm_.add_parameter(
        "Sample groups", n_groups_,
        "Groups of ranks, each with the whole mesh, that share the draws; has to divide the number of ranks. 0: as "
        "many as have work and fit into memory where systems are factorised, else one; the program says which and why.",
        Patterns::Integer(0));
    prm_.add_parameter(
        "Memory limit", memory_limit_,
        "What the run may take on one computer: where it is predicted to take more, it is refused before the work "
        "begins. 0: what is free there at that moment. The way to run in spite of a prediction is a large number. [GB]",
        Patterns::Double(0.));
    prm_.leave_subsection();
    prm_.enter_subsection("Output");
    output_.add_parameters(prm_);
    prm_.leave_subsection();
    prm_.enter_subsection("Synthesis");
    prm_.add_parameter("Draw", synthesis_.draw,
                       "Number of the prior draw that takes the place of a truth that is not given.",
                       Patterns::Integer(0));
    prm_.leave_subsection();
  }

  template <int dim>
  void Case<dim>::check()
  {
    mesh_->check();
    std::vector<std::string> names;
    for (const auto &field : declared_fields_)
    {
      field->check();
      names.push_back(field->name());
    }
    for (const auto &name : names)
      if (!trim(synthesis_.truth.at(name)).empty() && !synthesis_.truth_file.at(name).empty())
        throw UserError("Fields/" + name + "/Truth: the truth is given twice, here and by “Truth file”; take one out.");
    model_->check(names, declared_experiments_, world_);
    if (inference_.minimum_draws > inference_.maximum_draws)
      throw UserError("Inference/Minimum draws: is " + std::to_string(inference_.minimum_draws) +
                      ", more than the maximum of " + std::to_string(inference_.maximum_draws) + ".");
    if (inference_.method == "variational")
      inference_.optimizer->check(*inference_.family);
    if (inference_.method == "laplace" && !inference_.family->has_natural_step())
      throw UserError("Inference/Family: the family “" + inference_.family.name() +
                      "” cannot take the curvature at the MAP point, which “Method = laplace” asks for. Use another "
                      "family, such as “low rank”.");
    if (adaptive_refinement_.cycles > 0 && adaptive_refinement_.indicator->needs_posterior())
      inference_.require_low_rank("Mesh/Adaptive refinement/Indicator: unlike “state error”, “" +
                                  adaptive_refinement_.indicator.name() + "” needs");
    if (inference_.prior_draws > 0 && inference_.prior_draws < InferenceSettings::least_prior_draws)
      throw UserError("Inference/Prior draws: " + std::to_string(inference_.prior_draws) +
                      " draws say nothing; allowed are 0, for none, and " +
                      std::to_string(InferenceSettings::least_prior_draws) + " or more.");
    hyper_.check(prm_, dim);
    if (hyper_.size() > 0 && (inference_.method == "map" || certification_.enabled || adaptive_refinement_.cycles > 0))
      throw UserError(
          "Hyperparameters/Names: hyper-parameters are inferred with the methods “variational” and “laplace”, "
          "without adaptive refinement of the mesh and without chains (Certification/Enabled).");
    certification_.check();
    if (certification_.enabled)
      inference_.require_low_rank("Certification/Enabled: chains need");
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(world_);
    if (n_groups_ > 0 && n_ranks % n_groups_ != 0)
      throw UserError("Parallel/Sample groups: has to divide the number of ranks, but there " +
                      (n_ranks == 1 ? "is 1 rank" : "are " + std::to_string(n_ranks) + " ranks") + " and " +
                      std::to_string(n_groups_) + " groups.");
  }

  /// As many groups as possible: they divide all work but the steps between sweeps. Ranks share a mesh where it is
  /// solved iteratively, where there are more ranks than pieces of work, and where more meshes do not fit into memory.
  template <int dim>
  Split Case<dim>::choose_split(double cells)
  {
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(world_);
    if (n_groups_ > 0)
      return {n_groups_, "as given"};
    if (n_ranks == 1)
      return {};
    ProblemSize size = problem_size(cells);
    if (!size.direct)
      return {1, "ranks share the mesh, whose systems are solved iteratively"};
    const unsigned int pieces = size.is_variational ? (inference_.optimizer->draws_per_iteration() + 1) / 2
                                                    : static_cast<unsigned int>(size.measurements);
    std::string less;
    for (unsigned int groups = n_ranks; groups > 1; --groups)
    {
      if (n_ranks % groups != 0)
        continue;
      size.groups = groups;
      if (groups > pieces)
        less = "; more would be idle: an iteration has " + std::to_string(pieces) +
               (size.is_variational ? " pairs of draws" : " measurements");
      else if (!plan_memory(size, 1e9 * memory_limit_, world_).fits())
        less = "; more do not fit into memory";
      else
        return {groups, "each factorises the whole mesh and takes its share of the work" + less};
    }
    return {1, "ranks share the mesh" + less};
  }

  /// Of the number of cells in a cycle of adaptive refinement, without the few that keep neighbours alike.
  template <int dim>
  double Case<dim>::growth_of_a_cycle() const
  {
    return 1. + adaptive_refinement_.share * (std::pow(2., dim) - 1.);
  }

  template <int dim>
  ProblemSize Case<dim>::problem_size(double cells)
  {
    const auto is_direct = [this](MatrixKind kind, double n)
    { return LinearSolver::is_direct(solver_, kind, static_cast<std::uint64_t>(n), dim); };
    ProblemSize size;
    size.dim          = dim;
    size.ranks        = Utilities::MPI::n_mpi_processes(world_);
    size.groups       = groups_ ? groups_->n_groups() : 1;
    size.cells        = cells;
    size.state_degree = model_->degree();
    size.components   = model_->state_names().size();
    size.experiments  = model_->experiments().size();
    size.linear       = model_->is_linear();
    size.symmetric    = model_->is_symmetric();
    size.direct       = is_direct(size.symmetric ? MatrixKind::spd : MatrixKind::general, size.state_unknowns());
    for (const std::string &text : split(field_names_, ','))
    {
      const std::string name = normalize(text);
      ProblemSize::FieldSize field;
      field.nodal      = prm_.get({"Fields", name}, "Space") == "nodal";
      field.degree     = prm_.get_integer({"Fields", name}, "Degree");
      field.consistent = field.nodal && prm_.get({"Fields", name, "spde"}, "Mass") == "consistent";
      field.direct     = is_direct(MatrixKind::spd, unknowns_of(cells, dim, field.degree));
      size.fields.push_back(field);
    }
    std::vector<double> jumps; // those of wells come to them
    for (const std::string &text : split(field_names_, ','))
      if (const std::string name = normalize(text); prm_.get({"Fields", name}, "Space") == "intervals of time")
        for (const double time : parse_times(prm_.get({"Fields", name}, "Intervals"), "Fields/" + name + "/Intervals"))
          jumps.push_back(time);
    const auto steps = model_->time().steps(jumps);
    size.steps       = steps.size();
    for (const TimeStep &step : steps)
      size.kinds_of_steps = std::max(size.kinds_of_steps, step.kind + 1);
    size.has_posterior  = inference_.method != "map";
    size.is_variational = inference_.method == "variational";
    size.coarse_to_fine = inference_.coarse_to_fine;
    // Ancestors have 1/4 or 1/8 of the cells each, cycles of refinement all but the new ones.
    const double growth = growth_of_a_cycle();
    size.ancestors      = inference_.coarse_to_fine ? 1. / (std::pow(2., dim) - 1.) : 0.;
    for (unsigned int cycle = 0; cycle < adaptive_refinement_.cycles; ++cycle)
      size.ancestors = (1. + size.ancestors) / growth;
    size.draws                 = inference_.curvature.draws;
    size.rank                  = inference_.curvature.rank;
    size.written_draws         = output_.n_draws;
    size.written_modes         = output_.n_modes;
    size.measurements          = static_cast<double>(measurements_->n_used());
    CurvatureSettings settings = inference_.curvature;
    settings.workspace_bytes   = size.workspace_bytes();
    const CurvaturePlan plan =
        plan_curvature(settings, {size.field_unknowns(), size.measurements, 1. * size.experiments});
    size.data_space           = plan.data_space;
    size.keeps_linearizations = plan.keeps(size.draws) || !inference_.family->follows_curvature();
    return size;
  }

  /// Predicts the memory of the run and refuses what does not fit. Collective over the world.
  template <int dim>
  void Case<dim>::plan_memory_for(double cells)
  {
    const ProblemSize size = problem_size(cells);
    memory_                = plan_memory(size, 1e9 * memory_limit_, world_);
    refuse_excess(memory_, size);
  }

  template <int dim>
  void Case<dim>::build(bool values_needed)
  {
    if (!solver_.petsc_options.empty())
      PetscOptionsInsertString(nullptr, solver_.petsc_options.c_str());
    varfield::begin_faults({}, 0, 0);
    build_on(nullptr, values_needed, Mesh<dim>::no_limit);
    if (!inference_.start_from.empty())
      start_ = read_vector(inference_.start_from, fields_->prior().layout());
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::coarser(unsigned int max_level) const
  {
    try
    {
      return rebuilt(max_level, refined_cells_);
    }
    catch (const UserError &)
    {
      return nullptr;
    }
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::with_overrides(const std::vector<std::string> &overrides) const
  {
    // Enough draws for the differences that count.
    std::vector<std::string> all{"Inference/Prior draws=0", "Inference/Starts=0",
                                 "Inference/Minimum draws=" + std::to_string(std::min(100u, inference_.minimum_draws))};
    all.insert(all.end(), overrides.begin(), overrides.end());
    return in_full_with(all);
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::in_full_with(const std::vector<std::string> &overrides) const
  {
    auto assignments = assignments_;
    for (const std::string &text : overrides)
      assignments.push_back(parse_override(text));
    return rebuilt_from(world_, assignments, groups_);
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::rebuilt_from(MPI_Comm comm, const std::vector<Assignment> &assignments,
                                                     std::shared_ptr<const SampleGroups> groups) const
  {
    auto result = std::make_unique<Case>(comm, assignments);
    if (comm == world_)
      result->share(parts_);
    result->check();
    result->given_         = given_;
    result->refined_cells_ = refined_cells_;
    result->memory_        = memory_;
    result->split_         = split_;
    result->build_on(std::move(groups), true, Mesh<dim>::no_limit);
    result->start_ = start_;
    if (measured_)
      result->set_measured(*measured_);
    return result;
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::for_one_group() const
  {
    auto assignments = assignments_;
    assignments.push_back(parse_override("Parallel/Sample groups=1"));
    return rebuilt_from(groups_->space(), assignments, std::make_shared<SampleGroups>(groups_->space(), 1));
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::variant(const std::vector<Assignment> &changes) const
  {
    auto assignments = given_;
    assignments.insert(assignments.end(), changes.begin(), changes.end());
    auto result = std::make_unique<Case>(world_, assignments);
    result->share(parts_);
    return result;
  }

  template <int dim>
  void Case<dim>::set_measured(const Vector &values)
  {
    measured_ = values;
    measurements_->set_values(values);
  }

  template <int dim>
  std::string Case<dim>::refined_cells_as_text() const
  {
    std::vector<std::string> lines;
    for (const auto &cells : refined_cells_)
    {
      std::vector<std::string> ids;
      for (const CellId &cell : cells)
        ids.push_back(cell.to_string());
      lines.push_back(join(ids, " "));
    }
    return join(lines, "\n");
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::refined(std::vector<CellId> cells) const
  {
    auto refined_cells = refined_cells_;
    refined_cells.push_back(std::move(cells));
    return rebuilt(Mesh<dim>::no_limit, std::move(refined_cells));
  }

  template <int dim>
  std::unique_ptr<Case<dim>> Case<dim>::rebuilt(unsigned int max_level,
                                                std::vector<std::vector<CellId>> refined_cells) const
  {
    auto result    = std::make_unique<Case>(world_, assignments_);
    result->given_ = given_;
    result->share(parts_);
    result->check();
    result->refined_cells_ = std::move(refined_cells);
    result->memory_        = memory_;
    result->split_         = split_;
    result->build_on(groups_, true, max_level);
    if (measured_)
      result->set_measured(*measured_);
    result->use_measurements(measurements_->used());
    return result;
  }

  /// The values of all entries in these sections, as one text.
  template <int dim>
  std::string Case<dim>::settings_of(const std::vector<std::string> &sections) const
  {
    const auto all = parameters_as_json(prm_);
    std::string result;
    for (const std::string &section : sections)
    {
      auto entries = all.at(section);
      for (auto &[name, entry] : entries.items())
        if (section == "Fields" && entry.is_object())
        {
          entry.erase("Truth");
          entry.erase("Truth file");
        }
        else if (section == "Measurements" && entry.is_object())
        {
          entry.erase("File");
          entry.erase("Noise");
          for (const auto &[noise, member] : Registry<Noise>::members())
            entry.erase(noise);
        }
      result += section + entries.dump() + "\n";
    }
    return result;
  }

  namespace
  {
    /// As a part of a key: it is another one for other groups.
    std::string name_of(const std::shared_ptr<const SampleGroups> &groups)
    {
      std::ostringstream name;
      name << groups.get();
      return name.str();
    }
  } // namespace

  /// Groups and mesh. A run is refused before it begins, or never: by the cells before local refinement, and with all
  /// cycles of the adaptive one.
  template <int dim>
  void Case<dim>::build_mesh(std::shared_ptr<const SampleGroups> groups, bool values_needed, unsigned int max_level)
  {
    const bool is_the_run = !groups && values_needed && max_level == Mesh<dim>::no_limit && refined_cells_.empty();
    std::ostringstream key;
    key << std::setprecision(17) << dim << "\n"
        << settings_of({"Mesh"}) << max_level << "\n"
        << refined_cells_as_text() << "\n";
    if (mesh_->follows_sensors())
      for (const Point<dim> &point : measurements_->locations())
        key << point << "\n";
    // A file is read where no case has the mesh, and distrusted the first time.
    const auto known = groups ? parts_->find<Mesh<dim>>("mesh", key.str() + name_of(groups)) : nullptr;
    if (!known)
      mesh_->load(world_, /* is_new */ !groups);
    const auto estimate = static_cast<double>((known ? known : mesh_)->estimated_cells());
    const double growth = std::pow(growth_of_a_cycle(), static_cast<double>(adaptive_refinement_.cycles));
    if (!groups)
    {
      split_                     = choose_split(growth * estimate);
      const std::string n_groups = std::to_string(split_.groups);
      auto shared                = parts_->find<SampleGroups>("groups", n_groups);
      if (!shared)
        parts_->add("groups", n_groups, shared = std::make_shared<SampleGroups>(world_, split_.groups));
      groups = shared;
    }
    groups_   = std::move(groups);
    mesh_key_ = key.str() + name_of(groups_);
    // What another case has left on another mesh is not needed any more.
    if (is_the_run && !parts_->find<Mesh<dim>>("mesh", mesh_key_))
      parts_->hold({groups_});
    if (is_the_run)
      plan_memory_for(growth * estimate);
    if (auto shared = parts_->find<Mesh<dim>>("mesh", mesh_key_))
      mesh_ = shared;
    else
    {
      mesh_->create(groups_->space(), measurements_->locations(), max_level, refined_cells_);
      parts_->add("mesh", mesh_key_, mesh_);
    }
    const auto cells = static_cast<double>(mesh_->triangulation().n_global_active_cells());
    if (is_the_run && cells > estimate)
      plan_memory_for(growth * cells);
    inference_.curvature.workspace_bytes = problem_size(cells).workspace_bytes();
  }

  /// Files that the model is made from, beside mesh, fields and measurements.
  template <int dim>
  std::vector<std::string> Case<dim>::model_files() const
  {
    std::vector<std::string> files{prm_.get({"Physics", "Electrodes"}, "Currents")};
    for (const auto &experiment : model_->experiments())
      files.push_back(experiment.wells);
    for (const auto &set : measurements_->sets())
      for (const char *key : {"Points", "Matrix"})
        files.push_back(set->observation.name() == "combinations"
                            ? prm_.get({"Measurements", set->name, "combinations"}, key)
                            : "");
    files.erase(std::remove(files.begin(), files.end(), ""), files.end());
    return files;
  }

  /// Fields, functionals of the measurements, and the equation.
  template <int dim>
  void Case<dim>::build_model()
  {
    const std::string fields_key = mesh_key_ + settings_of({"Fields", "Linear solver"});
    if (auto shared = parts_->find<FieldSet<dim>>("fields", fields_key))
      fields_ = shared;
    else
    {
      for (auto &field : declared_fields_)
        field->initialize(*mesh_, solver_);
      fields_ = std::make_shared<FieldSet<dim>>(groups_->space(), std::move(declared_fields_));
      parts_->add("fields", fields_key, fields_);
    }
    std::string model_key = fields_key + settings_of({"Physics", "Experiments", "Measurements"});
    for (const auto &set : measurements_->sets())
      model_key += set->table.text_without("value");
    for (const std::string &file : model_files())
      model_key += crc32(read_text_file(file, world_));
    if (auto shared = parts_->find<ForwardModel<dim>>("model", model_key))
    {
      model_ = shared;
      model_->forget();
      measurements_->initialize(model_->space(), model_->state_names(), *fields_, model_->electrodes());
    }
    else
    {
      model_->initialize(*mesh_, *fields_, *measurements_, solver_);
      parts_->add("model", model_key, model_);
    }
  }

  template <int dim>
  void Case<dim>::build_on(std::shared_ptr<const SampleGroups> groups, bool values_needed, unsigned int max_level)
  {
    measurements_ = std::make_unique<Measurements<dim>>(std::move(declared_sets_));
    measurements_->read(world_, model_->experiment_names(), values_needed, model_->time().is_transient());
    inference_.curvature.draws = inference_.optimizer->draws_per_iteration();
    inference_.curvature.rank  = prm_.get_integer({"Inference", "low rank"}, "Rank");
    build_mesh(std::move(groups), values_needed, max_level);
    build_model();
    quantities_.initialize(*model_, *fields_);
    density_ = std::make_unique<InverseProblem<dim>>(*model_, *measurements_, *fields_, *groups_, inference_.curvature);
    if (inference_.method != "map")
      inference_.family->check(fields_->prior());
    start_ = Vector::Zero(fields_->prior().layout().n_local());
  }

  template <int dim>
  std::optional<Vector> Case<dim>::truth(unsigned int i) const
  {
    const auto &name = (*fields_)[i].name();
    const auto &text = synthesis_.truth.at(name), &file = synthesis_.truth_file.at(name);
    const std::string origin = "Fields/" + name + "/Truth";
    if (!file.empty())
      return (*fields_)[i].interpolate("0", file, false, origin);
    if (trim(text) == "draw")
      return fields_->values(synthetic_draw(), i);
    if (!trim(text).empty())
      return (*fields_)[i].interpolate(text, "", true, origin);
    return {};
  }

  template <int dim>
  Vector Case<dim>::synthetic_draw() const
  {
    DrawKey key;
    key.seed = seed_;
    key.draw = synthesis_.draw;
    return fields_->prior().draw(key);
  }

  template <int dim>
  Vector Case<dim>::truth_or_draw() const
  {
    Vector m = synthetic_draw();
    for (unsigned int i = 0; i < fields_->size(); ++i)
    {
      const auto known = synthesis_.truth.at((*fields_)[i].name()) == "draw" ? std::nullopt : truth(i);
      if (known)
        m.segment(fields_->offset(i), (*fields_)[i].n_local()) = (*fields_)[i].coefficients(*known);
    }
    return m;
  }

  template <int dim>
  std::vector<std::string> Case<dim>::describe() const
  {
    std::vector<std::string> lines;
    lines.push_back("mesh          " + mesh_->describe());
    for (unsigned int i = 0; i < fields_->size(); ++i)
      lines.push_back((i == 0 ? "field         " : "              ") + (*fields_)[i].name() + ": " +
                      (*fields_)[i].describe());
    lines.push_back("equation      " + model_->describe());
    lines.push_back("measurements  " + std::to_string(measurements_->n_used()) + " used" +
                    (measurements_->n_used() < measurements_->size()
                         ? ", " + std::to_string(measurements_->size() - measurements_->n_used()) + " held out"
                         : ""));
    lines.push_back("curvature     " + density_->describe());
    lines.push_back("inference     " + inference_.method +
                    (inference_.method == "variational"
                         ? ", " + inference_.family.name() + ", " + inference_.optimizer.name()
                         : ""));
    const unsigned int n_ranks = Utilities::MPI::n_mpi_processes(world_);
    if (n_ranks > 1)
      lines.push_back("parallel      " + counted(split_.groups, "sample group") + " of " +
                      counted(n_ranks / split_.groups, "rank") + (split_.reason.empty() ? "" : ": " + split_.reason));
    if (!memory_.parts.empty())
      lines.push_back("memory        " + memory_.describe());
    return lines;
  }

  template class Case<2>;
  template class Case<3>;
} // namespace varfield
