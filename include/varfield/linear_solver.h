#ifndef varfield_linear_solver_h
#define varfield_linear_solver_h

#include <deal.II/base/parameter_handler.h>

#include <functional>
#include <memory>
#include <petscksp.h>
#include <string>
#include <varfield/vectors.h>

namespace varfield
{
  class Hierarchy;
  /// Makes the hierarchy of meshes below a matrix when it is needed; returns nullptr where there is none. Collective.
  using HierarchySource = std::function<std::shared_ptr<const Hierarchy>()>;

  /// A vector of PETSc over the memory of one column, which must outlive the object. Construction is collective.
  class ColumnVec
  {
  public:
    ColumnVec(MPI_Comm comm, Index n_local, const double *data);
    ~ColumnVec();
    ColumnVec(const ColumnVec &)            = delete;
    ColumnVec &operator=(const ColumnVec &) = delete;
    Vec vec() const { return vec_; }

  private:
    Vec vec_ = nullptr;
  };

  /// A X or Aᵀ X for a sparse matrix and a block of vectors. Collective.
  MultiVector multiply(Mat a, const MultiVector &x);
  MultiVector multiply_transpose(Mat a, const MultiVector &x);

  enum class MatrixKind
  {
    spd,     ///< symmetric positive definite
    general, ///< unsymmetric or indefinite
    mass     ///< a mass matrix: SPD and, scaled by its diagonal, well conditioned on every mesh
  };

  /// How linear systems are solved; one set of parameters for all systems of a run.
  struct SolverSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    std::string type            = "auto"; ///< auto, direct or multigrid
    double tolerance            = 1e-10;  ///< relative reduction of the true residual of iterative solvers
    unsigned int max_iterations = 500;
    std::string petsc_options; ///< given to PETSc as they are
  };

  /// Solves A X = B for blocks of right-hand sides: a sparse Cholesky or LU factorisation (direct_solver.h), or
  /// conjugate gradients / GMRES with multigrid, on the hierarchy of meshes where there is one (multigrid.h), else
  /// algebraic (PETSc's GAMG). Failures are values: the caller decides what they mean.
  class LinearSolver
  {
  public:
    virtual ~LinearSolver() = default;

    /// Factorises or sets up for new values. The sparsity pattern must stay the same over the life of the object:
    /// symbolic work is done once. The matrix must outlive the solves. False if the matrix is singular, not finite, or
    /// (kind spd) indefinite. Collective.
    virtual bool set_matrix(Mat a) = 0;
    /// X = A⁻¹ B or, transposed, A⁻ᵀ B, B given in x. `tolerance`: of the residual relative to B in iterative solvers,
    /// 0: that of the settings. False if not solved to tolerance. Collective.
    virtual bool solve(MultiVector &x, bool transpose = false, double tolerance = 0.) const = 0;
    /// log |det A|. Throws ComputationError where there is no factorisation.
    virtual double log_determinant() const;

    /// The most iterations that a right-hand side of the last block took; 0 for direct solvers.
    virtual unsigned int iterations() const { return 0; }
    /// False for a factorisation.
    virtual bool is_iterative() const { return true; }

    /// Whether create() chooses a factorisation.
    static bool is_direct(const SolverSettings &settings, MatrixKind kind, std::uint64_t n_global, unsigned int dim);
    /// What fails with that solver is tried again with a safer one, and counted (see faults.h): a factorisation in the
    /// place of iterations, another ordering and more room in the place of a factorisation. `is_of_state`: whether
    /// faults on purpose are for this solver.
    ///
    /// Direct while the factor fits (2D up to 4·10⁵ and 3D up to 6·10⁴ unknowns for each rank group), multigrid beyond,
    /// Jacobi for mass matrices. PETSc options that choose a method or a preconditioner have their way among the
    /// iterative solvers. Collective.
    static std::unique_ptr<LinearSolver> create(const SolverSettings &settings, MatrixKind kind, std::uint64_t n_global,
                                                unsigned int dim, const HierarchySource &hierarchy = {},
                                                bool is_of_state = false);
    /// In words, for the terminal; `refined`: whether the mesh was made from a coarser one.
    static std::string describe(const SolverSettings &settings, MatrixKind kind, std::uint64_t n_global,
                                unsigned int dim, bool refined);
  };
} // namespace varfield

#endif
