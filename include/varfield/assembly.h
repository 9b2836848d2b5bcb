#ifndef varfield_assembly_h
#define varfield_assembly_h

#include <deal.II/dofs/dof_handler.h>
#include <deal.II/lac/affine_constraints.h>
#include <deal.II/lac/petsc_sparse_matrix.h>

namespace varfield
{
  using SparseMatrix = dealii::PETScWrappers::MPI::SparseMatrix;

  using Couplings = std::vector<std::pair<dealii::types::global_dof_index, dealii::types::global_dof_index>>;

  /// Gives `matrix` the pattern of a form whose test functions belong to `rows` and trial functions to `columns`, two
  /// handlers on the same mesh, condensed by the constraints of each; `couplings`: more entries, of owned rows.
  /// Collective.
  template <int dim>
  void reinit_matrix(SparseMatrix &matrix, const dealii::DoFHandler<dim> &rows,
                     const dealii::AffineConstraints<double> &row_constraints, const dealii::DoFHandler<dim> &columns,
                     const dealii::AffineConstraints<double> &column_constraints, const Couplings &couplings = {});

  /// Adds what must be added and ends assembly; rows of constrained degrees of freedom of a square matrix get the
  /// diagonal entry `diagonal`. Collective.
  template <int dim>
  void finish_matrix(SparseMatrix &matrix, const dealii::DoFHandler<dim> &handler,
                     const dealii::AffineConstraints<double> &constraints, double diagonal = 1.);
} // namespace varfield

#endif
