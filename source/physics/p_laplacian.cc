#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// −∇·(k (ε² + |∇u|²)^{(p−2)/2} ∇u) = source: a power law. p = 1 + 1/n is the flow of ice of a glacier down its
    /// valley with Glen's exponent n (K. M. Cuffey, W. S. B. Paterson, The Physics of Glaciers, 2010, sec. 8.3).
    template <int dim>
    struct PLaplacian
    {
      using S                      = Sizes<dim, 1, 3>;
      static constexpr bool linear = false, symmetric = true;

      static std::vector<std::string> state_names() { return {"u"}; }
      static std::vector<Slot> slots()
      {
        return {{"Conductivity", "", "k, positive."},
                {"Exponent", "2", "p, above 1; 2: linear; 4/3: ice.", false, 2.},
                {"Regularization", "0.001", "ε, in the unit of ∇u: below it the law is linear."}};
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        using std::pow;
        N square = a.k[2] * a.k[2];
        for (int d = 0; d < dim; ++d)
          square += a.grad_u[0][d] * a.grad_u[0][d];
        const N k = a.k[0] * pow(square, 0.5 * (a.k[1] - 2.));
        for (int d = 0; d < dim; ++d)
          r.f1[0][d] = k * a.grad_u[0][d];
      }
    };

    const PdeRegistration<PLaplacian> p_laplacian("p-Laplacian",
                                                  "−∇·(k(ε² + |∇u|²)^((p−2)/2)∇u) = source: power-law flow.");
  } // namespace
} // namespace varfield
