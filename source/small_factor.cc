#include <Eigen/SparseCholesky>

#include <cmath>
#include <varfield/block_matrix.h>
#include <varfield/direct_solver.h>

namespace varfield
{
  namespace
  {
    /// LDLᵀ of a symmetric matrix that one rank owns whole, by Eigen's simplicial factorisation (Davis 2005, ACM
    /// Transactions on Mathematical Software 31) in approximate minimum degree order.
    class SmallFactor : public LinearSolver
    {
    public:
      explicit SmallFactor(MatrixKind kind) : kind_(kind) {}

      bool set_matrix(Mat a) override
      {
        // All columns are the rank's own, and the rows of a symmetric matrix are its columns.
        PetscBool parallel = PETSC_FALSE;
        PetscObjectTypeCompare(reinterpret_cast<PetscObject>(a), MATMPIAIJ, &parallel);
        if (parallel == PETSC_TRUE)
          MatMPIAIJGetSeqAIJ(a, &a, nullptr, nullptr);
        PetscInt n            = 0;
        const PetscInt *start = nullptr, *row = nullptr;
        PetscBool done           = PETSC_FALSE;
        const PetscScalar *value = nullptr;
        MatGetRowIJ(a, 0, PETSC_FALSE, PETSC_FALSE, &n, &start, &row, &done);
        MatSeqAIJGetArrayRead(a, &value);
        const Eigen::Map<const Eigen::SparseMatrix<double>> matrix(n, n, start[n], start, row, value);
        if (!is_analysed_)
          factor_.analyzePattern(matrix);
        is_analysed_ = true;
        factor_.factorize(matrix);
        MatSeqAIJRestoreArrayRead(a, &value);
        MatRestoreRowIJ(a, 0, PETSC_FALSE, PETSC_FALSE, &n, &start, &row, &done);
        const Vector &d = factor_.vectorD();
        return factor_.info() == Eigen::Success && d.allFinite() && (d.array() != 0.).all() &&
               (kind_ == MatrixKind::general || (d.array() > 0.).all());
      }

      bool solve(MultiVector &x, bool, double) const override
      {
        MultiVector y = factor_.permutationP() * x;
        const auto &l = factor_.matrixL().nestedExpression();
        // Rows of Lᵀ, the diagonal of ones left out.
        const RowsView columns{static_cast<int>(y.rows()), l.outerIndexPtr(), l.innerIndexPtr(), l.valuePtr()};
        if (y.cols() < 3)
          for (Index j = 0; j < y.cols(); ++j)
          {
            solve_unit_lower(columns, y.col(j).data());
            y.col(j).array() /= factor_.vectorD().array();
            solve_unit_upper(columns, y.col(j).data());
          }
        else
          solve_packs(columns, y);
        x = factor_.permutationPinv() * y;
        return x.allFinite();
      }

      double log_determinant() const override { return factor_.vectorD().array().abs().log().sum(); }
      bool is_iterative() const override { return false; }

    private:
      /// Eight columns at a time: the factor is read once for all of them.
      void solve_packs(const RowsView &columns, MultiVector &y) const
      {
        const Vector inverse = factor_.vectorD().cwiseInverse();
        std::vector<Pack> pack(static_cast<std::size_t>(y.rows()));
        for (Index first = 0; first < y.cols(); first += Pack::size)
        {
          load(y, first, pack);
          solve_unit_lower(columns, pack.data());
          scale(pack.size(), inverse.data(), pack.data(), pack.data());
          solve_unit_upper(columns, pack.data());
          store(pack, y, first);
        }
      }

      const MatrixKind kind_;
      bool is_analysed_ = false;
      Eigen::SimplicialLDLT<Eigen::SparseMatrix<double>> factor_;
    };

    /// Decides when the first matrix is known.
    class SmallOrLarge : public LinearSolver
    {
    public:
      SmallOrLarge(MatrixKind kind, Index most_unknowns, std::unique_ptr<LinearSolver> beyond)
          : kind_(kind), most_unknowns_(most_unknowns), solver_(std::move(beyond))
      {
      }

      bool set_matrix(Mat a) override
      {
        if (!is_decided_)
        {
          int n_ranks = 1;
          MPI_Comm_size(PetscObjectComm(reinterpret_cast<PetscObject>(a)), &n_ranks);
          PetscInt n = 0;
          MatGetSize(a, &n, nullptr);
          if (n_ranks == 1 && n <= most_unknowns_)
            solver_ = std::make_unique<SmallFactor>(kind_);
          is_decided_ = true;
        }
        return solver_->set_matrix(a);
      }

      bool solve(MultiVector &x, bool transpose, double tolerance) const override
      {
        return solver_->solve(x, transpose, tolerance);
      }
      double log_determinant() const override { return solver_->log_determinant(); }
      bool is_iterative() const override { return false; }

    private:
      const MatrixKind kind_;
      const Index most_unknowns_;
      bool is_decided_ = false;
      std::unique_ptr<LinearSolver> solver_;
    };
  } // namespace

  std::unique_ptr<LinearSolver> make_small_direct(MatrixKind kind, Index most_unknowns,
                                                  std::unique_ptr<LinearSolver> beyond)
  {
    return std::make_unique<SmallOrLarge>(kind, most_unknowns, std::move(beyond));
  }
} // namespace varfield
