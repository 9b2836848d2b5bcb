#ifndef varfield_inverse_problem_h
#define varfield_inverse_problem_h

#include <varfield/forward_model.h>

namespace varfield
{
  /// How the curvature of the potential is represented.
  struct CurvatureSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    std::string route = "auto"; ///< auto, data space or parameter space
    double memory     = 4.;     ///< GB, over all ranks, that linearisations held at the same time may take
    // What the rest of the parameters and the mesh say, for predictions.
    unsigned int draws = 16, rank = 100; ///< draws of an iteration; directions that the data inform, at most
    double workspace_bytes = 0;          ///< of what a linearisation in parameter space holds, over all ranks
  };

  /// What the costs of the two routes follow from.
  struct CurvatureSize
  {
    double unknowns = 0, measurements = 0, experiments = 1;
  };

  /// The route and its predicted costs: right-hand sides solved for, tangents and adjoints, in one linearisation of
  /// which the leading eigenpairs are wanted, and bytes over all ranks.
  struct CurvaturePlan
  {
    bool data_space         = true;
    double data_solves      = 0; ///< one for each measurement
    double parameter_solves = 0; ///< a tangent and an adjoint of every experiment for every direction of every pass,
                                 ///< and for Newton steps
    double data_bytes = 0, parameter_bytes = 0; ///< of one linearisation
    double held_bytes = 0;                      ///< that may be held
    double bytes() const { return data_space ? data_bytes : parameter_bytes; }
    bool keeps(double n_draws) const { return n_draws * bytes() <= held_bytes; }
  };

  /// The cheaper route in solves, unless the user says which, and parameter space where three Jacobians (as many as a
  /// Newton step holds) take more than `memory`.
  CurvaturePlan plan_curvature(const CurvatureSettings &settings, const CurvatureSize &size);

  /// The posterior of a PDE's coefficients: Φ(m) = −log p(d | F(m)), its gradient by one adjoint solve, its
  /// Gauss–Newton curvature JᵀWJ, W = RRᵀ the curvature of the noise model.
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
    std::optional<double> potential(const Vector &m) const override { return potential_at(m, nullptr); }
    std::optional<double> potential_together(const Vector &m) const override { return potential_at(m, &groups_); }
    std::optional<std::pair<double, Vector>> potential_and_gradient(const Vector &m, bool together) const override;
    std::unique_ptr<Linearization> linearize(const Vector &m, const Effort &effort = {}) const override;
    void start_from_last() const override { model_.start_from_last(); }
    double potential_error() const override { return model_.solves_iteratively() ? model_.tolerance() : 1e-13; }
    bool is_quadratic() const override { return model_.is_affine() && measurements_.is_gaussian(); }
    Cost cost() const override { return model_.cost() - cost_before_; }
    const SampleGroups &groups() const override { return groups_; }
    bool keeps_linearizations(unsigned int n_draws) const override { return plan_.keeps(n_draws); }

    bool uses_data_space() const { return plan_.data_space; }
    /// The route and the reason for it, for the terminal.
    std::string describe() const;
    /// States and predictions of the last model that potential() solved: for averages over draws.
    const ModelState<dim> *last() const { return last_.get(); }

  private:
    std::optional<double> potential_at(const Vector &m, const SampleGroups *together) const;
    bool all_solved(bool solved, const Effort &effort) const;
    bool jacobian(const Matrix &weights, const Effort &effort, MultiVector &result) const;
    std::unique_ptr<Linearization> in_data_space(const NoiseRoot &noise, const Effort &effort) const;

    const ForwardModel<dim> &model_;
    const Cost cost_before_ = model_.cost(); ///< of other cases that have the model
    const Measurements<dim> &measurements_;
    const FieldSet<dim> &fields_;
    const SampleGroups &groups_;
    const CurvatureSettings settings_;
    const CurvaturePlan plan_;
    mutable std::unique_ptr<ModelState<dim>> last_;
  };
} // namespace varfield

#endif
