#include <deal.II/numerics/error_estimator.h>

#include <varfield/indicator.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// The jumps of the state's gradient over the faces of a cell (Kelly, Gago, Zienkiewicz, Babuška 1983), the squares
    /// summed over experiments and times: sqrt(Σₑ h/24 ∫ [∂uₑ/∂n]² ds), h the diameter of the cell.
    template <int dim>
    class StateError : public Indicator<dim>
    {
    public:
      Vector evaluate(const ForwardModel<dim> &model, const FieldSet<dim> &, const Vector &m,
                      const LowRankCorrection *) const override
      {
        const auto state = model.solve(m);
        if (!state)
          throw ComputationError("The model cannot be solved at the MAP point: the mesh cannot be refined by it.");
        const auto &space         = model.space();
        const auto &triangulation = space.mesh().triangulation();
        dealii::Vector<double> squares(triangulation.n_active_cells());
        // In time at a few of the snapshots, without the initial state.
        constexpr unsigned int most = 8;
        const unsigned int n_solved = model.n_snapshots() - (model.time().is_transient() ? 1 : 0),
                           n        = std::min(n_solved, most);
        std::vector<unsigned int> columns;
        for (unsigned int i = 1; i <= n; ++i)
          for (unsigned int e = 0; e < model.experiments().size(); ++e)
            columns.push_back(model.column(model.n_snapshots() - n_solved + i * n_solved / n - 1, e));
        for (const unsigned int column : columns)
        {
          dealii::Vector<float> jumps(triangulation.n_active_cells());
          KellyErrorEstimator<dim>::estimate(space.mesh().mapping(), space.dof_handler(),
                                             QGauss<dim - 1>(space.fe().degree + 1), {},
                                             space.ghosted(state->states.col(column)), jumps);
          for (unsigned int i = 0; i < jumps.size(); ++i)
            squares[i] += static_cast<double>(jumps[i]) * jumps[i];
        }
        std::vector<double> result;
        for (const auto &cell : triangulation.active_cell_iterators())
          if (cell->is_locally_owned())
            result.push_back(std::sqrt(squares[cell->active_cell_index()]));
        return Eigen::Map<const Vector>(result.data(), static_cast<Index>(result.size()));
      }
    };

    const char *const state_error_text =
        "Jumps of the state's gradient over the faces of a cell: where the state is least exact.";
    const Registration<Indicator<2>, StateError<2>> state_error_2d("state error", state_error_text);
    const Registration<Indicator<3>, StateError<3>> state_error_3d("state error", state_error_text);
  } // namespace
} // namespace varfield
