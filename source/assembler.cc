#include <deal.II/fe/fe_values.h>

#include <varfield/assembler.h>
#include <varfield/collective.h>
#include <varfield/timing.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    template <int dim>
    unsigned int highest_degree(const StateSpace<dim> &space, const FieldSet<dim> &fields)
    {
      unsigned int degree = space.fe().degree;
      for (unsigned int f = 0; f < fields.size(); ++f)
        degree = std::max(degree, fields[f].space().dof_handler().get_fe().degree);
      return degree;
    }
  } // namespace

  template <int dim>
  struct Assembler<dim>::Scratch
  {
    static constexpr unsigned int stride = dim + 1; ///< a value and its gradient

    Scratch(const Assembler &assembler)
        : values(assembler.space_.mesh().mapping(), assembler.space_.fe(), assembler.quadrature_,
                 update_values | update_gradients | update_quadrature_points | update_JxW_values),
          n(assembler.space_.fe().dofs_per_cell),
          n_state(assembler.space_.n_components() * stride),
          n_fields(assembler.n_slots_ * stride),
          component(n),
          dofs(n),
          phi(n),
          state(n),
          residual(n),
          matrix(n, n)
    {
      for (unsigned int i = 0; i < n; ++i)
        component[i] = assembler.space_.fe().system_to_component_index(i).first;
      column.resize(n_state);
      point.state.assign(n_state, 0.);
      point.fields.assign(assembler.known_.size() * stride, 0.);
      rate_coefficients.resize(n);
      rate.assign(assembler.space_.n_components(), 0.);
      point.rate.assign(assembler.space_.n_components(), 0.);
      by_rate.resize(n_state * assembler.space_.n_components());
      point.transforms.assign(assembler.known_.size(), nullptr);
      for (const auto &slot : assembler.field_slots_)
      {
        const auto &field           = assembler.fields_[slot.field];
        const auto &fe              = field.space().dof_handler().get_fe();
        point.transforms[slot.slot] = &field.transform();
        field_values.push_back(std::make_unique<FEValues<dim>>(
            assembler.space_.mesh().mapping(), fe, assembler.quadrature_, update_values | update_gradients));
        field_dofs.emplace_back(fe.dofs_per_cell);
        field_coefficients.emplace_back(fe.dofs_per_cell);
        field_matrices.emplace_back(n, fe.dofs_per_cell);
      }
    }

    FEValues<dim> values;
    const unsigned int n, n_state, n_fields;
    std::vector<unsigned int> component;
    std::vector<types::global_dof_index> dofs;
    std::vector<std::array<double, dim + 1>> phi; ///< value and gradient of each shape function at the point
    std::vector<double> state, column, rate_coefficients;
    std::vector<double> rate;                   ///< w at the point, by component
    std::vector<double> by_rate;                ///< ∂(f₀, f₁)/∂(Sw), row-major
    double storage = 0., storage_gradient = 0.; ///< S and ∂S/∂m there
    dealii::Vector<double> residual;
    FullMatrix<double> matrix;

    std::vector<std::unique_ptr<FEValues<dim>>> field_values;
    std::vector<std::vector<types::global_dof_index>> field_dofs;
    std::vector<std::vector<double>> field_coefficients;
    std::vector<FullMatrix<double>> field_matrices;

    PointValues<dim> point;
    PointFluxes fluxes;
    bool first_cell = true;
  };

  template <int dim>
  Assembler<dim>::Assembler(const StateSpace<dim> &space, const FieldSet<dim> &fields, const Physics<dim> &physics,
                            const std::string &origin, const std::string &storage)
      : space_(space),
        fields_(fields),
        physics_(physics),
        quadrature_(highest_degree(space, fields) + 1),
        n_slots_(physics.slots().size())
  {
    FEValues<dim> values(space.mesh().mapping(), space.fe(), quadrature_, update_quadrature_points);
    std::vector<Point<dim>> points;
    for (const auto &cell : space.dof_handler().active_cell_iterators())
      if (cell->is_locally_owned())
      {
        values.reinit(cell);
        points.insert(points.end(), values.get_quadrature_points().begin(), values.get_quadrature_points().end());
      }
    const auto slots = physics.slots();
    for (unsigned int s = 0; s < n_slots_; ++s)
      add_known(physics.slot_value(s), origin + "/" + slots[s].name, points);
    if (!storage.empty())
      add_known(storage, "Physics/Time/Storage", points);
  }

  /// The next slot.
  template <int dim>
  void Assembler<dim>::add_known(const std::string &text, const std::string &origin,
                                 const std::vector<Point<dim>> &points)
  {
    const unsigned int slot = known_.size(), field = fields_.find(text);
    known_.emplace_back();
    if (field < fields_.size())
    {
      if (fields_[field].space().is_in_time())
        throw UserError(origin + ": the field “" + text +
                        "” is on intervals of time; such a field can be in sources, boundary conditions and the "
                        "initial state only.");
      field_slots_.push_back({slot, field});
      return;
    }
    const Expression<dim> known(text, origin);
    if (physics_.uses_field_gradients() && slot < n_slots_ && !known.is_constant())
      throw UserError(origin +
                      ": this equation needs the gradient of its coefficients, so each has to be a field or a "
                      "constant, but found “" +
                      text + "”.");
    const auto value       = [&known](const Point<dim> &x) { return known.value(x); };
    const Vector at_points = evaluate_together<dim>(value, points, space_.comm());
    known_.back().assign(at_points.begin(), at_points.end());
  }

  template <int dim>
  Assembler<dim>::~Assembler() = default;

  template <int dim>
  void Assembler<dim>::reinit_field_matrices(std::deque<SparseMatrix> &matrices,
                                             const AffineConstraints<double> &row_constraints) const
  {
    matrices.resize(field_slots_.size());
    for (unsigned int f = 0; f < matrices.size(); ++f)
      reinit_matrix(matrices[f], space_.dof_handler(), row_constraints,
                    fields_[field_slots_[f].field].space().dof_handler(), no_constraints_);
  }

  template <int dim>
  void Assembler<dim>::sweep(const Task &task) const
  {
    const Timed timed(Work::assembly);
    Scratch &scratch   = this->scratch();
    std::size_t cached = 0;
    for (const auto &cell : space_.dof_handler().active_cell_iterators())
      if (cell->is_locally_owned())
      {
        read_cell(cell, task.fields, scratch);
        read_states(task.state, task.rate, scratch);
        evaluate(task, task.field_matrices != nullptr, cached, scratch);
        cached += quadrature_.size();
        write_cell(cell, task, scratch);
      }
  }

  template <int dim>
  bool Assembler<dim>::depends_on_rate() const
  {
    return is_transient() &&
           (physics_.uses_rates() || std::any_of(field_slots_.begin(), field_slots_.end(),
                                                 [this](const FieldSlot &slot) { return is_storage(slot); }));
  }

  template <int dim>
  unsigned int Assembler<dim>::n_linear_evaluations() const
  {
    return 1 + (depends_on_rate() ? 2 : 1) * space_.fe().dofs_per_cell;
  }

  template <int dim>
  void Assembler<dim>::sweep_linear(const std::vector<GhostedVector> &fields, const std::vector<Linearized> &all,
                                    const AffineConstraints<double> &row_constraints) const
  {
    const Timed timed(Work::assembly);
    Scratch &scratch     = this->scratch();
    const unsigned int n = scratch.n;
    std::size_t entries  = 0;
    for (const auto &matrix : scratch.field_matrices)
      entries += matrix.n_elements();
    // Some cells at a time, and all of these for each state: what is written of a matrix stays in the cache.
    constexpr std::size_t n_held = 100000; // numbers
    std::vector<std::vector<Matrix>> slopes(std::max<std::size_t>(1, n_held / (entries * n_linear_evaluations())));
    std::vector<Cell> cells;
    Vector coefficients(n_linear_evaluations());
    coefficients[0]  = 1.;
    const auto write = [&]
    {
      for (const auto &[state, rate, field_matrices] : all)
        for (std::size_t c = 0; c < cells.size(); ++c)
        {
          read_dofs(cells[c], scratch);
          read_states(state, rate, scratch);
          for (Index k = 1; k < coefficients.size(); ++k)
            coefficients[k] = k <= n ? scratch.state[k - 1] : scratch.rate_coefficients[k - 1 - n];
          for (unsigned int f = 0; f < field_slots_.size(); ++f)
            Eigen::Map<Vector>(&scratch.field_matrices[f](0, 0), slopes[c][f].rows()).noalias() =
                slopes[c][f] * coefficients;
          write_field_matrices(*field_matrices, row_constraints, scratch);
        }
      cells.clear();
    };
    std::size_t cached = 0;
    for (const auto &cell : space_.dof_handler().active_cell_iterators())
      if (cell->is_locally_owned())
      {
        read_cell(cell, fields, scratch);
        find_slopes(fields, cached, slopes[cells.size()], scratch);
        cells.push_back(cell);
        cached += quadrature_.size();
        if (cells.size() == slopes.size())
          write();
      }
    write();
  }

  /// Of the cell that was read and of each field slot A₀, the Aₖ and the Bₖ of sweep_linear(), in the columns.
  template <int dim>
  void Assembler<dim>::find_slopes(const std::vector<GhostedVector> &fields, std::size_t first_cached,
                                   std::vector<Matrix> &slopes, Scratch &scratch) const
  {
    slopes.resize(field_slots_.size());
    for (unsigned int k = 0; k < n_linear_evaluations(); ++k)
    {
      read_states(nullptr, nullptr, scratch);
      if (k > 0)
        (k <= scratch.n ? scratch.state[k - 1] : scratch.rate_coefficients[k - 1 - scratch.n]) = 1.;
      for (auto &matrix : scratch.field_matrices)
        matrix = 0.;
      evaluate(Task{fields}, true, first_cached, scratch);
      for (unsigned int f = 0; f < field_slots_.size(); ++f)
      {
        auto &matrix = scratch.field_matrices[f];
        slopes[f].resize(static_cast<Index>(matrix.n_elements()), n_linear_evaluations());
        slopes[f].col(k) = Eigen::Map<const Vector>(&matrix(0, 0), slopes[f].rows());
        if (k > 0)
          slopes[f].col(k) -= slopes[f].col(0);
      }
    }
  }

  template <int dim>
  typename Assembler<dim>::Scratch &Assembler<dim>::scratch() const
  {
    if (!scratch_)
      scratch_ = std::make_unique<Scratch>(*this);
    return *scratch_;
  }

  /// Local results of the quadrature.
  template <int dim>
  void Assembler<dim>::evaluate(const Task &task, bool field_matrices, std::size_t first_cached, Scratch &scratch) const
  {
    for (unsigned int q = 0; q < quadrature_.size(); ++q)
    {
      read_point(q, first_cached + q, scratch);
      if (is_transient())
        read_rate(scratch);
      physics_.evaluate(scratch.point, scratch.fluxes);
      if (is_transient())
        add_rate(scratch);
      const double weight = scratch.values.JxW(q);
      if (task.residual != nullptr)
        add_residual(weight, scratch);
      if (task.state_matrix != nullptr)
        add_state_matrix(weight, task, scratch);
      if (field_matrices)
        add_field_matrices(weight, q, scratch);
    }
  }

  /// Local coefficients of the state.
  template <int dim>
  void Assembler<dim>::read_states(const GhostedVector *state, const GhostedVector *rate, Scratch &scratch) const
  {
    for (unsigned int i = 0; i < scratch.n; ++i)
    {
      scratch.state[i]             = state != nullptr ? (*state)(scratch.dofs[i]) : 0.;
      scratch.rate_coefficients[i] = rate != nullptr ? (*rate)(scratch.dofs[i]) : 0.;
    }
  }

  /// A cell with the degrees of freedom of the field of a slot.
  template <int dim>
  typename Assembler<dim>::Cell Assembler<dim>::field_cell(const Cell &cell, unsigned int slot) const
  {
    const auto &handler = fields_[field_slots_[slot].field].space().dof_handler();
    return Cell(&handler.get_triangulation(), cell->level(), cell->index(), &handler);
  }

  template <int dim>
  void Assembler<dim>::read_dofs(const Cell &cell, Scratch &scratch) const
  {
    cell->get_dof_indices(scratch.dofs);
    for (unsigned int f = 0; f < field_slots_.size(); ++f)
      field_cell(cell, f)->get_dof_indices(scratch.field_dofs[f]);
  }

  /// Local coefficients of the fields; zero local results.
  template <int dim>
  void Assembler<dim>::read_cell(const Cell &cell, const std::vector<GhostedVector> &fields, Scratch &scratch) const
  {
    scratch.values.reinit(cell);
    read_dofs(cell, scratch);
    for (unsigned int f = 0; f < field_slots_.size(); ++f)
    {
      for (unsigned int j = 0; j < scratch.field_dofs[f].size(); ++j)
        scratch.field_coefficients[f][j] = fields[f](scratch.field_dofs[f][j]);
      // Values of shape functions are the same on all cells; gradients are not.
      if (scratch.first_cell || physics_.uses_field_gradients())
        scratch.field_values[f]->reinit(field_cell(cell, f));
      scratch.field_matrices[f] = 0.;
    }
    scratch.first_cell = false;
    scratch.residual   = 0.;
    scratch.matrix     = 0.;
    scratch.point.h    = cell->diameter();
  }

  /// State and coefficients at a quadrature point.
  template <int dim>
  void Assembler<dim>::read_point(unsigned int q, std::size_t cached, Scratch &scratch) const
  {
    constexpr unsigned int stride = Scratch::stride;
    auto &point                   = scratch.point;
    point.x                       = scratch.values.quadrature_point(q);
    std::fill(point.state.begin(), point.state.end(), 0.);
    for (unsigned int i = 0; i < scratch.n; ++i)
    {
      auto &phi           = scratch.phi[i];
      const auto gradient = scratch.values.shape_grad(i, q);
      phi[0]              = scratch.values.shape_value(i, q);
      for (unsigned int d = 0; d < dim; ++d)
        phi[1 + d] = gradient[d];
      for (unsigned int s = 0; s < stride; ++s)
        point.state[scratch.component[i] * stride + s] += scratch.state[i] * phi[s];
    }
    for (unsigned int s = 0; s < known_.size(); ++s)
      if (!known_[s].empty())
        point.fields[s * stride] = known_[s][cached];
    for (unsigned int f = 0; f < field_slots_.size(); ++f)
    {
      double *m          = point.fields.data() + field_slots_[f].slot * stride;
      const auto &values = *scratch.field_values[f];
      std::fill(m, m + stride, 0.);
      for (unsigned int j = 0; j < scratch.field_coefficients[f].size(); ++j)
      {
        const double coefficient = scratch.field_coefficients[f][j];
        m[0] += coefficient * values.shape_value(j, q);
        if (physics_.uses_field_gradients())
          for (unsigned int d = 0; d < dim; ++d)
            m[1 + d] += coefficient * values.shape_grad(j, q)[d];
      }
    }
  }

  /// The storage and S ∂u/∂t at that point.
  template <int dim>
  void Assembler<dim>::read_rate(Scratch &scratch) const
  {
    const double m              = scratch.point.fields[n_slots_ * Scratch::stride];
    const auto *const transform = scratch.point.transforms[n_slots_];
    scratch.storage             = transform != nullptr ? transform->derivative(0, m) : m;
    scratch.storage_gradient    = transform != nullptr ? transform->derivative(1, m) : 0.;
    std::fill(scratch.rate.begin(), scratch.rate.end(), 0.);
    for (unsigned int i = 0; i < scratch.n; ++i)
      scratch.rate[scratch.component[i]] += scratch.rate_coefficients[i] * scratch.phi[i][0];
    for (unsigned int c = 0; c < scratch.rate.size(); ++c)
      scratch.point.rate[c] = scratch.storage * scratch.rate[c];
  }

  /// S ∂u/∂t comes to f₀.
  template <int dim>
  void Assembler<dim>::add_rate(Scratch &scratch) const
  {
    const std::size_t n = scratch.rate.size();
    if (physics_.uses_rates())
      scratch.by_rate = scratch.fluxes.rate_gradient;
    else
      std::fill(scratch.by_rate.begin(), scratch.by_rate.end(), 0.);
    for (std::size_t c = 0; c < n; ++c)
    {
      scratch.fluxes.flux[c * Scratch::stride] += scratch.point.rate[c];
      scratch.by_rate[c * Scratch::stride * n + c] += 1.;
    }
  }

  // In what follows Φᵢ = (φᵢ, ∇φᵢ) stands in the rows, or columns, of its component.

  template <int dim>
  void Assembler<dim>::add_residual(double weight, Scratch &scratch) const
  {
    for (unsigned int i = 0; i < scratch.n; ++i)
    {
      const double *flux = scratch.fluxes.flux.data() + scratch.component[i] * Scratch::stride;
      for (unsigned int r = 0; r < Scratch::stride; ++r)
        scratch.residual(i) += weight * scratch.phi[i][r] * flux[r];
    }
  }

  template <int dim>
  void Assembler<dim>::add_state_matrix(double weight, const Task &task, Scratch &scratch) const
  {
    constexpr unsigned int stride = Scratch::stride;
    const double per_rate         = is_transient() ? task.per_rate * weight * scratch.storage : 0.;
    const std::size_t n           = scratch.rate.size();
    for (unsigned int j = 0; j < scratch.n; ++j)
    {
      // ∂(f₀, f₁)/∂(u, ∇u) times Φⱼ once for all i.
      for (unsigned int r = 0; r < scratch.n_state; ++r)
      {
        const double *row = scratch.fluxes.state_gradient.data() + r * scratch.n_state + scratch.component[j] * stride;
        double sum        = 0.;
        for (unsigned int s = 0; s < stride; ++s)
          sum += row[s] * scratch.phi[j][s];
        scratch.column[r] = task.per_state * weight * sum;
      }
      if (per_rate != 0.)
        for (unsigned int r = 0; r < scratch.n_state; ++r)
          scratch.column[r] += per_rate * scratch.by_rate[r * n + scratch.component[j]] * scratch.phi[j][0];
      for (unsigned int i = 0; i < scratch.n; ++i)
      {
        const double *flux = scratch.column.data() + scratch.component[i] * stride;
        double sum         = 0.;
        for (unsigned int r = 0; r < stride; ++r)
          sum += scratch.phi[i][r] * flux[r];
        scratch.matrix(i, j) += sum;
      }
    }
  }

  template <int dim>
  void Assembler<dim>::add_field_matrices(double weight, unsigned int q, Scratch &scratch) const
  {
    constexpr unsigned int stride = Scratch::stride;
    for (unsigned int f = 0; f < field_slots_.size(); ++f)
      for (unsigned int i = 0; i < scratch.n; ++i)
      {
        if (is_storage(field_slots_[f]))
        {
          double row = 0.;
          for (unsigned int r = 0; r < stride; ++r)
            for (std::size_t c = 0; c < scratch.rate.size(); ++c)
              row += scratch.phi[i][r] * scratch.rate[c] *
                     scratch.by_rate[(scratch.component[i] * stride + r) * scratch.rate.size() + c];
          row *= weight * scratch.storage_gradient;
          for (unsigned int j = 0; j < scratch.field_dofs[f].size(); ++j)
            scratch.field_matrices[f](i, j) += row * scratch.field_values[f]->shape_value(j, q);
          continue;
        }
        const double *block = scratch.fluxes.field_gradient.data() + scratch.component[i] * stride * scratch.n_fields +
                              field_slots_[f].slot * stride;
        std::array<double, dim + 1> row{};
        for (unsigned int r = 0; r < stride; ++r)
          for (unsigned int s = 0; s < stride; ++s)
            row[s] += scratch.phi[i][r] * block[r * scratch.n_fields + s];
        for (unsigned int j = 0; j < scratch.field_dofs[f].size(); ++j)
        {
          double sum = row[0] * scratch.field_values[f]->shape_value(j, q);
          if (physics_.uses_field_gradients())
            for (unsigned int d = 0; d < dim; ++d)
              sum += row[1 + d] * scratch.field_values[f]->shape_grad(j, q)[d];
          scratch.field_matrices[f](i, j) += weight * sum;
        }
      }
  }

  template <int dim>
  void Assembler<dim>::write_cell(const Cell &cell, const Task &task, Scratch &scratch) const
  {
    if (const auto robin = robin_.find(cell->active_cell_index()); robin != robin_.end())
      for (unsigned int i = 0; i < scratch.n; ++i)
        for (unsigned int j = 0; j < scratch.n; ++j)
        {
          scratch.matrix(i, j) += task.per_state * robin->second(i, j);
          scratch.residual(i) += robin->second(i, j) * scratch.state[j];
        }
    if (task.residual != nullptr)
      space_.hanging().distribute_local_to_global(scratch.residual, scratch.dofs, *task.residual);
    if (task.state_matrix != nullptr)
      space_.hanging().distribute_local_to_global(scratch.matrix, scratch.dofs, *task.state_matrix);
    if (task.field_matrices != nullptr)
      write_field_matrices(*task.field_matrices, *task.row_constraints, scratch);
  }

  template <int dim>
  void Assembler<dim>::write_field_matrices(std::deque<SparseMatrix> &matrices, const AffineConstraints<double> &rows,
                                            const Scratch &scratch) const
  {
    for (unsigned int f = 0; f < field_slots_.size(); ++f)
      rows.distribute_local_to_global(scratch.field_matrices[f], scratch.dofs, no_constraints_, scratch.field_dofs[f],
                                      matrices[f]);
  }

  template <int dim>
  Vector Assembler<dim>::robin_part(const GhostedVector &state) const
  {
    GhostedVector sum(space_.dof_handler().locally_owned_dofs(), space_.relevant(), space_.comm());
    std::vector<types::global_dof_index> dofs(space_.fe().dofs_per_cell);
    dealii::Vector<double> values(dofs.size()), local(dofs.size());
    for (const auto &cell : space_.dof_handler().active_cell_iterators())
    {
      if (!cell->is_locally_owned())
        continue;
      const auto robin = robin_.find(cell->active_cell_index());
      if (robin == robin_.end())
        continue;
      cell->get_dof_indices(dofs);
      for (unsigned int i = 0; i < dofs.size(); ++i)
        values(i) = state(dofs[i]);
      robin->second.vmult(local, values);
      space_.hanging().distribute_local_to_global(local, dofs, sum);
    }
    sum.compress(VectorOperation::add);
    return Eigen::Map<const Vector>(sum.begin(), space_.n_owned());
  }

  template class Assembler<2>;
  template class Assembler<3>;
} // namespace varfield
