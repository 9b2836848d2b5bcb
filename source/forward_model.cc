#include <cmath>
#include <varfield/faults.h>
#include <varfield/forward_model.h>
#include <varfield/hierarchy.h>
#include <varfield/timing.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  std::shared_ptr<StateMatrix> ForwardModel<dim>::take_matrix() const
  {
    auto matrix = matrix_pool_.take();
    if (matrix->solver == nullptr)
    {
      const auto &handler       = space_->dof_handler();
      const Couplings couplings = electrodes_ ? electrodes_->couplings() : Couplings();
      for (auto *m : {&matrix->full, &matrix->reduced})
        reinit_matrix(*m, handler, space_->hanging(), handler, space_->hanging(), couplings);
      // Dirichlet rows lose their entries but keep their place in the pattern.
      MatSetOption(matrix->reduced, MAT_KEEP_NONZERO_PATTERN, PETSC_TRUE);
      const auto kind         = physics_->is_symmetric() ? MatrixKind::spd : MatrixKind::general;
      const auto to_hierarchy = [this, &handler]
      {
        if (!hierarchy_)
          hierarchy_ = std::make_shared<Hierarchy>(*mesh_, handler, condensed_);
        return hierarchy_;
      };
      matrix->solver =
          LinearSolver::create(settings_, kind, handler.n_dofs(), dim, to_hierarchy, /* is_of_state */ true);
    }
    return matrix;
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
  bool ForwardModel<dim>::factorise(StateMatrix &matrix) const
  {
    const Timed timed(Work::factorization);
    if (!std::isfinite(matrix.full.frobenius_norm()))
      return false;
    MatCopy(matrix.full, matrix.reduced, SAME_NONZERO_PATTERN);
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    std::vector<PetscInt> rows;
    for (const unsigned int node : dirichlet_nodes_)
      rows.push_back(owned.nth_index_in_set(node));
    MatZeroRowsColumns(matrix.reduced, rows.size(), rows.data(), 1., nullptr, nullptr);
    cost_.factorizations += 1;
    return matrix.solver->set_matrix(matrix.reduced);
  }

  /// Fixed values and traces at the Dirichlet nodes and in the initial state, zero elsewhere; keeps the slopes of the
  /// traces.
  template <int dim>
  MultiVector ForwardModel<dim>::prescribed_values(ModelState<dim> &state) const
  {
    MultiVector values = prescribed_;
    state.trace_slopes.clear();
    for (const auto &trace : traces_)
    {
      const auto &transform     = (*fields_)[trace.field].transform();
      const MultiVector at_node = multiply(trace.values, fields_->values(state.parameters, trace.field));
      Vector slopes(static_cast<Index>(trace.nodes.size()));
      for (Index i = 0; i < slopes.size(); ++i)
      {
        const unsigned int node = trace.nodes[static_cast<std::size_t>(i)];
        const double k          = transform.derivative(0, at_node(node, 0));
        slopes[i]               = transform.derivative(1, at_node(node, 0));
        for (std::size_t c = 0; c < trace.columns.size(); ++c)
          values(node, trace.columns[c]) += trace.factors(i, static_cast<Index>(c)) * k;
      }
      state.trace_slopes.push_back(slopes);
    }
    if (first_solved_ > 0)
    {
      MultiVector initial = values.leftCols(experiments_.size());
      space_->distribute(initial);
      values.leftCols(experiments_.size()) = initial;
    }
    return values;
  }

  /// T(m) and T'(m) at the owned degrees of freedom of a field.
  template <int dim>
  std::pair<Vector, Vector> ForwardModel<dim>::coefficient(const Vector &parameters, unsigned int field) const
  {
    const auto &transform = (*fields_)[field].transform();
    const Vector m        = fields_->values(parameters, field);
    std::pair<Vector, Vector> result(m, m);
    for (Index i = 0; i < m.size(); ++i)
    {
      result.first[i]  = transform.derivative(0, m[i]);
      result.second[i] = transform.derivative(1, m[i]);
    }
    return result;
  }

  template <int dim>
  void ForwardModel<dim>::add_field_loads(ModelState<dim> &state) const
  {
    if (field_loads_.empty())
      return;
    state.loads = loads_;
    for (const auto &load : field_loads_)
    {
      const auto [values, slopes] = coefficient(state.parameters, load.part.field);
      const MultiVector part      = multiply(*load.part.matrix, values);
      for (const Index i : load.systems)
        state.loads.col(i) += part;
      state.load_slopes.push_back(slopes);
    }
  }

  /// What Robin conditions and electrodes take out: ∫ a u v ds and the terms that couple an electrode's nodes.
  template <int dim>
  MultiVector ForwardModel<dim>::robin_product(MultiVector states) const
  {
    space_->distribute(states);
    MultiVector result(states.rows(), states.cols());
    for (Index j = 0; j < states.cols(); ++j)
    {
      Vector column = assembler_->robin_part(space_->ghosted(states.col(j)));
      if (electrodes_)
        electrodes_->add_product(states.col(j), column);
      result.col(j) = column;
    }
    return result;
  }

  template <int dim>
  bool ForwardModel<dim>::solve_states(const StateMatrix &matrix, MultiVector &x, double tolerance) const
  {
    const Timed timed(Work::state_solves, static_cast<double>(x.cols()));
    cost_.state_solves += x.cols();
    return matrix.solver->solve(x, false, tolerance);
  }

  /// K x = b as a correction of `start`, as accurate as without.
  template <int dim>
  bool ForwardModel<dim>::solve_states_from(const MultiVector &start, const StateMatrix &matrix, MultiVector &x) const
  {
    MultiVector correction = x - multiply(matrix.reduced, start);
    double ratio           = 1. / settings_.tolerance;
    for (Index e = 0; e < x.cols(); ++e)
      ratio = std::min(ratio, norm(x.col(e)) / norm(correction.col(e)));
    // Not where the start is no better than zero (or not finite).
    if (!(ratio > 1.))
      return solve_states(matrix, x);
    if (!solve_states(matrix, correction, std::min(0.5, settings_.tolerance * ratio)))
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
  bool ForwardModel<dim>::solve_linearized(const StateMatrix &matrix, MultiVector &x, bool transpose,
                                           double tolerance) const
  {
    const Timed timed(Work::linear_solves, static_cast<double>(x.cols()));
    cost_.linear_solves += x.cols();
    return matrix.solver->solve(x, transpose, tolerance > 0. ? std::max(tolerance, settings_.tolerance) : 0.);
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
    auto state        = std::make_unique<ModelState<dim>>();
    state->parameters = parameters;
    const auto fields = ghosted_fields(parameters);
    state->states     = prescribed_values(*state);
    add_field_loads(*state);
    assemble_storage(*state, fields);
    bool solved = true;
    if (physics_->is_linear())
      solved = solve_linear(*state, fields);
    else
    {
      for (std::size_t i = 0; i < steps_.size() * experiments_.size(); ++i)
        state->matrices.push_back(take_matrix());
      if (together != nullptr && together->n_groups() > 1)
        solved = solve_shared(*state, fields, *together);
      else
        for (unsigned int e = 0; e < experiments_.size() && solved; ++e)
          solved = solve_nonlinear(*state, fields, e);
    }
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
    const auto n       = static_cast<Index>(experiment_of_.size());
    Vector predictions = Vector::Zero(n);
    for (unsigned int c = 0; c < n_columns(); ++c)
      if (observation_[c].nonZeros() > 0)
        predictions += observation_[c] * state.states.col(c);
    for (unsigned int s = 0; s < steps_.size(); ++s)
      for (unsigned int e = 0; e < experiments_.size(); ++e)
        if (const Solved at{s, e}; measures_flux(at))
          predictions += owned_flux_readings(at).transpose() * boundary_flux(state, s + first_solved_, e);
    for (const auto &reading : field_readings_)
      predictions += reading.values * fields_->values(state.parameters, reading.field);
    Utilities::MPI::sum(ArrayView<const double>(predictions.data(), predictions.size()), space_->comm(),
                        ArrayView<double>(predictions.data(), predictions.size()));
    state.predictions  = predictions + constants_;
    state.field_slopes = Vector::Ones(n);
    for (const auto &reading : field_readings_)
      if (const auto &transform = (*fields_)[reading.field].transform(); reading.transformed)
        for (const Index i : reading.rows)
        {
          state.predictions[i]  = transform.derivative(0, predictions[i]) + constants_[i];
          state.field_slopes[i] = transform.derivative(1, predictions[i]);
        }
  }

  /// What is in no cell alone.
  template <int dim>
  void ForwardModel<dim>::finish_state_matrix(SparseMatrix &matrix, double per_state) const
  {
    if (electrodes_)
      electrodes_->add_to(matrix, per_state);
    finish_matrix(matrix, space_->dof_handler(), space_->hanging());
  }

  /// M; made anew where it depends on the parameters.
  template <int dim>
  void ForwardModel<dim>::assemble_storage(ModelState<dim> &state, const std::vector<GhostedVector> &fields) const
  {
    if (first_solved_ == 0)
      return;
    const auto &slots = assembler_->field_slots();
    const bool varies =
        std::any_of(slots.begin(), slots.end(), [this](const auto &slot) { return assembler_->is_storage(slot); });
    if (!varies && constant_storage_)
    {
      state.storage = constant_storage_;
      return;
    }
    state.storage = storage_pool_.take();
    if (state.storage->m() == 0)
      reinit_matrix(*state.storage, space_->dof_handler(), space_->hanging(), space_->dof_handler(), space_->hanging());
    *state.storage = 0.;
    typename Assembler<dim>::Task task{fields};
    task.state_matrix = &*state.storage;
    task.per_state    = 0.;
    task.per_rate     = 1.;
    assembler_->sweep(task);
    finish_matrix(*state.storage, space_->dof_handler(), space_->hanging(), 0.);
    if (!varies)
      constant_storage_ = state.storage;
  }

  /// The state so many steps before.
  template <int dim>
  MultiVector ForwardModel<dim>::before(const ModelState<dim> &state, const Solved &at, unsigned int steps) const
  {
    const unsigned int snapshot = at.step + first_solved_;
    if (steps > snapshot)
      return MultiVector::Zero(state.states.rows(), 1);
    return state.states.col(column(snapshot - steps, at.experiment));
  }

  template <int dim>
  MultiVector ForwardModel<dim>::level(const ModelState<dim> &state, const MultiVector &u, const Solved &at) const
  {
    const auto &step = steps_[at.step];
    if (step.level[1] == 0.)
      return u;
    return step.level[0] * u + step.level[1] * before(state, at, 1);
  }

  template <int dim>
  MultiVector ForwardModel<dim>::rate(const ModelState<dim> &state, const MultiVector &u, const Solved &at) const
  {
    const auto &factors = steps_[at.step].rate;
    MultiVector result  = factors[0] * u + factors[1] * before(state, at, 1);
    if (factors[2] != 0.)
      result += factors[2] * before(state, at, 2);
    return result;
  }

  template <int dim>
  MultiVector ForwardModel<dim>::history(const ModelState<dim> &state, const Solved &at, const MultiVector &last,
                                         const MultiVector &before_last) const
  {
    // K, of which only A = rate₀ M + level₀ K is held, is (A − rate₀ M)/level₀.
    const auto &step    = steps_[at.step];
    const double ratio  = step.level[1] / step.level[0];
    MultiVector by_rate = (step.rate[1] - step.rate[0] * ratio) * last;
    if (step.rate[2] != 0.)
      by_rate += step.rate[2] * before_last;
    MultiVector result = multiply(*state.storage, by_rate);
    if (ratio != 0.)
      result += ratio * multiply(matrix_of(state, at).full, last);
    return result;
  }

  template <int dim>
  bool ForwardModel<dim>::solve_linear(ModelState<dim> &state, const std::vector<GhostedVector> &fields) const
  {
    unsigned int n_kinds = 0;
    for (const auto &step : steps_)
      n_kinds = std::max(n_kinds, step.kind + 1);
    GhostedVector zero_state(space_->dof_handler().locally_owned_dofs(), space_->relevant(), space_->comm());
    const bool have_matrices = !constant_matrices_.empty();
    // Matrices are combined from K and M, of which only K is assembled here, in the place of the first; where rates are
    // in the law itself, they are what it gives.
    const bool combine = first_solved_ > 0 && !physics_->uses_rates();
    state.matrices     = constant_matrices_;
    std::vector<const TimeStep *> kinds;
    for (unsigned int kind = 0; kind < n_kinds; ++kind)
    {
      kinds.push_back(&*std::find_if(steps_.begin(), steps_.end(), [=](const auto &s) { return s.kind == kind; }));
      typename Assembler<dim>::Task task{fields};
      if (kind == 0)
        task.residual = &zero_state;
      if (!have_matrices)
        state.matrices.push_back(take_matrix());
      if (!have_matrices && (!combine || kind == 0))
      {
        task.state_matrix  = &state.matrices.back()->full;
        task.per_state     = combine ? 1. : kinds[kind]->level[0];
        task.per_rate      = combine ? 0. : kinds[kind]->rate[0];
        *task.state_matrix = 0.;
      }
      if (task.residual != nullptr || task.state_matrix != nullptr)
        assembler_->sweep(task);
      if (task.state_matrix != nullptr)
        finish_state_matrix(*task.state_matrix, task.per_state);
    }
    for (unsigned int kind = n_kinds; kind-- > 0 && combine && !have_matrices;)
    {
      SparseMatrix &matrix = state.matrices[kind]->full;
      if (kind > 0)
        MatCopy(state.matrices[0]->full, matrix, SAME_NONZERO_PATTERN);
      MatScale(matrix, kinds[kind]->level[0]);
      MatAXPY(matrix, kinds[kind]->rate[0], *state.storage,
              electrodes_ ? SUBSET_NONZERO_PATTERN : SAME_NONZERO_PATTERN);
    }
    zero_state.compress(VectorOperation::add);
    if (!have_matrices)
      for (auto &matrix : state.matrices)
        if (!factorise(*matrix))
          return false;
    if (constant_matrix_)
      constant_matrices_ = state.matrices;
    const Vector source = Eigen::Map<const Vector>(zero_state.begin(), state.states.rows());
    MultiVector solved  = MultiVector::Zero(state.states.rows(), state.states.cols());
    for (unsigned int s = 0; s < steps_.size(); ++s)
      if (!solve_linear_step(state, source, s, solved))
        return false;
    last_ = std::move(solved);
    return true;
  }

  /// All experiments in one block. `zero_state`: R(0, m). `solved`: the solution, zero at hanging nodes as in the
  /// linear system.
  template <int dim>
  bool ForwardModel<dim>::solve_linear_step(ModelState<dim> &state, const Vector &zero_state, unsigned int step,
                                            MultiVector &solved) const
  {
    const Index n             = experiments_.size();
    const Solved at           = {step, 0};
    const StateMatrix &matrix = matrix_of(state, at);
    const Index first         = column_of(at);
    const MultiVector given   = state.states.middleCols(first, n); // Dirichlet values
    MultiVector rhs           = loads(state).middleCols(step * n, n) - multiply(matrix.full, given);
    rhs.colwise() -= zero_state;
    if (first_solved_ > 0)
      rhs -= history(state, at, state.states.middleCols(first - n, n),
                     step > 0 ? MultiVector(state.states.middleCols(first - 2 * n, n)) : MultiVector());
    for (const unsigned int node : dirichlet_nodes_)
      rhs.row(node) = given.row(node);
    MultiVector u = rhs;
    MultiVector start;
    if (matrix.solver->is_iterative() && start_.cols() > 0)
      start = start_.middleCols(first, n);
    else if (matrix.solver->is_iterative() && step > 0)
      start = solved.middleCols(first - n, n);
    if (!(start.cols() > 0 ? solve_states_from(start, matrix, u) : solve_states(matrix, u)))
      return false;
    // A factorisation of a singular matrix may succeed in floating-point numbers; its solutions do not.
    if (!(norm((multiply(matrix.reduced, u) - rhs).reshaped()) <= 1e-6 * norm(rhs.reshaped())))
      return false;
    solved.middleCols(first, n) = u;
    space_->distribute(u);
    state.states.middleCols(first, n) = u;
    return true;
  }

  /// R in all rows, and if `matrix` is given its derivative.
  template <int dim>
  Vector ForwardModel<dim>::residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                     const Vector &u, const Solved &at, StateMatrix *matrix) const
  {
    GhostedVector sum(space_->dof_handler().locally_owned_dofs(), space_->relevant(), space_->comm());
    const GhostedVector v = space_->ghosted(level(state, u, at));
    std::unique_ptr<const GhostedVector> w; // a copy would have no ghost values
    typename Assembler<dim>::Task task{fields};
    task.state     = &v;
    task.residual  = &sum;
    task.per_state = steps_[at.step].level[0];
    task.per_rate  = steps_[at.step].rate[0];
    if (first_solved_ > 0)
    {
      w.reset(new GhostedVector(space_->ghosted(rate(state, u, at))));
      task.rate = w.get();
    }
    if (matrix != nullptr)
    {
      matrix->full      = 0.;
      task.state_matrix = &matrix->full;
    }
    assembler_->sweep(task);
    sum.compress(VectorOperation::add);
    if (matrix != nullptr)
      finish_state_matrix(matrix->full, task.per_state);
    Vector r = Eigen::Map<const Vector>(sum.begin(), u.size()) - loads(state).col(static_cast<Index>(system(at)));
    if (electrodes_)
      electrodes_->add_product(level(state, u, at), r);
    return r;
  }

  /// The same with Dirichlet rows zero.
  template <int dim>
  Vector ForwardModel<dim>::free_residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                          const Vector &u, const Solved &at, StateMatrix *matrix) const
  {
    MultiVector r = residual(state, fields, u, at, matrix);
    zero_dirichlet(r);
    return r;
  }

  template <int dim>
  Vector ForwardModel<dim>::boundary_flux(const ModelState<dim> &state, unsigned int snapshot,
                                          unsigned int experiment) const
  {
    const Solved at{snapshot - std::min(snapshot, first_solved_), experiment};
    const Vector u = state.states.col(column_of(at));
    Vector flux    = boundary_loads_.col(static_cast<Index>(system(at))) - Vector(robin_product(level(state, u, at)));
    for (const auto &load : field_loads_)
      if (load.part.on_boundary && load.is_of(static_cast<Index>(system(at))))
        flux += multiply(*load.part.matrix, coefficient(state.parameters, load.part.field).first);
    const Vector r = residual(state, ghosted_fields(state.parameters), u, at, nullptr);
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
    MultiVector found    = MultiVector::Zero(state.states.rows(), state.states.cols());
    const auto is_own    = [&](unsigned int e) { return e % groups.n_groups() == groups.group(); };
    bool solved          = true;
    for (unsigned int e = groups.group(); e < n && solved; e += groups.n_groups())
    {
      solved = solve_nonlinear(state, fields, e);
      for (unsigned int s = 0; s < steps_.size(); ++s)
        found.col(column_of({s, e})) = state.states.col(column_of({s, e}));
    }
    if (groups.sum(solved ? 0. : 1.) > 0.)
      return false;
    groups.sum(found);
    for (unsigned int e = 0; e < n; ++e)
      for (unsigned int s = 0; s < steps_.size() && solved; ++s)
        if (const Solved at{s, e}; !is_own(e))
          solved = solve_newton(state, fields, at, found.col(column_of(at)),
                                newton_target(state, cold_residual(state, fields, at), at));
    return groups.sum(solved ? 0. : 1.) == 0.;
  }

  template <int dim>
  double ForwardModel<dim>::newton_target(const ModelState<dim> &state, double cold_residual, const Solved &at) const
  {
    return newton_tolerance_ * std::max(cold_residual, norm(loads(state).col(static_cast<Index>(system(at)))));
  }

  /// Of the Dirichlet values.
  template <int dim>
  double ForwardModel<dim>::cold_residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                          const Solved &at) const
  {
    return norm(free_residual(state, fields, with_dirichlet(state, at, MultiVector::Zero(state.states.rows(), 1)), at,
                              nullptr));
  }

  template <int dim>
  void ForwardModel<dim>::keep(Archive &archive) const
  {
    bool is_there = start_.cols() > 0;
    archive.number("has a start of iterations", is_there);
    if (is_there)
      archive.columns("start of iterations", space_->layout(), start_);
  }

  /// With the Dirichlet values of a state that is not solved for yet, or is, and zero or `inside` elsewhere.
  template <int dim>
  MultiVector ForwardModel<dim>::with_dirichlet(const ModelState<dim> &state, const Solved &at,
                                                MultiVector inside) const
  {
    for (const unsigned int node : dirichlet_nodes_)
      inside(node, 0) = state.states(node, column_of(at));
    space_->distribute(inside);
    return inside;
  }

  /// Step by step, from the Dirichlet values, from the state before, or from the start, where its residual is smallest;
  /// relative to the first in any case.
  template <int dim>
  bool ForwardModel<dim>::solve_nonlinear(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                          unsigned int experiment) const
  {
    for (unsigned int s = 0; s < steps_.size(); ++s)
    {
      const Solved at{s, experiment};
      std::vector<std::pair<double, MultiVector>> guesses;
      const auto add = [&](MultiVector u)
      {
        u                 = with_dirichlet(state, at, std::move(u));
        const double size = norm(free_residual(state, fields, u, at, nullptr));
        guesses.emplace_back(std::isfinite(size) ? size : std::numeric_limits<double>::max(), std::move(u));
      };
      add(MultiVector::Zero(state.states.rows(), 1));
      const double target = newton_target(state, guesses[0].first, at);
      if (first_solved_ > 0)
        add(before(state, at, 1));
      if (start_.cols() > 0)
        add(start_.col(column_of(at)));
      std::stable_sort(guesses.begin(), guesses.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
      if (!std::any_of(guesses.begin(), guesses.end(),
                       [&](const auto &guess) { return solve_newton(state, fields, at, guess.second, target); }))
        return false;
    }
    return true;
  }

  /// Inexact: the linear systems are solved to ηₖ = 0.9 |rₖ|²/|rₖ₋₁|², at most 0.1 (S. C. Eisenstat, H. F. Walker, SIAM
  /// J. Sci. Comput. 17 (1996) 16, choice 2), which leaves the convergence quadratic.
  template <int dim>
  bool ForwardModel<dim>::solve_newton(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                                       const Solved &at, MultiVector u, double target) const
  {
    StateMatrix &matrix = matrix_of(state, at);
    Vector r            = free_residual(state, fields, u, at, &matrix);
    double size = norm(r), forcing = 0.1;
    for (unsigned int iteration = 0; iteration < max_newton_; ++iteration)
    {
      if (!std::isfinite(size) || !factorise(matrix))
        return false;
      if (size <= target)
      {
        state.states.col(column_of(at)) = u;
        return true;
      }
      // In full where the end may be near: the last step is what makes the state accurate.
      MultiVector step = -r;
      if (!solve_states(matrix, step, forcing * size > 1e3 * target ? forcing : 0.))
        return false;
      zero_dirichlet(step); // inexact there too, and no residual would tell
      double length = 1., new_size = 0.;
      MultiVector candidate;
      for (unsigned int halving = 0; halving < 12; ++halving, length /= 2)
      {
        candidate = u + length * step;
        space_->distribute(candidate);
        new_size = norm(free_residual(state, fields, candidate, at, nullptr));
        if (std::isfinite(new_size) && new_size < (1. - 1e-4 * length) * size)
          break;
      }
      u                = candidate;
      r                = free_residual(state, fields, u, at, &matrix);
      const double now = norm(r);
      forcing          = std::min(0.1, 0.9 * now * now / (size * size));
      size             = now;
    }
    return false;
  }

  template class ForwardModel<2>;
  template class ForwardModel<3>;
} // namespace varfield
