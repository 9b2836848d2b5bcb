#include <varfield/observation.h>

namespace varfield
{
  namespace
  {
    template <int dim>
    class PointObservation : public Observation<dim>
    {
    public:
      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &) const override
      {
        const auto points = points_of<dim>(table);
        auto rows         = point_functionals(space, points, components);
        refuse_points_outside(table, points, rows, space.mesh);
        return rows;
      }
    };

    const char *const point_values_text =
        "Values at the points x, y[, z]; column “component” where the state has several.";
    const Registration<Observation<2>, PointObservation<2>> point_values_2d("point values", point_values_text);
    const Registration<Observation<3>, PointObservation<3>> point_values_3d("point values", point_values_text);
  } // namespace
} // namespace varfield
