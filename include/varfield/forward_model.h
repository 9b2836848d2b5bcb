#ifndef varfield_forward_model_h
#define varfield_forward_model_h

#include <Eigen/SparseCore>
#include <varfield/archive.h>
#include <varfield/assembler.h>
#include <varfield/experiment.h>
#include <varfield/log_density.h>
#include <varfield/measurements.h>

namespace varfield
{
  template <int dim>
  class ForwardModel;

  /// The matrices and the factorisation of one solve. They are made once and used again: symbolic work is kept.
  struct Workspace
  {
    SparseMatrix full;                    ///< K: ∂R/∂u with all rows and columns
    SparseMatrix state;                   ///< the same with Dirichlet rows and columns replaced by the identity
    std::deque<SparseMatrix> field;       ///< C: ∂R/∂m for each slot that is a field, Dirichlet rows zero
    std::unique_ptr<LinearSolver> solver; ///< of `state`; empty where another experiment's serves
    bool factorised = false;
  };

  /// The solution of the forward problem at one parameter vector, for all experiments, and (after linearize()) what its
  /// derivatives need.
  template <int dim>
  struct ModelState
  {
    Vector parameters;
    MultiVector states; ///< owned degrees of freedom × experiments
    Vector predictions; ///< of all measurements, on every rank
    /// One for each experiment. For a linear law K and its factorisation are in the first only.
    std::vector<std::shared_ptr<Workspace>> work;
    std::vector<Vector> trace_slopes; ///< T'(m) at the nodes of every trace
  };

  /// From parameter vectors to predicted measurements: R(u, m; v) = 0 for every experiment, F(m) = B u.
  ///
  /// The state matrix is assembled whole first (K) and then with the Dirichlet nodes d split off: K_ff for the free
  /// nodes f and the identity for d. Where the Dirichlet values are the trace g(m) of a field, with slope G, the
  /// tangent is
  ///   δu_d = G δm,   K_ff δu_f = −C_f δm − K_fd G δm,
  /// and the adjoint of J: δm → B δu is Jᵀw = −C_fᵀp_f + Gᵀ(p_d − K_fdᵀp_f) with K_ffᵀp_f = (Bᵀw)_f, p_d = (Bᵀw)_d.
  /// Everything works on blocks. All member functions are collective over the mesh's communicator.
  template <int dim>
  class ForwardModel
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm);
    /// Throws UserError for names that are no fields. `experiments` is empty, or the sections of the experiments.
    void check(const std::vector<std::string> &field_names, std::vector<Experiment> experiments);
    const std::vector<Experiment> &experiments() const { return experiments_; }
    std::vector<std::string> experiment_names() const;
    std::vector<std::string> state_names() const { return physics_->state_names(); }
    const std::string &state_unit() const { return state_unit_; }
    unsigned int degree() const { return degree_; }
    bool is_linear() const { return physics_->is_linear(); }
    bool is_symmetric() const { return physics_->is_symmetric(); }

    /// Sets everything up that does not depend on the parameters, the functionals of the measurements included. Mesh
    /// and fields must outlive this object.
    void initialize(const Mesh<dim> &mesh, const FieldSet<dim> &fields, Measurements<dim> &measurements,
                    const SolverSettings &settings);

    const StateSpace<dim> &space() const { return *space_; }
    /// Whether the predictions are an affine function of the parameters.
    bool is_affine() const { return is_affine_; }
    std::string describe() const;

    /// The states and predictions, or nullptr where the model cannot be solved (on all ranks together), also with safer
    /// solvers and, for a nonlinear law, by continuation from the parameters zero, the prior mean. Groups that
    /// are given solve for the same parameters `together`: the experiments of a nonlinear law are shared out, and the
    /// call is collective over the world.
    std::unique_ptr<ModelState<dim>> solve(const Vector &parameters, const SampleGroups *together = nullptr) const;
    /// The last states solved for are where iterations begin from now on, of linear solvers and of Newton's method:
    /// near them fewer are needed.
    void start_from_last() const { start_ = last_; }
    /// Iterations begin as after initialize().
    void forget() const { start_ = last_ = MultiVector(); }
    /// Where iterations begin, to and from a file. Collective over the world of the archive.
    void keep(Archive &archive) const;
    /// Whether linear solves end at a tolerance.
    bool solves_iteratively() const;
    double tolerance() const { return settings_.tolerance; }
    /// Assembles what tangent() and adjoint() need.
    void linearize(ModelState<dim> &state) const;
    /// J V: predictions × directions, on every rank. False if a linear solve failed. `tolerance`: of iterative solves,
    /// 0: that of the settings.
    bool tangent(const ModelState<dim> &state, const MultiVector &directions, Matrix &result,
                 double tolerance = 0.) const;
    /// Jᵀ W: dual parameter vectors from weights of the predictions (the same on every rank). False if a solve failed.
    bool adjoint(const ModelState<dim> &state, const Matrix &weights, MultiVector &result, double tolerance = 0.) const;

    /// ∫ φᵢ n·f₁ ds at every owned node i for a solved state: what flows into the domain there. At Dirichlet nodes it
    /// is the residual of the weak form with the node's shape function, elsewhere what Neumann and Robin conditions
    /// give (Hughes, Engel, Mazzei, Larson 2000, Journal of Computational Physics 163, sec. 2: sums over a boundary
    /// balance the sources exactly).
    Vector boundary_flux(const ModelState<dim> &state, unsigned int experiment) const;

    Cost cost() const { return cost_; }

  private:
    struct Trace ///< the Dirichlet nodes of one experiment that follow a field
    {
      unsigned int experiment, field;
      std::vector<unsigned int> nodes; ///< local indices
      SparseMatrix values;             ///< state nodes × the field's degrees of freedom: m at the node
    };

    void check_fields();
    void make_dirichlet();
    std::map<unsigned int, const DirichletCondition<dim> *>
    dirichlet_nodes(const std::vector<DirichletCondition<dim>> &conditions) const;
    void make_trace(unsigned int experiment, unsigned int field, const std::vector<unsigned int> &nodes);
    void make_loads();
    void add_source(const Experiment &experiment, GhostedVector &load) const;
    void add_fluxes(const Experiment &experiment, GhostedVector &load, bool first);
    void add_wells(const Experiment &experiment, GhostedVector &load) const;
    void make_observation_matrices(const Measurements<dim> &measurements);

    std::unique_ptr<ModelState<dim>> solve_once(const Vector &parameters, const SampleGroups *together) const;
    std::shared_ptr<Workspace> borrow(bool with_state_matrix) const;
    std::vector<GhostedVector> ghosted_fields(const Vector &parameters) const;
    bool factorise(Workspace &work) const;
    MultiVector dirichlet_values(ModelState<dim> &state) const;
    bool solve_states(const Workspace &work, MultiVector &x, double tolerance = 0.) const;
    bool solve_states_from(const MultiVector &start, const Workspace &work, MultiVector &x) const;
    bool solve_linearized(const Workspace &work, MultiVector &x, bool transpose, double tolerance) const;
    bool solve_linear(ModelState<dim> &state, const std::vector<GhostedVector> &fields) const;
    bool solve_nonlinear(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                         unsigned int experiment) const;
    bool solve_shared(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                      const SampleGroups &groups) const;
    double newton_target(double cold_residual, unsigned int experiment) const;
    double cold_residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                         unsigned int experiment) const;
    bool solve_newton(ModelState<dim> &state, const std::vector<GhostedVector> &fields, unsigned int experiment,
                      MultiVector u, double target) const;
    Vector residual(const std::vector<GhostedVector> &fields, const Vector &u, unsigned int experiment,
                    Workspace *work) const;
    Vector assemble_newton(const std::vector<GhostedVector> &fields, const Vector &u, unsigned int experiment,
                           Workspace *work) const;
    /// Solves with the state matrix of each experiment; all experiments in one block where they share it.
    bool solve_blocks(const ModelState<dim> &state, std::vector<MultiVector> &blocks, bool transpose,
                      double tolerance) const;
    const Workspace &matrices_of(const ModelState<dim> &state, unsigned int experiment) const
    {
      return *state.work[physics_->is_linear() ? 0 : experiment];
    }
    void predict(ModelState<dim> &state) const;
    void zero_dirichlet(MultiVector &block) const;
    double norm(const Vector &values) const;

    // Parameters
    Choice<Physics<dim>> physics_{"Equation", "diffusion"};
    unsigned int degree_ = 1, max_newton_ = 30;
    double newton_tolerance_ = 1e-10;
    std::string state_unit_;
    Experiment common_;

    // Set up by initialize()
    std::vector<Experiment> experiments_;
    const Mesh<dim> *mesh_       = nullptr;
    const FieldSet<dim> *fields_ = nullptr;
    std::vector<unsigned int> experiment_of_; ///< each measurement
    SolverSettings settings_;
    std::unique_ptr<StateSpace<dim>> space_;
    dealii::AffineConstraints<double> condensed_; ///< hanging nodes, and zero at Dirichlet nodes
    std::vector<unsigned int> dirichlet_nodes_;   ///< local indices
    MultiVector dirichlet_values_;                ///< owned nodes × experiments; fixed values
    std::deque<Trace> traces_;
    MultiVector loads_;          ///< owned nodes × experiments
    MultiVector boundary_loads_; ///< the part of them that Neumann and Robin conditions give
    std::unique_ptr<Assembler<dim>> assembler_;
    std::vector<Eigen::SparseMatrix<double, Eigen::RowMajor>> observation_; ///< B of each experiment, owned columns
    bool is_affine_ = false, constant_matrix_ = false;
    mutable std::shared_ptr<const Hierarchy> hierarchy_; ///< of the state matrix, if a solver asked for it
    mutable std::vector<std::unique_ptr<Workspace>> pool_;
    mutable MultiVector last_, start_; ///< states: of the last solve, and where iterations begin (if not empty)
    mutable Cost cost_;
  };
} // namespace varfield

#endif
