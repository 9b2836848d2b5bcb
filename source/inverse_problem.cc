#include <deal.II/base/mpi.h>

#include <cmath>
#include <varfield/inverse_problem.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// G = JᵀW^{1/2}, columns of the measurements in use: H V = G (GᵀV).
    class DataSpaceLinearization : public Linearization
    {
    public:
      DataSpaceLinearization(const Layout &layout, MultiVector factor) : layout_(layout), factor_(std::move(factor)) {}
      MultiVector apply_curvature(const MultiVector &directions) const override
      {
        return product(factor_, layout_.gram(factor_, directions));
      }
      const MultiVector *curvature_factor() const override { return &factor_; }

    private:
      const Layout &layout_;
      const MultiVector factor_;
    };

    /// H V = Jᵀ(W(J V)) by a tangent and an adjoint solve for every direction.
    template <int dim>
    class ParameterSpaceLinearization : public Linearization
    {
    public:
      ParameterSpaceLinearization(const ForwardModel<dim> &model, std::unique_ptr<ModelState<dim>> state,
                                  Vector weights)
          : model_(model), state_(std::move(state)), weights_(std::move(weights))
      {
      }

      MultiVector apply_curvature(const MultiVector &directions) const override
      {
        Matrix tangents;
        MultiVector result;
        if (!model_.tangent(*state_, directions, tangents) ||
            !model_.adjoint(*state_, weights_.asDiagonal() * tangents, result))
          throw ComputationError("A tangent or adjoint solve did not converge where the state did: loosen “Linear "
                                 "solver/Tolerance”, or set “Linear solver/Type” to “direct”.");
        return result;
      }

    private:
      const ForwardModel<dim> &model_;
      const std::unique_ptr<ModelState<dim>> state_;
      const Vector weights_;
    };
  } // namespace

  void CurvatureSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter(
        "Route", route,
        "“data space”: the Jacobian of all measurements by one blocked adjoint solve, exact. “parameter space”: a "
        "tangent and an adjoint solve for every direction. “auto”: by the number of measurements.",
        dealii::Patterns::Selection("auto|data space|parameter space"));
    prm.add_parameter(
        "Data space limit", data_space_limit,
        "For “auto”: data space up to so many measurements, as long as a Jacobian takes no more than 256 MB "
        "on a rank.");
  }

  template <int dim>
  InverseProblem<dim>::InverseProblem(const ForwardModel<dim> &model, const Measurements<dim> &measurements,
                                      const FieldSet<dim> &fields, const SampleGroups &groups,
                                      const CurvatureSettings &settings)
      : model_(model),
        measurements_(measurements),
        fields_(fields),
        groups_(groups),
        data_space_(settings.route == "data space" ||
                    (settings.route == "auto" && measurements.n_used() <= settings.data_space_limit &&
                     jacobian_megabytes() <= 256.))
  {
  }

  /// On the rank with most of it. Every draw of an iteration holds one.
  template <int dim>
  double InverseProblem<dim>::jacobian_megabytes() const
  {
    const auto &layout = prior().layout();
    return 8e-6 * dealii::Utilities::MPI::max(layout.n_local(), layout.comm()) * measurements_.n_used();
  }

  template <int dim>
  std::string InverseProblem<dim>::describe() const
  {
    const std::string n = std::to_string(measurements_.n_used());
    return data_space_ ? "data space: " + n + " adjoint solves in a block give the Jacobian exactly (" +
                             std::to_string(static_cast<int>(std::ceil(jacobian_megabytes()))) + " MB a draw)"
                       : "parameter space: a tangent and an adjoint solve for every direction (" + n + " measurements)";
  }

  template <int dim>
  std::optional<double> InverseProblem<dim>::potential(const Vector &m) const
  {
    last_.reset(); // gives its matrices back first
    last_ = model_.solve(m);
    if (!last_)
      return {};
    const double value = measurements_.potential(last_->predictions);
    return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
  }

  template <int dim>
  std::optional<std::pair<double, Vector>> InverseProblem<dim>::potential_and_gradient(const Vector &m) const
  {
    const auto value = potential(m);
    if (!value)
      return {};
    model_.linearize(*last_);
    MultiVector gradient;
    if (!model_.adjoint(*last_, measurements_.gradient(last_->predictions), gradient))
      return {};
    return std::make_pair(*value, Vector(gradient.col(0)));
  }

  template <int dim>
  std::unique_ptr<Linearization> InverseProblem<dim>::linearize(const Vector &m) const
  {
    const auto value = potential(m);
    if (!value)
      return nullptr;
    model_.linearize(*last_);
    const Vector gradient = measurements_.gradient(last_->predictions);
    const Vector weights  = measurements_.weights(last_->predictions);
    std::unique_ptr<Linearization> result;
    MultiVector adjoint;
    if (data_space_)
    {
      std::vector<Index> used;
      for (Index i = 0; i < measurements_.size(); ++i)
        if (measurements_.used()[i])
          used.push_back(i);
      const Matrix roots = weights.cwiseSqrt().asDiagonal();
      if (!model_.adjoint(*last_, roots(Eigen::all, used), adjoint))
        return nullptr;
      // The gradient is JᵀW^{1/2} times the scaled residuals: no solve of its own.
      const Vector root = weights(used).cwiseSqrt();
      if (!(root.array() > 0.).all())
        throw ComputationError("The curvature of the noise vanishes at a measurement, which the data space cannot "
                               "represent: set Inference/Curvature/Route to “parameter space”.");
      const Vector full = product(adjoint, Vector(gradient(used).cwiseQuotient(root)));
      result            = std::make_unique<DataSpaceLinearization>(prior().layout(), std::move(adjoint));
      result->gradient  = full;
    }
    else
    {
      if (!model_.adjoint(*last_, gradient, adjoint))
        return nullptr;
      result           = std::make_unique<ParameterSpaceLinearization<dim>>(model_, std::move(last_), weights);
      result->gradient = adjoint.col(0);
    }
    result->potential = *value;
    return result;
  }

  template class InverseProblem<2>;
  template class InverseProblem<3>;
} // namespace varfield
