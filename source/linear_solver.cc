#include <varfield/direct_solver.h>
#include <varfield/exceptions.h>
#include <varfield/faults.h>
#include <varfield/krylov.h>
#include <varfield/multigrid.h>
#include <varfield/timing.h>

namespace varfield
{
  ColumnVec::ColumnVec(MPI_Comm comm, Index n_local, const double *data)
  {
    // A dummy array stands in for the null pointer of a rank without rows, which PETSc would take as "allocate".
    static PetscScalar nothing = 0.;
    VecCreateMPIWithArray(comm, 1, n_local, PETSC_DETERMINE, n_local > 0 ? data : &nothing, &vec_);
  }

  ColumnVec::~ColumnVec()
  {
    VecDestroy(&vec_);
  }

  namespace
  {
    MPI_Comm communicator(Mat a)
    {
      return PetscObjectComm(reinterpret_cast<PetscObject>(a));
    }

    /// Eight columns at a time: the matrix is read once for all of them.
    void multiply_packs(Mat a, const MultiVector &x, MultiVector &y, bool transpose)
    {
      const BlockProduct product(a);
      std::vector<Pack> from(static_cast<std::size_t>(x.rows())), to(static_cast<std::size_t>(y.rows()));
      for (Index first = 0; first < x.cols(); first += Pack::size)
      {
        load(x, first, from);
        std::fill(to.begin(), to.end(), Pack());
        transpose ? product.transposed(from.data(), to.data()) : product.add(from.data(), to.data());
        store(to, y, first);
      }
    }

    MultiVector multiply_columns(Mat a, const MultiVector &x, bool transpose)
    {
      const Timed timed(Work::products, static_cast<double>(x.cols()));
      PetscInt rows = 0, columns = 0;
      MatGetLocalSize(a, &rows, &columns);
      MultiVector y(transpose ? columns : rows, x.cols());
      if (x.cols() > 2)
      {
        multiply_packs(a, x, y, transpose);
        return y;
      }
      for (Index j = 0; j < x.cols(); ++j)
      {
        const ColumnVec xj(communicator(a), x.rows(), x.col(j).data());
        const ColumnVec yj(communicator(a), y.rows(), y.col(j).data());
        transpose ? MatMultTranspose(a, xj.vec(), yj.vec()) : MatMult(a, xj.vec(), yj.vec());
      }
      return y;
    }

    const char *prefix_of(MatrixKind kind)
    {
      return kind == MatrixKind::mass ? "mass_" : kind == MatrixKind::spd ? "spd_" : "general_";
    }

    class KrylovSolver : public LinearSolver
    {
    public:
      KrylovSolver(const SolverSettings &settings, MatrixKind kind) : settings_(settings), kind_(kind) {}
      ~KrylovSolver() override { KSPDestroy(&ksp_); }

      bool set_matrix(Mat a) override
      {
        if (ksp_ == nullptr)
          create_ksp(a);
        KSPSetOperators(ksp_, a, a);
        if (KSPSetUp(ksp_) != 0)
          return false;
        PCFailedReason failed = PC_NOERROR;
        PC pc                 = nullptr;
        KSPGetPC(ksp_, &pc);
        PCGetFailedReason(pc, &failed);
        return failed == PC_NOERROR;
      }

      bool solve(MultiVector &x, bool transpose, double tolerance) const override
      {
        KSPSetTolerances(ksp_, tolerance > 0. ? tolerance : tolerance_, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT);
        return solve_columns(ksp_, x, transpose && kind_ == MatrixKind::general, iterations_);
      }

      unsigned int iterations() const override { return iterations_; }

    private:
      void create_ksp(Mat a)
      {
        ksp_ = make_krylov(a, kind_);
        KSPSetTolerances(ksp_, settings_.tolerance, 1e-300, PETSC_DEFAULT, settings_.max_iterations);
        PC pc = nullptr;
        KSPGetPC(ksp_, &pc);
        PCSetType(pc, kind_ == MatrixKind::mass ? PCJACOBI : PCGAMG);
        const std::string prefix = prefix_of(kind_);
        KSPSetOptionsPrefix(ksp_, prefix.c_str());
        set_default(prefix, "pc_gamg_aggressive_coarsening", "0");
        if (kind_ == MatrixKind::spd)
          set_default(prefix, "mg_levels_ksp_max_it", "1");
        KSPSetFromOptions(ksp_);
        KSPGetTolerances(ksp_, &tolerance_, nullptr, nullptr, nullptr);
      }

      static void set_default(const std::string &prefix, const std::string &option, const char *value)
      {
        const std::string name = "-" + prefix + option;
        PetscBool given        = PETSC_FALSE;
        PetscOptionsHasName(nullptr, nullptr, name.c_str(), &given);
        if (!given)
          PetscOptionsSetValue(nullptr, name.c_str(), value);
      }

      const SolverSettings settings_;
      const MatrixKind kind_;
      KSP ksp_                         = nullptr;
      double tolerance_                = 0.; ///< also where PETSc's options say so
      mutable unsigned int iterations_ = 0;
    };

    /// One cycle of algebraic multigrid: an approximate solver for a coarsest level that is large.
    class AmgCycle : public LinearSolver
    {
    public:
      ~AmgCycle() override { PCDestroy(&pc_); }

      bool set_matrix(Mat a) override
      {
        if (pc_ == nullptr)
        {
          PCCreate(communicator(a), &pc_);
          PCSetType(pc_, PCGAMG);
          PCSetOptionsPrefix(pc_, "coarse_");
          PCSetFromOptions(pc_);
        }
        PCSetOperators(pc_, a, a);
        return PCSetUp(pc_) == 0;
      }

      bool solve(MultiVector &x, bool, double) const override
      {
        const MultiVector b = x;
        const MPI_Comm comm = PetscObjectComm(reinterpret_cast<PetscObject>(pc_));
        for (Index j = 0; j < x.cols(); ++j)
        {
          const ColumnVec bj(comm, b.rows(), b.col(j).data()), xj(comm, x.rows(), x.col(j).data());
          PCApply(pc_, bj.vec(), xj.vec());
        }
        return true;
      }

    private:
      PC pc_ = nullptr;
    };

    /// Unknowns up to which a factorisation without MUMPS is quicker where one rank has all of them. KLU's LU, of
    /// column by column, costs three times that of MUMPS for 1300 in 3D, and as much for 5000 in 2D, with solves of a
    /// quarter.
    Index most_small(MatrixKind kind, unsigned int dim)
    {
      return kind == MatrixKind::general && dim == 3 ? 300 : 5000;
    }

    /// Whether the user chose a method of PETSc.
    bool chosen_by_option(MatrixKind kind)
    {
      PetscBool preconditioner = PETSC_FALSE, method = PETSC_FALSE;
      PetscOptionsHasName(nullptr, prefix_of(kind), "-pc_type", &preconditioner);
      PetscOptionsHasName(nullptr, prefix_of(kind), "-ksp_type", &method);
      return preconditioner || method;
    }
  } // namespace

  MultiVector multiply(Mat a, const MultiVector &x)
  {
    return multiply_columns(a, x, false);
  }

  MultiVector multiply_transpose(Mat a, const MultiVector &x)
  {
    return multiply_columns(a, x, true);
  }

  void SolverSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    using namespace dealii::Patterns;
    prm.add_parameter(
        "Type", type,
        "“direct”: sparse factorisation by MUMPS, many right-hand sides at once. “multigrid”: conjugate "
        "gradients (GMRES for unsymmetric laws) with multigrid on the meshes that were refined, or "
        "algebraic multigrid where the mesh was not. “auto”: direct while the factor fits, multigrid beyond.",
        Selection("auto|direct|multigrid"));
    prm.add_parameter("Tolerance", tolerance,
                      "Relative reduction of the true residual in iterative solves. “varfield verify” takes 1e-12 "
                      "where nothing is given: derivatives are checked to more digits than an inference needs.",
                      Double(1e-15, 1e-2));
    prm.add_parameter("Maximum iterations", max_iterations, "of an iterative solve.", Integer(1));
    prm.add_parameter(
        "PETSc options", petsc_options,
        "Options given to PETSc as they are. Prefixes: spd_ (state and prior), mass_, general_; for example "
        "“-spd_pc_type hypre”, which takes the place of the multigrid method. Without such a choice the multigrid on "
        "the hierarchy of meshes reads none.");
  }

  double LinearSolver::log_determinant() const
  {
    throw ComputationError("A determinant was asked of a system that is solved iteratively. Set “Linear solver/Type” "
                           "to “direct”, or choose a variational family that needs no determinant of the prior.");
  }

  bool LinearSolver::is_direct(const SolverSettings &settings, MatrixKind kind, std::uint64_t n, unsigned int dim)
  {
    if (settings.type != "auto")
      return settings.type == "direct";
    if (kind == MatrixKind::mass)
      return n <= 20000;
    return n <= (dim <= 2 ? 400000u : 60000u);
  }

  namespace
  {
    std::unique_ptr<LinearSolver> create_usual(const SolverSettings &settings, MatrixKind kind, std::uint64_t n,
                                               unsigned int dim, const HierarchySource &hierarchy)
    {
      if (LinearSolver::is_direct(settings, kind, n, dim))
      {
        // Minimum degree (QAMD): the ordering costs a quarter of the nested dissection that MUMPS would choose, and up
        // to this size the factor is as sparse.
        const bool quick_ordering = dim == 2 && n <= 100000;
        return make_small_direct(kind, most_small(kind, dim), make_direct(kind, quick_ordering));
      }
      const bool by_option = chosen_by_option(kind);
      if (kind == MatrixKind::mass && !by_option)
        return make_multigrid(settings, kind, nullptr, {});
      const auto levels = hierarchy && !by_option ? hierarchy() : nullptr;
      if (!levels || levels->size() == 0)
        return std::make_unique<KrylovSolver>(settings, kind);
      const auto coarsest = [kind, dim, n_coarsest = levels->n_coarsest()]() -> std::unique_ptr<LinearSolver>
      {
        if (n_coarsest > (dim <= 2 ? 60000u : 20000u))
          return std::make_unique<AmgCycle>();
        return make_direct(kind, /* quick_ordering */ dim == 2);
      };
      return make_multigrid(settings, kind, levels, coarsest);
    }

    /// Where a factorisation may be tried that is not the first choice: so many times the unknowns up to which it is.
    constexpr std::uint64_t most_for_safety = 4;

    /// For what the usual solver cannot solve.
    std::unique_ptr<LinearSolver> create_safer(const SolverSettings &settings, MatrixKind kind, std::uint64_t n,
                                               unsigned int dim)
    {
      SolverSettings automatic = settings;
      automatic.type           = "auto";
      if (LinearSolver::is_direct(settings, kind, n, dim) ||
          LinearSolver::is_direct(automatic, kind, n / most_for_safety, dim))
        return make_direct(kind, /* quick_ordering */ false);
      automatic.max_iterations *= 4;
      return std::make_unique<KrylovSolver>(automatic, kind);
    }

    /// The usual solver, and where it fails a safer one for the same matrix, twice: what failed for lack of room may do
    /// so once.
    class GuardedSolver : public LinearSolver
    {
    public:
      using Maker = std::function<std::unique_ptr<LinearSolver>()>;
      GuardedSolver(std::unique_ptr<LinearSolver> usual, Maker make_safer, bool is_of_state)
          : usual_(std::move(usual)), make_safer_(std::move(make_safer)), is_of_state_(is_of_state)
      {
      }

      bool set_matrix(Mat a) override
      {
        matrix_ = a;
        now_    = usual_.get();
        return attempt([&] { return usual_->set_matrix(a); }) || counted(take_safer() || take_safer());
      }

      bool solve(MultiVector &x, bool transpose, double tolerance) const override
      {
        // A factorisation that is there hardly ever fails.
        const bool may_fail = is_iterative() || (is_of_state_ && has_faults());
        const MultiVector b = may_fail ? x : MultiVector();
        const auto solve    = [&] { return now_->solve(x, transpose, tolerance); };
        if (attempt(solve))
          return true;
        if (!may_fail)
          return counted(false);
        for (unsigned int again = 0; again < 2; ++again)
        {
          x = b;
          if (take_safer() && attempt(solve))
            return counted(true);
        }
        return counted(false);
      }

      double log_determinant() const override { return now_->log_determinant(); }
      unsigned int iterations() const override { return now_->iterations(); }
      bool is_iterative() const override { return usual_->is_iterative(); }

    private:
      template <typename Action>
      bool attempt(const Action &action) const
      {
        const bool fails = is_of_state_ && next_attempt_fails();
        return action() && !fails;
      }

      bool take_safer() const
      {
        if (!safer_)
          safer_ = make_safer_();
        now_ = safer_.get();
        return attempt([&] { return safer_->set_matrix(matrix_); });
      }

      static bool counted(bool solved)
      {
        (solved ? solve_counts().repeated : solve_counts().failed) += 1.;
        return solved;
      }

      const std::unique_ptr<LinearSolver> usual_;
      const Maker make_safer_;
      const bool is_of_state_;
      Mat matrix_ = nullptr;
      mutable std::unique_ptr<LinearSolver> safer_; ///< once it was needed
      mutable const LinearSolver *now_ = nullptr;   ///< the one of the two that has the matrix
    };
  } // namespace

  std::unique_ptr<LinearSolver> LinearSolver::create(const SolverSettings &settings, MatrixKind kind, std::uint64_t n,
                                                     unsigned int dim, const HierarchySource &hierarchy,
                                                     bool is_of_state)
  {
    return std::make_unique<GuardedSolver>(
        create_usual(settings, kind, n, dim, hierarchy),
        [settings, kind, n, dim] { return create_safer(settings, kind, n, dim); }, is_of_state);
  }

  std::string LinearSolver::describe(const SolverSettings &settings, MatrixKind kind, std::uint64_t n, unsigned int dim,
                                     bool refined)
  {
    if (is_direct(settings, kind, n, dim))
      return kind == MatrixKind::general ? "sparse LU" : "sparse Cholesky";
    if (chosen_by_option(kind))
      return "PETSc's Krylov solver of the options given";
    if (kind == MatrixKind::mass)
      return "conjugate gradients with Jacobi";
    return std::string(kind == MatrixKind::general ? "GMRES" : "conjugate gradients") +
           (refined ? " with multigrid on the hierarchy of meshes" : " with algebraic multigrid (GAMG)");
  }
} // namespace varfield
