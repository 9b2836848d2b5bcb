#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// −∇·(k (1 + βu + γu²) ∇u) = source: conduction of heat whose conductivity depends on the temperature.
    template <int dim>
    struct NonlinearConduction
    {
      using S                      = Sizes<dim, 1, 3>;
      static constexpr bool linear = false, symmetric = false;

      static std::vector<std::string> state_names() { return {"u"}; }
      static std::vector<Slot> slots()
      {
        return {{"Conductivity", "", "k where u is zero, positive."},
                {"Linear coefficient", "0", "β, per unit of u; 1 + βu + γu² has to stay positive."},
                {"Quadratic coefficient", "0", "γ, per unit of u squared."}};
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        const N k = a.k[0] * (1. + a.u[0] * (a.k[1] + a.k[2] * a.u[0]));
        for (int d = 0; d < dim; ++d)
          r.f1[0][d] = k * a.grad_u[0][d];
      }
    };

    const PdeRegistration<NonlinearConduction>
        nonlinear_conduction("nonlinear conduction",
                             "−∇·(k(1 + βu + γu²)∇u) = source: a conductivity that depends on the state.");
  } // namespace
} // namespace varfield
