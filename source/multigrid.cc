#include <array>
#include <cmath>
#include <tuple>
#include <varfield/krylov.h>
#include <varfield/multigrid.h>
#include <varfield/timing.h>

namespace varfield
{
  namespace
  {
    MPI_Comm comm_of(Mat a)
    {
      return PetscObjectComm(reinterpret_cast<PetscObject>(a));
    }

    /// x −= y.
    template <class N>
    void subtract(const std::vector<N> &y, std::vector<N> &x)
    {
      for (std::size_t i = 0; i < x.size(); ++i)
        for (int j = 0; j < n_lanes<N>; ++j)
          lanes(x[i])[j] -= lane(y[i], j);
    }

    /// Right-hand side, solution and residual on every level below the finest, and the residual there.
    template <class N>
    struct CycleVectors
    {
      std::vector<std::vector<N>> b, x, r;
    };

    /// The V-cycle of a matrix, or without a hierarchy its diagonal.
    class Cycle
    {
    public:
      Cycle(std::shared_ptr<const Hierarchy> hierarchy, bool symmetric, const CoarseSolver &coarse_solver)
          : hierarchy_(std::move(hierarchy)), symmetric_(symmetric), coarse_(n_levels(), nullptr)
      {
        for (std::size_t l = 0; l < n_levels(); ++l)
          matrices_.emplace_back(hierarchy_ ? hierarchy_->order(l) : Order());
        if (n_levels() > 1)
          coarsest_ = coarse_solver();
      }
      ~Cycle()
      {
        coarsest_.reset(); // before its matrix
        for (Mat &a : coarse_)
          MatDestroy(&a);
      }
      Cycle(const Cycle &)            = delete;
      Cycle &operator=(const Cycle &) = delete;

      bool set_matrix(Mat a)
      {
        const LoggedEvent logged("multigrid set-up");
        bool regular = matrices_[0].set(a, symmetric_);
        for (std::size_t l = 1; l < n_levels() && regular; ++l)
        {
          Mat fine         = l == 1 ? a : coarse_[l - 1];
          const auto reuse = coarse_[l] == nullptr ? MAT_INITIAL_MATRIX : MAT_REUSE_MATRIX;
          MatPtAP(fine, hierarchy_->interpolation(l - 1), reuse, 1., &coarse_[l]);
          if (l + 1 < n_levels())
            regular = matrices_[l].set(coarse_[l], symmetric_);
          else
            regular = coarsest_->set_matrix(coarse_[l]);
        }
        return regular;
      }

      bool is_multigrid() const { return n_levels() > 1; }
      const BlockMatrix &matrix() const { return matrices_[0]; }
      /// Of the vectors that it is applied to.
      const Order &order() const { return matrices_[0].order(); }

      template <class N>
      CycleVectors<N> vectors() const
      {
        CycleVectors<N> v;
        for (std::size_t l = 0; l < n_levels() && n_levels() > 1; ++l)
        {
          const std::size_t n = l == 0 ? matrices_[0].n_rows() : hierarchy_->block(l - 1).n_columns();
          v.b.emplace_back(l == 0 ? 0 : n);
          v.x.emplace_back(l == 0 ? 0 : n);
          v.r.emplace_back(l + 1 == n_levels() ? 0 : n);
        }
        return v;
      }

      /// x = B b.
      template <class N>
      void apply(const N *b, N *x, CycleVectors<N> &v) const
      {
        if (!is_multigrid())
          return scale(matrices_[0].n_rows(), matrices_[0].rows().inverse_diagonal.data(), b, x);
        const LoggedEvent logged(n_lanes<N> > 1 ? "multigrid cycle, block" : "multigrid cycle");
        descend(0, b, x, v);
      }

    private:
      std::size_t n_levels() const { return hierarchy_ ? hierarchy_->size() + 1 : 1; }

      template <class N>
      void descend(std::size_t l, const N *b, N *x, CycleVectors<N> &v) const
      {
        if (l + 1 == n_levels())
        {
          solve_coarsest(b, x, v.x[l].size());
          return;
        }
        const auto &p = hierarchy_->block(l);
        matrices_[l].smooth_from_zero(b, x, v.r[l].data());
        p.transposed(v.r[l].data(), v.b[l + 1].data());
        descend(l + 1, v.b[l + 1].data(), v.x[l + 1].data(), v);
        p.add(v.x[l + 1].data(), x);
        matrices_[l].smooth_backward(b, x);
      }

      template <class N>
      void solve_coarsest(const N *b, N *x, std::size_t n) const
      {
        MultiVector block(n, n_lanes<N>);
        for (std::size_t i = 0; i < n; ++i)
          for (int j = 0; j < n_lanes<N>; ++j)
            block(static_cast<Index>(i), j) = lane(b[i], j);
        coarsest_->solve(block);
        for (std::size_t i = 0; i < n; ++i)
          for (int j = 0; j < n_lanes<N>; ++j)
            lanes(x[i])[j] = block(static_cast<Index>(i), j);
      }

      const std::shared_ptr<const Hierarchy> hierarchy_;
      const bool symmetric_;
      std::deque<BlockMatrix> matrices_;
      std::vector<Mat> coarse_; ///< the first is not used
      std::unique_ptr<LinearSolver> coarsest_;
    };

    /// One number for each lane, summed over the ranks.
    template <class N>
    N sum(N local, MPI_Comm comm)
    {
      MPI_Allreduce(MPI_IN_PLACE, lanes(local), n_lanes<N>, MPI_DOUBLE, MPI_SUM, comm);
      return local;
    }

    /// Conjugate gradients on one number of each lane, in step.
    template <class N>
    class ConjugateGradients
    {
    public:
      ConjugateGradients(const Cycle &cycle, const SolverSettings &settings, MPI_Comm comm)
          : cycle_(cycle),
            settings_(settings),
            comm_(comm),
            n_(cycle.matrix().n_rows()),
            x_(n_),
            r_(n_),
            z_(n_),
            p_(n_),
            q_(n_),
            cycle_vectors_(cycle.vectors<N>())
      {
      }

      /// Columns from `first` on, to this tolerance (of the true residual, up to ten times as large where rounding is
      /// in the way); false where one of them did not converge.
      bool solve(MultiVector &block, Index first, double tolerance)
      {
        const LoggedEvent logged(cycle_.is_multigrid() ? n_lanes<N> > 1 ? "multigrid CG, block" : "multigrid CG"
                                                       : "Jacobi CG");
        load(block, first, r_, cycle_.order());
        std::fill(x_.begin(), x_.end(), N{});
        const N square = sum(dot(n_, r_.data(), r_.data()), comm_);
        for (int j = 0; j < n_lanes<N>; ++j)
          target_[j] = tolerance * std::sqrt(lane(square, j));
        iterations_    = 0;
        bool converged = mark_active(square, 0.);
        // The recurrence for the residual drifts from the true one by rounding: look, and go on from there if needed.
        for (unsigned int pass = 0; pass < 3 && !converged; ++pass)
        {
          if (!iterate())
            return false;
          load(block, first, r_, cycle_.order());
          cycle_.matrix().multiply(x_.data(), q_.data());
          subtract(q_, r_);
          converged = mark_active(sum(dot(n_, r_.data(), r_.data()), comm_), 0.01);
        }
        store(x_, block, first, cycle_.order());
        // Ten times the tolerance, which may be too small for the arithmetic, after two corrections: solved.
        return converged || mark_active(sum(dot(n_, r_.data(), r_.data()), comm_), 9.);
      }

      unsigned int iterations() const { return iterations_; }

    private:
      /// True if no lane is left to iterate on.
      bool mark_active(N square, double slack)
      {
        bool none = true;
        for (int j = 0; j < n_lanes<N>; ++j)
        {
          active_[j] = !(std::sqrt(lane(square, j)) <= (1. + slack) * target_[j]);
          none       = none && !active_[j];
        }
        return none;
      }

      bool iterate()
      {
        N last{};
        std::fill(p_.begin(), p_.end(), N{});
        for (bool first = true, converged = false; !converged; first = false)
        {
          if (iterations_++ >= settings_.max_iterations)
            return false;
          cycle_.apply(r_.data(), z_.data(), cycle_vectors_);
          const N rho = sum(dot(n_, r_.data(), z_.data()), comm_);
          N alpha{}, beta{};
          for (int j = 0; j < n_lanes<N>; ++j)
            lanes(beta)[j] = active_[j] && !first ? lane(rho, j) / lane(last, j) : 0.;
          update_direction(n_, z_.data(), beta, p_.data());
          cycle_.matrix().multiply(p_.data(), q_.data());
          const N curvature = sum(dot(n_, p_.data(), q_.data()), comm_);
          for (int j = 0; j < n_lanes<N>; ++j)
            if (active_[j])
            {
              lanes(alpha)[j] = lane(rho, j) / lane(curvature, j);
              if (!(lane(curvature, j) > 0.) || !(lane(rho, j) > 0.))
                return false;
            }
          const N square = step(n_, alpha, p_.data(), q_.data(), x_.data(), r_.data());
          converged      = mark_active(sum(square, comm_), 0.);
          last           = rho;
        }
        return true;
      }

      const Cycle &cycle_;
      const SolverSettings &settings_;
      const MPI_Comm comm_;
      const std::size_t n_;
      std::vector<N> x_, r_, z_, p_, q_;
      CycleVectors<N> cycle_vectors_;
      std::array<double, n_lanes<N>> target_{};
      std::array<bool, n_lanes<N>> active_{};
      unsigned int iterations_ = 0;
    };

    class CgSolver : public LinearSolver
    {
    public:
      CgSolver(const SolverSettings &settings, std::shared_ptr<const Hierarchy> hierarchy, const CoarseSolver &coarse)
          : settings_(settings), cycle_(std::move(hierarchy), true, coarse)
      {
      }

      bool set_matrix(Mat a) override
      {
        comm_ = comm_of(a);
        return cycle_.set_matrix(a);
      }

      bool solve(MultiVector &x, bool, double tolerance) const override
      {
        iterations_ = 0;
        if (!(tolerance > 0.))
          tolerance = settings_.tolerance;
        return x.cols() == 1 ? solve_columns<double>(x, tolerance) : solve_columns<Pack>(x, tolerance);
      }

      unsigned int iterations() const override { return iterations_; }

    private:
      template <class N>
      bool solve_columns(MultiVector &x, double tolerance) const
      {
        if (x.cols() == 0)
          return true;
        ConjugateGradients<N> cg(cycle_, settings_, comm_);
        bool converged = true;
        for (Index first = 0; first < x.cols(); first += n_lanes<N>)
        {
          converged   = cg.solve(x, first, tolerance) && converged;
          iterations_ = std::max(iterations_, cg.iterations());
        }
        return converged;
      }

      const SolverSettings settings_;
      Cycle cycle_;
      MPI_Comm comm_                   = MPI_COMM_NULL;
      mutable unsigned int iterations_ = 0;
    };

    /// GMRES, column by column.
    class GmresSolver : public LinearSolver
    {
    public:
      GmresSolver(const SolverSettings &settings, std::shared_ptr<const Hierarchy> hierarchy,
                  const CoarseSolver &coarse)
          : settings_(settings),
            hierarchy_(std::move(hierarchy)),
            coarse_solver_(coarse),
            cycle_(hierarchy_, false, coarse)
      {
      }
      ~GmresSolver() override
      {
        KSPDestroy(&ksp_);
        MatDestroy(&transposed_matrix_);
      }

      bool set_matrix(Mat a) override
      {
        matrix_         = a;
        has_transposed_ = false;
        if (ksp_ == nullptr)
          create_ksp();
        KSPSetOperators(ksp_, a, a);
        if (!cycle_.set_matrix(a))
          return false;
        vectors_ = cycle_.vectors<double>();
        b_.resize(cycle_.matrix().n_rows());
        x_.resize(cycle_.matrix().n_rows());
        return KSPSetUp(ksp_) == 0;
      }

      bool solve(MultiVector &x, bool transpose, double tolerance) const override
      {
        if (transpose)
          return solve_transposed(x, tolerance);
        KSPSetTolerances(ksp_, tolerance > 0. ? tolerance : settings_.tolerance, 1e-300, PETSC_DEFAULT,
                         settings_.max_iterations);
        return solve_columns(ksp_, x, false, iterations_);
      }

      unsigned int iterations() const override { return iterations_; }

    private:
      /// A V-cycle cannot be applied transposed: Aᵀ gets one of its own, when it is needed.
      bool solve_transposed(MultiVector &x, double tolerance) const
      {
        if (!has_transposed_)
        {
          MatTranspose(matrix_, transposed_matrix_ == nullptr ? MAT_INITIAL_MATRIX : MAT_REUSE_MATRIX,
                       &transposed_matrix_);
          if (!transposed_)
            transposed_ = std::make_unique<GmresSolver>(settings_, hierarchy_, coarse_solver_);
          has_transposed_ = transposed_->set_matrix(transposed_matrix_);
          if (!has_transposed_)
            return false;
        }
        const bool converged = transposed_->solve(x, false, tolerance);
        iterations_          = transposed_->iterations();
        return converged;
      }

      void create_ksp()
      {
        ksp_  = make_krylov(matrix_, MatrixKind::general);
        PC pc = nullptr;
        KSPGetPC(ksp_, &pc);
        PCSetType(pc, PCSHELL);
        PCShellSetContext(pc, this);
        PCShellSetApply(pc, &GmresSolver::apply);
      }

      static PetscErrorCode apply(PC pc, Vec b, Vec x)
      {
        void *context = nullptr;
        PCShellGetContext(pc, &context);
        auto *self              = static_cast<GmresSolver *>(context);
        const PetscScalar *from = nullptr;
        PetscScalar *to         = nullptr;
        VecGetArrayRead(b, &from);
        VecGetArrayWrite(x, &to);
        const Order &order = self->cycle_.order();
        for (std::size_t i = 0; i < order.size(); ++i)
          self->b_[i] = from[order[i]];
        self->cycle_.apply(self->b_.data(), self->x_.data(), self->vectors_);
        for (std::size_t i = 0; i < order.size(); ++i)
          to[order[i]] = self->x_[i];
        VecRestoreArrayWrite(x, &to);
        VecRestoreArrayRead(b, &from);
        return 0;
      }

      const SolverSettings settings_;
      const std::shared_ptr<const Hierarchy> hierarchy_;
      const CoarseSolver coarse_solver_;
      Cycle cycle_;
      CycleVectors<double> vectors_;
      std::vector<double> b_, x_;
      KSP ksp_                       = nullptr;
      Mat matrix_                    = nullptr;
      mutable Mat transposed_matrix_ = nullptr;
      mutable std::unique_ptr<GmresSolver> transposed_;
      mutable bool has_transposed_     = false;
      mutable unsigned int iterations_ = 0;
    };
  } // namespace

  std::unique_ptr<LinearSolver> make_multigrid(const SolverSettings &settings, MatrixKind kind,
                                               std::shared_ptr<const Hierarchy> hierarchy,
                                               const CoarseSolver &coarse_solver)
  {
    if (kind == MatrixKind::general)
      return std::make_unique<GmresSolver>(settings, std::move(hierarchy), coarse_solver);
    return std::make_unique<CgSolver>(settings, std::move(hierarchy), coarse_solver);
  }
} // namespace varfield
