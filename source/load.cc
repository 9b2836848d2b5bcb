#include <deal.II/base/quadrature_lib.h>
#include <deal.II/fe/fe_values.h>

#include <functional>
#include <map>
#include <varfield/collective.h>
#include <varfield/load.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// The parts of a load that belong to the cells, or to the boundary, cell by cell.
    template <int dim>
    class LoadSum
    {
    public:
      using Cell = typename DoFHandler<dim>::active_cell_iterator;

      /// `names`: the fields that occur, the same on all ranks. Collective.
      LoadSum(const StateSpace<dim> &space, const FieldSet<dim> &fields, const std::set<std::string> &names,
              double field_time)
          : space_(space),
            known_(space.dof_handler().locally_owned_dofs(), space.relevant(), space.comm()),
            local_known_(space.fe().dofs_per_cell),
            dofs_(space.fe().dofs_per_cell)
      {
        for (const std::string &name : names)
        {
          Part &part             = parts_[name];
          part.field             = fields.find(name);
          part.space             = &fields[part.field].space();
          const auto &handler    = part.space->dof_handler();
          const bool is_in_time  = part.space->is_in_time();
          const unsigned int n   = is_in_time ? 1 : handler.get_fe().dofs_per_cell;
          Couplings with_one_dof = {};
          part.dofs.resize(n);
          part.local.reinit(local_known_.size(), n);
          part.matrix = std::make_shared<SparseMatrix>();
          if (is_in_time)
          {
            part.dofs[0] = part.space->dof_of_zone(part.space->interval(field_time));
            for (const auto dof : space.dof_handler().locally_owned_dofs())
              with_one_dof.emplace_back(dof, part.dofs[0]);
          }
          reinit_matrix(*part.matrix, space.dof_handler(), space.hanging(), handler, none_, with_one_dof);
        }
      }

      void begin(const Cell &cell)
      {
        cell_        = cell;
        local_known_ = 0.;
        cell->get_dof_indices(dofs_);
        for (auto &[name, part] : parts_)
        {
          part.local = 0.;
          if (part.space->is_in_time())
            continue;
          const auto &handler = part.space->dof_handler();
          Cell(&handler.get_triangulation(), cell->level(), cell->index(), &handler)->get_dof_indices(part.dofs);
        }
      }

      /// At the quadrature point q of `values`: with the test functions that count.
      void add(const FieldExpression<dim> &density, double time, double factor, const FEValuesBase<dim> &values,
               unsigned int q, const std::function<bool(unsigned int)> &counts)
      {
        const auto &x           = values.quadrature_point(q);
        const auto coefficients = density.coefficients(x, time);
        std::vector<double> test(local_known_.size(), 0.);
        for (unsigned int i = 0; i < test.size(); ++i)
          if (counts(i))
          {
            test[i] = factor * values.shape_value(i, q) * values.JxW(q);
            local_known_(i) += coefficients[0] * test[i];
          }
        if (density.fields().empty())
          return;
        const Point<dim> p = values.get_mapping().transform_real_to_unit_cell(cell_, x);
        for (std::size_t f = 0; f < density.fields().size(); ++f)
        {
          Part &part     = parts_.at(density.fields()[f]);
          const auto &fe = part.space->dof_handler().get_fe();
          for (unsigned int j = 0; j < part.dofs.size(); ++j)
          {
            const double value = part.space->is_in_time() ? 1. : fe.shape_value(j, p);
            for (unsigned int i = 0; i < test.size(); ++i)
              part.local(i, j) += coefficients[f + 1] * test[i] * value;
          }
        }
      }

      void end()
      {
        space_.hanging().distribute_local_to_global(local_known_, dofs_, known_);
        for (auto &[name, part] : parts_)
          space_.hanging().distribute_local_to_global(part.local, dofs_, none_, part.dofs, *part.matrix);
      }

      /// Collective.
      Vector finish(bool on_boundary, std::vector<Load::OfField> &by_field)
      {
        known_.compress(VectorOperation::add);
        for (auto &[name, part] : parts_)
        {
          part.matrix->compress(VectorOperation::add);
          by_field.push_back({part.field, on_boundary, part.matrix});
        }
        return Eigen::Map<const Vector>(known_.begin(), space_.n_owned());
      }

    private:
      struct Part
      {
        unsigned int field;
        const FieldSpace<dim> *space;
        std::vector<types::global_dof_index> dofs;
        FullMatrix<double> local;
        std::shared_ptr<SparseMatrix> matrix;
      };

      const StateSpace<dim> &space_;
      GhostedVector known_;
      dealii::Vector<double> local_known_;
      std::vector<types::global_dof_index> dofs_;
      std::map<std::string, Part> parts_;
      const AffineConstraints<double> none_;
      Cell cell_;
    };

    template <int dim>
    void integrate_source(const StateSpace<dim> &space, const std::vector<FieldExpression<dim>> &source, double time,
                          LoadSum<dim> &sum)
    {
      const auto &fe = space.fe();
      const QGauss<dim> quadrature(fe.degree + 1);
      FEValues<dim> values(space.mesh().mapping(), fe, quadrature,
                           update_values | update_quadrature_points | update_JxW_values);
      for (const auto &cell : space.dof_handler().active_cell_iterators())
        if (cell->is_locally_owned())
        {
          values.reinit(cell);
          sum.begin(cell);
          for (unsigned int q = 0; q < quadrature.size(); ++q)
            for (unsigned int c = 0; c < source.size(); ++c)
              sum.add(source[c], time, 1., values, q,
                      [&](unsigned int i) { return fe.system_to_component_index(i).first == c; });
          sum.end();
        }
    }

    template <int dim>
    void integrate_fluxes(const StateSpace<dim> &space, const std::vector<FluxCondition<dim>> &fluxes, double time,
                          LoadSum<dim> &sum)
    {
      std::map<types::boundary_id, std::vector<const FluxCondition<dim> *>> at;
      for (const auto &condition : fluxes)
        for (const auto id : condition.place.ids)
          at[id].push_back(&condition);
      const auto &fe = space.fe();
      const QGauss<dim - 1> quadrature(fe.degree + 1);
      FEFaceValues<dim> values(space.mesh().mapping(), fe, quadrature,
                               update_values | update_quadrature_points | update_JxW_values);
      for (const auto &cell : space.dof_handler().active_cell_iterators())
        if (cell->is_locally_owned() && cell->at_boundary())
        {
          sum.begin(cell);
          for (const auto f : cell->face_indices())
          {
            if (!cell->face(f)->at_boundary() || at.count(cell->face(f)->boundary_id()) == 0)
              continue;
            values.reinit(cell, f);
            for (const auto *condition : at.at(cell->face(f)->boundary_id()))
              for (unsigned int q = 0; q < quadrature.size(); ++q)
                sum.add(condition->given(), time,
                        condition->is_robin ? condition->coefficient.value(values.quadrature_point(q)) : 1., values, q,
                        [&](unsigned int i) { return condition->place.has(fe.system_to_component_index(i).first); });
          }
          sum.end();
        }
    }
  } // namespace

  template <int dim>
  Load assemble_load(const StateSpace<dim> &space, const FieldSet<dim> &fields,
                     const std::vector<FieldExpression<dim>> &source, const std::vector<FluxCondition<dim>> &fluxes,
                     double time, double field_time)
  {
    std::set<std::string> in_volume, on_boundary;
    for (const auto &density : source)
      in_volume.insert(density.fields().begin(), density.fields().end());
    for (const auto &condition : fluxes)
      on_boundary.insert(condition.given().fields().begin(), condition.given().fields().end());
    LoadSum<dim> volume(space, fields, in_volume, field_time), boundary(space, fields, on_boundary, field_time);
    std::string message;
    try
    {
      if (!source.empty())
        integrate_source(space, source, time, volume);
      if (!fluxes.empty())
        integrate_fluxes(space, fluxes, time, boundary);
    }
    catch (const UserError &error)
    {
      message = error.what();
    }
    throw_together(message, space.comm());
    Load load;
    load.volume   = volume.finish(false, load.by_field);
    load.boundary = boundary.finish(true, load.by_field);
    return load;
  }

  template Load assemble_load(const StateSpace<2> &, const FieldSet<2> &, const std::vector<FieldExpression<2>> &,
                              const std::vector<FluxCondition<2>> &, double, double);
  template Load assemble_load(const StateSpace<3> &, const FieldSet<3> &, const std::vector<FieldExpression<3>> &,
                              const std::vector<FluxCondition<3>> &, double, double);
} // namespace varfield
