#include <deal.II/base/quadrature_lib.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_values.h>
#include <deal.II/lac/dynamic_sparsity_pattern.h>
#include <deal.II/lac/sparsity_tools.h>

#include <limits>
#include <set>
#include <varfield/collective.h>
#include <varfield/forward_model.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  void ForwardModel<dim>::add_parameters(ParameterHandler &prm)
  {
    using namespace Patterns;
    physics_.add_parameters(prm);
    prm.add_parameter("Degree", degree_, "of the state's finite elements.", Integer(1, 4));
    prm.add_parameter("Unit", state_unit_, "of the state, for legends.");
    common_.add_parameters(prm);
    prm.add_parameter("Newton tolerance", newton_tolerance_, "Relative residual at which a nonlinear solve ends.",
                      Double(0, 1));
    prm.add_parameter("Newton iterations", max_newton_, "At most so many in a nonlinear solve.", Integer(1));
    prm.enter_subsection("Electrodes");
    electrode_settings_.add_parameters(prm);
    prm.leave_subsection();
    prm.enter_subsection("Time");
    time_.add_parameters(prm);
    prm.leave_subsection();
  }

  template <int dim>
  void ForwardModel<dim>::check(const std::vector<std::string> &field_names, std::vector<Experiment> experiments,
                                MPI_Comm comm)
  {
    experiments_ = std::move(experiments);
    if (electrode_settings_.are_there())
    {
      if (!experiments_.empty())
        throw UserError(
            "Experiments/Names: the experiments are those of the table Physics/Electrodes/Currents; leave the "
            "names empty.");
      if (physics_->state_names().size() != 1)
        throw UserError("Physics/Electrodes: electrodes are for equations with one state, but “" + physics_.name() +
                        "” has several.");
      electrode_settings_.read(comm);
      for (const auto &name : electrode_settings_.experiments())
      {
        experiments_.emplace_back();
        experiments_.back().name = name;
      }
    }
    for (auto &experiment : experiments_)
      experiment.inherit(common_);
    if (experiments_.empty())
      experiments_.push_back(common_);
    time_.check();
    bool any_field        = false;
    const auto check_slot = [&](const std::string &origin, const std::string &value)
    {
      if (std::find(field_names.begin(), field_names.end(), value) != field_names.end())
        any_field = true;
      else if (trim(value).empty())
        throw UserError(origin + ": has to be the name of a field (" + join(field_names) +
                        ") or an expression, but is empty.");
      else
        try
        {
          Expression<dim>(value, origin);
        }
        catch (const UserError &error)
        {
          throw UserError(std::string(error.what()) + " It is no name of a field either; the fields are " +
                          join(field_names) + did_you_mean(value, field_names) + ".");
        }
    };
    const auto slots = physics_->slots();
    for (unsigned int s = 0; s < slots.size(); ++s)
      check_slot("Physics/" + physics_.name() + "/" + slots[s].name, physics_->slot_value(s));
    if (time_.is_transient())
      check_slot("Physics/Time/Storage", time_.storage());
    for (const auto &expression : initial_state())
      any_field = any_field || !expression.fields().empty();
    for (const auto &experiment : experiments_)
      for (const auto *text : {&experiment.source, &experiment.dirichlet, &experiment.neumann, &experiment.robin})
        any_field = any_field || text->find("field(") != std::string::npos;
    if (!any_field)
      throw UserError("Physics/" + physics_.name() +
                      ": no coefficient, source, boundary condition or initial state refers to a field, so there is "
                      "nothing to infer. The fields are " +
                      join(field_names) + ".");
  }

  template <int dim>
  std::vector<std::string> ForwardModel<dim>::experiment_names() const
  {
    std::vector<std::string> names;
    for (const auto &experiment : experiments_)
      names.push_back(experiment.name);
    return names;
  }

  template <int dim>
  void ForwardModel<dim>::initialize(const Mesh<dim> &mesh, const FieldSet<dim> &fields,
                                     Measurements<dim> &measurements, const SolverSettings &settings)
  {
    mesh_      = &mesh;
    fields_    = &fields;
    settings_  = settings;
    space_     = std::make_unique<StateSpace<dim>>(mesh, degree_, physics_->state_names().size());
    assembler_ = std::make_unique<Assembler<dim>>(*space_, fields, *physics_, "Physics/" + physics_.name(),
                                                  time_.is_transient() ? time_.storage() : "");
    check_fields(measurements);
    make_steps();
    make_prescribed();
    if (electrode_settings_.are_there())
      electrodes_ = std::make_unique<Electrodes<dim>>(electrode_settings_, *space_);
    make_loads();
    if (time_.is_transient() && time_.tolerance() > 0.)
      choose_steps();
    measurements.initialize(*space_, physics_->state_names(), fields, electrodes_.get());
    experiment_of_ = measurements.experiments();
    make_observation_matrices(measurements);
    make_field_readings(measurements);
  }

  template <int dim>
  std::string ForwardModel<dim>::describe() const
  {
    const auto kind = physics_->is_symmetric() ? MatrixKind::spd : MatrixKind::general;
    return physics_.name() + ", Q" + std::to_string(degree_) + ", " + std::to_string(space_->dof_handler().n_dofs()) +
           " unknowns in the state, " +
           LinearSolver::describe(settings_, kind, space_->dof_handler().n_dofs(), dim,
                                  mesh_->triangulation().n_global_levels() > 1) +
           (experiments_.size() > 1 ? ", " + std::to_string(experiments_.size()) + " experiments" : "") +
           (time_.is_transient() ? ", " + time_.describe() + " with " + counted(steps_.size(), "step") : "");
  }

  /// Every field has to occur, and every field that occurs has to exist; notes what follows for the dependence on them.
  template <int dim>
  void ForwardModel<dim>::check_fields(const Measurements<dim> &measurements)
  {
    const auto slots = physics_->slots();
    constant_matrix_ = physics_->is_linear();
    is_affine_       = physics_->is_linear();
    std::set<std::string> referenced;
    for (const auto &slot : assembler_->field_slots())
    {
      const auto &field    = (*fields_)[slot.field];
      const bool is_source = !assembler_->is_storage(slot) && slots[slot.slot].is_source;
      referenced.insert(field.name());
      constant_matrix_ = constant_matrix_ && is_source;
      is_affine_       = is_affine_ && is_source && field.transform().is_identity();
    }
    for (const auto &experiment : experiments_)
    {
      for (const auto &condition : parse_dirichlet<dim>(experiment, *mesh_, state_names(), time_.is_transient()))
        for (const auto &name : condition.value.fields())
          check_trace_field(name, experiment.section + "/Dirichlet", referenced);
      for (const auto &density : source_of(experiment))
        for (const auto &name : density.fields())
          check_trace_field(name, experiment.section + "/Source", referenced);
      for (const auto &condition : fluxes_of(experiment))
        for (const auto &name : condition.given().fields())
          check_trace_field(name, condition.is_robin ? "Physics/Robin" : experiment.section + "/Neumann", referenced);
    }
    for (const auto &set : measurements.sets())
      if (const unsigned int field = fields_->find(set->of); field < fields_->size())
      {
        referenced.insert(set->of);
        is_affine_ = is_affine_ && (!set->transformed || (*fields_)[field].transform().is_identity());
      }
    for (const auto &expression : initial_state())
      for (const auto &name : expression.fields())
        check_trace_field(name, "Physics/Time/Initial state", referenced);
    for (const auto &name : fields_->names())
      if (referenced.count(name) == 0)
        throw UserError("Fields/Names: the field “" + name + "” occurs neither as a coefficient of Physics/" +
                        physics_.name() +
                        " nor in a source, boundary condition or initial state, so the data say nothing about it.");
  }

  template <int dim>
  void ForwardModel<dim>::check_trace_field(const std::string &name, const std::string &origin,
                                            std::set<std::string> &referenced)
  {
    const unsigned int field = fields_->find(name);
    if (field == fields_->size())
      throw UserError(origin + ": there is no field “" + name + "”; the fields are " + join(fields_->names()) +
                      did_you_mean(name, fields_->names()) + ".");
    if ((*fields_)[field].space().is_in_time() && !time_.is_transient())
      throw UserError(origin + ": the field “" + name + "” is on intervals of time, but the problem is stationary.");
    referenced.insert(name);
    is_affine_ = is_affine_ && (*fields_)[field].transform().is_identity();
  }

  /// One expression for each component; none in a stationary problem.
  template <int dim>
  std::vector<FieldExpression<dim>> ForwardModel<dim>::initial_state() const
  {
    std::vector<FieldExpression<dim>> result;
    if (!time_.is_transient())
      return result;
    const std::string origin = "Physics/Time/Initial state";
    const std::size_t n      = state_names().size();
    if (trim(time_.initial_state()) == "0")
      return std::vector<FieldExpression<dim>>(n);
    for (const auto &text : split(time_.initial_state(), ';'))
      result.emplace_back(text, origin, false);
    if (result.size() != n)
      throw UserError(origin + ": needs one expression for each component of the state (" + join(state_names()) +
                      "), separated by semicolons, but found “" + time_.initial_state() + "”.");
    return result;
  }

  /// Steps that end where data jump: wells, and fields on intervals of time.
  template <int dim>
  void ForwardModel<dim>::make_steps()
  {
    std::vector<double> &jumps = jumps_;
    jumps                      = time_.jumps();
    for (unsigned int f = 0; f < fields_->size(); ++f)
    {
      const auto &field = (*fields_)[f];
      const auto &times = field.space().times();
      jumps.insert(jumps.end(), times.begin(), times.end());
      const double slack = 1e-9 * (time_.end() - time_.start());
      if (!times.empty() && (times.front() > time_.start() + slack || times.back() < time_.end() - slack))
        throw UserError("Fields/" + field.name() + "/Intervals: have to cover the time of the problem, " +
                        to_text(time_.start()) + " to " + to_text(time_.end()) + ", but are from " +
                        to_text(times.front()) + " to " + to_text(times.back()) + ".");
    }
    if (time_.is_transient())
      for (const auto &experiment : experiments_)
        if (!experiment.wells.empty())
        {
          const Table table = Table::read(experiment.wells, space_->comm());
          for (const std::string column : {"start", "end"})
            if (table.has(column))
              for (const double t : table.numbers(column))
                jumps.push_back(t);
        }
    steps_        = time_.steps(jumps);
    first_solved_ = time_.is_transient() ? 1 : 0;
  }

  /// Where the state is linear in a step of size h it is off by h²∣∂²u/∂t²∣/8. Sizes change by less than the half of
  /// the time between two steps, which keeps BDF2 stable. The search begins with three steps for each that is given, so
  /// that there are second differences everywhere.
  template <int dim>
  void ForwardModel<dim>::choose_steps()
  {
    experiment_of_.clear();
    constants_.resize(0);
    field_readings_.clear();
    constexpr unsigned int most_rounds = 8;
    for (unsigned int round = 0; round < most_rounds; ++round)
    {
      const auto old = steps_;
      std::vector<double> wanted;
      if (round == 0)
        for (const auto &step : old)
          wanted.push_back(step.size() / 3.);
      else
      {
        observation_.assign(n_columns(), {});
        flux_readings_.assign(steps_.size() * experiments_.size(), {});
        wanted = wanted_sizes();
      }
      double n_steps = 0.;
      for (std::size_t s = 0; s < old.size(); ++s)
        n_steps += old[s].size() / wanted[s];
      if (n_steps > 1e5)
        throw UserError("Physics/Time/Tolerance: " + to_text(time_.tolerance()) + " asks for about " +
                        to_text(std::round(n_steps)) + " steps; at most 100000 are possible.");
      const auto size_at = [&](double time)
      {
        double size = std::numeric_limits<double>::max();
        for (std::size_t s = 0; s < old.size(); ++s)
          size = std::min(size, wanted[s] + 0.5 * std::max({0., old[s].begin - time, time - old[s].end}));
        return size;
      };
      steps_ = time_.steps(jumps_, size_at);
      constant_matrices_.clear();
      constant_storage_.reset();
      forget();
      make_prescribed();
      make_loads();
      const double change = static_cast<double>(steps_.size()) / static_cast<double>(old.size());
      if (round > 2 && change > 0.95 && change < 1.05)
        break;
    }
  }

  /// By the second differences at the prior mean, of each component relative to its largest change.
  template <int dim>
  std::vector<double> ForwardModel<dim>::wanted_sizes() const
  {
    const auto state = solve(Vector::Zero(fields_->prior().layout().n_local()));
    if (!state)
      throw ComputationError("Physics/Time/Tolerance: the problem cannot be solved at the prior mean with the steps "
                             "tried, so none can be chosen.");
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    const Index n     = experiments_.size();
    const auto at     = [&](std::size_t snapshot)
    { return state->states.middleCols(static_cast<Index>(snapshot) * n, n).array(); };
    Eigen::ArrayXd scales(state->states.rows());
    bool any_change = false;
    for (unsigned int c = 0; c < space_->n_components(); ++c)
    {
      ComponentMask mask(space_->n_components(), false);
      mask.set(c, true);
      std::vector<Index> rows;
      for (const auto dof : DoFTools::extract_dofs(space_->dof_handler(), mask))
        if (owned.is_element(dof))
          rows.push_back(owned.index_within_set(dof));
      std::vector<double> largest(2, 0.); // change, and size
      for (std::size_t s = 1; s <= steps_.size() && !rows.empty(); ++s)
      {
        largest[0] = std::max(largest[0], (at(s) - at(0))(rows, Eigen::all).abs().maxCoeff());
        largest[1] = std::max(largest[1], at(s)(rows, Eigen::all).abs().maxCoeff());
      }
      Utilities::MPI::max(largest, space_->comm(), largest);
      // What does not change but for rounding has no say.
      const bool changes = largest[0] > 1e-7 * largest[1];
      any_change         = any_change || changes;
      scales(rows)       = changes ? largest[0] : std::numeric_limits<double>::max();
    }
    if (!any_change)
      throw UserError("Physics/Time/Tolerance: at the prior mean the state does not change in time, so no steps can be "
                      "chosen: give them, with the tolerance 0.");
    std::vector<double> curvature(steps_.size(), 0.);
    for (std::size_t s = 1; s < steps_.size(); ++s)
    {
      const TimeStep &last = steps_[s - 1], &step = steps_[s];
      const double slack = 1e-6 * step.size();
      if (std::any_of(jumps_.begin(), jumps_.end(), [&](double t) { return std::abs(t - step.begin) < slack; }))
        continue;
      const Eigen::ArrayXXd second =
          2. / (last.size() + step.size()) * ((at(s + 1) - at(s)) / step.size() - (at(s) - at(s - 1)) / last.size());
      const double here = second.rows() > 0 ? (second.abs().colwise() / scales).maxCoeff() : 0.;
      curvature[s - 1]  = std::max(curvature[s - 1], here);
      curvature[s]      = std::max(curvature[s], here);
    }
    Utilities::MPI::max(curvature, space_->comm(), curvature);
    std::vector<double> sizes;
    for (std::size_t s = 0; s < steps_.size(); ++s)
    {
      const double old = steps_[s].size(), wanted = std::sqrt(8. * time_.tolerance() / curvature[s]);
      sizes.push_back(std::max(old / 8., std::min(4. * old, wanted)));
    }
    return sizes;
  }

  template <int dim>
  unsigned int ForwardModel<dim>::snapshot_near(double time) const
  {
    unsigned int nearest = 0;
    for (unsigned int n = 1; n < n_snapshots(); ++n)
      if (std::abs(snapshot_time(n) - time) < std::abs(snapshot_time(nearest) - time))
        nearest = n;
    return nearest;
  }

  namespace
  {
    /// All degrees of freedom of these components there that are known to this rank.
    template <int dim>
    IndexSet dofs_at(const BoundaryPlace &place, const DoFHandler<dim> &handler)
    {
      ComponentMask mask(handler.get_fe().n_components(), false);
      for (unsigned int c = 0; c < mask.size(); ++c)
        mask.set(c, place.has(c));
      return DoFTools::extract_boundary_dofs(handler, mask, {place.ids.begin(), place.ids.end()});
    }
  } // namespace

  /// The condition that holds at each owned boundary node: the last one that names the boundary.
  template <int dim>
  std::map<unsigned int, const DirichletCondition<dim> *>
  ForwardModel<dim>::dirichlet_nodes(const std::vector<DirichletCondition<dim>> &conditions) const
  {
    std::map<unsigned int, const DirichletCondition<dim> *> nodes;
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    for (const auto &condition : conditions)
      for (const auto dof : dofs_at(condition.place, space_->dof_handler()))
        if (owned.is_element(dof) && !space_->hanging().is_constrained(dof))
          nodes[owned.index_within_set(dof)] = &condition;
    return nodes;
  }

  /// The traces that `value` gives in a column at the time `field_time`, on all ranks, also on those that have none of
  /// the nodes: traces are made, and used, together.
  template <int dim>
  void ForwardModel<dim>::expect_traces(const FieldExpression<dim> &value, double field_time, unsigned int column,
                                        TraceEntries &traces) const
  {
    for (const auto &name : value.fields())
    {
      const unsigned int field = fields_->find(name);
      const auto &space        = (*fields_)[field].space();
      traces[{field, space.is_in_time() ? space.interval(field_time) : 0}].columns.insert(column);
    }
  }

  /// `coefficients`: of the expression at the node; `field_time`: which intervals of fields in time count.
  template <int dim>
  void ForwardModel<dim>::prescribe(const FieldExpression<dim> &value, const std::vector<double> &coefficients,
                                    unsigned int node, double field_time, unsigned int column, TraceEntries &traces)
  {
    prescribed_(node, column) = coefficients[0];
    for (std::size_t i = 0; i < value.fields().size(); ++i)
    {
      const unsigned int field = fields_->find(value.fields()[i]);
      const auto &space        = (*fields_)[field].space();
      if (coefficients[i + 1] != 0.)
        traces[{field, space.is_in_time() ? space.interval(field_time) : 0}].owned.emplace_back(node, column,
                                                                                                coefficients[i + 1]);
    }
  }

  template <int dim>
  void ForwardModel<dim>::prescribe_boundaries(unsigned int experiment,
                                               const std::map<types::global_dof_index, Point<dim>> &support,
                                               TraceEntries &traces, std::string &message)
  {
    const auto &owned     = space_->dof_handler().locally_owned_dofs();
    const auto conditions = parse_dirichlet<dim>(experiments_[experiment], *mesh_, state_names(), time_.is_transient());
    const auto nodes      = dirichlet_nodes(conditions);
    std::vector<unsigned int> local;
    for (const auto &[node, condition] : nodes)
      local.push_back(node);
    if (experiment == 0)
      dirichlet_nodes_ = local;
    else if (message.empty() && local != dirichlet_nodes_)
      message = experiments_[experiment].section +
                "/Dirichlet: all experiments have to prescribe the state on the same boundaries (the "
                "values may differ), but this one differs from the first.";
    // Data that jump at the end of a step have their old value there.
    const auto middle = [](const TimeStep &step) { return 0.5 * (step.begin + step.end); };
    const auto end    = [](const TimeStep &step) { return step.end - 1e-9 * step.size(); };
    for (unsigned int s = 0; s < steps_.size(); ++s)
      for (const auto &condition : conditions)
        expect_traces(condition.value, middle(steps_[s]), column_of({s, experiment}), traces);
    try
    {
      for (const auto &[node, condition] : nodes)
      {
        const auto &x = support.at(owned.nth_index_in_set(node));
        std::vector<double> coefficients;
        for (unsigned int s = 0; s < steps_.size(); ++s)
        {
          if (s == 0 || condition->value.uses_time())
            coefficients = condition->value.coefficients(x, end(steps_[s]));
          prescribe(condition->value, coefficients, node, middle(steps_[s]), column_of({s, experiment}), traces);
        }
      }
    }
    catch (const UserError &error)
    {
      message = error.what();
    }
  }

  template <int dim>
  void ForwardModel<dim>::prescribe_initial(const std::map<types::global_dof_index, Point<dim>> &support,
                                            TraceEntries &traces, std::string &message)
  {
    const auto expressions = initial_state();
    const auto &owned      = space_->dof_handler().locally_owned_dofs();
    for (unsigned int c = 0; c < expressions.size(); ++c)
    {
      ComponentMask mask(expressions.size(), false);
      mask.set(c, true);
      for (unsigned int e = 0; e < experiments_.size(); ++e)
        expect_traces(expressions[c], time_.start(), column(0, e), traces);
      try
      {
        for (const auto dof : DoFTools::extract_dofs(space_->dof_handler(), mask))
          if (owned.is_element(dof) && !space_->hanging().is_constrained(dof))
          {
            const auto coefficients = expressions[c].coefficients(support.at(dof));
            for (unsigned int e = 0; e < experiments_.size(); ++e)
              prescribe(expressions[c], coefficients, owned.index_within_set(dof), time_.start(), column(0, e), traces);
          }
      }
      catch (const UserError &error)
      {
        message = error.what();
      }
    }
  }

  /// Dirichlet conditions and the initial state.
  template <int dim>
  void ForwardModel<dim>::make_prescribed()
  {
    std::map<types::global_dof_index, Point<dim>> support;
    DoFTools::map_dofs_to_support_points(mesh_->mapping(), space_->dof_handler(), support);
    prescribed_ = MultiVector::Zero(space_->n_owned(), n_columns());
    TraceEntries traces;
    std::string message;
    for (unsigned int e = 0; e < experiments_.size(); ++e)
      prescribe_boundaries(e, support, traces, message);
    prescribe_initial(support, traces, message);
    throw_together(message, space_->comm());
    traces_.clear();
    for (const auto &[place, parts] : traces)
      make_trace(place.first, place.second, parts);

    condensed_.reinit(space_->relevant());
    DoFTools::make_hanging_node_constraints(space_->dof_handler(), condensed_);
    for (const auto &condition : parse_dirichlet<dim>(experiments_[0], *mesh_, state_names(), time_.is_transient()))
      for (const auto dof : dofs_at(condition.place, space_->dof_handler()))
        if (condensed_.can_store_line(dof) && !condensed_.is_constrained(dof))
          condensed_.add_line(dof);
    condensed_.close();
  }

  /// Values of the field's shape functions at the support points of the state's nodes. Of a field that jumps between
  /// cells, those of the cell that comes first.
  template <int dim>
  void ForwardModel<dim>::make_trace(unsigned int field, unsigned int interval, const TraceParts &parts)
  {
    traces_.emplace_back();
    Trace &trace = traces_.back();
    trace.field  = field;
    trace.columns.assign(parts.columns.begin(), parts.columns.end());
    std::set<unsigned int> nodes;
    for (const auto &entry : parts.owned)
      nodes.insert(std::get<0>(entry));
    trace.nodes.assign(nodes.begin(), nodes.end());
    const auto place = [](const std::vector<unsigned int> &list, unsigned int i)
    { return std::lower_bound(list.begin(), list.end(), i) - list.begin(); };
    trace.factors = Matrix::Zero(static_cast<Index>(trace.nodes.size()), static_cast<Index>(trace.columns.size()));
    for (const auto &[node, column, factor] : parts.owned)
      trace.factors(place(trace.nodes, node), place(trace.columns, column)) = factor;

    const auto &handler       = space_->dof_handler();
    const auto &field_space   = (*fields_)[field].space();
    const auto &field_handler = field_space.dof_handler();
    const auto &field_fe      = field_handler.get_fe();
    const auto &owned         = handler.locally_owned_dofs();
    std::map<types::global_dof_index, std::vector<std::pair<types::global_dof_index, double>>> rows;
    std::map<types::global_dof_index, CellId> cell_of;
    for (const unsigned int node : trace.nodes)
      if (auto &row = rows[owned.nth_index_in_set(node)]; field_space.is_in_time())
        row = {{field_space.dof_of_zone(interval), 1.}};
    std::vector<types::global_dof_index> dofs(space_->fe().dofs_per_cell), field_dofs(field_fe.dofs_per_cell);
    for (const auto &cell : handler.active_cell_iterators())
      if (!cell->is_artificial() && !field_space.is_in_time())
      {
        cell->get_dof_indices(dofs);
        typename DoFHandler<dim>::active_cell_iterator(&handler.get_triangulation(), cell->level(), cell->index(),
                                                       &field_handler)
            ->get_dof_indices(field_dofs);
        for (unsigned int i = 0; i < dofs.size(); ++i)
        {
          const auto row = rows.find(dofs[i]);
          if (row == rows.end())
            continue;
          if (const auto known = cell_of.find(dofs[i]); known != cell_of.end())
          {
            if (field_fe.dofs_per_vertex > 0 || known->second < cell->id())
              continue;
            row->second.clear();
          }
          cell_of[dofs[i]]           = cell->id();
          const auto component_index = space_->fe().system_to_component_index(i).second;
          const auto &point          = space_->fe().base_element(0).unit_support_point(component_index);
          for (unsigned int j = 0; j < field_dofs.size(); ++j)
            if (const double weight = field_fe.shape_value(j, point); std::abs(weight) > 1e-14)
              row->second.emplace_back(field_dofs[j], weight);
        }
      }
    DynamicSparsityPattern pattern(handler.n_dofs(), field_handler.n_dofs(), owned);
    for (const auto &[row, row_entries] : rows)
      for (const auto &entry : row_entries)
        pattern.add(row, entry.first);
    trace.values.reinit(owned, field_handler.locally_owned_dofs(), pattern, space_->comm());
    for (const auto &[row, row_entries] : rows)
      for (const auto &[column, weight] : row_entries)
        trace.values.set(row, column, weight);
    trace.values.compress(VectorOperation::insert);
  }

  /// Loads of all experiments and steps; those with the same texts and data share what is assembled.
  template <int dim>
  void ForwardModel<dim>::make_loads()
  {
    const auto n_systems = static_cast<Index>(steps_.size() * experiments_.size());
    loads_               = MultiVector::Zero(space_->n_owned(), n_systems);
    boundary_loads_      = loads_;
    field_loads_.clear();
    struct Made
    {
      Index system;           ///< the first that has this load
      std::size_t begin, end; ///< of its parts in field_loads_
    };
    std::map<std::tuple<std::string, std::string, std::vector<unsigned int>, unsigned int>, Made> made;
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      const Experiment &experiment = experiments_[e];
      const auto source            = source_of(experiment);
      const auto fluxes            = fluxes_of(experiment);
      if (e == 0)
        make_robin_matrices(fluxes);
      bool changes = false;
      std::set<std::string> in_time;
      const auto look_at = [&](const FieldExpression<dim> &density)
      {
        changes = changes || density.uses_time();
        for (const std::string &name : density.fields())
          if ((*fields_)[fields_->find(name)].space().is_in_time())
            in_time.insert(name);
      };
      std::for_each(source.begin(), source.end(), look_at);
      for (const auto &condition : fluxes)
        look_at(condition.given());
      for (unsigned int s = 0; s < steps_.size(); ++s)
      {
        const double middle = 0.5 * (steps_[s].begin + steps_[s].end);
        std::vector<unsigned int> intervals;
        for (const std::string &name : in_time)
          intervals.push_back((*fields_)[fields_->find(name)].space().interval(middle));
        const auto i = static_cast<Index>(system({s, e}));
        const auto [known, is_new] =
            made.emplace(std::make_tuple(experiment.source, experiment.neumann, intervals, changes ? s : 0),
                         Made{i, field_loads_.size(), 0});
        Made &same = known->second;
        if (is_new)
        {
          const Load load        = assemble_load(*space_, *fields_, source, fluxes, steps_[s].time(), middle);
          boundary_loads_.col(i) = load.boundary;
          loads_.col(i)          = load.volume + load.boundary;
          for (const auto &part : load.by_field)
            field_loads_.push_back({part, {}});
          same.end = field_loads_.size();
        }
        else
        {
          boundary_loads_.col(i) = boundary_loads_.col(same.system);
          loads_.col(i)          = loads_.col(same.system);
        }
        for (std::size_t l = same.begin; l < same.end; ++l)
          field_loads_[l].systems.push_back(i);
      }
    }
    for (auto &load : field_loads_)
      std::sort(load.systems.begin(), load.systems.end());
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      for (unsigned int s = 0; s < steps_.size() && electrodes_; ++s)
        for (MultiVector *all : {&loads_, &boundary_loads_})
          electrodes_->add_load(e, all->col(static_cast<Index>(system({s, e}))));
      add_wells(e);
    }
  }

  /// One expression for each component; none where there is no source.
  template <int dim>
  std::vector<FieldExpression<dim>> ForwardModel<dim>::source_of(const Experiment &experiment) const
  {
    std::vector<FieldExpression<dim>> source;
    if (trim(experiment.source) == "0")
      return source; // for all components
    for (const auto &text : split(experiment.source, ';'))
      source.emplace_back(text, experiment.section + "/Source", time_.is_transient());
    if (source.size() != state_names().size())
      throw UserError(experiment.section + "/Source: needs one expression for each component of the state (" +
                      join(physics_->state_names()) + "), separated by semicolons, but found “" + experiment.source +
                      "”.");
    return source;
  }

  /// Neumann and Robin conditions, those of electrodes among them.
  template <int dim>
  std::vector<FluxCondition<dim>> ForwardModel<dim>::fluxes_of(Experiment experiment) const
  {
    if (electrodes_)
      experiment.robin += (trim(experiment.robin).empty() ? "" : "; ") + electrodes_->robin();
    return parse_fluxes<dim>(experiment, *mesh_, state_names(), time_.is_transient());
  }

  /// The same for all experiments and times.
  template <int dim>
  void ForwardModel<dim>::make_robin_matrices(const std::vector<FluxCondition<dim>> &conditions)
  {
    const auto &fe = space_->fe();
    const QGauss<dim - 1> quadrature(fe.degree + 1);
    FEFaceValues<dim> values(mesh_->mapping(), fe, quadrature,
                             update_values | update_quadrature_points | update_JxW_values);
    assembler_->robin().clear();
    std::string message;
    for (const auto &cell : space_->dof_handler().active_cell_iterators())
      for (const auto &condition : conditions)
        if (condition.is_robin && cell->is_locally_owned() && cell->at_boundary())
          try
          {
            add_robin_matrix(condition, cell, values);
          }
          catch (const UserError &error)
          {
            message = error.what();
          }
    throw_together(message, space_->comm());
  }

  template <int dim>
  void ForwardModel<dim>::add_robin_matrix(const FluxCondition<dim> &condition,
                                           const typename DoFHandler<dim>::active_cell_iterator &cell,
                                           FEFaceValues<dim> &values)
  {
    const auto component = [this](unsigned int i) { return space_->fe().system_to_component_index(i).first; };
    const auto &ids      = condition.place.ids;
    for (const auto f : cell->face_indices())
    {
      if (!cell->face(f)->at_boundary() || std::find(ids.begin(), ids.end(), cell->face(f)->boundary_id()) == ids.end())
        continue;
      values.reinit(cell, f);
      auto &matrix = assembler_->robin()[cell->active_cell_index()];
      if (matrix.empty())
        matrix.reinit(values.dofs_per_cell, values.dofs_per_cell);
      for (unsigned int q = 0; q < values.n_quadrature_points; ++q)
      {
        const double a = condition.coefficient.value(values.quadrature_point(q)) * values.JxW(q);
        for (unsigned int i = 0; i < matrix.m(); ++i)
          for (unsigned int j = 0; j < matrix.n(); ++j)
            if (condition.place.has(component(i)) && component(i) == component(j))
              matrix(i, j) += a * values.shape_value(i, q) * values.shape_value(j, q);
      }
    }
  }

  /// Rates of point sources; in problems in time their mean over each step.
  template <int dim>
  void ForwardModel<dim>::add_wells(unsigned int experiment)
  {
    const std::string &file = experiments_[experiment].wells;
    if (file.empty())
      return;
    const Table table      = Table::read(file, space_->comm());
    const auto points      = points_of<dim>(table);
    const auto rates       = table.numbers("rate");
    const auto functionals = space_->point_values(points, components_of(table, physics_->state_names()));
    refuse_points_outside(table, points, functionals, *mesh_);
    const auto in_table = [&](const std::string &column, double otherwise)
    {
      return time_.is_transient() && table.has(column) ? table.numbers(column)
                                                       : std::vector<double>(rates.size(), otherwise);
    };
    const auto starts = in_table("start", std::numeric_limits<double>::lowest()),
               ends   = in_table("end", std::numeric_limits<double>::max());
    for (unsigned int w = 0; w < table.n_rows(); ++w)
      if (!time_.is_transient() && (table.has("start") || table.has("end")))
        throw UserError(table.where(w) + ": wells have a “start” or an “end” in problems in time only (Physics/Time).");
      else if (!(ends[w] > starts[w]))
        throw UserError(table.where(w) + ": “end” has to be after “start”, but found " + to_text(ends[w]) + " and " +
                        to_text(starts[w]) + ".");
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    for (unsigned int s = 0; s < steps_.size(); ++s)
      for (std::size_t w = 0; w < rates.size(); ++w)
      {
        const auto &step      = steps_[s];
        const double overlap  = std::min(ends[w], step.end) - std::max(starts[w], step.begin);
        const double share    = time_.is_transient() ? std::max(0., overlap) / step.size() : 1.;
        const auto system_col = static_cast<Index>(system({s, experiment}));
        for (const auto &[dof, weight] : functionals[w])
          if (owned.is_element(dof))
            loads_(static_cast<Index>(owned.index_within_set(dof)), system_col) += share * rates[w] * weight;
      }
  }

  /// The mean of the state over a time (or its value at one, where both ends are the same) as a sum over snapshots: the
  /// state is linear between two of them.
  template <int dim>
  std::vector<std::pair<unsigned int, double>> ForwardModel<dim>::snapshot_weights(double from, double until) const
  {
    if (!time_.is_transient())
      return {{0, 1.}};
    std::vector<std::pair<unsigned int, double>> weights;
    for (unsigned int n = 1; n < n_snapshots(); ++n)
    {
      const double begin = snapshot_time(n - 1), end = snapshot_time(n);
      const double a = std::max(from, begin), b = std::min(until, end);
      const bool is_at = from == until && from <= end && (from > begin || n == 1);
      if (!is_at && !(b > a))
        continue;
      const double share = is_at ? 1. : (b - a) / (until - from), place = (0.5 * (a + b) - begin) / (end - begin);
      weights.emplace_back(n - 1, share * (1. - place));
      weights.emplace_back(n, share * place);
    }
    return weights;
  }

  /// The mean over a time of what is constant in each step, as a sum over steps; at one time, the step that ends there
  /// or is under way.
  template <int dim>
  std::vector<std::pair<unsigned int, double>> ForwardModel<dim>::step_weights(double from, double until) const
  {
    std::vector<std::pair<unsigned int, double>> weights;
    for (unsigned int s = 0; s < steps_.size(); ++s)
    {
      const auto &step     = steps_[s];
      const double overlap = std::min(until, step.end) - std::max(from, step.begin);
      const bool is_last   = s + 1 == steps_.size() || from <= step.end + 1e-9 * step.size();
      if (!time_.is_transient() || (from == until && is_last))
        return {{s, 1.}};
      if (overlap > 0.)
        weights.emplace_back(s, overlap / (until - from));
    }
    return weights;
  }

  template <int dim>
  void ForwardModel<dim>::make_observation_matrices(const Measurements<dim> &measurements)
  {
    const auto &owned  = space_->dof_handler().locally_owned_dofs();
    const double start = time_.start(), end = time_.end(), slack = 1e-9 * (end - start);
    std::vector<std::vector<Eigen::Triplet<double>>> entries(n_columns()), fluxes(steps_.size() * experiments_.size());
    last_snapshot_.assign(static_cast<std::size_t>(measurements.size()), -1);
    constants_ = Eigen::Map<const Vector>(measurements.constants().data(), measurements.size());
    for (Index i = 0; i < measurements.size(); ++i)
    {
      const auto row = static_cast<std::size_t>(i);
      if (!measurements.set_of(i).is_of_state())
        continue;
      const auto at_time = time_.is_transient() ? measurements.times()[row] : std::pair<double, double>(start, start);
      if (at_time.first < start - slack || at_time.second > end + slack)
        throw UserError(measurements.where(i) + ": the measurement is at the time " + to_text(at_time.first) +
                        (at_time.second > at_time.first ? " to " + to_text(at_time.second) : "") +
                        ", but the problem is solved from " + to_text(start) + " to " + to_text(end) +
                        " (Physics/Time).");
      const unsigned int experiment = measurements.experiments()[row];
      if (measurements.set_of(i).observation->is_flux())
      {
        for (const auto &[s, share] : step_weights(at_time.first, at_time.second))
        {
          last_snapshot_[row] = std::max(last_snapshot_[row], static_cast<int>(s + first_solved_));
          for (const auto &[dof, weight] : measurements.functionals()[row])
            fluxes[system({s, experiment})].emplace_back(static_cast<Index>(dof), i, share * weight);
        }
        continue;
      }
      for (const auto &[n, share] :
           snapshot_weights(std::clamp(at_time.first, start, end), std::clamp(at_time.second, start, end)))
      {
        if (share == 0.)
          continue;
        last_snapshot_[row] = std::max(last_snapshot_[row], static_cast<int>(n));
        for (const auto &[dof, weight] : measurements.functionals()[row])
          if (owned.is_element(dof))
            entries[column(n, experiment)].emplace_back(i, owned.index_within_set(dof), share * weight);
      }
    }
    observation_.assign(n_columns(), {});
    for (unsigned int c = 0; c < n_columns(); ++c)
    {
      observation_[c].resize(measurements.size(), space_->n_owned());
      observation_[c].setFromTriplets(entries[c].begin(), entries[c].end());
    }
    flux_readings_.assign(fluxes.size(),
                          Eigen::SparseMatrix<double>(space_->dof_handler().n_dofs(), measurements.size()));
    for (std::size_t i = 0; i < fluxes.size(); ++i)
      flux_readings_[i].setFromTriplets(fluxes[i].begin(), fluxes[i].end());
  }

  template <int dim>
  void ForwardModel<dim>::make_field_readings(const Measurements<dim> &measurements)
  {
    field_readings_.clear();
    Index first = 0;
    for (const auto &set : measurements.sets())
    {
      const Index n = set->table.n_rows();
      if (!set->is_of_state())
      {
        FieldReading reading;
        reading.field       = fields_->find(set->of);
        reading.transformed = set->transformed;
        const auto &space   = (*fields_)[reading.field].space();
        const auto &owned   = space.dof_handler().locally_owned_dofs();
        std::vector<Eigen::Triplet<double>> entries;
        for (Index i = first; i < first + n; ++i)
        {
          reading.rows.push_back(i);
          for (const auto &[dof, weight] : measurements.functionals()[static_cast<std::size_t>(i)])
            if (owned.is_element(dof))
              entries.emplace_back(i, owned.index_within_set(dof), weight);
        }
        reading.values.resize(measurements.size(), space.n_owned());
        reading.values.setFromTriplets(entries.begin(), entries.end());
        field_readings_.push_back(std::move(reading));
      }
      first += n;
    }
  }

  template class ForwardModel<2>;
  template class ForwardModel<3>;
} // namespace varfield
