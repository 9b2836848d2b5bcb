#ifndef varfield_state_space_h
#define varfield_state_space_h

#include <varfield/functional.h>

namespace varfield
{
  /// The finite-element space of the state: continuous Q_p for each of its components, numbered independently of the
  /// partition.
  template <int dim>
  class StateSpace
  {
  public:
    /// Collective.
    StateSpace(const Mesh<dim> &mesh, unsigned int degree, unsigned int n_components);

    const Mesh<dim> &mesh() const { return mesh_; }
    const dealii::DoFHandler<dim> &dof_handler() const { return dof_handler_; }
    const dealii::FiniteElement<dim> &fe() const { return dof_handler_.get_fe(); }
    const dealii::AffineConstraints<double> &hanging() const { return hanging_; }
    const dealii::IndexSet &relevant() const { return relevant_; }
    unsigned int n_owned() const { return dof_handler_.n_locally_owned_dofs(); }
    unsigned int n_components() const { return fe().n_components(); }
    MPI_Comm comm() const { return mesh_.comm(); }
    /// Of the owned degrees of freedom. Collective.
    Layout layout() const { return layout_of(dof_handler_); }

    /// Sets the hanging nodes of every column from their masters. Collective.
    void distribute(MultiVector &states) const;
    GhostedVector ghosted(const Vector &owned) const;
    FunctionalSpace<dim> functional_space() const { return {dof_handler_, mesh_, hanging_}; }
    /// point_functionals() of the state.
    std::vector<Functional> point_values(const std::vector<dealii::Point<dim>> &points,
                                         const std::vector<unsigned int> &components) const;

  private:
    const Mesh<dim> &mesh_;
    dealii::DoFHandler<dim> dof_handler_;
    dealii::IndexSet relevant_;
    dealii::AffineConstraints<double> hanging_;
  };
} // namespace varfield

#endif
