#include <deal.II/dofs/dof_renumbering.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_q.h>
#include <deal.II/fe/fe_system.h>

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

  template <int dim>
  std::vector<Functional> StateSpace<dim>::point_values(const std::vector<Point<dim>> &points,
                                                        const std::vector<unsigned int> &components) const
  {
    return point_functionals(functional_space(), points, components);
  }

  template class StateSpace<2>;
  template class StateSpace<3>;
} // namespace varfield
