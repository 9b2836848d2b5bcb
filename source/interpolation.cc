#include <deal.II/base/mpi.h>
#include <deal.II/lac/dynamic_sparsity_pattern.h>

#include <set>
#include <varfield/interpolation.h>
#include <varfield/linear_solver.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    using Dofs = std::vector<types::global_dof_index>;

    /// The id of the ancestor at a level.
    CellId ancestor(const CellId &id, unsigned int level)
    {
      const auto children = id.get_child_indices();
      return CellId(id.get_coarse_cell_id(), level, children.data());
    }

    /// The degrees of freedom of the active cells of a mesh, by id.
    template <int dim>
    class CellDofs
    {
    public:
      CellDofs(const DoFHandler<dim> &handler)
      {
        Dofs dofs(handler.get_fe().dofs_per_cell);
        for (const auto &cell : handler.active_cell_iterators())
          if (!cell->is_artificial())
          {
            cell->get_dof_indices(dofs);
            dofs_[cell->id()] = dofs;
          }
      }

      /// The level of the active cell that a finer cell came from, and its degrees of freedom; nullptr where this rank
      /// does not see it.
      std::pair<unsigned int, const Dofs *> find(const CellId &id) const
      {
        for (unsigned int level = id.get_child_indices().size() + 1; level-- > 0;)
          if (const auto found = dofs_.find(ancestor(id, level)); found != dofs_.end())
            return {level, &found->second};
        return {0, nullptr};
      }

      /// Asks the ranks that have them for the ancestors of these cells. Collective.
      void fetch(const std::vector<CellId> &ids, const std::vector<Point<dim>> &centers, const Mesh<dim> &mesh)
      {
        const auto owners = mesh.owners_of(centers);
        std::map<unsigned int, std::vector<std::string>> questions;
        for (std::size_t i = 0; i < ids.size(); ++i)
          questions[owners[i]].push_back(ids[i].to_string());
        using Answer = std::pair<std::string, Dofs>;
        std::map<unsigned int, std::vector<Answer>> answers;
        for (const auto &[rank, asked] : Utilities::MPI::some_to_some(mesh.comm(), questions))
        {
          std::set<std::string> given;
          for (const auto &text : asked)
          {
            const CellId id(text);
            const auto [level, dofs] = find(id);
            AssertThrow(dofs != nullptr, ExcMessage("The meshes of a hierarchy are not nested."));
            const std::string name = ancestor(id, level).to_string();
            if (given.insert(name).second)
              answers[rank].emplace_back(name, *dofs);
          }
        }
        for (const auto &[rank, received] : Utilities::MPI::some_to_some(mesh.comm(), answers))
          for (const auto &[name, dofs] : received)
            dofs_[CellId(name)] = dofs;
      }

    private:
      std::map<CellId, Dofs> dofs_;
    };
  } // namespace

  template <int dim>
  Interpolation<dim>::Interpolation(const DoFHandler<dim> &coarse, const Mesh<dim> &coarse_mesh,
                                    const DoFHandler<dim> &fine)
  {
    const auto &fe = fine.get_fe();
    CellDofs<dim> coarse_dofs(coarse);
    std::vector<CellId> missing;
    std::vector<Point<dim>> centers;
    for (const auto &cell : fine.active_cell_iterators())
      if (cell->is_locally_owned() && coarse_dofs.find(cell->id()).second == nullptr)
      {
        missing.push_back(cell->id());
        centers.push_back(cell->center());
      }
    coarse_dofs.fetch(missing, centers, coarse_mesh);

    const auto &owned = fine.locally_owned_dofs();
    DynamicSparsityPattern pattern(fine.n_dofs(), coarse.n_dofs(), owned);
    std::vector<std::vector<std::pair<types::global_dof_index, double>>> rows(owned.n_elements());
    Dofs dofs(fe.dofs_per_cell);
    for (const auto &cell : fine.active_cell_iterators())
      if (cell->is_locally_owned())
      {
        cell->get_dof_indices(dofs);
        const CellId id          = cell->id();
        const auto children      = id.get_child_indices();
        const auto [level, from] = coarse_dofs.find(id);
        for (unsigned int i = 0; i < dofs.size(); ++i)
        {
          if (!owned.is_element(dofs[i]))
            continue;
          auto &row = rows[owned.index_within_set(dofs[i])];
          if (!row.empty())
            continue;
          Point<dim> point = fe.unit_support_point(i);
          for (unsigned int l = children.size(); l-- > level;)
            point = GeometryInfo<dim>::child_to_cell_coordinates(point, children[l]);
          const unsigned int component = fe.system_to_component_index(i).first;
          for (unsigned int j = 0; j < from->size(); ++j)
            if (const double weight = fe.shape_value_component(j, point, component); std::abs(weight) > 1e-14)
            {
              row.emplace_back((*from)[j], weight);
              pattern.add(dofs[i], (*from)[j]);
            }
        }
      }
    matrix_.reinit(owned, coarse.locally_owned_dofs(), pattern, coarse_mesh.comm());
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (const auto &[column, weight] : rows[i])
        matrix_.set(owned.nth_index_in_set(i), column, weight);
    matrix_.compress(VectorOperation::insert);
  }

  template <int dim>
  MultiVector Interpolation<dim>::apply(const MultiVector &coarse) const
  {
    return multiply(matrix_, coarse);
  }

  template <int dim>
  MultiVector Interpolation<dim>::apply_transpose(const MultiVector &fine) const
  {
    return multiply_transpose(matrix_, fine);
  }

  template class Interpolation<2>;
  template class Interpolation<3>;
} // namespace varfield
