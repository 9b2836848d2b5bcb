#ifndef varfield_weak_form_h
#define varfield_weak_form_h

#include <deal.II/base/point.h>
#include <deal.II/base/tensor.h>

#include <Sacado.hpp>
#include <array>
#include <varfield/physics.h>
#include <varfield/registry.h>

namespace varfield
{
  /// The sizes of a PDE: space dimension, components of the state, coefficients, and whether ∇k and S ∂u/∂t occur in
  /// it.
  template <int dim_, int n_u_, int n_k_, bool uses_grad_k_ = false, bool uses_rates_ = false>
  struct Sizes
  {
    static constexpr int dim = dim_, n_u = n_u_, n_k = n_k_;
    static constexpr bool uses_grad_k = uses_grad_k_, uses_rates = uses_rates_;
    static constexpr int n_state  = n_u * (dim + 1);                   ///< u and ∇u
    static constexpr int n_fields = n_k * (uses_grad_k ? dim + 1 : 1); ///< k, and ∇k where it occurs
  };

  /// What a weak form is a function of, at one point.
  template <class S, class Number>
  struct Arguments
  {
    std::array<Number, S::n_u> u;
    std::array<dealii::Tensor<1, S::dim, Number>, S::n_u> grad_u;
    std::array<Number, S::n_k> k; ///< coefficients, after their transforms
    std::array<dealii::Tensor<1, S::dim, Number>, S::uses_grad_k ? S::n_k : 0> grad_k;
    std::array<Number, S::uses_rates ? S::n_u : 0> rate; ///< S ∂u/∂t
    dealii::Point<S::dim> x;
    double h; ///< diameter of the cell: for terms that stabilise
  };

  /// f₀ (tested with v) and f₁ (tested with ∇v), zero to begin with.
  template <class S, class Number>
  struct Fluxes
  {
    std::array<Number, S::n_u> f0{};
    std::array<dealii::Tensor<1, S::dim, Number>, S::n_u> f1{};
  };

  /// Turns a struct `Form` with the weak form as a function template into a PDE of the program. Form has to have
  ///
  ///   using S = Sizes<…>;
  ///   static constexpr bool linear, symmetric;                // see Physics
  ///   static std::vector<std::string> state_names();
  ///   static std::vector<Slot> slots();
  ///   template <class N> void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const;
  ///
  /// Derivatives: Sacado's forward mode with a fixed number of directions (Phipps, Pawlowski 2012).
  template <class Form>
  class WeakForm : public Physics<Form::S::dim>
  {
    using S                  = typename Form::S;
    static constexpr int dim = S::dim, n_rates = S::uses_rates ? S::n_u : 0,
                         n_directions = S::n_state + S::n_fields + n_rates;
    using Number                      = Sacado::Fad::SFad<double, n_directions>;

  public:
    std::vector<Slot> slots() const override { return Form::slots(); }
    std::vector<std::string> state_names() const override { return Form::state_names(); }
    bool is_linear() const override { return Form::linear; }
    bool is_symmetric() const override { return Form::symmetric; }
    bool uses_field_gradients() const override { return S::uses_grad_k; }
    bool uses_rates() const override { return S::uses_rates; }

    void evaluate(const PointValues<dim> &in, PointFluxes &out) const override
    {
      Arguments<S, Number> arguments;
      seed_state(in, arguments);
      seed_fields(in, arguments);
      for (int c = 0; c < n_rates; ++c)
        arguments.rate[c] = Number(n_directions, S::n_state + S::n_fields + c, in.rate[c]);
      arguments.x = in.x;
      arguments.h = in.h;
      Fluxes<S, Number> fluxes;
      Form()(arguments, fluxes);
      out.flux.resize(S::n_state);
      out.state_gradient.resize(S::n_state * S::n_state);
      out.field_gradient.resize(S::n_state * S::n_k * (dim + 1));
      out.rate_gradient.resize(S::n_state * n_rates);
      for (int c = 0; c < S::n_u; ++c)
      {
        read(fluxes.f0[c], c * (dim + 1), out);
        for (int d = 0; d < dim; ++d)
          read(fluxes.f1[c][d], c * (dim + 1) + 1 + d, out);
      }
    }

  private:
    static void seed_state(const PointValues<dim> &in, Arguments<S, Number> &a)
    {
      for (int c = 0; c < S::n_u; ++c)
      {
        const int first = c * (dim + 1);
        a.u[c]          = Number(n_directions, first, in.state[first]);
        for (int d = 0; d < dim; ++d)
          a.grad_u[c][d] = Number(n_directions, first + 1 + d, in.state[first + 1 + d]);
      }
    }

    /// Derivatives are with respect to m, through the transform: ∇k = T'(m)∇m.
    static void seed_fields(const PointValues<dim> &in, Arguments<S, Number> &a)
    {
      for (int s = 0; s < S::n_k; ++s)
      {
        const double *values       = in.fields.data() + s * (dim + 1);
        const Transform *transform = in.transforms[s];
        const int stride           = S::uses_grad_k ? dim + 1 : 1;
        const Number m =
            transform != nullptr ? Number(n_directions, S::n_state + s * stride, values[0]) : Number(values[0]);
        a.k[s] = transform != nullptr ? compose(*transform, m) : m;
        if constexpr (S::uses_grad_k)
          for (int d = 0; d < dim; ++d)
          {
            a.grad_k[s][d] = values[1 + d];
            if (transform != nullptr)
            {
              const Number dm(n_directions, S::n_state + s * stride + 1 + d, values[1 + d]);
              a.grad_k[s][d] = compose(*transform, m, 1) * dm;
            }
          }
      }
    }

    static void read(const Number &f, int row, PointFluxes &out)
    {
      out.flux[row] = f.val();
      for (int j = 0; j < S::n_state; ++j)
        out.state_gradient[row * S::n_state + j] = f.dx(j);
      for (int c = 0; c < n_rates; ++c)
        out.rate_gradient[row * n_rates + c] = f.dx(S::n_state + S::n_fields + c);
      for (int s = 0; s < S::n_k; ++s)
        for (int j = 0; j <= dim; ++j)
        {
          const bool occurs = j == 0 || S::uses_grad_k;
          out.field_gradient[row * S::n_k * (dim + 1) + s * (dim + 1) + j] =
              occurs ? f.dx(S::n_state + s * (S::uses_grad_k ? dim + 1 : 1) + j) : 0.;
        }
    }
  };

  /// Registers a PDE in 2D and 3D: `const PdeRegistration<MyForm> name("my pde", "One sentence.");`
  template <template <int> class Form>
  struct PdeRegistration
  {
    PdeRegistration(const std::string &name, const std::string &documentation)
    {
      const Registration<Physics<2>, WeakForm<Form<2>>> in_2d(name, documentation);
      const Registration<Physics<3>, WeakForm<Form<3>>> in_3d(name, documentation);
    }
  };
} // namespace varfield

#endif
