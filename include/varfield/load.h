#ifndef varfield_load_h
#define varfield_load_h

#include <varfield/assembly.h>
#include <varfield/experiment.h>
#include <varfield/field.h>
#include <varfield/state_space.h>

namespace varfield
{
  /// What drives the state of one experiment at one time: ∫ f v dx + ∫ g v ds with densities c₀ + Σ cᵢkᵢ, in which the
  /// coefficients kᵢ = T(mᵢ) of fields are interpolated between the degrees of freedom of the field.
  struct Load
  {
    struct OfField
    {
      unsigned int field;
      bool on_boundary;
      std::shared_ptr<const SparseMatrix> matrix; ///< ∫ c φᵢψⱼ: nodes of the state × degrees of freedom of the field
    };
    Vector volume, boundary; ///< of c₀, at the owned nodes
    std::vector<OfField> by_field;
  };

  /// `source`: one for each component, or none; `time`: what t is; `field_time`: which interval of fields in time
  /// counts. Collective; UserError for expressions without a finite value.
  template <int dim>
  Load assemble_load(const StateSpace<dim> &space, const FieldSet<dim> &fields,
                     const std::vector<FieldExpression<dim>> &source, const std::vector<FluxCondition<dim>> &fluxes,
                     double time, double field_time);
} // namespace varfield

#endif
