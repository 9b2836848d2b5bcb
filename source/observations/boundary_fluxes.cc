#include <deal.II/dofs/dof_tools.h>

#include <varfield/observation.h>

namespace varfield
{
  namespace
  {
    /// ∫ n·f₁ ds over a boundary: the sum of the fluxes at its nodes. A node at which two boundaries meet belongs to
    /// each of them.
    template <int dim>
    class BoundaryFluxes : public Observation<dim>
    {
    public:
      std::vector<std::string> place_columns() const override { return {"boundary"}; }
      std::vector<dealii::Point<dim>> locations(const Table &table, MPI_Comm) const override
      {
        return points_if_given<dim>(table);
      }
      bool is_flux() const override { return true; }

      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &) const override
      {
        std::vector<Functional> rows;
        const auto names = table.strings("boundary");
        for (unsigned int i = 0; i < names.size(); ++i)
        {
          dealii::ComponentMask mask(space.handler.get_fe().n_components(), false);
          mask.set(components[i], true);
          const auto ids = space.mesh.boundary_ids(names[i], table.where(i));
          std::vector<dealii::types::global_dof_index> own;
          for (const auto dof : dealii::DoFTools::extract_boundary_dofs(space.handler, mask, {ids.begin(), ids.end()}))
            if (space.handler.locally_owned_dofs().is_element(dof) && !space.constraints.is_constrained(dof))
              own.push_back(dof);
          rows.emplace_back();
          for (const auto &of_rank : dealii::Utilities::MPI::all_gather(space.mesh.comm(), own))
            for (const auto dof : of_rank)
              rows.back().emplace_back(dof, 1.);
        }
        return rows;
      }
    };

    const char *const boundary_fluxes_text =
        "Fluxes ∫ n·f₁ ds into the domain through a boundary, its name or id in the column “boundary”; in problems in "
        "time during the step that contains the time, or their mean from it “until” another.";
    const Registration<Observation<2>, BoundaryFluxes<2>> boundary_fluxes_2d("boundary fluxes", boundary_fluxes_text);
    const Registration<Observation<3>, BoundaryFluxes<3>> boundary_fluxes_3d("boundary fluxes", boundary_fluxes_text);
  } // namespace
} // namespace varfield
