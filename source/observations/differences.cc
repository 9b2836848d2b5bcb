#include <varfield/observation.h>

namespace varfield
{
  namespace
  {
    /// u(x) − u(x₀).
    template <int dim>
    class DifferenceObservation : public Observation<dim>
    {
    public:
      std::vector<std::string> place_columns() const override { return {"x", "y", "z", "x_ref", "y_ref", "z_ref"}; }

      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &) const override
      {
        const auto points = points_of<dim>(table), references = points_of<dim>(table, "_ref");
        const auto here  = point_functionals(space, points, components),
                   there = point_functionals(space, references, components);
        refuse_points_outside(table, points, here, space.mesh);
        refuse_points_outside(table, references, there, space.mesh);
        std::vector<Functional> rows;
        for (std::size_t i = 0; i < here.size(); ++i)
          rows.push_back(combination({{1., &here[i]}, {-1., &there[i]}}));
        return rows;
      }
    };

    const char *const differences_text =
        "Differences of the values at x, y[, z] and at x_ref, y_ref[, z_ref]: potentials between electrodes, heads "
        "between wells.";
    const Registration<Observation<2>, DifferenceObservation<2>> differences_2d("differences", differences_text);
    const Registration<Observation<3>, DifferenceObservation<3>> differences_3d("differences", differences_text);
  } // namespace
} // namespace varfield
