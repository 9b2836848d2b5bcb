#ifndef varfield_observation_h
#define varfield_observation_h

#include <varfield/registry.h>
#include <varfield/state_space.h>
#include <varfield/table.h>

namespace varfield
{
  /// What is measured: each row of a measurement file is a linear functional of the state.
  template <int dim>
  class Observation
  {
  public:
    virtual ~Observation() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// Where the rows measure: for refinement of the mesh, for pictures and for tables of results. UserError.
    virtual std::vector<dealii::Point<dim>> locations(const Table &table) const = 0;
    /// The functional of every row; UserError, on all ranks alike, for a row that cannot be measured on this mesh.
    /// `state_names` are the names of the state's components. Collective.
    virtual std::vector<Functional> functionals(const Table &table, const StateSpace<dim> &space,
                                                const std::vector<std::string> &state_names) const = 0;
  };

  /// The points in the columns x, y (and z in 3D).
  template <int dim>
  std::vector<dealii::Point<dim>> points_of(const Table &table);
  /// The component in the column “component” of every row, by name or number; 0 without such a column.
  std::vector<unsigned int> components_of(const Table &table, const std::vector<std::string> &state_names);
  /// Throws UserError if a functional is empty, naming the row and the box of the mesh.
  template <int dim>
  void refuse_points_outside(const Table &table, const std::vector<dealii::Point<dim>> &points,
                             const std::vector<Functional> &functionals, const Mesh<dim> &mesh);
} // namespace varfield

#endif
