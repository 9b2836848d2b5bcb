// ranks: 1 2 3 4
#include <deal.II/base/mpi.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <varfield/direct_solver.h>

// The matrix tridiag(−r, 2, −1/r) of n rows is D T D⁻¹ with T = tridiag(−1, 2, −1) and D = diag(rⁱ). Hence its
// determinant is that of T, n + 1, and its inverse has the entries r^(i−j) min(i, j) (n + 1 − max(i, j)) / (n + 1)
// (G. Meurant, A review on the inverse of symmetric tridiagonal and block tridiagonal matrices, SIAM J. Matrix Anal.
// Appl. 13 (1992) 707). With columns moved around by half the size its diagonal is zero, and MUMPS has to look for
// pivots elsewhere. With more than one rank the first has no rows.
namespace
{
  using namespace varfield;

  constexpr PetscInt n = 200;

  class Tridiagonal
  {
  public:
    explicit Tridiagonal(double r, double factor = 1., PetscInt shift = 0) : r_(r), shift_(shift), factor_(factor)
    {
      const int ranks = static_cast<int>(dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD));
      const int me    = static_cast<int>(dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD));
      const auto end  = [&](int rank) { return ranks == 1 ? n : rank < 0 ? 0 : n * rank / (ranks - 1); };
      first_          = ranks == 1 ? 0 : end(me - 1);
      end_            = end(me);
      MatCreateAIJ(MPI_COMM_WORLD, end_ - first_, end_ - first_, n, n, 3, nullptr, 3, nullptr, &mat_);
      fill(factor);
    }
    ~Tridiagonal() { MatDestroy(&mat_); }

    void fill(double factor)
    {
      factor_ = factor;
      for (PetscInt i = first_; i < end_; ++i)
        for (PetscInt j = std::max<PetscInt>(0, i - 1); j < std::min(n, i + 2); ++j)
          MatSetValue(mat_, i, (j + shift_) % n, factor * (i == j ? 2. : -std::pow(r_, static_cast<double>(i - j))),
                      INSERT_VALUES);
      MatAssemblyBegin(mat_, MAT_FINAL_ASSEMBLY);
      MatAssemblyEnd(mat_, MAT_FINAL_ASSEMBLY);
    }

    /// An entry of the inverse, rows and columns from 0.
    double inverse(PetscInt row, PetscInt j) const
    {
      const PetscInt i = (row + n - shift_) % n;
      const double low = static_cast<double>(std::min(i, j)) + 1., high = static_cast<double>(std::max(i, j)) + 1.;
      return std::pow(r_, static_cast<double>(i - j)) * low * (n + 1. - high) / (n + 1.) / factor_;
    }

    Mat mat() const { return mat_; }
    PetscInt first() const { return first_; }
    Index n_rows() const { return end_ - first_; }

  private:
    const double r_;
    const PetscInt shift_;
    double factor_;
    PetscInt first_ = 0, end_ = 0;
    Mat mat_ = nullptr;
  };

  /// Solves with the columns of the identity given, each times its number plus one, and others that are full: the sums
  /// over all columns of the identity.
  void check_solves(const LinearSolver &solver, const Tridiagonal &a, const std::vector<PetscInt> &units, Index full,
                    bool transpose)
  {
    const auto sparse = static_cast<Index>(units.size());
    MultiVector x = MultiVector::Zero(a.n_rows(), sparse + full), expected = x;
    for (Index row = 0; row < a.n_rows(); ++row)
    {
      const auto i     = static_cast<PetscInt>(a.first() + row);
      const auto entry = [&](PetscInt j) { return transpose ? a.inverse(j, i) : a.inverse(i, j); };
      for (Index k = 0; k < sparse; ++k)
        if (units[k] >= 0)
        {
          x(row, k)        = i == units[k] ? k + 1. : 0.;
          expected(row, k) = (k + 1.) * entry(units[k]);
        }
      for (Index k = 0; k < full; ++k)
      {
        x(row, sparse + k) = 1. + k;
        for (PetscInt j = 0; j < n; ++j)
          expected(row, sparse + k) += (1. + k) * entry(j);
      }
    }
    BOOST_REQUIRE(solver.solve(x, transpose));
    BOOST_TEST((a.n_rows() == 0 || (x - expected).cwiseAbs().maxCoeff() <= 1e-9 * n * n));
  }
} // namespace

BOOST_AUTO_TEST_SUITE(direct_solver)

BOOST_AUTO_TEST_CASE(closed_form_inverse)
{
  for (const auto &[kind, shift] :
       {std::pair(MatrixKind::spd, 0), std::pair(MatrixKind::general, 0), std::pair(MatrixKind::general, 100)})
    for (const std::string name : {"own ordering", "quick ordering", "small"})
    {
      Tridiagonal a(kind == MatrixKind::spd ? 1. : 1.02, 1., shift);
      auto solver = make_direct(kind, name == "quick ordering");
      if (name == "small") // on one rank without MUMPS
        solver = make_small_direct(kind, n, std::move(solver));
      for (const double factor : {1., 3.}) // new values, the same pattern
      {
        a.fill(factor);
        BOOST_REQUIRE(solver->set_matrix(a.mat()));
        BOOST_TEST(solver->log_determinant() == std::log(n + 1.) + n * std::log(factor),
                   boost::test_tools::tolerance(1e-12));
        for (const bool transpose : {false, true, false})
        {
          check_solves(*solver, a, {}, 1, transpose);
          check_solves(*solver, a, {17}, 0, transpose);
          check_solves(*solver, a, {}, 70, transpose);                  // more than MUMPS takes at a time
          check_solves(*solver, a, {17, -1, 199, 0, 60}, 0, transpose); // sparse, with an empty column
          check_solves(*solver, a, {17, -1, 199}, 9, transpose);        // full, with an empty column
          check_solves(*solver, a, {-1, -1}, 0, transpose);             // nothing
        }
      }
    }
}

/// On one rank: [T 0; B I] with B of one column, as Dirichlet nodes make it; a singular one between two that are not.
BOOST_AUTO_TEST_CASE(reducible_matrices)
{
  if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
    return;
  constexpr PetscInt half = n / 2;
  Mat a                   = nullptr;
  MatCreateSeqAIJ(PETSC_COMM_SELF, n, n, 4, nullptr, &a);
  const auto fill = [=](double diagonal)
  {
    for (PetscInt i = 0; i < half; ++i)
      for (PetscInt j = std::max<PetscInt>(0, i - 1); j < std::min(half, i + 2); ++j)
        MatSetValue(a, i, j, i == j ? diagonal : diagonal == 0. ? 0. : -1., INSERT_VALUES);
    for (PetscInt i = half; i < n; ++i)
    {
      MatSetValue(a, i, 0, 3., INSERT_VALUES);
      MatSetValue(a, i, i, 1., INSERT_VALUES);
    }
    MatAssemblyBegin(a, MAT_FINAL_ASSEMBLY);
    MatAssemblyEnd(a, MAT_FINAL_ASSEMBLY);
  };
  const auto solver = make_small_direct(MatrixKind::general, n, make_direct(MatrixKind::general, false));
  for (const double diagonal : {2., 0., 2.})
  {
    fill(diagonal);
    BOOST_TEST(solver->set_matrix(a) == (diagonal != 0.));
  }
  BOOST_TEST(solver->log_determinant() == std::log(half + 1.), boost::test_tools::tolerance(1e-12));
  // T⁻¹ (1, …, 1) has the entries i (half + 1 − i) / 2 with i from 1.
  MultiVector x = MultiVector::Ones(n, 5), y = x;
  BOOST_REQUIRE(solver->solve(x));
  BOOST_REQUIRE(solver->solve(y, true));
  for (PetscInt i = 0; i < n; ++i)
    for (Index k = 0; k < x.cols(); ++k)
    {
      BOOST_TEST(x(i, k) == (i < half ? 0.5 * (i + 1.) * (half - i) : 1. - 1.5 * half),
                 boost::test_tools::tolerance(1e-11));
      // Tᵀ y = 1 − 3 half e₀, and the first column of T⁻¹ is (half + 1 − i) / (half + 1).
      BOOST_TEST(y(i, k) == (i < half ? 0.5 * (i + 1.) * (half - i) - 3. * half * (half - i) / (half + 1.) : 1.),
                 boost::test_tools::tolerance(1e-10));
    }
  MatDestroy(&a);
}

BOOST_AUTO_TEST_CASE(singular_and_indefinite_matrices_are_told)
{
  const Tridiagonal negative(1., -1.);
  BOOST_TEST(!make_direct(MatrixKind::spd, false)->set_matrix(negative.mat()));
  BOOST_TEST(make_direct(MatrixKind::general, false)->set_matrix(negative.mat()));
  BOOST_TEST(
      make_small_direct(MatrixKind::general, n, make_direct(MatrixKind::general, false))->set_matrix(negative.mat()));
  BOOST_TEST(!make_small_direct(MatrixKind::spd, n, make_direct(MatrixKind::spd, false))->set_matrix(negative.mat()));
  const Tridiagonal zero(1., 0.), not_finite(1., std::nan(""));
  for (const MatrixKind kind : {MatrixKind::spd, MatrixKind::general})
  {
    BOOST_TEST(!make_direct(kind, false)->set_matrix(zero.mat()));
    BOOST_TEST(!make_direct(kind, false)->set_matrix(not_finite.mat()));
  }
  for (const MatrixKind kind : {MatrixKind::spd, MatrixKind::general})
    for (const Tridiagonal *a : {&zero, &not_finite})
      BOOST_TEST(!make_small_direct(kind, n, make_direct(kind, false))->set_matrix(a->mat()));
}

BOOST_AUTO_TEST_SUITE_END()
