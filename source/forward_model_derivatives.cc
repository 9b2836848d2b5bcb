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
    for (unsigned int s = 0; s < steps_.size(); ++s)
      for (unsigned int e = 0; e < experiments_.size(); ++e)
      {
        const Solved at{s, e};
        state.by_field.push_back(by_field_pool_.take());
        auto &matrices = *state.by_field.back();
        if (matrices.empty())
          assembler_->reinit_field_matrices(matrices, condensed_);
        for (auto &matrix : matrices)
          matrix = 0.;
        const Vector u        = state.states.col(column_of(at));
        const GhostedVector v = space_->ghosted(level(state, u, at));
        std::unique_ptr<const GhostedVector> w;
        typename Assembler<dim>::Task task{fields};
        task.state           = &v;
        task.field_matrices  = &matrices;
        task.row_constraints = &condensed_;
        if (first_solved_ > 0)
        {
          w.reset(new GhostedVector(space_->ghosted(rate(state, u, at))));
          task.rate = w.get();
        }
        assembler_->sweep(task);
        for (auto &matrix : matrices)
          matrix.compress(VectorOperation::add);
      }
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
      std::vector<MultiVector> blocks;
      for (unsigned int e = 0; e < n; ++e)
      {
        const Solved at{s, e};
        MultiVector rhs = MultiVector::Zero(space_->n_owned(), k);
        for (unsigned int f = 0; f < assembler_->field_slots().size(); ++f)
          rhs -= multiply((*state.by_field[system(at)])[f], expanded[assembler_->field_slots()[f].field]);
        if (first_solved_ > 0)
          rhs -= history(state, at, last[e], before_last[e]);
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
        read(column_of({s, e}), blocks[e]);
        before_last[e] = std::move(last[e]);
        last[e]        = std::move(blocks[e]);
      }
    }
    for (const auto &reading : field_readings_)
      result += state.field_slopes.asDiagonal() * (reading.values * expanded[reading.field]);
    sum_over(space_->comm(), result.data(), static_cast<std::size_t>(result.size()));
    return solved && result.allFinite();
  }

  /// The columns with a weight in each experiment (a measurement belongs to one), and the last snapshot with one.
  template <int dim>
  std::vector<std::vector<Index>> ForwardModel<dim>::active_columns(const Matrix &weights, int &last_snapshot) const
  {
    std::vector<std::vector<Index>> columns(experiments_.size());
    last_snapshot = -1;
    for (Index j = 0; j < weights.cols(); ++j)
    {
      std::vector<bool> present(experiments_.size(), false);
      for (Index i = 0; i < weights.rows(); ++i)
        if (const int last = last_snapshot_[static_cast<std::size_t>(i)]; weights(i, j) != 0. && last >= 0)
        {
          present[experiment_of_[static_cast<std::size_t>(i)]] = true;
          last_snapshot                                        = std::max(last_snapshot, last);
        }
      for (unsigned int e = 0; e < experiments_.size(); ++e)
        if (present[e])
          columns[e].push_back(j);
    }
    return columns;
  }

  template <int dim>
  bool ForwardModel<dim>::adjoint(const ModelState<dim> &state, const Matrix &weights, MultiVector &result,
                                  double tolerance) const
  {
    const unsigned int n = experiments_.size();
    int last_snapshot    = -1; // the states behind it do not matter
    const auto columns   = active_columns(weights, last_snapshot);

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
                      for (std::size_t j = 0; j < columns[e].size(); ++j)
                        of_traces[t].col(columns[e][j]) += part.col(static_cast<Index>(j));
                    });
    };

    // Of every experiment: what the steps behind add to the right-hand side of the next one, and of the one before it.
    std::vector<MultiVector> to_next(n), to_second(n);
    for (unsigned int e = 0; e < n; ++e)
      to_next[e] = to_second[e] = MultiVector::Zero(space_->n_owned(), static_cast<Index>(columns[e].size()));
    const auto right_hand_side = [&](unsigned int column, unsigned int e)
    {
      MultiVector q = to_next[e];
      if (observation_[column].nonZeros() > 0)
        q += observation_[column].transpose() * weights(Eigen::all, columns[e]);
      return q;
    };
    bool solved = true;
    for (int s = last_snapshot - static_cast<int>(first_solved_); s >= 0; --s)
    {
      const auto &step = steps_[static_cast<std::size_t>(s)];
      std::vector<MultiVector> blocks;
      for (unsigned int e = 0; e < n; ++e)
        blocks.push_back(right_hand_side(column_of({static_cast<unsigned int>(s), e}), e));
      solved = solve_blocks(state, static_cast<unsigned int>(s), blocks, true, tolerance) && solved;
      for (unsigned int e = 0; e < n; ++e)
      {
        const Solved at{static_cast<unsigned int>(s), e};
        const MultiVector &p = blocks[e];
        for (unsigned int f = 0; f < assembler_->field_slots().size(); ++f)
        {
          const MultiVector part = multiply_transpose((*state.by_field[system(at)])[f], p);
          for (std::size_t j = 0; j < columns[e].size(); ++j)
            gradients[assembler_->field_slots()[f].field].col(columns[e][j]) -= part.col(static_cast<Index>(j));
        }
        const bool traced = has_trace(column_of(at));
        if (!traced && first_solved_ == 0)
          continue;
        MultiVector free = p, by_matrix;
        zero_dirichlet(free);
        if (traced || step.level[1] != 0.)
          by_matrix = multiply_transpose(matrix_of(state, at).full, free);
        if (traced)
          add_traces(e, column_of(at), p - by_matrix);
        if (first_solved_ == 0)
          continue;
        // −H₁ᵀp and −H₂ᵀp; see history().
        const double ratio           = step.level[1] / step.level[0];
        const MultiVector by_storage = multiply_transpose(*state.storage, free);
        to_next[e]                   = to_second[e] - (step.rate[1] - step.rate[0] * ratio) * by_storage;
        if (ratio != 0.)
          to_next[e] -= ratio * by_matrix;
        to_second[e] = -step.rate[2] * by_storage;
      }
    }
    if (first_solved_ > 0 && last_snapshot >= 0)
      for (unsigned int e = 0; e < n; ++e)
        add_traces(e, column(0, e), right_hand_side(column(0, e), e));
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

  template class ForwardModel<2>;
  template class ForwardModel<3>;
} // namespace varfield
