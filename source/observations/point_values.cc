#include <varfield/observation.h>

namespace varfield
{
  namespace
  {
    /// The value of a component of the state at a point.
    template <int dim>
    class PointObservation : public Observation<dim>
    {
    public:
      std::vector<dealii::Point<dim>> locations(const Table &table) const override { return points_of<dim>(table); }

      std::vector<Functional> functionals(const Table &table, const StateSpace<dim> &space,
                                          const std::vector<std::string> &state_names) const override
      {
        const auto points = points_of<dim>(table);
        auto rows         = space.point_values(points, components_of(table, state_names));
        refuse_points_outside(table, points, rows, space.mesh());
        return rows;
      }
    };

    const char *const text = "The state at the points x, y[, z]; column “component” where it has several.";
    const Registration<Observation<2>, PointObservation<2>> in_2d("point values", text);
    const Registration<Observation<3>, PointObservation<3>> in_3d("point values", text);
  } // namespace
} // namespace varfield
