#include <cmath>
#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// b·∇u − ∇·(k∇u) + cu = m + source, with the residual along the streamlines, τ b·∇v: τ = h/(2|b|) (1 − 1/P), and
    /// zero where the Péclet number P = |b|h/(2k) of the cell is below 1 (A. N. Brooks, T. J. R. Hughes, Comput.
    /// Methods Appl. Mech. Eng. 32 (1982) 199, eqs. 3.3.3 and 3.3.7). The residual has the rate of change in it and m,
    /// but neither second derivatives of u nor the known source.
    template <int dim>
    struct AdvectionDiffusion
    {
      using S                      = Sizes<dim, 1, 3 + dim, false, true>;
      static constexpr bool linear = true, symmetric = false;

      static std::vector<std::string> state_names() { return {"u"}; }
      static std::vector<Slot> slots()
      {
        std::vector<Slot> all{{"Diffusivity", "1", "k, positive."},
                              {"Reaction", "0", "c, not negative."},
                              {"Source density", "0", "m, added to the known source.", true}};
        for (int d = 0; d < dim; ++d)
          all.push_back({std::string("Velocity ") + "xyz"[d], "0", "A component of b, which has no divergence."});
        return all;
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        using std::sqrt;
        const N &k = a.k[0];
        N along = 0., speed = 0.;
        for (int d = 0; d < dim; ++d)
        {
          along += a.k[3 + d] * a.grad_u[0][d];
          speed += a.k[3 + d] * a.k[3 + d];
          r.f1[0][d] = k * a.grad_u[0][d];
        }
        r.f0[0] = along + a.k[1] * a.u[0] - a.k[2];
        if (!(speed > 0.))
          return;
        speed           = sqrt(speed);
        const N inverse = 2. * k / (speed * a.h); // of the Péclet number
        if (!(inverse < 1.))
          return;
        const N residual = a.h / (2. * speed) * (1. - inverse) * (a.rate[0] + r.f0[0]);
        for (int d = 0; d < dim; ++d)
          r.f1[0][d] += a.k[3 + d] * residual;
      }
    };

    const PdeRegistration<AdvectionDiffusion>
        advection_diffusion("advection diffusion",
                            "b·∇u − ∇·(k∇u) + cu = m + source, stabilised: transport of a solute or of heat.");
  } // namespace
} // namespace varfield
