#include <deal.II/base/quadrature_lib.h>
#include <deal.II/fe/fe_values.h>
#include <deal.II/numerics/rtree.h>

#include <map>
#include <varfield/functional.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// The owned cell that contains a point, and where in it; the cell with the smallest id where several do.
    template <int dim>
    class CellFinder
    {
    public:
      using Cell = typename DoFHandler<dim>::active_cell_iterator;

      CellFinder(const DoFHandler<dim> &handler, const Mapping<dim> &mapping) : mapping_(mapping)
      {
        std::vector<std::pair<BoundingBox<dim>, Cell>> boxes;
        for (const auto &cell : handler.active_cell_iterators())
          if (cell->is_locally_owned())
            boxes.emplace_back(mapping.get_bounding_box(cell), cell);
        tree_ = pack_rtree(boxes);
      }

      bool find(const Point<dim> &point, Cell &found, Point<dim> &unit_point) const
      {
        // Tolerances are relative to the coordinates, which may be of order 1e6.
        BoundingBox<dim> around({point, point});
        around.extend(1e-9 * (1. + point.norm()));
        std::vector<std::pair<BoundingBox<dim>, Cell>> candidates;
        tree_.query(boost::geometry::index::intersects(around), std::back_inserter(candidates));
        bool any = false;
        for (const auto &[box, cell] : candidates)
        {
          Point<dim> q;
          if (!invert(cell, point, q) || !GeometryInfo<dim>::is_inside_unit_cell(q, 1e-8))
            continue;
          if (!any || cell->id() < found->id())
          {
            found      = cell;
            unit_point = GeometryInfo<dim>::project_to_unit_cell(q);
          }
          any = true;
        }
        return any;
      }

    private:
      bool invert(const Cell &cell, const Point<dim> &point, Point<dim> &q) const
      {
        try
        {
          q = mapping_.transform_real_to_unit_cell(cell, point);
        }
        catch (const typename Mapping<dim>::ExcTransformationFailed &)
        {
          return false;
        }
        return true;
      }

      const Mapping<dim> &mapping_;
      RTree<std::pair<BoundingBox<dim>, Cell>> tree_;
    };

    /// Gathers the pieces of all ranks; entries of the same degree of freedom are added in the order of the ranks.
    std::vector<Functional> share(const std::vector<Functional> &local, MPI_Comm comm)
    {
      // Rows and weights on their own: pairs have bytes between them that no one has set.
      std::vector<std::vector<types::global_dof_index>> rows(local.size());
      std::vector<std::vector<double>> weights(local.size());
      for (std::size_t i = 0; i < local.size(); ++i)
        for (const auto &[row, weight] : local[i])
        {
          rows[i].push_back(row);
          weights[i].push_back(weight);
        }
      const auto all_rows    = Utilities::MPI::all_gather(comm, rows);
      const auto all_weights = Utilities::MPI::all_gather(comm, weights);
      std::vector<Functional> all(local.size());
      for (std::size_t i = 0; i < all.size(); ++i)
      {
        std::map<types::global_dof_index, double> sum;
        for (std::size_t rank = 0; rank < all_rows.size(); ++rank)
          for (std::size_t k = 0; k < all_rows[rank][i].size(); ++k)
            sum[all_rows[rank][i][k]] += all_weights[rank][i][k];
        all[i].assign(sum.begin(), sum.end());
      }
      return all;
    }

    /// Adds a weight of a degree of freedom, or of what it is constrained to.
    void add_resolved(const AffineConstraints<double> &constraints, types::global_dof_index dof, double weight,
                      std::map<types::global_dof_index, double> &row)
    {
      if (const auto *entries = constraints.get_constraint_entries(dof))
        for (const auto &[master, factor] : *entries)
          row[master] += factor * weight;
      else
        row[dof] += weight;
    }

    /// Calls action(i, cell, point in the unit cell) for the points whose cells this rank owns.
    template <int dim, class Action>
    void for_points(const FunctionalSpace<dim> &space, const std::vector<Point<dim>> &points, const Action &action)
    {
      const CellFinder<dim> finder(space.handler, space.mesh.mapping());
      std::vector<typename CellFinder<dim>::Cell> cells(points.size());
      std::vector<Point<dim>> unit_points(points.size());
      // A point on a face shared by two ranks goes to the smallest cell id of all, so that the answer does not depend
      // on the partition: ids are compared over the ranks that found it.
      std::vector<std::string> ids(points.size());
      for (std::size_t i = 0; i < points.size(); ++i)
        if (finder.find(points[i], cells[i], unit_points[i]))
          ids[i] = cells[i]->id().to_string();
      const auto all_ids         = Utilities::MPI::all_gather(space.mesh.comm(), ids);
      const unsigned int my_rank = Utilities::MPI::this_mpi_process(space.mesh.comm());
      for (std::size_t i = 0; i < points.size(); ++i)
      {
        unsigned int owner = numbers::invalid_unsigned_int;
        for (unsigned int rank = 0; rank < all_ids.size(); ++rank)
          if (!all_ids[rank][i].empty() &&
              (owner == numbers::invalid_unsigned_int || CellId(all_ids[rank][i]) < CellId(all_ids[owner][i])))
            owner = rank;
        if (owner == my_rank)
          action(i, cells[i], unit_points[i]);
      }
    }
  } // namespace

  template <int dim>
  std::vector<Functional> point_functionals(const FunctionalSpace<dim> &space, const std::vector<Point<dim>> &points,
                                            const std::vector<unsigned int> &components)
  {
    const auto &fe = space.handler.get_fe();
    std::vector<Functional> local(points.size());
    std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
    for_points(space, points,
               [&](std::size_t i, const auto &cell, const Point<dim> &unit_point)
               {
                 cell->get_dof_indices(dofs);
                 std::map<types::global_dof_index, double> row;
                 for (unsigned int k = 0; k < dofs.size(); ++k)
                   if (fe.system_to_component_index(k).first == components[i])
                     add_resolved(space.constraints, dofs[k], fe.shape_value(k, unit_point), row);
                 local[i].assign(row.begin(), row.end());
               });
    return share(local, space.mesh.comm());
  }

  template <int dim>
  std::vector<Functional>
  derivative_functionals(const FunctionalSpace<dim> &space, const std::vector<Point<dim>> &points,
                         const std::vector<Tensor<1, dim>> &directions, const std::vector<unsigned int> &components)
  {
    const auto &fe = space.handler.get_fe();
    std::vector<Functional> local(points.size());
    std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
    for_points(space, points,
               [&](std::size_t i, const auto &cell, const Point<dim> &unit_point)
               {
                 FEValues<dim> values(space.mesh.mapping(), fe, Quadrature<dim>(unit_point), update_gradients);
                 values.reinit(typename Triangulation<dim>::cell_iterator(cell));
                 cell->get_dof_indices(dofs);
                 std::map<types::global_dof_index, double> row;
                 for (unsigned int k = 0; k < dofs.size(); ++k)
                   if (fe.system_to_component_index(k).first == components[i])
                     add_resolved(space.constraints, dofs[k], directions[i] * values.shape_grad(k, 0), row);
                 local[i].assign(row.begin(), row.end());
               });
    return share(local, space.mesh.comm());
  }

  template <int dim>
  std::vector<Functional> mean_functionals(const FunctionalSpace<dim> &space, const std::vector<Region<dim>> &regions,
                                           const std::vector<unsigned int> &components, unsigned int n)
  {
    const auto &fe = space.handler.get_fe();
    std::vector<std::pair<BoundingBox<dim>, std::size_t>> boxes;
    for (std::size_t i = 0; i < regions.size(); ++i)
      boxes.emplace_back(regions[i].box, i);
    const auto tree = pack_rtree(boxes);
    const QIterated<dim> quadrature(QGauss<1>(2), n);
    FEValues<dim> values(space.mesh.mapping(), fe, quadrature,
                         update_values | update_quadrature_points | update_JxW_values);
    std::vector<std::map<types::global_dof_index, double>> rows(regions.size());
    std::vector<double> measures(regions.size(), 0.);
    std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
    for (const auto &cell : space.handler.active_cell_iterators())
    {
      if (!cell->is_locally_owned())
        continue;
      std::vector<std::pair<BoundingBox<dim>, std::size_t>> near;
      tree.query(boost::geometry::index::intersects(space.mesh.mapping().get_bounding_box(cell)),
                 std::back_inserter(near));
      if (near.empty())
        continue;
      values.reinit(cell);
      cell->get_dof_indices(dofs);
      for (const auto &[box, i] : near)
        for (unsigned int q = 0; q < quadrature.size(); ++q)
        {
          const double weight = regions[i].weight(values.quadrature_point(q), cell->material_id()) * values.JxW(q);
          if (!(weight > 0.))
            continue;
          measures[i] += weight;
          for (unsigned int k = 0; k < dofs.size(); ++k)
            if (fe.system_to_component_index(k).first == components[i])
              add_resolved(space.constraints, dofs[k], weight * values.shape_value(k, q), rows[i]);
        }
    }
    Utilities::MPI::sum(measures, space.mesh.comm(), measures);
    std::vector<Functional> local(regions.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (const auto &[dof, weight] : rows[i])
        local[i].emplace_back(dof, weight / measures[i]);
    return share(local, space.mesh.comm());
  }

  template <int dim>
  std::pair<std::vector<Functional>, std::vector<double>>
  boundary_functionals(const FunctionalSpace<dim> &space, const std::vector<std::vector<types::boundary_id>> &ids,
                       const std::vector<unsigned int> &components)
  {
    const auto &fe = space.handler.get_fe();
    std::map<types::boundary_id, std::vector<std::size_t>> rows_at;
    for (std::size_t i = 0; i < ids.size(); ++i)
      for (const auto id : ids[i])
        rows_at[id].push_back(i);
    FEFaceValues<dim> values(space.mesh.mapping(), fe, QGauss<dim - 1>(fe.degree + 1),
                             update_values | update_JxW_values);
    std::vector<std::map<types::global_dof_index, double>> rows(ids.size());
    std::vector<double> areas(ids.size(), 0.);
    std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
    for (const auto &cell : space.handler.active_cell_iterators())
      if (cell->is_locally_owned() && cell->at_boundary())
        for (const auto f : cell->face_indices())
        {
          if (!cell->face(f)->at_boundary())
            continue;
          const auto here = rows_at.find(cell->face(f)->boundary_id());
          if (here == rows_at.end())
            continue;
          values.reinit(cell, f);
          cell->get_dof_indices(dofs);
          for (const std::size_t i : here->second)
            for (unsigned int q = 0; q < values.n_quadrature_points; ++q)
            {
              areas[i] += values.JxW(q);
              for (unsigned int k = 0; k < dofs.size(); ++k)
                if (fe.system_to_component_index(k).first == components[i] && fe.has_support_on_face(k, f))
                  add_resolved(space.constraints, dofs[k], values.shape_value(k, q) * values.JxW(q), rows[i]);
            }
        }
    Utilities::MPI::sum(areas, space.mesh.comm(), areas);
    std::vector<Functional> local(ids.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      local[i].assign(rows[i].begin(), rows[i].end());
    return {share(local, space.mesh.comm()), areas};
  }

  Functional combination(const std::vector<std::pair<double, const Functional *>> &parts)
  {
    std::map<types::global_dof_index, double> sum;
    for (const auto &[factor, functional] : parts)
      for (const auto &[dof, weight] : *functional)
        sum[dof] += factor * weight;
    return {sum.begin(), sum.end()};
  }

  template std::vector<Functional> point_functionals(const FunctionalSpace<2> &, const std::vector<Point<2>> &,
                                                     const std::vector<unsigned int> &);
  template std::vector<Functional> point_functionals(const FunctionalSpace<3> &, const std::vector<Point<3>> &,
                                                     const std::vector<unsigned int> &);
  template std::vector<Functional> derivative_functionals(const FunctionalSpace<2> &, const std::vector<Point<2>> &,
                                                          const std::vector<Tensor<1, 2>> &,
                                                          const std::vector<unsigned int> &);
  template std::vector<Functional> derivative_functionals(const FunctionalSpace<3> &, const std::vector<Point<3>> &,
                                                          const std::vector<Tensor<1, 3>> &,
                                                          const std::vector<unsigned int> &);
  template std::vector<Functional> mean_functionals(const FunctionalSpace<2> &, const std::vector<Region<2>> &,
                                                    const std::vector<unsigned int> &, unsigned int);
  template std::vector<Functional> mean_functionals(const FunctionalSpace<3> &, const std::vector<Region<3>> &,
                                                    const std::vector<unsigned int> &, unsigned int);
  template std::pair<std::vector<Functional>, std::vector<double>>
  boundary_functionals(const FunctionalSpace<2> &, const std::vector<std::vector<types::boundary_id>> &,
                       const std::vector<unsigned int> &);
  template std::pair<std::vector<Functional>, std::vector<double>>
  boundary_functionals(const FunctionalSpace<3> &, const std::vector<std::vector<types::boundary_id>> &,
                       const std::vector<unsigned int> &);
} // namespace varfield
