#include <varfield/state_mean_field.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    constexpr Index most_unknowns = 6000;
  }

  template <int dim>
  void check_state_mean_field(const Case<dim> &problem)
  {
    const std::string name = problem.inference().state_mean_field;
    if (name.empty())
      return;
    const std::string origin = "Inference/State mean field";
    const auto &fields       = problem.fields();
    if (fields.find(name) == fields.size())
      throw UserError(origin + ": there is no field “" + name + "”; the fields are " + join(fields.names()) +
                      did_you_mean(name, fields.names()) + ".");
    if (problem.parameters().get({"Fields", name}, "Prior") != "white noise")
      throw UserError(origin + ": the error of an equation has a prior of white noise here, but “" + name +
                      "” has another one.");
    const auto &model       = problem.model();
    const bool is_in_source = model.experiments()[0].source.find("field(" + name + ")") != std::string::npos;
    if (!is_in_source || !fields[fields.find(name)].transform().is_identity())
      throw UserError(origin + ": “" + name + "” has to occur in the Source, as “field(" + name +
                      ")” with the transform identity.");
    if (model.experiments().size() > 1 || model.n_snapshots() > 1 || model.state_names().size() > 1)
      throw UserError(origin + ": is for stationary problems of one experiment and one state.");
    const Index n = fields.prior().layout().n_global();
    if (n > most_unknowns)
      throw UserError(origin + ": is computed by dense algebra, for at most " + std::to_string(most_unknowns) +
                      " unknowns, but there are " + std::to_string(n) + ".");
  }

  template <int dim>
  std::vector<Vector> state_mean_field(const Case<dim> &problem, const Vector &parameters)
  {
    check_state_mean_field(problem);
    const std::string origin = "Inference/State mean field", name = problem.inference().state_mean_field;
    const auto &fields       = problem.fields();
    const auto &model        = problem.model();
    const auto &prior        = problem.density().prior();
    const auto &layout       = prior.layout();
    const unsigned int error = fields.find(name);
    const Index n            = layout.n_global();
    const double scale       = problem.parameters().get_double({"Fields", name, "white noise"}, "Standard deviation");
    auto state               = model.solve(parameters);
    if (!state)
      throw ComputationError(origin + ": the problem cannot be solved at the posterior mean.");
    model.linearize(*state);
    const std::vector<FieldExpression<dim>> one(model.space().n_components(), FieldExpression<dim>("1", origin, false));
    const Vector mass = assemble_load<dim>(model.space(), fields, one, {}, 0., 0.).volume;
    const Vector weights =
        (mass.array() > 0.).select((scale * scale * mass).cwiseInverse(), 0.); // not of hanging nodes

    // Column by column, all rows on every rank.
    Matrix precision(n, n);
    constexpr Index block = 64;
    for (Index first = 0; first < n; first += block)
    {
      const Index k    = std::min(block, n - first);
      MultiVector unit = MultiVector::Zero(layout.n_local(), k);
      for (Index j = 0; j < k; ++j)
        if (const Index i = first + j - layout.offset(); i >= 0 && i < layout.n_local())
          unit(i, j) = 1.;
      const MultiVector column       = prior.precision(unit) + model.residual_curvature(*state, weights, error, unit);
      precision.middleCols(first, k) = layout.gather(column);
    }
    const Eigen::LLT<Matrix> factor(0.5 * (precision + precision.transpose()));
    if (factor.info() != Eigen::Success)
      throw ComputationError(origin + ": the precision is not positive definite in floating-point numbers.");
    std::vector<Vector> result(fields.size());
    for (unsigned int f = 0; f < fields.size(); ++f)
    {
      if (f == error)
        continue;
      // Rows of the expansion E of the coefficients: the variance at a degree of freedom is that of its row.
      const auto n_dofs = fields[f].space().n_owned();
      result[f]         = Vector::Zero(n_dofs);
      for (Index first = 0; first < n; first += block)
      {
        const Index k       = std::min(block, n - first);
        const Matrix root   = factor.matrixL().transpose().solve(Matrix::Identity(n, n).middleCols(first, k));
        const MultiVector o = root.middleRows(layout.offset(), layout.n_local());
        result[f] += fields[f].expand(fields.part(o, f)).rowwise().squaredNorm();
      }
      result[f] = result[f].cwiseSqrt();
    }
    return result;
  }

  template void check_state_mean_field(const Case<2> &);
  template void check_state_mean_field(const Case<3> &);
  template std::vector<Vector> state_mean_field(const Case<2> &, const Vector &);
  template std::vector<Vector> state_mean_field(const Case<3> &, const Vector &);
} // namespace varfield
