#include <deal.II/dofs/dof_tools.h>
#include <deal.II/lac/dynamic_sparsity_pattern.h>
#include <deal.II/lac/sparsity_tools.h>

#include <varfield/assembly.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  void reinit_matrix(SparseMatrix &matrix, const DoFHandler<dim> &rows,
                     const AffineConstraints<double> &row_constraints, const DoFHandler<dim> &columns,
                     const AffineConstraints<double> &column_constraints, const Couplings &couplings)
  {
    const IndexSet relevant = DoFTools::extract_locally_relevant_dofs(rows);
    DynamicSparsityPattern pattern(rows.n_dofs(), columns.n_dofs(), relevant);
    std::vector<types::global_dof_index> row_dofs(rows.get_fe().dofs_per_cell),
        column_dofs(columns.get_fe().dofs_per_cell);
    const bool square = &rows == &columns;
    for (const auto &cell : rows.active_cell_iterators())
      if (cell->is_locally_owned())
      {
        cell->get_dof_indices(row_dofs);
        typename DoFHandler<dim>::active_cell_iterator(&rows.get_triangulation(), cell->level(), cell->index(),
                                                       &columns)
            ->get_dof_indices(column_dofs);
        if (square)
          row_constraints.add_entries_local_to_global(row_dofs, pattern, false);
        else
          row_constraints.add_entries_local_to_global(row_dofs, column_constraints, column_dofs, pattern, false);
      }
    for (const auto &[i, j] : couplings)
      pattern.add(i, j);
    SparsityTools::distribute_sparsity_pattern(pattern, rows.locally_owned_dofs(), rows.get_communicator(), relevant);
    matrix.reinit(rows.locally_owned_dofs(), columns.locally_owned_dofs(), pattern, rows.get_communicator());
  }

  template <int dim>
  void finish_matrix(SparseMatrix &matrix, const DoFHandler<dim> &handler, const AffineConstraints<double> &constraints,
                     double diagonal)
  {
    matrix.compress(VectorOperation::add);
    for (const auto &line : constraints.get_lines())
      if (handler.locally_owned_dofs().is_element(line.index))
        matrix.set(line.index, line.index, diagonal);
    matrix.compress(VectorOperation::insert);
  }

  template void reinit_matrix<2>(SparseMatrix &, const DoFHandler<2> &, const AffineConstraints<double> &,
                                 const DoFHandler<2> &, const AffineConstraints<double> &, const Couplings &);
  template void reinit_matrix<3>(SparseMatrix &, const DoFHandler<3> &, const AffineConstraints<double> &,
                                 const DoFHandler<3> &, const AffineConstraints<double> &, const Couplings &);
  template void finish_matrix<2>(SparseMatrix &, const DoFHandler<2> &, const AffineConstraints<double> &, double);
  template void finish_matrix<3>(SparseMatrix &, const DoFHandler<3> &, const AffineConstraints<double> &, double);
} // namespace varfield
