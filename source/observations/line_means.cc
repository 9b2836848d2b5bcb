#include <cmath>
#include <varfield/observation.h>

namespace varfield
{
  namespace
  {
    /// The mean, or the integral, over the straight line between two points, by the midpoint rule.
    template <int dim>
    class LineObservation : public Observation<dim>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Integral", integral_, "Whether the integral is meant rather than the mean.");
        prm.add_parameter("Points", n_points_, "of the midpoint rule on every line.",
                          dealii::Patterns::Integer(1, 100000));
      }
      std::vector<std::string> place_columns() const override { return {"x", "y", "z", "x_end", "y_end", "z_end"}; }

      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &) const override
      {
        const auto begins = points_of<dim>(table), ends = points_of<dim>(table, "_end");
        std::vector<dealii::Point<dim>> points;
        std::vector<unsigned int> component;
        for (std::size_t i = 0; i < begins.size(); ++i)
          for (unsigned int k = 0; k < n_points_; ++k)
          {
            points.push_back(begins[i] + (k + 0.5) / n_points_ * (ends[i] - begins[i]));
            component.push_back(components[i]);
          }
        const auto values = point_functionals(space, points, component);
        std::vector<Functional> rows;
        for (std::size_t i = 0; i < begins.size(); ++i)
        {
          const double factor = (integral_ ? begins[i].distance(ends[i]) : 1.) / n_points_;
          std::vector<std::pair<double, const Functional *>> parts;
          for (unsigned int k = 0; k < n_points_; ++k)
          {
            const Functional &value = values[i * n_points_ + k];
            if (value.empty())
              throw UserError(table.where(static_cast<unsigned int>(i)) + ": the line leaves the mesh.");
            parts.emplace_back(factor, &value);
          }
          rows.push_back(combination(parts));
        }
        return rows;
      }

    private:
      bool integral_         = false;
      unsigned int n_points_ = 200;
    };

    const char *const line_means_text =
        "Means or integrals along the straight lines from x, y[, z] to x_end, y_end[, z_end].";
    const Registration<Observation<2>, LineObservation<2>> lines_2d("line means", line_means_text);
    const Registration<Observation<3>, LineObservation<3>> lines_3d("line means", line_means_text);
  } // namespace
} // namespace varfield
