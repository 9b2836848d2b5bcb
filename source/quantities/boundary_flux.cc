#include <deal.II/dofs/dof_tools.h>

#include <set>
#include <varfield/quantity.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// What flows into the domain through a part of its boundary: the sum of ForwardModel::boundary_flux() over the
    /// nodes there. A node at which two parts of the boundary meet belongs to each of them.
    template <int dim>
    class BoundaryFlux : public Quantity<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override
      {
        prm.add_parameter("Boundaries", boundaries_, "Names or ids of the boundaries, separated by commas.");
        prm.add_parameter("Experiment", experiment_name_, "In which experiment; empty where there is one.");
        prm.add_parameter("Component", component_name_, "Of which component of the state; empty where there is one.");
        prm.add_parameter("Time", time_,
                          "In problems in time: during the step that ends nearest to it; empty: the last one.");
      }

      void initialize(const ForwardModel<dim> &model, const FieldSet<dim> &, const std::string &section) override
      {
        model_               = &model;
        experiment_          = experiment_of(model, normalize(experiment_name_), section);
        const auto component = component_of(model, normalize(component_name_), section);
        snapshot_            = snapshot_of(model, time_, section);
        const auto &space    = model.space();
        std::set<types::boundary_id> ids;
        for (const std::string &name : split(boundaries_, ','))
          for (const auto id : space.mesh().boundary_ids(name, section + "/Boundaries"))
            ids.insert(id);
        if (ids.empty())
          throw UserError(section + "/Boundaries: at least one boundary has to be named.");
        ComponentMask mask(space.n_components(), false);
        mask.set(component, true);
        const auto &owned = space.dof_handler().locally_owned_dofs();
        for (const auto dof : DoFTools::extract_boundary_dofs(space.dof_handler(), mask, ids))
          if (owned.is_element(dof) && !space.hanging().is_constrained(dof))
            nodes_.push_back(owned.index_within_set(dof));
      }

      Vector part(const ModelState<dim> &state) const override
      {
        const Vector flux = model_->boundary_flux(state, snapshot_, experiment_);
        double sum        = 0.;
        for (const auto node : nodes_)
          sum += flux[static_cast<Index>(node)];
        return Vector::Constant(1, sum);
      }

    private:
      std::string boundaries_, experiment_name_, component_name_, time_;
      const ForwardModel<dim> *model_ = nullptr;
      unsigned int experiment_ = 0, snapshot_ = 0;
      std::vector<types::global_dof_index> nodes_;
    };

    const char *const flux_text = "The flux into the domain through boundaries.";
    const Registration<Quantity<2>, BoundaryFlux<2>> boundary_flux_2d("boundary flux", flux_text);
    const Registration<Quantity<3>, BoundaryFlux<3>> boundary_flux_3d("boundary flux", flux_text);
  } // namespace
} // namespace varfield
