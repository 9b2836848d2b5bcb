#ifndef varfield_field_space_h
#define varfield_field_space_h

#include <deal.II/dofs/dof_handler.h>
#include <deal.II/lac/affine_constraints.h>
#include <deal.II/lac/la_parallel_vector.h>

#include <varfield/mesh.h>

namespace varfield
{
  using GhostedVector = dealii::LinearAlgebra::distributed::Vector<double>;

  /// Of the owned degrees of freedom, which are numbered independently of the partition. Collective.
  template <int dim>
  Layout layout_of(const dealii::DoFHandler<dim> &handler);

  /// The finite-element space of an unknown field and the coefficients that describe a member of it.
  ///
  /// Nodal: continuous Q_p; coefficients are the values at the unconstrained nodes (no hanging node, and no boundary
  /// node where the field is held at zero there). Zonal: one value for each zone (a set of cells), a piecewise constant
  /// field; the first rank owns all coefficients. In time: one value for each interval; they are kept like those of
  /// zones, by cells that take turns. Either way field = E · coefficients with a matrix E that expand() and
  /// restrict() apply. Degrees of freedom are numbered independently of the partition.
  template <int dim>
  class FieldSpace
  {
  public:
    /// Continuous elements of the given degree. Collective.
    static std::unique_ptr<FieldSpace> nodal(const Mesh<dim> &mesh, unsigned int degree, bool zero_on_boundary);
    /// One value for every material id in use, ascending. Collective.
    static std::unique_ptr<FieldSpace> by_material(const Mesh<dim> &mesh);
    /// One value for every block of a structured grid over the mesh's bounding box, x fastest. Collective.
    static std::unique_ptr<FieldSpace> by_block(const Mesh<dim> &mesh, const std::vector<unsigned int> &blocks);
    /// One value for the whole mesh.
    static std::unique_ptr<FieldSpace> global(const Mesh<dim> &mesh);
    /// One value for every interval between two of these times, ascending. Collective.
    static std::unique_ptr<FieldSpace> by_time(const Mesh<dim> &mesh, const std::vector<double> &times);

    const Mesh<dim> &mesh() const { return mesh_; }
    const dealii::DoFHandler<dim> &dof_handler() const { return dof_handler_; }
    /// Hanging nodes, and zero on the boundary where asked.
    const dealii::AffineConstraints<double> &constraints() const { return constraints_; }
    const dealii::IndexSet &relevant() const { return relevant_; }
    bool is_nodal() const { return zone_centres_.empty(); }
    /// Ends of the intervals of a field in time; empty for all others.
    const std::vector<double> &times() const { return times_; }
    bool is_in_time() const { return !times_.empty(); }
    /// The interval of a field in time that contains `time`; the first or last one outside of all.
    unsigned int interval(double time) const;
    /// A degree of freedom that has the value of a zone, the same on all ranks.
    dealii::types::global_dof_index dof_of_zone(unsigned int zone) const { return dof_of_zone_[zone]; }
    /// Layout of the coefficients.
    const Layout &layout() const { return layout_; }
    unsigned int n_owned() const { return dof_handler_.n_locally_owned_dofs(); }
    /// Layout of the degrees of freedom. Collective.
    Layout dof_layout() const { return layout_of(dof_handler_); }

    /// Owned degrees of freedom, hanging nodes included, from coefficients. Collective.
    MultiVector expand(const MultiVector &coefficients) const;
    /// The transpose of expand(), for dual vectors. Collective.
    MultiVector restrict(const MultiVector &dofs) const;
    /// Coefficients to owned degrees of freedom with zero at constrained ones, and back: what linear systems of
    /// condensed matrices on a nodal space take. Not collective.
    MultiVector embed(const MultiVector &coefficients) const;
    MultiVector extract(const MultiVector &dofs) const;

    /// Support points of the owned degrees of freedom, in their order (cell centres of a zonal field; of a field in
    /// time the first coordinate is the middle of the interval).
    const std::vector<dealii::Point<dim>> &points() const { return points_; }
    /// Centroids of the zones; of a field in time the first coordinate is the middle of the interval.
    const std::vector<dealii::Point<dim>> &zone_centres() const { return zone_centres_; }
    /// The owned degrees of freedom of a field with ghosts, ready to be read on every local cell. Collective.
    GhostedVector ghosted(const Vector &owned) const;

  private:
    FieldSpace(const Mesh<dim> &mesh, const dealii::FiniteElement<dim> &fe, bool zero_on_boundary);
    void
    make_zones(const std::function<unsigned int(const typename dealii::DoFHandler<dim>::active_cell_iterator &)> &zone,
               unsigned int n_zones, const std::string &what);

    const Mesh<dim> &mesh_;
    dealii::DoFHandler<dim> dof_handler_;
    dealii::IndexSet relevant_;
    dealii::AffineConstraints<double> constraints_;
    std::vector<unsigned int> free_; ///< local indices of the unconstrained owned degrees of freedom
    std::vector<unsigned int> zone_; ///< zone of every owned degree of freedom
    std::vector<dealii::Point<dim>> points_, zone_centres_;
    std::vector<dealii::types::global_dof_index> dof_of_zone_;
    std::vector<double> times_;
    Layout layout_;
  };
} // namespace varfield

#endif
