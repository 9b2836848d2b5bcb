#include <varfield/physics.h>

namespace varfield
{
  template <int dim>
  void Physics<dim>::add_parameters(dealii::ParameterHandler &prm)
  {
    const auto all = slots();
    slot_values_.reserve(all.size()); // the handler keeps references
    for (const auto &slot : all)
    {
      slot_values_.push_back(slot.default_value);
      prm.add_parameter(slot.name, slot_values_.back(), slot.documentation + " The name of a field, or an expression.");
    }
  }

  template class Physics<2>;
  template class Physics<3>;
} // namespace varfield
