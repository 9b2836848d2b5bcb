#include <Eigen/SparseCholesky>

#include <cmath>
#include <klu.h>
#include <type_traits>
#include <varfield/block_matrix.h>
#include <varfield/direct_solver.h>

namespace varfield
{
  namespace
  {
    /// The rows of a matrix that one rank owns whole, while the object lives.
    class Rows
    {
    public:
      explicit Rows(Mat a) : mat_(a)
      {
        static_assert(std::is_same_v<PetscInt, int>, "varfield needs a PETSc with 32-bit indices.");
        PetscBool parallel = PETSC_FALSE;
        PetscObjectTypeCompare(reinterpret_cast<PetscObject>(mat_), MATMPIAIJ, &parallel);
        if (parallel == PETSC_TRUE)
          MatMPIAIJGetSeqAIJ(mat_, &mat_, nullptr, nullptr);
        PetscBool done = PETSC_FALSE;
        MatGetRowIJ(mat_, 0, PETSC_FALSE, PETSC_FALSE, &n, &start, &column, &done);
        MatSeqAIJGetArrayRead(mat_, &value);
      }
      ~Rows()
      {
        MatSeqAIJRestoreArrayRead(mat_, &value);
        PetscBool done = PETSC_FALSE;
        MatRestoreRowIJ(mat_, 0, PETSC_FALSE, PETSC_FALSE, &n, &start, &column, &done);
      }
      Rows(const Rows &)            = delete;
      Rows &operator=(const Rows &) = delete;

      PetscInt n            = 0;
      const PetscInt *start = nullptr, *column = nullptr;
      const PetscScalar *value = nullptr;

    private:
      Mat mat_;
    };

    /// LDLᵀ of a positive definite matrix that one rank owns whole, by Eigen's simplicial factorisation (Davis 2005,
    /// ACM Transactions on Mathematical Software 31) in approximate minimum degree order.
    class SmallFactor : public LinearSolver
    {
    public:
      bool set_matrix(Mat a) override
      {
        const Rows rows(a); // of a symmetric matrix its columns
        const Eigen::Map<const Eigen::SparseMatrix<double>> matrix(rows.n, rows.n, rows.start[rows.n], rows.start,
                                                                   rows.column, rows.value);
        if (!is_analysed_)
          factor_.analyzePattern(matrix);
        is_analysed_ = true;
        factor_.factorize(matrix);
        const Vector &d = factor_.vectorD();
        return factor_.info() == Eigen::Success && d.allFinite() && (d.array() > 0.).all();
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

      bool is_analysed_ = false;
      Eigen::SimplicialLDLT<Eigen::SparseMatrix<double>> factor_;
    };

    /// LU of a matrix that one rank owns whole, by KLU (T. A. Davis, E. Palamadai Natarajan, Algorithm 907, ACM
    /// Transactions on Mathematical Software 37 (2010) 36): pivots are on the diagonal where they are not below a
    /// thousandth of their column. KLU reads columns, so it is given Aᵀ.
    class SmallLu : public LinearSolver
    {
    public:
      SmallLu() { klu_defaults(&common_); }
      ~SmallLu() override
      {
        klu_free_numeric(&numeric_, &common_);
        klu_free_symbolic(&symbolic_, &common_);
      }
      SmallLu(const SmallLu &)            = delete;
      SmallLu &operator=(const SmallLu &) = delete;

      bool set_matrix(Mat a) override
      {
        const Rows rows(a);
        auto *start = const_cast<PetscInt *>(rows.start), *column = const_cast<PetscInt *>(rows.column);
        if (symbolic_ == nullptr)
          symbolic_ = klu_analyze(rows.n, start, column, &common_);
        klu_free_numeric(&numeric_, &common_);
        if (symbolic_ != nullptr)
          numeric_ = klu_factor(start, column, const_cast<double *>(rows.value), symbolic_, &common_);
        return numeric_ != nullptr && common_.status == KLU_OK && std::isfinite(log_determinant());
      }

      bool solve(MultiVector &x, bool transpose, double) const override
      {
        const auto n = static_cast<int>(x.rows()), columns = static_cast<int>(x.cols());
        if (columns == 0)
          return true;
        return (transpose ? klu_solve : klu_tsolve)(symbolic_, numeric_, n, columns, x.data(), &common_) != 0 &&
               x.allFinite();
      }

      double log_determinant() const override
      {
        const auto *diagonal = static_cast<const double *>(numeric_->Udiag);
        double sum           = 0.;
        for (int i = 0; i < symbolic_->n; ++i)
          sum += std::log(std::abs(diagonal[i] * (numeric_->Rs != nullptr ? numeric_->Rs[i] : 1.)));
        return sum;
      }
      bool is_iterative() const override { return false; }

    private:
      klu_symbolic *symbolic_ = nullptr;
      klu_numeric *numeric_   = nullptr;
      mutable klu_common common_;
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
          {
            if (kind_ == MatrixKind::general)
              solver_ = std::make_unique<SmallLu>();
            else
              solver_ = std::make_unique<SmallFactor>();
          }
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
