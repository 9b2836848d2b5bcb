#include <varfield/weak_form.h>

namespace varfield
{
  namespace
  {
    /// σ = λ tr(ε) I + 2με, ε = (∇u + ∇uᵀ)/2, tested with ∇v: one row of σ for each component of u.
    template <class S, class N>
    void add_stress(const N &lambda, const N &mu, const Arguments<S, N> &a, Fluxes<S, N> &r)
    {
      N divergence = a.grad_u[0][0];
      for (int c = 1; c < S::dim; ++c)
        divergence += a.grad_u[c][c];
      for (int c = 0; c < S::dim; ++c)
        for (int d = 0; d < S::dim; ++d)
        {
          r.f1[c][d] = mu * (a.grad_u[c][d] + a.grad_u[d][c]);
          if (c == d)
            r.f1[c][d] += lambda * divergence;
        }
    }

    template <int dim>
    std::vector<std::string> displacements()
    {
      std::vector<std::string> names{"u_x", "u_y", "u_z"};
      names.resize(dim);
      return names;
    }

    std::vector<Slot> technical_constants()
    {
      return {{"Young's modulus", "", "E, positive."},
              {"Poisson's ratio", "0.3", "ν, between −1 and 0.5.", false, 0.3}};
    }

    /// −∇·σ = source with E and ν: λ = Eν/((1 + ν)(1 − 2ν)), μ = E/(2(1 + ν)); in 2D plane strain.
    template <int dim>
    struct Elasticity
    {
      using S                      = Sizes<dim, dim, 2>;
      static constexpr bool linear = true, symmetric = true;

      static std::vector<std::string> state_names() { return displacements<dim>(); }
      static std::vector<Slot> slots() { return technical_constants(); }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        const N &young = a.k[0], &nu = a.k[1];
        const N twice_mu = young / (1. + nu);
        add_stress<S, N>(twice_mu * nu / (1. - 2. * nu), 0.5 * twice_mu, a, r);
      }
    };

    /// The same in a thin plate, without stress across it: λ = Eν/(1 − ν²).
    struct PlaneStress
    {
      using S                      = Sizes<2, 2, 2>;
      static constexpr bool linear = true, symmetric = true;

      static std::vector<std::string> state_names() { return displacements<2>(); }
      static std::vector<Slot> slots() { return technical_constants(); }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        const N &young = a.k[0], &nu = a.k[1];
        const N twice_mu = young / (1. + nu);
        add_stress<S, N>(twice_mu * nu / (1. - nu), 0.5 * twice_mu, a, r);
      }
    };

    /// The same with Lamé's λ and μ.
    template <int dim>
    struct LameElasticity
    {
      using S                      = Sizes<dim, dim, 2>;
      static constexpr bool linear = true, symmetric = true;

      static std::vector<std::string> state_names() { return displacements<dim>(); }
      static std::vector<Slot> slots()
      {
        return {{"First parameter", "", "λ, above −2μ/dim."}, {"Shear modulus", "", "μ, positive."}};
      }

      template <class N>
      void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
      {
        add_stress<S, N>(a.k[0], a.k[1], a, r);
      }
    };

    const PdeRegistration<Elasticity>
        elasticity("elasticity", "−∇·σ = source, Young's modulus and Poisson's ratio; plane strain in 2D.");
    const Registration<Physics<2>, WeakForm<PlaneStress>>
        plane_stress("plane stress", "−∇·σ = source in a thin plate, Young's modulus and Poisson's ratio.");
    const PdeRegistration<LameElasticity> lame_elasticity("Lamé elasticity",
                                                          "−∇·σ = source, with Lamé's parameters λ and μ.");
  } // namespace
} // namespace varfield
