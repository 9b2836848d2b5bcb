#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// −∇·(k∇u) + c u + r u³ = m + source: diffusion with a reaction whose rate grows with the state.
    template <int dim>
    struct NonlinearReaction
    {
      using S                      = Sizes<dim, 1, 4>;
      static constexpr bool linear = false, symmetric = true;

      static std::vector<std::string> state_names() { return {"u"}; }
      static std::vector<Slot> slots()
      {
        return {{"Conductivity", "1", "k, positive."},
                {"Linear rate", "0", "c, not negative."},
                {"Cubic rate", "1", "r, not negative."},
                {"Source density", "0", "m, added to the known source.", true}};
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        r.f0[0] = a.u[0] * (a.k[1] + a.k[2] * a.u[0] * a.u[0]) - a.k[3];
        for (int d = 0; d < dim; ++d)
          r.f1[0][d] = a.k[0] * a.grad_u[0][d];
      }
    };

    const PdeRegistration<NonlinearReaction>
        nonlinear_reaction("nonlinear reaction", "−∇·(k∇u) + cu + ru³ = m + source: any of k, c, r and m can be "
                                                 "unknown.");
  } // namespace
} // namespace varfield
