#include <cmath>
#include <varfield/faults.h>
#include <varfield/forward_model.h>
#include <varfield/hierarchy.h>
#include <varfield/timing.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  std::shared_ptr<Workspace> ForwardModel<dim>::borrow(bool with_state_matrix) const
  {
    // A workspace that has what is asked for comes first: its symbolic factorisation is the costly part.
    const auto fits = [with_state_matrix](const auto &w) { return (w->solver != nullptr) == with_state_matrix; };
    auto found      = std::find_if(pool_.begin(), pool_.end(), fits);
    std::unique_ptr<Workspace> work;
    if (found != pool_.end())
    {
      work = std::move(*found);
      pool_.erase(found);
    }
    else
      work = std::make_unique<Workspace>();
    if (with_state_matrix && work->solver == nullptr)
    {
      const auto &handler = space_->dof_handler();
      reinit_matrix(work->full, handler, space_->hanging(), handler, space_->hanging());
      reinit_matrix(work->state, handler, space_->hanging(), handler, space_->hanging());
      // Dirichlet rows lose their entries but keep their place in the pattern.
      MatSetOption(work->state, MAT_KEEP_NONZERO_PATTERN, PETSC_TRUE);
      const auto kind = physics_->is_symmetric() ? MatrixKind::spd : MatrixKind::general;
      work->solver    = LinearSolver::create(
             settings_, kind, handler.n_dofs(), dim,
             [this, &handler]
             {
            if (!hierarchy_)
              hierarchy_ = std::make_shared<Hierarchy>(*mesh_, handler, condensed_);
            return hierarchy_;
          },
             /* is_of_state */ true);
    }
    auto &pool = pool_;
    return std::shared_ptr<Workspace>(work.release(), [&pool](Workspace *w) { pool.emplace_back(w); });
  }

  template <int dim>
  std::vector<GhostedVector> ForwardModel<dim>::ghosted_fields(const Vector &parameters) const
  {
    std::vector<GhostedVector> result;
    result.reserve(assembler_->field_slots().size()); // a copy of such a vector has no ghost values
    for (const auto &slot : assembler_->field_slots())
      result.push_back((*fields_)[slot.field].space().ghosted(fields_->values(parameters, slot.field)));
    return result;
  }

  template <int dim>
  double ForwardModel<dim>::norm(const Vector &values) const
  {
    return std::sqrt(Utilities::MPI::sum(values.squaredNorm(), space_->comm()));
  }

  template <int dim>
  void ForwardModel<dim>::zero_dirichlet(MultiVector &block) const
  {
    for (const unsigned int node : dirichlet_nodes_)
      block.row(node).setZero();
  }

  /// K_ff and the identity from K; false where K is not finite or singular.
  template <int dim>
  bool ForwardModel<dim>::factorise(Workspace &work) const
  {
    const Timed timed(Work::factorization);
    if (!std::isfinite(work.full.frobenius_norm()))
      return false;
    MatCopy(work.full, work.state, SAME_NONZERO_PATTERN);
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    std::vector<PetscInt> rows;
    for (const unsigned int node : dirichlet_nodes_)
      rows.push_back(owned.nth_index_in_set(node));
    MatZeroRowsColumns(work.state, rows.size(), rows.data(), 1., nullptr, nullptr);
    cost_.factorizations += 1;
    return work.solver->set_matrix(work.state);
  }

  /// Fixed values and traces at the Dirichlet nodes, zero elsewhere; keeps the slopes of the traces.
  template <int dim>
  MultiVector ForwardModel<dim>::dirichlet_values(ModelState<dim> &state) const
  {
    MultiVector values = dirichlet_values_;
    state.trace_slopes.clear();
    for (const auto &trace : traces_)
    {
      const auto &field         = (*fields_)[trace.field];
      const MultiVector at_node = multiply(trace.values, fields_->values(state.parameters, trace.field));
      Vector slopes             = Vector::Zero(at_node.rows());
      for (const unsigned int node : trace.nodes)
      {
        values(node, trace.experiment) = field.transform().derivative(0, at_node(node, 0));
        slopes(node)                   = field.transform().derivative(1, at_node(node, 0));
      }
      state.trace_slopes.push_back(slopes);
    }
    return values;
  }

  template <int dim>
  bool ForwardModel<dim>::solve_states(const Workspace &work, MultiVector &x, double tolerance) const
  {
    const Timed timed(Work::state_solves, static_cast<double>(x.cols()));
    cost_.state_solves += x.cols();
    return work.solver->solve(x, false, tolerance);
  }

  /// K x = b as a correction of `start`, as accurate as without.
  template <int dim>
  bool ForwardModel<dim>::solve_states_from(const MultiVector &start, const Workspace &work, MultiVector &x) const
  {
    MultiVector correction = x - multiply(work.state, start);
    double ratio           = 1. / settings_.tolerance;
    for (Index e = 0; e < x.cols(); ++e)
      ratio = std::min(ratio, norm(x.col(e)) / norm(correction.col(e)));
    // Not where the start is no better than zero (or not finite).
    if (!(ratio > 1.))
      return solve_states(work, x);
    if (!solve_states(work, correction, std::min(0.5, settings_.tolerance * ratio)))
      return false;
    x = start + correction;
    return true;
  }

  template <int dim>
  bool ForwardModel<dim>::solves_iteratively() const
  {
    const auto kind = physics_->is_symmetric() ? MatrixKind::spd : MatrixKind::general;
    return !LinearSolver::is_direct(settings_, kind, space_->dof_handler().n_dofs(), dim);
  }

  template <int dim>
  bool ForwardModel<dim>::solve_linearized(const Workspace &work, MultiVector &x, bool transpose,
                                           double tolerance) const
  {
    const Timed timed(Work::linear_solves, static_cast<double>(x.cols()));
    cost_.linear_solves += x.cols();
    return work.solver->solve(x, transpose, tolerance > 0. ? std::max(tolerance, settings_.tolerance) : 0.);
  }

  /// Where Newton's method fails, the parameters grow from zero to what they are.
  template <int dim>
  std::unique_ptr<ModelState<dim>> ForwardModel<dim>::solve(const Vector &parameters,
                                                            const SampleGroups *together) const
  {
    auto state = solve_once(parameters, together);
    if (state || physics_->is_linear())
      return state;
    const MultiVector start = std::exchange(start_, MultiVector());
    for (const double share : {0., 0.25, 0.5, 0.75, 1.})
    {
      state = solve_once(share * parameters, together);
      if (!state)
        break;
      start_ = state->states;
    }
    start_ = start;
    (state ? solve_counts().repeated : solve_counts().failed) += 1.;
    return state;
  }

  template <int dim>
  std::unique_ptr<ModelState<dim>> ForwardModel<dim>::solve_once(const Vector &parameters,
                                                                 const SampleGroups *together) const
  {
    auto state           = std::make_unique<ModelState<dim>>();
    state->parameters    = parameters;
    const auto fields    = ghosted_fields(parameters);
    const unsigned int n = experiments_.size();
    for (unsigned int e = 0; e < n; ++e)
      state->work.push_back(borrow(e == 0 || !physics_->is_linear()));
    state->states = dirichlet_values(*state);
    bool solved   = true;
    if (physics_->is_linear())
      solved = solve_linear(*state, fields);
    else if (together != nullptr && together->n_groups() > 1)
      solved = solve_shared(*state, fields, *together);
    else
      for (unsigned int e = 0; e < n && solved; ++e)
        solved = solve_nonlinear(*state, fields, e);
    if (!solved || !std::isfinite(norm(state->states.reshaped())))
      return nullptr;
    if (!physics_->is_linear())
      last_ = state->states;
    predict(*state);
    return state;
  }

  template <int dim>
  void ForwardModel<dim>::predict(ModelState<dim> &state) const
  {
    Vector predictions = Vector::Zero(static_cast<Index>(experiment_of_.size()));
    for (unsigned int e = 0; e < experiments_.size(); ++e)
      predictions += observation_[e] * state.states.col(e);
    Utilities::MPI::sum(ArrayView<const double>(predictions.data(), predictions.size()), space_->comm(),
                        ArrayView<double>(predictions.data(), predictions.size()));
    state.predictions = predictions;
  }

  template <int dim>
  bool ForwardModel<dim>::solve_linear(ModelState<dim> &state, const std::vector<GhostedVector> &fields) const
  {
    Workspace &work        = *state.work[0];
    const bool have_matrix = constant_matrix_ && work.factorised;
    GhostedVector residual(space_->dof_handler().locally_owned_dofs(), space_->relevant(), space_->comm());
    if (!have_matrix)
      work.full = 0.;
    assembler_->sweep({fields, nullptr, &residual, have_matrix ? nullptr : &work.full});
    residual.compress(VectorOperation::add);
    if (!have_matrix)
    {
      finish_matrix(work.full, space_->dof_handler(), space_->hanging());
      work.factorised = factorise(work);
      if (!work.factorised)
        return false;
    }
    MultiVector &u          = state.states; // holds the Dirichlet values
    MultiVector rhs         = loads_ - multiply(work.full, u);
    const Vector zero_state = Eigen::Map<const Vector>(residual.begin(), rhs.rows());
    rhs.colwise() -= zero_state;
    for (const unsigned int node : dirichlet_nodes_)
      rhs.row(node) = u.row(node);
    u = rhs;
    if (!(start_.cols() > 0 && work.solver->is_iterative() ? solve_states_from(start_, work, u)
                                                           : solve_states(work, u)))
      return false;
    // A factorisation of a singular matrix may succeed in floating-point numbers; its solutions do not.
    if (!(norm((multiply(work.state, u) - rhs).reshaped()) <= 1e-6 * norm(rhs.reshaped())))
      return false;
    last_ = u; // zero at hanging nodes, as in the linear system
    space_->distribute(u);
    return true;
  }

  /// R(u, m) in all rows, and if `work` is given the state matrix.
  template <int dim>
  Vector ForwardModel<dim>::residual(const std::vector<GhostedVector> &fields, const Vector &u, unsigned int experiment,
                                     Workspace *work) const
  {
    GhostedVector sum(space_->dof_handler().locally_owned_dofs(), space_->relevant(), space_->comm());
    const GhostedVector state = space_->ghosted(u);
    if (work != nullptr)
      work->full = 0.;
    assembler_->sweep({fields, &state, &sum, work != nullptr ? &work->full : nullptr});
    sum.compress(VectorOperation::add);
    if (work != nullptr)
      finish_matrix(work->full, space_->dof_handler(), space_->hanging());
    return Eigen::Map<const Vector>(sum.begin(), u.size()) - loads_.col(experiment);
  }

  /// The same with Dirichlet rows zero.
  template <int dim>
  Vector ForwardModel<dim>::assemble_newton(const std::vector<GhostedVector> &fields, const Vector &u,
                                            unsigned int experiment, Workspace *work) const
  {
    MultiVector r = residual(fields, u, experiment, work);
    zero_dirichlet(r);
    return r;
  }

  template <int dim>
  Vector ForwardModel<dim>::boundary_flux(const ModelState<dim> &state, unsigned int experiment) const
  {
    const Vector u = state.states.col(experiment);
    Vector flux    = boundary_loads_.col(experiment) - assembler_->robin_part(space_->ghosted(u));
    const Vector r = residual(ghosted_fields(state.parameters), u, experiment, nullptr);
    for (const unsigned int node : dirichlet_nodes_)
      flux[node] += r[node];
    return flux;
  }

  /// Each group solves some of the experiments. Of the others it sets up the matrices at the states found.
  template <int dim>
  bool ForwardModel<dim>::solve_shared(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                       const SampleGroups &groups) const
  {
    const unsigned int n = experiments_.size();
    MultiVector found    = MultiVector::Zero(state.states.rows(), n);
    bool solved          = true;
    for (unsigned int e = groups.group(); e < n && solved; e += groups.n_groups())
    {
      solved       = solve_nonlinear(state, fields, e);
      found.col(e) = state.states.col(e);
    }
    if (groups.sum(solved ? 0. : 1.) > 0.)
      return false;
    groups.sum(found);
    for (unsigned int e = 0; e < n && solved; ++e)
      if (e % groups.n_groups() != groups.group())
        solved = solve_newton(state, fields, e, found.col(e), newton_target(cold_residual(state, fields, e), e));
    return groups.sum(solved ? 0. : 1.) == 0.;
  }

  template <int dim>
  double ForwardModel<dim>::newton_target(double cold_residual, unsigned int experiment) const
  {
    return newton_tolerance_ * std::max(cold_residual, norm(loads_.col(experiment)));
  }

  /// Of the Dirichlet values.
  template <int dim>
  double ForwardModel<dim>::cold_residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                          unsigned int experiment) const
  {
    MultiVector cold = state.states.col(experiment);
    space_->distribute(cold);
    return norm(assemble_newton(fields, cold, experiment, nullptr));
  }

  template <int dim>
  void ForwardModel<dim>::keep(Archive &archive) const
  {
    bool is_there = start_.cols() > 0;
    archive.number("has a start of iterations", is_there);
    if (is_there)
      archive.columns("start of iterations", space_->layout(), start_);
  }

  /// From the Dirichlet values, or from the start where its residual is smaller; relative to the former in any case.
  template <int dim>
  bool ForwardModel<dim>::solve_nonlinear(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                          unsigned int experiment) const
  {
    MultiVector cold = state.states.col(experiment);
    space_->distribute(cold);
    const double size = cold_residual(state, fields, experiment), target = newton_target(size, experiment);
    if (start_.cols() > 0)
    {
      MultiVector warm = start_.col(experiment);
      for (const unsigned int node : dirichlet_nodes_)
        warm.row(node) = cold.row(node);
      space_->distribute(warm);
      if (norm(assemble_newton(fields, warm, experiment, nullptr)) < size &&
          solve_newton(state, fields, experiment, std::move(warm), target))
        return true;
    }
    return solve_newton(state, fields, experiment, std::move(cold), target);
  }

  /// Inexact: the linear systems are solved to ηₖ = 0.9 |rₖ|²/|rₖ₋₁|², at most 0.1 (S. C. Eisenstat, H. F. Walker, SIAM
  /// J. Sci. Comput. 17 (1996) 16, choice 2), which leaves the convergence quadratic.
  template <int dim>
  bool ForwardModel<dim>::solve_newton(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                       unsigned int experiment, MultiVector u, double target) const
  {
    Workspace &work = *state.work[experiment];
    Vector r        = assemble_newton(fields, u, experiment, &work);
    double size = norm(r), forcing = 0.1;
    for (unsigned int iteration = 0; iteration < max_newton_; ++iteration)
    {
      if (!std::isfinite(size) || !factorise(work))
        return false;
      if (size <= target)
      {
        state.states.col(experiment) = u;
        return true;
      }
      // In full where the end may be near: the last step is what makes the state accurate.
      MultiVector step = -r;
      if (!solve_states(work, step, forcing * size > 1e3 * target ? forcing : 0.))
        return false;
      zero_dirichlet(step); // inexact there too, and no residual would tell
      double length = 1., new_size = 0.;
      MultiVector candidate;
      for (unsigned int halving = 0; halving < 12; ++halving, length /= 2)
      {
        candidate = u + length * step;
        space_->distribute(candidate);
        new_size = norm(assemble_newton(fields, candidate, experiment, nullptr));
        if (std::isfinite(new_size) && new_size < (1. - 1e-4 * length) * size)
          break;
      }
      u                = candidate;
      r                = assemble_newton(fields, u, experiment, &work);
      const double now = norm(r);
      forcing          = std::min(0.1, 0.9 * now * now / (size * size));
      size             = now;
    }
    return false;
  }

  template <int dim>
  void ForwardModel<dim>::linearize(ModelState<dim> &state) const
  {
    const auto fields = ghosted_fields(state.parameters);
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      auto &matrices = state.work[e]->field;
      if (matrices.empty())
        assembler_->reinit_field_matrices(matrices, condensed_);
      for (auto &matrix : matrices)
        matrix = 0.;
      const GhostedVector u = space_->ghosted(state.states.col(e));
      assembler_->sweep({fields, &u, nullptr, nullptr, &matrices, &condensed_});
      for (auto &matrix : matrices)
        matrix.compress(VectorOperation::add);
    }
  }

  template <int dim>
  bool ForwardModel<dim>::solve_blocks(const ModelState<dim> &state, std::vector<MultiVector> &blocks, bool transpose,
                                       double tolerance) const
  {
    if (!physics_->is_linear())
    {
      bool solved = true;
      for (unsigned int e = 0; e < blocks.size(); ++e)
        solved = solve_linearized(*state.work[e], blocks[e], transpose, tolerance) && solved;
      return solved;
    }
    Index columns = 0;
    for (const auto &block : blocks)
      columns += block.cols();
    MultiVector all(space_->n_owned(), columns);
    Index first = 0;
    for (const auto &block : blocks)
    {
      all.middleCols(first, block.cols()) = block;
      first += block.cols();
    }
    const bool solved = solve_linearized(*state.work[0], all, transpose, tolerance);
    first             = 0;
    for (auto &block : blocks)
    {
      block = all.middleCols(first, block.cols());
      first += block.cols();
    }
    return solved;
  }

  template <int dim>
  bool ForwardModel<dim>::tangent(const ModelState<dim> &state, const MultiVector &directions, Matrix &result,
                                  double tolerance) const
  {
    std::vector<MultiVector> expanded(fields_->size());
    for (unsigned int f = 0; f < fields_->size(); ++f)
      expanded[f] = (*fields_)[f].expand(fields_->part(directions, f));
    std::vector<MultiVector> blocks;
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      MultiVector rhs = MultiVector::Zero(space_->n_owned(), directions.cols());
      for (unsigned int s = 0; s < assembler_->field_slots().size(); ++s)
        rhs -= multiply(state.work[e]->field[s], expanded[assembler_->field_slots()[s].field]);
      MultiVector boundary;
      for (std::size_t t = 0; t < traces_.size(); ++t)
        if (traces_[t].experiment == e)
        {
          if (boundary.cols() == 0)
            boundary = MultiVector::Zero(rhs.rows(), rhs.cols());
          boundary += state.trace_slopes[t].asDiagonal() * multiply(traces_[t].values, expanded[traces_[t].field]);
        }
      if (boundary.cols() > 0)
      {
        rhs -= multiply(matrices_of(state, e).full, boundary);
        for (const unsigned int node : dirichlet_nodes_)
          rhs.row(node) = boundary.row(node);
      }
      blocks.push_back(std::move(rhs));
    }
    const bool solved = solve_blocks(state, blocks, false, tolerance);
    result            = Matrix::Zero(static_cast<Index>(experiment_of_.size()), directions.cols());
    for (unsigned int e = 0; e < experiments_.size(); ++e)
      result += observation_[e] * blocks[e];
    sum_over(space_->comm(), result.data(), static_cast<std::size_t>(result.size()));
    return solved && result.allFinite();
  }

  template <int dim>
  bool ForwardModel<dim>::adjoint(const ModelState<dim> &state, const Matrix &weights, MultiVector &result,
                                  double tolerance) const
  {
    // Only columns with a weight in an experiment are solved for: a measurement belongs to one experiment.
    std::vector<std::vector<Index>> columns(experiments_.size());
    for (Index j = 0; j < weights.cols(); ++j)
    {
      std::vector<bool> present(experiments_.size(), false);
      for (Index i = 0; i < weights.rows(); ++i)
        if (weights(i, j) != 0.)
          present[experiment_of_[static_cast<std::size_t>(i)]] = true;
      for (unsigned int e = 0; e < experiments_.size(); ++e)
        if (present[e])
          columns[e].push_back(j);
    }
    std::vector<MultiVector> blocks;
    for (unsigned int e = 0; e < experiments_.size(); ++e)
      blocks.push_back(observation_[e].transpose() * weights(Eigen::all, columns[e]));
    const bool solved = solve_blocks(state, blocks, true, tolerance);

    std::vector<MultiVector> gradients(fields_->size());
    for (unsigned int f = 0; f < fields_->size(); ++f)
      gradients[f] = MultiVector::Zero((*fields_)[f].space().n_owned(), weights.cols());
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      MultiVector &p = blocks[e];
      for (unsigned int s = 0; s < assembler_->field_slots().size(); ++s)
      {
        const MultiVector part = multiply_transpose(state.work[e]->field[s], p);
        for (std::size_t j = 0; j < columns[e].size(); ++j)
          gradients[assembler_->field_slots()[s].field].col(columns[e][j]) -= part.col(j);
      }
      for (std::size_t t = 0; t < traces_.size(); ++t)
        if (traces_[t].experiment == e)
        {
          MultiVector free = p;
          zero_dirichlet(free);
          const MultiVector at_nodes =
              state.trace_slopes[t].asDiagonal() * (p - multiply_transpose(matrices_of(state, e).full, free));
          const MultiVector part = multiply_transpose(traces_[t].values, at_nodes);
          for (std::size_t j = 0; j < columns[e].size(); ++j)
            gradients[traces_[t].field].col(columns[e][j]) += part.col(j);
        }
    }
    result.resize(fields_->prior().layout().n_local(), weights.cols());
    for (unsigned int f = 0; f < fields_->size(); ++f)
      result.middleRows(fields_->offset(f), (*fields_)[f].n_local()) = (*fields_)[f].restrict(gradients[f]);
    return solved;
  }

  template class ForwardModel<2>;
  template class ForwardModel<3>;
} // namespace varfield
