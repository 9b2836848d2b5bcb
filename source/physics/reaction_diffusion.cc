#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// −∇·(k∇u) + c u = m + source: with known k and c the state is linear in the unknown source density m.
    template <int dim>
    struct ReactionDiffusion
    {
      using S                      = Sizes<dim, 1, 3>;
      static constexpr bool linear = true, symmetric = true;

      static std::vector<std::string> state_names() { return {"u"}; }
      static std::vector<Slot> slots()
      {
        return {{"Conductivity", "1", "k, positive."},
                {"Reaction", "0", "c, not negative."},
                {"Source density", "0", "m, added to the known source.", true}};
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        r.f0[0] = a.k[1] * a.u[0] - a.k[2];
        for (int d = 0; d < dim; ++d)
          r.f1[0][d] = a.k[0] * a.grad_u[0][d];
      }
    };

    const PdeRegistration<ReactionDiffusion>
        reaction_diffusion("reaction diffusion", "−∇·(k∇u) + c u = m + source: any of k, c and m can be unknown.");
  } // namespace
} // namespace varfield
