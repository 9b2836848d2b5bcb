#include <varfield/observation.h>

namespace varfield
{
  namespace
  {
    /// n·∇u at a point, n as it is in the columns.
    template <int dim>
    class DerivativeObservation : public Observation<dim>
    {
    public:
      std::vector<std::string> place_columns() const override { return {"x", "y", "z", "n_x", "n_y", "n_z"}; }

      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &section) const override
      {
        if (space.handler.get_fe().dofs_per_vertex == 0)
          throw UserError(section + ": a field on zones has no derivatives.");
        const auto points = points_of<dim>(table);
        std::vector<dealii::Tensor<1, dim>> directions(points.size());
        for (unsigned int d = 0; d < dim; ++d)
        {
          const auto column = table.numbers(std::string("n_") + "xyz"[d]);
          for (std::size_t i = 0; i < column.size(); ++i)
            directions[i][d] = column[i];
        }
        auto rows = derivative_functionals(space, points, directions, components);
        refuse_points_outside(table, points, rows, space.mesh);
        return rows;
      }
    };

    const char *const derivatives_text =
        "Derivatives n·∇u at the points x, y[, z], with n in the columns n_x, n_y[, n_z]: a gradient, "
        "a strain; of length k, a flux k∂u/∂n.";
    const Registration<Observation<2>, DerivativeObservation<2>> derivatives_2d("derivatives", derivatives_text);
    const Registration<Observation<3>, DerivativeObservation<3>> derivatives_3d("derivatives", derivatives_text);
  } // namespace
} // namespace varfield
