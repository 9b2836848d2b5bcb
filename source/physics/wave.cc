#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// ∂²u/∂t² − ∇·(k∇u) = source, of first order in time: S ∂u/∂t − v = 0, S ∂v/∂t − ∇·(k∇u) = source with the storage
    /// S = 1, waves of the speed √k. With another S it is S² ∂²u/∂t² (where S does not depend on time) and the speed
    /// √k/S: k = 1 and a slowness S make the acoustic equation. The source is that of v. A boundary absorbs waves at
    /// normal incidence where n·k∇u = −√k v, for any S (B. Engquist, A. Majda, Mathematics of Computation 31 (1977)
    /// 629, the first of their conditions): a Robin condition of v. Where u is given, v is to be given with it.
    template <int dim>
    struct Wave
    {
      using S                      = Sizes<dim, 2, 1>;
      static constexpr bool linear = true, symmetric = false;

      static std::vector<std::string> state_names() { return {"u", "v"}; }
      static std::vector<Slot> slots()
      {
        return {{"Squared speed", "", "k, positive: the square of the speed where the storage is 1."}};
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        r.f0[0] = -a.u[1];
        for (int d = 0; d < dim; ++d)
          r.f1[1][d] = a.k[0] * a.grad_u[0][d];
      }
    };

    const PdeRegistration<Wave> wave("wave",
                                     "∂²u/∂t² − ∇·(k∇u) = source, in time: ∂u/∂t = v, ∂v/∂t − ∇·(k∇u) = source.");
  } // namespace
} // namespace varfield
