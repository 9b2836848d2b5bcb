#ifndef varfield_physics_h
#define varfield_physics_h

#include <deal.II/base/point.h>

#include <varfield/transform.h>

namespace varfield
{
  /// A place in a PDE where a coefficient enters: an inferred field, or a known function of x.
  struct Slot
  {
    std::string name;          ///< the key in the parameter file
    std::string default_value; ///< an expression, or empty: has to be given
    std::string documentation;
    bool is_source = false; ///< the state is an affine function of this coefficient while the others are known
    double typical = 1.;    ///< a value that it may take, with what is up to a half more or less: for tests
  };

  /// State and coefficients at one quadrature point. The flat index of component c is c(dim+1) for the value and
  /// c(dim+1)+1+d for the derivative in direction d.
  template <int dim>
  struct PointValues
  {
    dealii::Point<dim> x;
    double h = 0.;                             ///< diameter of the cell
    std::vector<double> state;                 ///< u and ∇u, flat
    std::vector<double> rate;                  ///< S ∂u/∂t of every component; zero in stationary problems
    std::vector<double> fields;                ///< m and ∇m of every slot, flat; k itself where the transform is null
    std::vector<const Transform *> transforms; ///< of every slot; nullptr: a known coefficient
  };

  /// f₀, f₁ and their derivatives at one quadrature point, in the flat numbering of PointValues.
  struct PointFluxes
  {
    std::vector<double> flux;           ///< (f₀, f₁)
    std::vector<double> state_gradient; ///< ∂(f₀, f₁)/∂(u, ∇u), row-major
    std::vector<double> field_gradient; ///< ∂(f₀, f₁)/∂(m, ∇m), row-major
    std::vector<double> rate_gradient;  ///< ∂(f₀, f₁)/∂(S ∂u/∂t), row-major; where Physics::uses_rates()
  };

  /// A PDE in weak form (in problems in time S ∂u/∂t v comes to it, see TimeStep): find u with ∫ f₀(u, ∇u, k, ∇k, x) v
  /// + f₁(u, ∇u, k, ∇k, x)·∇v dx = boundary and source terms for all v, k = T(m) the coefficients. Sources, Neumann and
  /// Robin terms are common to all PDEs and belong to the forward model.
  template <int dim>
  class Physics
  {
  public:
    virtual ~Physics() = default;

    /// Declares one parameter for every slot: the name of a field, or an expression in x, y, z.
    void add_parameters(dealii::ParameterHandler &prm);
    /// What the parameter of slot i says.
    const std::string &slot_value(unsigned int i) const { return slot_values_[i]; }

    virtual std::vector<Slot> slots() const              = 0;
    virtual std::vector<std::string> state_names() const = 0; ///< one for every component
    virtual bool is_linear() const                       = 0; ///< affine in u and S ∂u/∂t, together
    virtual bool is_symmetric() const                    = 0; ///< the state matrix is symmetric positive definite
    virtual bool uses_field_gradients() const            = 0; ///< whether ∇k occurs
    virtual bool uses_rates() const = 0; ///< whether S ∂u/∂t occurs in f₀ and f₁ themselves
    /// Evaluates at one point; derivatives by automatic differentiation. Sizes of the outputs are set on the first use.
    virtual void evaluate(const PointValues<dim> &in, PointFluxes &out) const = 0;

  private:
    std::vector<std::string> slot_values_;
  };
} // namespace varfield

#endif
