#include <varfield/forward_model.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  void ForwardModel<dim>::linearize(ModelState<dim> &state) const
  {
    state.by_field.clear();
    if (assembler_->field_slots().empty())
      return;
    const auto fields = ghosted_fields(state.parameters);
    const bool one_sweep =
        physics_->is_linear() && steps_.size() * experiments_.size() > assembler_->n_linear_evaluations();
    std::deque<GhostedVector> held;
    std::vector<typename Assembler<dim>::Linearized> all;
    for (unsigned int s = 0; s < steps_.size(); ++s)
      for (unsigned int e = 0; e < experiments_.size(); ++e)
      {
        const Solved at{s, e};
        state.by_field.push_back(by_field_pool_.take());
        auto &matrices = *state.by_field.back();
        if (matrices.empty())
          assembler_->reinit_field_matrices(matrices, space_->hanging());
        for (auto &matrix : matrices)
          matrix = 0.;
        const Vector u = state.states.col(column_of(at));
        held.push_back(space_->ghosted(level(state, u, at)));
        all.push_back({&held.back(), nullptr, &matrices});
        if (first_solved_ > 0)
        {
          held.push_back(space_->ghosted(rate(state, u, at)));
          all.back().rate = &held.back();
        }
        if (one_sweep)
          continue;
        typename Assembler<dim>::Task task{fields};
        task.state           = all.back().state;
        task.rate            = all.back().rate;
        task.field_matrices  = &matrices;
        task.row_constraints = &space_->hanging();
        assembler_->sweep(task);
        all.clear();
        held.clear();
      }
    if (one_sweep)
      assembler_->sweep_linear(fields, all, space_->hanging());
    for (const auto &matrices : state.by_field)
      for (auto &matrix : *matrices)
        matrix.compress(VectorOperation::add);
  }

  template <int dim>
  bool ForwardModel<dim>::solve_blocks(const ModelState<dim> &state, unsigned int step,
                                       std::vector<MultiVector> &blocks, bool transpose, double tolerance) const
  {
    if (!physics_->is_linear())
    {
      bool solved = true;
      for (unsigned int e = 0; e < blocks.size(); ++e)
        solved = solve_linearized(matrix_of(state, {step, e}), blocks[e], transpose, tolerance) && solved;
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
    const bool solved = solve_linearized(matrix_of(state, {step, 0}), all, transpose, tolerance);
    first             = 0;
    for (auto &block : blocks)
    {
      block = all.middleCols(first, block.cols());
      first += block.cols();
    }
    return solved;
  }

  /// The rows of this rank's nodes.
  template <int dim>
  Eigen::SparseMatrix<double> ForwardModel<dim>::owned_flux_readings(const Solved &at) const
  {
    const auto &owned = space_->dof_handler().locally_owned_dofs();
    std::vector<Eigen::Triplet<double>> entries;
    const auto &all = flux_readings_[system(at)];
    for (Index i = 0; i < all.outerSize(); ++i)
      for (Eigen::SparseMatrix<double>::InnerIterator entry(all, i); entry; ++entry)
        if (const auto dof = static_cast<types::global_dof_index>(entry.row()); owned.is_element(dof))
          entries.emplace_back(owned.index_within_set(dof), i, entry.value());
    Eigen::SparseMatrix<double> result(space_->n_owned(), all.cols());
    result.setFromTriplets(entries.begin(), entries.end());
    return result;
  }

  template <int dim>
  bool ForwardModel<dim>::has_trace(unsigned int column) const
  {
    return std::any_of(traces_.begin(), traces_.end(),
                       [column](const Trace &trace)
                       { return std::binary_search(trace.columns.begin(), trace.columns.end(), column); });
  }

  /// Calls action(trace, its number, its column of factors) for the traces in a column of the states.
  template <int dim>
  template <class Action>
  void ForwardModel<dim>::for_traces_in(unsigned int column, const Action &action) const
  {
    for (std::size_t t = 0; t < traces_.size(); ++t)
    {
      const auto &columns = traces_[t].columns;
      const auto found    = std::lower_bound(columns.begin(), columns.end(), column);
      if (found != columns.end() && *found == column)
        action(traces_[t], t, traces_[t].factors.col(found - columns.begin()));
    }
  }

  template <int dim>
  bool ForwardModel<dim>::tangent(const ModelState<dim> &state, const MultiVector &directions, Matrix &result,
                                  double tolerance) const
  {
    const Index k        = directions.cols();
    const unsigned int n = experiments_.size();
    std::vector<MultiVector> expanded(fields_->size());
    for (unsigned int f = 0; f < fields_->size(); ++f)
      expanded[f] = (*fields_)[f].expand(fields_->part(directions, f));
    const auto load = [&](const Solved &at, bool only_on_boundary)
    {
      MultiVector change = MultiVector::Zero(space_->n_owned(), k);
      for (std::size_t l = 0; l < field_loads_.size(); ++l)
        if (const auto &part = field_loads_[l].part;
            field_loads_[l].is_of(static_cast<Index>(system(at))) && (part.on_boundary || !only_on_boundary))
          change += multiply(*part.matrix, state.load_slopes[l].asDiagonal() * expanded[part.field]);
      return change;
    };
    // T'(m) δm at the nodes of every trace.
    std::vector<MultiVector> at_nodes;
    for (std::size_t t = 0; t < traces_.size(); ++t)
      at_nodes.push_back(state.trace_slopes[t].asDiagonal() *
                         multiply(traces_[t].values, expanded[traces_[t].field])(traces_[t].nodes, Eigen::all));
    const auto prescribed = [&](unsigned int column)
    {
      MultiVector change = MultiVector::Zero(space_->n_owned(), k);
      for_traces_in(column, [&](const Trace &trace, std::size_t t, const auto &factors)
                    { change(trace.nodes, Eigen::all) += factors.asDiagonal() * at_nodes[t]; });
      return change;
    };

    result          = Matrix::Zero(static_cast<Index>(experiment_of_.size()), k);
    const auto read = [&](unsigned int column, const MultiVector &change)
    {
      if (observation_[column].nonZeros() > 0)
        result += observation_[column] * change;
    };
    std::vector<MultiVector> last(n), before_last(n);
    if (first_solved_ > 0)
      for (unsigned int e = 0; e < n; ++e)
      {
        last[e] = prescribed(column(0, e));
        read(column(0, e), last[e]);
      }
    bool solved = true;
    for (unsigned int s = 0; s < steps_.size(); ++s)
    {
      std::vector<MultiVector> blocks, unsolved(n);
      for (unsigned int e = 0; e < n; ++e)
      {
        const Solved at{s, e};
        MultiVector rhs = load(at, false);
        for (unsigned int f = 0; f < assembler_->field_slots().size(); ++f)
          rhs -= multiply((*state.by_field[system(at)])[f], expanded[assembler_->field_slots()[f].field]);
        if (first_solved_ > 0)
          rhs -= history(state, at, last[e], before_last[e]);
        if (measures_flux(at))
          unsolved[e] = rhs;
        if (has_trace(column_of(at)))
        {
          const MultiVector boundary = prescribed(column_of(at));
          rhs -= multiply(matrix_of(state, at).full, boundary);
          for (const unsigned int node : dirichlet_nodes_)
            rhs.row(node) = boundary.row(node);
        }
        else
          zero_dirichlet(rhs);
        blocks.push_back(std::move(rhs));
      }
      solved = solve_blocks(state, s, blocks, false, tolerance) && solved;
      for (unsigned int e = 0; e < n; ++e)
      {
        const Solved at{s, e};
        read(column_of(at), blocks[e]);
        if (measures_flux(at))
        {
          const auto &level          = steps_[s].level;
          const MultiVector residual = multiply(matrix_of(state, at).full, blocks[e]) - unsolved[e];
          MultiVector flux =
              load(at, true) -
              robin_product(level[1] == 0. ? blocks[e] : MultiVector(level[0] * blocks[e] + level[1] * last[e]));
          for (const unsigned int node : dirichlet_nodes_)
            flux.row(node) += residual.row(node);
          result += owned_flux_readings(at).transpose() * flux;
        }
        before_last[e] = std::move(last[e]);
        last[e]        = std::move(blocks[e]);
      }
    }
    for (const auto &reading : field_readings_)
      result += state.field_slopes.asDiagonal() * (reading.values * expanded[reading.field]);
    sum_over(space_->comm(), result.data(), static_cast<std::size_t>(result.size()));
    return solved && result.allFinite();
  }

  /// Of each experiment (a measurement belongs to one), and the last snapshot of all.
  template <int dim>
  std::vector<typename ForwardModel<dim>::ActiveColumns> ForwardModel<dim>::active_columns(const Matrix &weights,
                                                                                           int &last_snapshot) const
  {
    std::vector<std::vector<std::pair<int, Index>>> found(experiments_.size()); // minus the snapshot, to be ascending
    last_snapshot = -1;
    for (Index j = 0; j < weights.cols(); ++j)
    {
      std::vector<int> last(experiments_.size(), -1);
      for (Index i = 0; i < weights.rows(); ++i)
        if (weights(i, j) != 0.)
        {
          int &of_experiment = last[experiment_of_[static_cast<std::size_t>(i)]];
          of_experiment      = std::max(of_experiment, last_snapshot_[static_cast<std::size_t>(i)]);
        }
      for (unsigned int e = 0; e < experiments_.size(); ++e)
        if (last[e] >= 0)
        {
          found[e].emplace_back(-last[e], j);
          last_snapshot = std::max(last_snapshot, last[e]);
        }
    }
    std::vector<ActiveColumns> result(experiments_.size());
    for (unsigned int e = 0; e < experiments_.size(); ++e)
    {
      std::sort(found[e].begin(), found[e].end());
      for (const auto &[minus_last, j] : found[e])
      {
        result[e].columns.push_back(j);
        result[e].last.push_back(-minus_last);
      }
    }
    return result;
  }

  template <int dim>
  bool ForwardModel<dim>::adjoint(const ModelState<dim> &state, const Matrix &weights, MultiVector &result,
                                  double tolerance) const
  {
    const unsigned int n = experiments_.size();
    int last_snapshot    = -1; // the states behind it do not matter
    const auto active    = active_columns(weights, last_snapshot);

    std::vector<MultiVector> gradients(fields_->size()), of_traces;
    for (unsigned int f = 0; f < fields_->size(); ++f)
      gradients[f] = MultiVector::Zero((*fields_)[f].space().n_owned(), weights.cols());
    for (const auto &trace : traces_)
      of_traces.push_back(MultiVector::Zero(static_cast<Index>(trace.nodes.size()), weights.cols()));
    // What the multipliers of prescribed values give.
    const auto add_traces = [&](unsigned int e, unsigned int column, const MultiVector &multipliers)
    {
      for_traces_in(column,
                    [&](const Trace &trace, std::size_t t, const auto &factors)
                    {
                      const MultiVector part = factors.asDiagonal() * multipliers(trace.nodes, Eigen::all);
                      for (Index j = 0; j < part.cols(); ++j)
                        of_traces[t].col(active[e].columns[static_cast<std::size_t>(j)]) += part.col(j);
                    });
    };

    // Of every experiment: what the steps behind add to the right-hand side of the next one, and of the one before it,
    // for the columns that matter by then.
    std::vector<MultiVector> to_next(n, MultiVector(space_->n_owned(), 0)), to_second = to_next;
    const auto of_columns = [&](unsigned int e, Index count) -> Matrix
    { return weights(Eigen::all, std::vector<Index>(active[e].columns.begin(), active[e].columns.begin() + count)); };
    const auto right_hand_side = [&](int snapshot, unsigned int e)
    {
      const Index count = active[e].n_at(snapshot);
      for (MultiVector *later : {&to_next[e], &to_second[e]})
        if (const Index known = later->cols(); known < count)
        {
          later->conservativeResize(Eigen::NoChange, count);
          later->rightCols(count - known).setZero();
        }
      MultiVector q      = to_next[e];
      const auto &values = observation_[column(static_cast<unsigned int>(snapshot), e)];
      if (values.nonZeros() > 0)
        q += values.transpose() * of_columns(e, count);
      return q;
    };
    bool solved = true;
    for (int s = last_snapshot - static_cast<int>(first_solved_); s >= 0; --s)
    {
      const auto &step = steps_[static_cast<std::size_t>(s)];
      std::vector<MultiVector> blocks, of_fluxes(n), at_dirichlet(n);
      for (unsigned int e = 0; e < n; ++e)
      {
        const Solved at{static_cast<unsigned int>(s), e};
        blocks.push_back(right_hand_side(s + static_cast<int>(first_solved_), e));
        if (!measures_flux(at))
          continue;
        of_fluxes[e]     = owned_flux_readings(at) * of_columns(e, blocks[e].cols());
        at_dirichlet[e]  = of_fluxes[e];
        MultiVector free = of_fluxes[e];
        zero_dirichlet(free);
        at_dirichlet[e] -= free;
        blocks[e] += multiply_transpose(matrix_of(state, at).full, at_dirichlet[e]) -
                     step.level[0] * robin_product(of_fluxes[e]);
      }
      solved = solve_blocks(state, static_cast<unsigned int>(s), blocks, true, tolerance) && solved;
      for (unsigned int e = 0; e < n; ++e)
      {
        const Solved at{static_cast<unsigned int>(s), e};
        const MultiVector &p = blocks[e];
        const auto add       = [&](unsigned int field, const MultiVector &part)
        {
          for (Index j = 0; j < part.cols(); ++j)
            gradients[field].col(active[e].columns[static_cast<std::size_t>(j)]) += part.col(j);
        };
        // The multipliers of the free rows of R − ℓ, and less the weights of those that are fluxes.
        MultiVector free = p;
        zero_dirichlet(free);
        const MultiVector rows = measures_flux(at) ? MultiVector(free - at_dirichlet[e]) : free;
        for (unsigned int f = 0; f < assembler_->field_slots().size(); ++f)
          add(assembler_->field_slots()[f].field, -multiply_transpose((*state.by_field[system(at)])[f], rows));
        for (std::size_t l = 0; l < field_loads_.size(); ++l)
          if (const auto &part = field_loads_[l].part; field_loads_[l].is_of(static_cast<Index>(system(at))))
          {
            const bool is_flux   = part.on_boundary && measures_flux(at);
            const MultiVector by = is_flux ? MultiVector(rows + of_fluxes[e]) : rows;
            add(part.field, state.load_slopes[l].asDiagonal() * multiply_transpose(*part.matrix, by));
          }
        const bool traced = has_trace(column_of(at));
        if (traced)
          add_traces(e, column_of(at), p - multiply_transpose(matrix_of(state, at).full, free));
        if (first_solved_ == 0)
          continue;
        // −H₁ᵀ and −H₂ᵀ times the multipliers; see history().
        const double ratio           = step.level[1] / step.level[0];
        const MultiVector by_storage = multiply_transpose(*state.storage, rows);
        to_next[e]                   = to_second[e] - (step.rate[1] - step.rate[0] * ratio) * by_storage;
        if (ratio != 0.)
          to_next[e] -= ratio * multiply_transpose(matrix_of(state, at).full, rows);
        if (ratio != 0. && measures_flux(at))
          to_next[e] -= step.level[1] * robin_product(of_fluxes[e]);
        to_second[e] = -step.rate[2] * by_storage;
      }
    }
    if (first_solved_ > 0 && last_snapshot >= 0)
      for (unsigned int e = 0; e < n; ++e)
        add_traces(e, column(0, e), right_hand_side(0, e));
    for (std::size_t t = 0; t < traces_.size(); ++t)
    {
      MultiVector at_nodes                   = MultiVector::Zero(space_->n_owned(), weights.cols());
      at_nodes(traces_[t].nodes, Eigen::all) = state.trace_slopes[t].asDiagonal() * of_traces[t];
      gradients[traces_[t].field] += multiply_transpose(traces_[t].values, at_nodes);
    }
    for (const auto &reading : field_readings_)
      gradients[reading.field] += reading.values.transpose() * (state.field_slopes.asDiagonal() * weights);
    result.resize(fields_->prior().layout().n_local(), weights.cols());
    for (unsigned int f = 0; f < fields_->size(); ++f)
      result.middleRows(fields_->offset(f), (*fields_)[f].n_local()) = (*fields_)[f].restrict(gradients[f]);
    return solved;
  }

  template <int dim>
  MultiVector ForwardModel<dim>::residual_curvature(const ModelState<dim> &state, const Vector &weights,
                                                    unsigned int but, const MultiVector &directions) const
  {
    std::vector<MultiVector> expanded, gradients;
    for (unsigned int f = 0; f < fields_->size(); ++f)
    {
      expanded.push_back((*fields_)[f].expand(fields_->part(directions, f)));
      gradients.push_back(MultiVector::Zero(expanded[f].rows(), directions.cols()));
    }
    for (unsigned int s = 0; s < steps_.size(); ++s)
      for (unsigned int e = 0; e < experiments_.size(); ++e)
      {
        const Solved at{s, e};
        std::vector<std::tuple<unsigned int, const SparseMatrix *, Vector>> parts; // field, G of it = matrix · slopes
        for (unsigned int f = 0; f < assembler_->field_slots().size(); ++f)
        {
          const unsigned int field = assembler_->field_slots()[f].field;
          parts.emplace_back(field, &(*state.by_field[system(at)])[f], Vector::Ones(expanded[field].rows()));
        }
        for (std::size_t l = 0; l < field_loads_.size(); ++l)
          if (const auto &part = field_loads_[l].part;
              part.field != but && field_loads_[l].is_of(static_cast<Index>(system(at))))
            parts.emplace_back(part.field, part.matrix.get(), -state.load_slopes[l]);
        MultiVector residual = MultiVector::Zero(space_->n_owned(), directions.cols());
        for (const auto &[field, matrix, slopes] : parts)
          residual += multiply(*matrix, slopes.asDiagonal() * expanded[field]);
        zero_dirichlet(residual);
        residual = weights.asDiagonal() * residual;
        for (const auto &[field, matrix, slopes] : parts)
          gradients[field] += slopes.asDiagonal() * multiply_transpose(*matrix, residual);
      }
    MultiVector result(fields_->prior().layout().n_local(), directions.cols());
    for (unsigned int f = 0; f < fields_->size(); ++f)
      result.middleRows(fields_->offset(f), (*fields_)[f].n_local()) = (*fields_)[f].restrict(gradients[f]);
    return result;
  }

  template class ForwardModel<2>;
  template class ForwardModel<3>;
} // namespace varfield
