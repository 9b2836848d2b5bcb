#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// −∇·(K b(h) ∇h) = source: an aquifer whose saturated thickness is that of the water above its bottom (Dupuit's
    /// assumption; J. Bear, Dynamics of Fluids in Porous Media, 1972, sec. 8.1). With s = h − bottom the thickness is
    /// b = (s + √(s² + 4ε²))/2, which is s but for ε²/s and stays positive where the aquifer falls dry.
    template <int dim>
    struct UnconfinedAquifer
    {
      using S                      = Sizes<dim, 1, 3>;
      static constexpr bool linear = false, symmetric = false;

      static std::vector<std::string> state_names() { return {"h"}; }
      static std::vector<Slot> slots()
      {
        return {{"Conductivity", "", "K, hydraulic conductivity, positive."},
                {"Bottom", "0", "Elevation of the aquifer's bottom, in the unit of the head."},
                {"Least thickness", "0.01", "ε, in the same unit: the thickness where the head is at the bottom."}};
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        using std::sqrt;
        const N s = a.u[0] - a.k[1];
        const N b = 0.5 * (s + sqrt(s * s + 4. * a.k[2] * a.k[2]));
        for (int d = 0; d < dim; ++d)
          r.f1[0][d] = a.k[0] * b * a.grad_u[0][d];
      }
    };

    const PdeRegistration<UnconfinedAquifer>
        unconfined_aquifer("unconfined aquifer", "−∇·(K b(h) ∇h) = source, b the saturated thickness h − bottom.");
  } // namespace
} // namespace varfield
