#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// −∇·(k∇u) = source: Darcy flow (u head, k transmissivity), heat conduction, electrostatics. With the transform
    /// exp the unknown is log k.
    template <int dim>
    struct Diffusion
    {
      using S                      = Sizes<dim, 1, 1>;
      static constexpr bool linear = true, symmetric = true;

      static std::vector<std::string> state_names() { return {"u"}; }
      static std::vector<Slot> slots() { return {{"Conductivity", "", "k, positive."}}; }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        for (int d = 0; d < dim; ++d)
          r.f1[0][d] = a.k[0] * a.grad_u[0][d];
      }
    };

    const PdeRegistration<Diffusion> diffusion("diffusion",
                                               "−∇·(k∇u) = source: Darcy flow, heat conduction, electrostatics.");
  } // namespace
} // namespace varfield
