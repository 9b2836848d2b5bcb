#ifndef varfield_experiment_h
#define varfield_experiment_h

#include <optional>
#include <varfield/expression.h>
#include <varfield/mesh.h>
#include <varfield/table.h>

namespace varfield
{
  /// What drives the state in one experiment: sources, wells and boundary conditions. Texts are as in the parameter
  /// file.
  struct Experiment
  {
    std::string name;
    std::string source, dirichlet, neumann, robin, wells;
    std::string section = "Physics"; ///< where in the parameter file this is from

    /// In the section Physics: for all experiments.
    void add_parameters(dealii::ParameterHandler &prm);
    /// In the section of one experiment: an entry left empty is as in `common`.
    void add_own_parameters(dealii::ParameterHandler &prm);
    void inherit(const Experiment &common);
  };

  /// Where a condition holds: boundary ids, and one component of the state or all of them.
  struct BoundaryPlace
  {
    std::vector<dealii::types::boundary_id> ids;
    std::optional<unsigned int> component;
    bool has(unsigned int c) const { return !component || *component == c; }
  };

  /// An expression in x, y, z (and t) in which the coefficients k = T(m) of fields may occur, “field(NAME)”, as long as
  /// it is an affine function of them: c₀ + Σᵢ cᵢkᵢ.
  template <int dim>
  class FieldExpression
  {
  public:
    FieldExpression() = default; ///< the constant 0
    /// UserError.
    FieldExpression(const std::string &text, const std::string &origin, bool in_time);
    const std::vector<std::string> &fields() const { return fields_; }
    bool uses_time() const { return with_zero_.uses_time(); }
    /// c₀, c₁, … Local; UserError where a result is not finite or the expression is not affine in the fields.
    std::vector<double> coefficients(const dealii::Point<dim> &x, double time = 0.) const;

  private:
    std::vector<std::string> fields_;
    Expression<dim> with_zero_;
    std::vector<Expression<dim>> with_one_;                  ///< that field is 1, the others are 0
    std::vector<std::pair<double, Expression<dim>>> probes_; ///< all fields have this value
  };

  template <int dim>
  struct DirichletCondition
  {
    BoundaryPlace place;
    FieldExpression<dim> value;
  };

  /// A Robin condition n·f₁ = a (u_ref − u), or with a = 0 the Neumann condition n·f₁ = flux.
  template <int dim>
  struct FluxCondition
  {
    BoundaryPlace place;
    FieldExpression<dim> flux;      ///< Neumann: flux into the domain
    Expression<dim> coefficient;    ///< Robin: a
    FieldExpression<dim> reference; ///< Robin: u_ref
    bool is_robin = false;
    /// What flows in where u is zero, without the factor a: the flux, or u_ref.
    const FieldExpression<dim> &given() const { return is_robin ? reference : flux; }
  };

  /// `state_names`: of the components; `in_time`: whether t may occur. UserError that names the section's key for what
  /// cannot be understood.
  template <int dim>
  std::vector<DirichletCondition<dim>> parse_dirichlet(const Experiment &experiment, const Mesh<dim> &mesh,
                                                       const std::vector<std::string> &state_names, bool in_time);
  template <int dim>
  std::vector<FluxCondition<dim>> parse_fluxes(const Experiment &experiment, const Mesh<dim> &mesh,
                                               const std::vector<std::string> &state_names, bool in_time);
} // namespace varfield

#endif
