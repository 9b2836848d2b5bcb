#include <deal.II/base/quadrature_lib.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_values.h>
#include <deal.II/lac/dynamic_sparsity_pattern.h>
#include <deal.II/lac/sparsity_tools.h>

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
  }

  template <int dim>
  void ForwardModel<dim>::check(const std::vector<std::string> &field_names, std::vector<Experiment> experiments)
  {
    experiments_ = std::move(experiments);
    for (auto &experiment : experiments_)
      experiment.inherit(common_);
    if (experiments_.empty())
      experiments_.push_back(common_);
    const auto slots = physics_->slots();
    bool any_field   = false;
    for (unsigned int s = 0; s < slots.size(); ++s)
    {
      const std::string origin = "Physics/" + physics_.name() + "/" + slots[s].name, &value = physics_->slot_value(s);
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
    }
    for (const auto &experiment : experiments_)
      any_field = any_field || experiment.dirichlet.find("field(") != std::string::npos;
    if (!any_field)
      throw UserError("Physics/" + physics_.name() +
                      ": no coefficient and no boundary condition refers to a field, so there is "
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
    assembler_ = std::make_unique<Assembler<dim>>(*space_, fields, *physics_, "Physics/" + physics_.name());
    check_fields();
    make_dirichlet();
    make_loads();
    measurements.initialize(*space_, physics_->state_names());
    experiment_of_ = measurements.experiments();
    make_observation_matrices(measurements);
  }

  template <int dim>
  std::string ForwardModel<dim>::describe() const
  {
    const auto kind = physics_->is_symmetric() ? MatrixKind::spd : MatrixKind::general;
    return physics_.name() + ", Q" + std::to_string(degree_) + ", " + std::to_string(space_->dof_handler().n_dofs()) +
           " unknowns in the state, " +
           LinearSolver::describe(settings_, kind, space_->dof_handler().n_dofs(), dim,
                                  mesh_->triangulation().n_global_levels() > 1) +
           (experiments_.size() > 1 ? ", " + std::to_string(experiments_.size()) + " experiments" : "");
  }

  /// Every field has to occur, and every field that occurs has to exist; notes what follows for the dependence on them.
  template <int dim>
  void ForwardModel<dim>::check_fields()
  {
    const auto slots = physics_->slots();
    constant_matrix_ = physics_->is_linear();
    is_affine_       = physics_->is_linear();
    std::set<std::string> referenced;
    for (const auto &[slot, field] : assembler_->field_slots())
    {
      referenced.insert((*fields_)[field].name());
      constant_matrix_ = constant_matrix_ && slots[slot].is_source;
      is_affine_       = is_affine_ && slots[slot].is_source && (*fields_)[field].transform().is_identity();
    }
    for (const auto &experiment : experiments_)
      for (const auto &condition : parse_dirichlet<dim>(experiment, *mesh_, state_names()))
        if (!condition.field.empty())
        {
          const unsigned int field = fields_->find(condition.field);
          if (field == fields_->size())
            throw UserError(experiment.section + "/Dirichlet: there is no field “" + condition.field +
                            "”; the fields are " + join(fields_->names()) +
                            did_you_mean(condition.field, fields_->names()) + ".");
          referenced.insert(condition.field);
          is_affine_ = is_affine_ && (*fields_)[field].transform().is_identity();
        }
    for (const auto &name : fields_->names())
      if (referenced.count(name) == 0)
        throw UserError("Fields/Names: the field “" + name + "” occurs neither as a coefficient of Physics/" +
                        physics_.name() + " nor in a Dirichlet condition, so the data say nothing about it.");
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

  template <int dim>
  void ForwardModel<dim>::make_dirichlet()
  {
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    std::map<types::global_dof_index, Point<dim>> support;
    DoFTools::map_dofs_to_support_points(mesh_->mapping(), space_->dof_handler(), support);
    dirichlet_values_ = MultiVector::Zero(space_->n_owned(), experiments_.size());
    traces_.clear();
    std::string message;
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      const auto conditions = parse_dirichlet<dim>(experiments_[e], *mesh_, state_names());
      const auto nodes      = dirichlet_nodes(conditions);
      std::vector<unsigned int> local;
      std::map<unsigned int, std::vector<unsigned int>> by_field;
      for (const auto &condition : conditions)
        if (!condition.field.empty())
          by_field[fields_->find(condition.field)]; // traces are collective: all ranks make the same ones
      try
      {
        for (const auto &[node, condition] : nodes)
        {
          local.push_back(node);
          if (condition->field.empty())
            dirichlet_values_(node, e) = condition->value.value(support.at(owned.nth_index_in_set(node)));
          else
            by_field.at(fields_->find(condition->field)).push_back(node);
        }
      }
      catch (const UserError &error)
      {
        message = error.what();
      }
      if (e == 0)
        dirichlet_nodes_ = local;
      else if (message.empty() && local != dirichlet_nodes_)
        message = experiments_[e].section +
                  "/Dirichlet: all experiments have to prescribe the state on the same boundaries (the "
                  "values may differ), but this one differs from the first.";
      for (const auto &[field, field_nodes] : by_field)
        make_trace(e, field, field_nodes);
    }
    throw_together(message, space_->comm());

    condensed_.reinit(space_->relevant());
    DoFTools::make_hanging_node_constraints(space_->dof_handler(), condensed_);
    for (const auto &condition : parse_dirichlet<dim>(experiments_[0], *mesh_, state_names()))
      for (const auto dof : dofs_at(condition.place, space_->dof_handler()))
        if (condensed_.can_store_line(dof) && !condensed_.is_constrained(dof))
          condensed_.add_line(dof);
    condensed_.close();
  }

  /// Values of the field's shape functions at the support points of the state's nodes.
  template <int dim>
  void ForwardModel<dim>::make_trace(unsigned int experiment, unsigned int field,
                                     const std::vector<unsigned int> &nodes)
  {
    const auto &handler       = space_->dof_handler();
    const auto &field_handler = (*fields_)[field].space().dof_handler();
    const auto &field_fe      = field_handler.get_fe();
    const auto &owned         = handler.locally_owned_dofs();
    std::map<types::global_dof_index, std::vector<std::pair<types::global_dof_index, double>>> rows;
    for (const unsigned int node : nodes)
      rows[owned.nth_index_in_set(node)];
    std::vector<types::global_dof_index> dofs(space_->fe().dofs_per_cell), field_dofs(field_fe.dofs_per_cell);
    for (const auto &cell : handler.active_cell_iterators())
      if (!cell->is_artificial() && cell->at_boundary())
      {
        cell->get_dof_indices(dofs);
        typename DoFHandler<dim>::active_cell_iterator(&handler.get_triangulation(), cell->level(), cell->index(),
                                                       &field_handler)
            ->get_dof_indices(field_dofs);
        for (unsigned int i = 0; i < dofs.size(); ++i)
        {
          const auto row = rows.find(dofs[i]);
          if (row == rows.end() || !row->second.empty())
            continue;
          const auto component_index = space_->fe().system_to_component_index(i).second;
          const auto &point          = space_->fe().base_element(0).unit_support_point(component_index);
          for (unsigned int j = 0; j < field_dofs.size(); ++j)
            if (const double weight = field_fe.shape_value(j, point); std::abs(weight) > 1e-14)
              row->second.emplace_back(field_dofs[j], weight);
        }
      }
    DynamicSparsityPattern pattern(handler.n_dofs(), field_handler.n_dofs(), owned);
    for (const auto &[row, entries] : rows)
      for (const auto &entry : entries)
        pattern.add(row, entry.first);
    traces_.emplace_back();
    Trace &trace     = traces_.back();
    trace.experiment = experiment;
    trace.field      = field;
    trace.nodes      = nodes;
    trace.values.reinit(owned, field_handler.locally_owned_dofs(), pattern, space_->comm());
    for (const auto &[row, entries] : rows)
      for (const auto &[column, weight] : entries)
        trace.values.set(row, column, weight);
    trace.values.compress(VectorOperation::insert);
  }

  template <int dim>
  void ForwardModel<dim>::make_loads()
  {
    loads_.resize(space_->n_owned(), experiments_.size());
    boundary_loads_.resize(space_->n_owned(), experiments_.size());
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      GhostedVector load(space_->dof_handler().locally_owned_dofs(), space_->relevant(), space_->comm());
      GhostedVector flux = load;
      std::string message;
      try
      {
        add_source(experiments_[e], load);
        add_fluxes(experiments_[e], flux, e == 0);
      }
      catch (const UserError &error)
      {
        message = error.what();
      }
      throw_together(message, space_->comm());
      add_wells(experiments_[e], load);
      load.compress(VectorOperation::add);
      flux.compress(VectorOperation::add);
      for (Index i = 0; i < loads_.rows(); ++i)
      {
        boundary_loads_(i, e) = flux.local_element(i);
        loads_(i, e)          = load.local_element(i) + flux.local_element(i);
      }
    }
  }

  template <int dim>
  void ForwardModel<dim>::add_source(const Experiment &experiment, GhostedVector &load) const
  {
    if (trim(experiment.source) == "0")
      return; // for all components
    const auto texts = split(experiment.source, ';');
    const auto &fe   = space_->fe();
    std::vector<Expression<dim>> source;
    for (const auto &text : texts)
      source.emplace_back(text, experiment.section + "/Source");
    if (source.size() != fe.n_components())
      throw UserError(experiment.section + "/Source: needs one expression for each component of the state (" +
                      join(physics_->state_names()) + "), separated by semicolons, but found “" + experiment.source +
                      "”.");
    const QGauss<dim> quadrature(fe.degree + 1);
    FEValues<dim> values(mesh_->mapping(), fe, quadrature,
                         update_values | update_quadrature_points | update_JxW_values);
    dealii::Vector<double> local(fe.dofs_per_cell);
    std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
    for (const auto &cell : space_->dof_handler().active_cell_iterators())
      if (cell->is_locally_owned())
      {
        values.reinit(cell);
        local = 0.;
        for (unsigned int q = 0; q < quadrature.size(); ++q)
          for (unsigned int i = 0; i < local.size(); ++i)
            local(i) += source[fe.system_to_component_index(i).first].value(values.quadrature_point(q)) *
                        values.shape_value(i, q) * values.JxW(q);
        cell->get_dof_indices(dofs);
        space_->hanging().distribute_local_to_global(local, dofs, load);
      }
  }

  /// Neumann and Robin loads; the Robin matrices are the same for all experiments and are kept with the first.
  template <int dim>
  void ForwardModel<dim>::add_fluxes(const Experiment &experiment, GhostedVector &load, bool first)
  {
    const auto conditions = parse_fluxes<dim>(experiment, *mesh_, state_names());
    std::map<types::boundary_id, std::vector<const FluxCondition<dim> *>> at;
    for (const auto &condition : conditions)
      for (const auto id : condition.place.ids)
        at[id].push_back(&condition);
    const auto &fe = space_->fe();
    const QGauss<dim - 1> quadrature(fe.degree + 1);
    FEFaceValues<dim> values(mesh_->mapping(), fe, quadrature,
                             update_values | update_quadrature_points | update_JxW_values);
    dealii::Vector<double> local(fe.dofs_per_cell);
    std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
    for (const auto &cell : space_->dof_handler().active_cell_iterators())
      if (cell->is_locally_owned() && cell->at_boundary())
      {
        local = 0.;
        for (const auto f : cell->face_indices())
        {
          if (!cell->face(f)->at_boundary() || at.count(cell->face(f)->boundary_id()) == 0)
            continue;
          values.reinit(cell, f);
          for (const auto *condition : at.at(cell->face(f)->boundary_id()))
            for (unsigned int q = 0; q < quadrature.size(); ++q)
            {
              const auto &x       = values.quadrature_point(q);
              const double a      = condition->is_robin ? condition->coefficient.value(x) : 0.;
              const double inflow = condition->is_robin ? a * condition->reference.value(x) : condition->flux.value(x);
              const auto counts   = [&](unsigned int i)
              { return condition->place.has(fe.system_to_component_index(i).first); };
              for (unsigned int i = 0; i < local.size(); ++i)
                if (counts(i))
                  local(i) += inflow * values.shape_value(i, q) * values.JxW(q);
              if (!condition->is_robin || !first)
                continue;
              auto &matrix = assembler_->robin()[cell->active_cell_index()];
              if (matrix.empty())
                matrix.reinit(local.size(), local.size());
              for (unsigned int i = 0; i < local.size(); ++i)
                for (unsigned int j = 0; j < local.size(); ++j)
                  if (counts(i) && fe.system_to_component_index(i).first == fe.system_to_component_index(j).first)
                    matrix(i, j) += a * values.shape_value(i, q) * values.shape_value(j, q) * values.JxW(q);
            }
        }
        cell->get_dof_indices(dofs);
        space_->hanging().distribute_local_to_global(local, dofs, load);
      }
  }

  template <int dim>
  void ForwardModel<dim>::add_wells(const Experiment &experiment, GhostedVector &load) const
  {
    if (experiment.wells.empty())
      return;
    const Table table      = Table::read(experiment.wells, space_->comm());
    const auto points      = points_of<dim>(table);
    const auto rates       = table.numbers("rate");
    const auto functionals = space_->point_values(points, components_of(table, physics_->state_names()));
    refuse_points_outside(table, points, functionals, *mesh_);
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    for (std::size_t w = 0; w < rates.size(); ++w)
      for (const auto &[dof, weight] : functionals[w])
        if (owned.is_element(dof))
          load(dof) += rates[w] * weight;
  }

  template <int dim>
  void ForwardModel<dim>::make_observation_matrices(const Measurements<dim> &measurements)
  {
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    observation_.assign(experiments_.size(), {});
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      std::vector<Eigen::Triplet<double>> entries;
      for (Index i = 0; i < measurements.size(); ++i)
        if (measurements.experiments()[i] == e)
          for (const auto &[dof, weight] : measurements.functionals()[i])
            if (owned.is_element(dof))
              entries.emplace_back(i, owned.index_within_set(dof), weight);
      observation_[e].resize(measurements.size(), space_->n_owned());
      observation_[e].setFromTriplets(entries.begin(), entries.end());
    }
  }

  template class ForwardModel<2>;
  template class ForwardModel<3>;
} // namespace varfield
