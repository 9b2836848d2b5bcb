#include <cmath>
#include <varfield/inverse_problem.h>
#include <varfield/memory.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// G = JᵀR, a column for each measurement in use: H V = G (GᵀV).
    class DataSpaceLinearization : public Linearization
    {
    public:
      DataSpaceLinearization(const Layout &layout, MultiVector factor) : layout_(layout), factor_(std::move(factor)) {}
      MultiVector apply_curvature(const MultiVector &directions) const override
      {
        return product(factor_, layout_.gram(factor_, directions));
      }
      const SharedBlock *curvature_factor() const override { return &factor_; }

    private:
      const Layout &layout_;
      const SharedBlock factor_;
    };

    /// H V = Jᵀ(R(Rᵀ(J V))) by a tangent and an adjoint solve for every direction.
    template <int dim>
    class ParameterSpaceLinearization : public Linearization
    {
    public:
      ParameterSpaceLinearization(const ForwardModel<dim> &model, std::unique_ptr<ModelState<dim>> state,
                                  Eigen::SparseMatrix<double> root, double tolerance)
          : model_(model), state_(std::move(state)), root_(std::move(root)), tolerance_(tolerance)
      {
      }

      MultiVector apply_curvature(const MultiVector &directions) const override
      {
        Matrix tangents;
        MultiVector result;
        if (!model_.tangent(*state_, directions, tangents, tolerance_) ||
            !model_.adjoint(*state_, root_ * (root_.transpose() * tangents), result, tolerance_))
          throw ComputationError("A tangent or adjoint solve did not converge where the state did: loosen “Linear "
                                 "solver/Tolerance”, or set “Linear solver/Type” to “direct”.");
        return result;
      }

    private:
      const ForwardModel<dim> &model_;
      const std::unique_ptr<ModelState<dim>> state_;
      const Eigen::SparseMatrix<double> root_;
      const double tolerance_;
    };
  } // namespace

  void CurvatureSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter(
        "Route", route,
        "“data space”: the Jacobian of all measurements by one blocked adjoint solve, exact. “parameter space”: a "
        "tangent and an adjoint solve for every direction. “auto”: by the predicted number of solves and “Memory”.",
        dealii::Patterns::Selection("auto|data space|parameter space"));
    prm.add_parameter(
        "Memory", memory,
        "What linearisations that are held at the same time may take, over all ranks. Where those of all draws of an "
        "iteration take more, the family “low rank” averages their curvatures draw by draw in its own directions and "
        "some more. [GB]",
        dealii::Patterns::Double(0.));
  }

  CurvaturePlan plan_curvature(const CurvatureSettings &settings, const CurvatureSize &size)
  {
    // Conjugate gradients start with a good preconditioner, and a Newton step takes a few of them.
    constexpr double oversampling = 20., newton_solves = 10.;
    const double rank = std::min({static_cast<double>(settings.rank), size.measurements, size.unknowns});
    CurvaturePlan plan;
    plan.held_bytes      = 1e9 * settings.memory;
    plan.data_bytes      = 8. * size.unknowns * size.measurements;
    plan.parameter_bytes = settings.workspace_bytes;
    plan.data_solves     = size.measurements;
    // Two passes, one for a basis and one for what the curvature does to it; a sketch takes one.
    const double passes   = settings.draws * plan.parameter_bytes <= plan.held_bytes ? 2. : 1.;
    plan.parameter_solves = (2. * passes * (rank + oversampling) + newton_solves) * size.experiments;
    plan.data_space =
        settings.route == "data space" || (settings.route == "auto" && plan.data_solves <= plan.parameter_solves &&
                                           3. * plan.data_bytes <= plan.held_bytes);
    return plan;
  }

  template <int dim>
  InverseProblem<dim>::InverseProblem(const ForwardModel<dim> &model, const Measurements<dim> &measurements,
                                      const FieldSet<dim> &fields, const SampleGroups &groups,
                                      const CurvatureSettings &settings)
      : model_(model),
        measurements_(measurements),
        fields_(fields),
        groups_(groups),
        settings_(settings),
        plan_(plan_curvature(settings, {static_cast<double>(fields.prior().layout().n_global()),
                                        static_cast<double>(measurements.n_used()),
                                        static_cast<double>(model.experiments().size())}))
  {
  }

  template <int dim>
  std::string InverseProblem<dim>::describe() const
  {
    const std::string data = to_text(plan_.data_solves) + " solves, " + in_bytes(plan_.data_bytes),
                      parameter =
                          "about " + to_text(plan_.parameter_solves) + " solves, " + in_bytes(plan_.parameter_bytes);
    return (plan_.data_space ? "data space (" + data + " a draw; parameter space: " + parameter + ")"
                             : "parameter space (" + parameter + " a draw; data space: " + data + ")") +
           (plan_.keeps(settings_.draws) ? "" : ", averaged draw by draw");
  }

  template <int dim>
  std::optional<double> InverseProblem<dim>::potential_at(const Vector &m, const SampleGroups *together) const
  {
    last_.reset(); // gives its matrices back first
    last_ = model_.solve(m, together);
    if (!last_)
      return {};
    const double value = measurements_.potential(last_->predictions);
    return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
  }

  template <int dim>
  std::optional<std::pair<double, Vector>> InverseProblem<dim>::potential_and_gradient(const Vector &m,
                                                                                       bool together) const
  {
    const auto value = potential_at(m, together ? &groups_ : nullptr);
    if (!value)
      return {};
    model_.linearize(*last_);
    MultiVector gradient;
    if (!model_.adjoint(*last_, measurements_.gradient(last_->predictions), gradient))
      return {};
    return std::make_pair(*value, Vector(gradient.col(0)));
  }

  /// Whether this group, or where the work is shared every group, could solve.
  template <int dim>
  bool InverseProblem<dim>::all_solved(bool solved, const Effort &effort) const
  {
    return effort.together ? groups_.sum(solved ? 0. : 1.) == 0. : solved;
  }

  /// Jᵀ times many columns, a few at a time: what a solve holds beside the result is several times as wide. Together
  /// each group takes its share of the columns.
  template <int dim>
  bool InverseProblem<dim>::jacobian(const Matrix &weights, const Effort &effort, MultiVector &result) const
  {
    const Index n    = weights.cols();
    const auto share = effort.together ? groups_.share(n) : std::pair<Index, Index>(0, n);
    result           = MultiVector::Zero(prior().layout().n_local(), n);
    bool solved      = true;
    MultiVector part;
    by_blocks(share.first, share.second, prior().layout().block_columns(),
              [&](Index first, Index count)
              {
                solved = solved && model_.adjoint(*last_, weights.middleCols(first, count), part, effort.tolerance);
                if (solved)
                  result.middleCols(first, count) = part;
              });
    if (effort.together)
      groups_.sum(result);
    return solved;
  }

  template <int dim>
  std::unique_ptr<Linearization> InverseProblem<dim>::in_data_space(const NoiseRoot &noise, const Effort &effort) const
  {
    MultiVector factor, own;
    const bool is_loose = effort.tolerance > 0. && model_.solves_iteratively();
    bool solved         = jacobian(Matrix(noise.root), effort, factor);
    if (is_loose)
      solved = model_.adjoint(*last_, noise.root * noise.residuals, own) && solved;
    if (!all_solved(solved, effort))
      return nullptr;
    // The gradient is JᵀR times the scaled residuals: no solve of its own unless these are loose.
    Vector full      = is_loose ? Vector(own.col(0)) : Vector(product(factor, noise.residuals));
    auto result      = std::make_unique<DataSpaceLinearization>(prior().layout(), std::move(factor));
    result->gradient = std::move(full);
    return result;
  }

  template <int dim>
  std::unique_ptr<Linearization> InverseProblem<dim>::linearize(const Vector &m, const Effort &effort) const
  {
    const auto value = potential_at(m, effort.together ? &groups_ : nullptr);
    if (!all_solved(value.has_value(), effort))
      return nullptr;
    model_.linearize(*last_);
    const NoiseRoot noise = measurements_.root(last_->predictions);
    std::unique_ptr<Linearization> result;
    if (plan_.data_space)
      result = in_data_space(noise, effort);
    else
    {
      MultiVector adjoint;
      if (!all_solved(model_.adjoint(*last_, noise.root * noise.residuals, adjoint), effort))
        return nullptr;
      result =
          std::make_unique<ParameterSpaceLinearization<dim>>(model_, std::move(last_), noise.root, effort.tolerance);
      result->gradient = adjoint.col(0);
    }
    if (result)
      result->potential = *value;
    return result;
  }

  template class InverseProblem<2>;
  template class InverseProblem<3>;
} // namespace varfield
