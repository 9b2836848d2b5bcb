#include <deal.II/fe/fe_values.h>

#include <varfield/indicator.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// The variance that the data take away in a cell, ∫ (σ₀² − σ²) dx = Σᵢ sᵢ ∫ uᵢ² dx with S = C − U diag(s) Uᵀ, as a
    /// share of that on the whole mesh, summed over the fields on the nodes.
    template <int dim>
    class PosteriorInformation : public Indicator<dim>
    {
    public:
      bool needs_posterior() const override { return true; }

      Vector evaluate(const ForwardModel<dim> &, const FieldSet<dim> &fields, const Vector &,
                      const LowRankCorrection *correction) const override
      {
        Vector result;
        for (unsigned int f = 0; f < fields.size(); ++f)
          if (fields[f].space().is_nodal())
          {
            const MultiVector modes = fields[f].expand(fields.part(correction->modes, f));
            const Vector removed    = (modes.cwiseAbs2() * correction->shrinkage).cwiseMax(0.);
            const Vector share      = integrals(fields[f].space(), removed);
            result                  = result.size() == 0 ? share : Vector(result + share);
          }
        if (result.size() == 0)
          throw UserError(
              "Mesh/Adaptive refinement/Indicator: “posterior information” needs a field on the nodes of the "
              "mesh; all fields of this case are on zones. Use “state error”.");
        return result;
      }

    private:
      /// Over every owned cell, divided by the sum of all.
      static Vector integrals(const FieldSpace<dim> &space, const Vector &values)
      {
        const auto &handler = space.dof_handler();
        const QGauss<dim> quadrature(handler.get_fe().degree + 1);
        FEValues<dim> fe_values(space.mesh().mapping(), handler.get_fe(), quadrature,
                                update_values | update_JxW_values);
        const GhostedVector ghosted = space.ghosted(values);
        std::vector<double> at_points(quadrature.size()), result;
        for (const auto &cell : handler.active_cell_iterators())
          if (cell->is_locally_owned())
          {
            fe_values.reinit(cell);
            fe_values.get_function_values(ghosted, at_points);
            double integral = 0.;
            for (unsigned int q = 0; q < quadrature.size(); ++q)
              integral += at_points[q] * fe_values.JxW(q);
            result.push_back(integral);
          }
        const Eigen::Map<const Vector> local(result.data(), static_cast<Index>(result.size()));
        const double total = Utilities::MPI::sum(local.sum(), space.mesh().comm());
        return local / (total > 0. ? total : 1.);
      }
    };

    const char *const posterior_information_text =
        "The variance that the data take away in a cell: where there is most to be seen.";
    const Registration<Indicator<2>, PosteriorInformation<2>> posterior_information_2d("posterior information",
                                                                                       posterior_information_text);
    const Registration<Indicator<3>, PosteriorInformation<3>> posterior_information_3d("posterior information",
                                                                                       posterior_information_text);
  } // namespace
} // namespace varfield
