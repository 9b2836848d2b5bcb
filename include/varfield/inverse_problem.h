#ifndef varfield_inverse_problem_h
#define varfield_inverse_problem_h

#include <varfield/forward_model.h>

namespace varfield
{
  /// How the curvature of the potential is represented.
  struct CurvatureSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    std::string route             = "auto"; ///< auto, data space or parameter space
    unsigned int data_space_limit = 1000;   ///< auto: data space up to so many measurements, and 256 MB a Jacobian
  };

  /// The posterior of a PDE's coefficients: Φ(m) = −log p(d | F(m)), its gradient by one adjoint solve, its
  /// Gauss–Newton curvature JᵀWJ, W the weights of the noise model.
  ///
  /// Data space: J by one blocked adjoint solve for all measurements, exactly; then every action is a dense product,
  /// and the factorisation is given back at once. Parameter space: one tangent and one adjoint solve for every action.
  template <int dim>
  class InverseProblem : public LogDensity
  {
  public:
    /// References must outlive the object. Collective.
    InverseProblem(const ForwardModel<dim> &model, const Measurements<dim> &measurements, const FieldSet<dim> &fields,
                   const SampleGroups &groups, const CurvatureSettings &settings);

    const GaussianPrior &prior() const override { return fields_.prior(); }
    std::optional<double> potential(const Vector &m) const override;
    std::optional<std::pair<double, Vector>> potential_and_gradient(const Vector &m) const override;
    std::unique_ptr<Linearization> linearize(const Vector &m) const override;
    bool is_quadratic() const override { return model_.is_affine() && measurements_.is_gaussian(); }
    Cost cost() const override { return model_.cost(); }
    const SampleGroups &groups() const override { return groups_; }

    bool uses_data_space() const { return data_space_; }
    /// The route and the reason for it, for the terminal.
    std::string describe() const;
    /// States and predictions of the last model that potential() solved: for averages over draws.
    const ModelState<dim> *last() const { return last_.get(); }

  private:
    double jacobian_megabytes() const;

    const ForwardModel<dim> &model_;
    const Measurements<dim> &measurements_;
    const FieldSet<dim> &fields_;
    const SampleGroups &groups_;
    bool data_space_;
    mutable std::unique_ptr<ModelState<dim>> last_;
  };
} // namespace varfield

#endif
