#ifndef varfield_observation_h
#define varfield_observation_h

#include <varfield/electrodes.h>
#include <varfield/registry.h>

namespace varfield
{
  /// The points in the columns x, y (and z in 3D), with an ending.
  template <int dim>
  std::vector<dealii::Point<dim>> points_of(const Table &table, const std::string &ending = "");
  /// The same, not a number where the table has no column x.
  template <int dim>
  std::vector<dealii::Point<dim>> points_if_given(const Table &table);

  /// What is measured: each row of a measurement file is a linear functional of a component of the state, or of a
  /// field.
  template <int dim>
  class Observation
  {
  public:
    virtual ~Observation() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// The columns that say where a row measures: two rows that agree in all of them (and experiment, component, time)
    /// are the same measurement. Columns that a table does not have do not count.
    virtual std::vector<std::string> place_columns() const { return {"x", "y", "z"}; }
    /// Where the rows measure, not a number where that is no place: for refinement of the mesh, for pictures and for
    /// tables of results. UserError.
    virtual std::vector<dealii::Point<dim>> locations(const Table &table, MPI_Comm) const
    {
      return points_of<dim>(table);
    }
    /// The functional of every row; UserError, on all ranks alike, for a row that cannot be measured on this mesh.
    /// `components`: of the function, of every row; `section` names the parameters. Collective.
    virtual std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                                const std::vector<unsigned int> &components,
                                                const std::string &section) const = 0;
    /// Whether the functionals are of the flux into the domain at the nodes, ForwardModel::boundary_flux().
    virtual bool is_flux() const { return false; }
    /// The voltages between electrodes are affine functions of the state: functionals, and constants in `constants`.
    virtual bool is_of_electrodes() const { return false; }
    virtual std::vector<Functional> voltages(const Table &, const Electrodes<dim> &,
                                             const std::vector<unsigned int> & /* experiments */,
                                             std::vector<double> & /* constants */) const
    {
      return {};
    }
  };

  /// The component in the column “component” of every row, by name or number; 0 without such a column.
  std::vector<unsigned int> components_of(const Table &table, const std::vector<std::string> &state_names);
  /// Throws UserError if a functional is empty, naming the row and the box of the mesh.
  template <int dim>
  void refuse_points_outside(const Table &table, const std::vector<dealii::Point<dim>> &points,
                             const std::vector<Functional> &functionals, const Mesh<dim> &mesh);
} // namespace varfield

#endif
