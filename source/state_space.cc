#include <deal.II/dofs/dof_renumbering.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_q.h>
#include <deal.II/fe/fe_system.h>
#include <deal.II/numerics/rtree.h>

#include <map>
#include <varfield/state_space.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  StateSpace<dim>::StateSpace(const Mesh<dim> &mesh, unsigned int degree, unsigned int n_components)
      : mesh_(mesh), dof_handler_(mesh.triangulation())
  {
    dof_handler_.distribute_dofs(FESystem<dim>(FE_Q<dim>(degree), n_components));
    DoFRenumbering::hierarchical(dof_handler_);
    relevant_ = DoFTools::extract_locally_relevant_dofs(dof_handler_);
    hanging_.reinit(relevant_);
    DoFTools::make_hanging_node_constraints(dof_handler_, hanging_);
    hanging_.close();
  }

  template <int dim>
  void StateSpace<dim>::distribute(MultiVector &states) const
  {
    if (!mesh_.triangulation().has_hanging_nodes())
      return;
    GhostedVector column(dof_handler_.locally_owned_dofs(), relevant_, comm());
    for (Index j = 0; j < states.cols(); ++j)
    {
      std::copy(states.col(j).begin(), states.col(j).end(), column.begin());
      hanging_.distribute(column);
      std::copy(column.begin(), column.begin() + states.rows(), states.col(j).begin());
      column.zero_out_ghost_values();
    }
  }

  template <int dim>
  GhostedVector StateSpace<dim>::ghosted(const Vector &owned) const
  {
    GhostedVector vector(dof_handler_.locally_owned_dofs(), relevant_, comm());
    std::copy(owned.begin(), owned.end(), vector.begin());
    vector.update_ghost_values();
    return vector;
  }

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

    /// Gathers the pieces of all ranks; each functional is complete on one of them.
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
      for (std::size_t rank = 0; rank < all_rows.size(); ++rank)
        for (std::size_t i = 0; i < all.size(); ++i)
          for (std::size_t k = 0; k < all_rows[rank][i].size(); ++k)
            all[i].emplace_back(all_rows[rank][i][k], all_weights[rank][i][k]);
      return all;
    }
  } // namespace

  template <int dim>
  std::vector<Functional>
  point_functionals(const DoFHandler<dim> &handler, const Mesh<dim> &mesh, const AffineConstraints<double> &constraints,
                    const std::vector<Point<dim>> &points, const std::vector<unsigned int> &components)
  {
    const auto &fe = handler.get_fe();
    const CellFinder<dim> finder(handler, mesh.mapping());
    std::vector<typename CellFinder<dim>::Cell> cells(points.size());
    std::vector<Point<dim>> unit_points(points.size());
    // A point on a face shared by two ranks goes to the smallest cell id of all, so that the answer does not depend on
    // the partition: ids are compared as text over the ranks that found it.
    std::vector<std::string> ids(points.size());
    for (std::size_t i = 0; i < points.size(); ++i)
      if (finder.find(points[i], cells[i], unit_points[i]))
        ids[i] = cells[i]->id().to_string();
    const auto all_ids         = Utilities::MPI::all_gather(mesh.comm(), ids);
    const unsigned int my_rank = Utilities::MPI::this_mpi_process(mesh.comm());

    std::vector<Functional> local(points.size());
    std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
    for (std::size_t i = 0; i < points.size(); ++i)
    {
      unsigned int owner = numbers::invalid_unsigned_int;
      for (unsigned int rank = 0; rank < all_ids.size(); ++rank)
        if (!all_ids[rank][i].empty() &&
            (owner == numbers::invalid_unsigned_int || CellId(all_ids[rank][i]) < CellId(all_ids[owner][i])))
          owner = rank;
      if (owner != my_rank)
        continue;
      cells[i]->get_dof_indices(dofs);
      std::map<types::global_dof_index, double> row;
      for (unsigned int k = 0; k < dofs.size(); ++k)
        if (fe.system_to_component_index(k).first == components[i])
        {
          const double weight = fe.shape_value(k, unit_points[i]);
          if (const auto *entries = constraints.get_constraint_entries(dofs[k]))
            for (const auto &[master, factor] : *entries)
              row[master] += factor * weight;
          else
            row[dofs[k]] += weight;
        }
      local[i].assign(row.begin(), row.end());
    }
    return share(local, mesh.comm());
  }

  template <int dim>
  std::vector<Functional> StateSpace<dim>::point_values(const std::vector<Point<dim>> &points,
                                                        const std::vector<unsigned int> &components) const
  {
    return point_functionals(dof_handler_, mesh_, hanging_, points, components);
  }

  template std::vector<Functional> point_functionals(const DoFHandler<2> &, const Mesh<2> &,
                                                     const AffineConstraints<double> &, const std::vector<Point<2>> &,
                                                     const std::vector<unsigned int> &);
  template std::vector<Functional> point_functionals(const DoFHandler<3> &, const Mesh<3> &,
                                                     const AffineConstraints<double> &, const std::vector<Point<3>> &,
                                                     const std::vector<unsigned int> &);
  template class StateSpace<2>;
  template class StateSpace<3>;
} // namespace varfield
