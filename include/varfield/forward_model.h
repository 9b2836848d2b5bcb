#ifndef varfield_forward_model_h
#define varfield_forward_model_h

#include <deal.II/fe/fe_values.h>

#include <Eigen/SparseCore>
#include <set>
#include <tuple>
#include <varfield/archive.h>
#include <varfield/assembler.h>
#include <varfield/load.h>
#include <varfield/log_density.h>
#include <varfield/measurements.h>
#include <varfield/time_stepping.h>

namespace varfield
{
  template <int dim>
  class ForwardModel;

  /// The matrix of a step and its factorisation. It is made once and used again: symbolic work is kept.
  struct StateMatrix
  {
    SparseMatrix full;                    ///< K: ∂R/∂uₙ with all rows and columns
    SparseMatrix reduced;                 ///< the same with Dirichlet rows and columns replaced by the identity
    std::unique_ptr<LinearSolver> solver; ///< of `reduced`
  };

  /// Objects that are made once and used again, by one owner at a time; the pool must outlive them.
  template <class T>
  class Pool
  {
  public:
    std::shared_ptr<T> take() const
    {
      std::unique_ptr<T> object;
      if (free_.empty())
        object = std::make_unique<T>();
      else
      {
        object = std::move(free_.back());
        free_.pop_back();
      }
      return std::shared_ptr<T>(object.release(), [this](T *t) { free_.emplace_back(t); });
    }

  private:
    mutable std::vector<std::unique_ptr<T>> free_;
  };

  /// The solution of the forward problem at one parameter vector, for all experiments and times, and (after
  /// linearize()) what its derivatives need.
  template <int dim>
  struct ModelState
  {
    Vector parameters;
    MultiVector states; ///< owned degrees of freedom × ForwardModel::n_columns()
    Vector predictions; ///< of all measurements, on every rank
    /// Of a linear law one for every kind of step, else one for every step and experiment.
    std::vector<std::shared_ptr<StateMatrix>> matrices;
    std::shared_ptr<SparseMatrix> storage; ///< M = ∫ S φᵢφⱼ dx; in problems in time only
    /// C: ∂R/∂m for each slot that is a field, of every step and experiment.
    std::vector<std::shared_ptr<std::deque<SparseMatrix>>> by_field;
    MultiVector loads;                ///< owned degrees of freedom × systems, where fields are in them; else empty
    std::vector<Vector> load_slopes;  ///< T'(m) at the degrees of freedom of the field of each load
    std::vector<Vector> trace_slopes; ///< T'(m) at the nodes of every trace
    Vector field_slopes;              ///< of the measurements of fields, T'(m) or 1; of all measurements
  };

  /// From parameter vectors to predicted measurements: R(u, m; v) = ℓ(m; v) for every experiment, F(m) = B u. A flux
  /// through the boundary is measured as what is left of R − ℓ at Dirichlet nodes, and is known at the others: see
  /// boundary_flux().
  ///
  /// The state matrix is assembled whole first (K) and then with the Dirichlet nodes d split off: K_ff for the free
  /// nodes f and the identity for d. Where the Dirichlet values are the trace g(m) of a field, with slope G, the
  /// tangent is
  ///   δu_d = G δm,   K_ff δu_f = −C_f δm − K_fd G δm,
  /// and the adjoint of J: δm → B δu is Jᵀw = −C_fᵀp_f + Gᵀ(p_d − K_fdᵀp_f) with K_ffᵀp_f = (Bᵀw)_f, p_d = (Bᵀw)_d.
  ///
  /// In problems in time (see TimeStep) R depends on the two states before as well, H₁ = ∂Rₙ/∂uₙ₋₁ and H₂ = ∂Rₙ/∂uₙ₋₂:
  /// the tangent has −H₁δuₙ₋₁ − H₂δuₙ₋₂ on its right-hand side, the adjoint goes back in time with −H₁ᵀpₙ₊₁ − H₂ᵀpₙ₊₂.
  /// All states, and the matrices C of all steps, are held. At the time of the initial state all nodes are as those of
  /// a Dirichlet condition.
  ///
  /// Everything works on blocks, experiments side by side. All member functions are collective over the mesh's
  /// communicator.
  template <int dim>
  class ForwardModel
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm);
    /// Throws UserError for names that are no fields. `experiments` is empty, or the sections of the experiments.
    /// Collective.
    void check(const std::vector<std::string> &field_names, std::vector<Experiment> experiments, MPI_Comm comm);
    const std::vector<Experiment> &experiments() const { return experiments_; }
    std::vector<std::string> experiment_names() const;
    std::vector<std::string> state_names() const { return physics_->state_names(); }
    const std::string &state_unit() const { return state_unit_; }
    unsigned int degree() const { return degree_; }
    bool is_linear() const { return physics_->is_linear(); }
    bool is_symmetric() const { return physics_->is_symmetric(); }
    const TimeSettings &time() const { return time_; }

    /// The times of the states: of the initial state and the ends of the steps; one, in a stationary problem.
    unsigned int n_snapshots() const { return steps_.size() + first_solved_; }
    double snapshot_time(unsigned int n) const { return n == 0 ? steps_[0].begin : steps_[n - first_solved_].end; }
    /// The snapshot whose time is nearest to `time`.
    unsigned int snapshot_near(double time) const;
    /// Of a state in ModelState::states.
    unsigned int column(unsigned int snapshot, unsigned int experiment) const
    {
      return snapshot * experiments_.size() + experiment;
    }
    unsigned int n_columns() const { return n_snapshots() * experiments_.size(); }

    /// Sets everything up that does not depend on the parameters, the functionals of the measurements included. Mesh
    /// and fields must outlive this object.
    void initialize(const Mesh<dim> &mesh, const FieldSet<dim> &fields, Measurements<dim> &measurements,
                    const SolverSettings &settings);

    const StateSpace<dim> &space() const { return *space_; }
    /// nullptr where there are none.
    const Electrodes<dim> *electrodes() const { return electrodes_.get(); }
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

    /// Σ GᵀWG V over all experiments and steps, G = ∂(R − ℓ)/∂m with the states held, at free nodes, and W diagonal:
    /// what a residual whose errors have the precision W says about the parameters where nothing else may change. The
    /// part of a field `but` in the loads is left out. Of a state that has been linearised.
    MultiVector residual_curvature(const ModelState<dim> &state, const Vector &weights, unsigned int but,
                                   const MultiVector &directions) const;

    /// ∫ φᵢ n·f₁ ds at every owned node i for a solved state: what flows into the domain there, in problems in time
    /// during the step that ends at the snapshot (the first one, for the initial state). At Dirichlet nodes it is the
    /// residual of the weak form with the node's shape function, elsewhere what Neumann and Robin conditions
    /// give (Hughes, Engel, Mazzei, Larson 2000, Journal of Computational Physics 163, sec. 2: sums over a boundary
    /// balance the sources exactly).
    Vector boundary_flux(const ModelState<dim> &state, unsigned int snapshot, unsigned int experiment) const;

    Cost cost() const { return cost_; }

  private:
    struct Trace ///< the prescribed nodes that follow a field
    {
      unsigned int field;
      std::vector<unsigned int> nodes; ///< local indices
      SparseMatrix values;             ///< state nodes × the field's degrees of freedom: m at the node
      /// What is prescribed in these columns of the states depends on the coefficient k = T(m) by these factors, nodes
      /// × columns.
      std::vector<unsigned int> columns;
      Matrix factors;
    };
    /// What traces are to be made of, by field and interval of time.
    struct TraceParts
    {
      std::set<unsigned int> columns;                                    ///< of the states; the same on all ranks
      std::vector<std::tuple<unsigned int, unsigned int, double>> owned; ///< nodes, columns and factors
    };
    using TraceEntries = std::map<std::pair<unsigned int, unsigned int>, TraceParts>;

    struct Solved ///< which system: a step, and an experiment
    {
      unsigned int step, experiment;
    };

    /// A part of the loads: ∫ c k v of the coefficient k of a field.
    struct FieldLoad
    {
      Load::OfField part;
      std::vector<Index> systems; ///< steps and experiments that have it, ascending
      bool is_of(Index system) const { return std::binary_search(systems.begin(), systems.end(), system); }
    };

    /// Measurements of a field itself: on owned degrees of freedom.
    struct FieldReading
    {
      unsigned int field;
      bool transformed;
      std::vector<Index> rows;
      Eigen::SparseMatrix<double, Eigen::RowMajor> values; ///< all measurements × owned degrees of freedom
    };

    void check_fields(const Measurements<dim> &measurements);
    void check_trace_field(const std::string &name, const std::string &origin, std::set<std::string> &referenced);
    std::vector<FieldExpression<dim>> initial_state() const;
    void make_steps();
    void choose_steps();
    std::vector<double> wanted_sizes() const;
    void make_prescribed();
    void prescribe(const FieldExpression<dim> &value, const std::vector<double> &coefficients, unsigned int node,
                   double field_time, unsigned int column, TraceEntries &traces);
    void prescribe_boundaries(unsigned int experiment,
                              const std::map<dealii::types::global_dof_index, dealii::Point<dim>> &support,
                              TraceEntries &traces, std::string &message);
    void prescribe_initial(const std::map<dealii::types::global_dof_index, dealii::Point<dim>> &support,
                           TraceEntries &traces, std::string &message);
    void expect_traces(const FieldExpression<dim> &value, double field_time, unsigned int column,
                       TraceEntries &traces) const;
    std::map<unsigned int, const DirichletCondition<dim> *>
    dirichlet_nodes(const std::vector<DirichletCondition<dim>> &conditions) const;
    void make_trace(unsigned int field, unsigned int interval, const TraceParts &parts);
    void make_loads();
    std::vector<FieldExpression<dim>> source_of(const Experiment &experiment) const;
    std::vector<FluxCondition<dim>> fluxes_of(Experiment experiment) const;
    void make_robin_matrices(const std::vector<FluxCondition<dim>> &conditions);
    void add_robin_matrix(const FluxCondition<dim> &condition,
                          const typename dealii::DoFHandler<dim>::active_cell_iterator &cell,
                          dealii::FEFaceValues<dim> &values);
    void add_wells(unsigned int experiment);
    void make_observation_matrices(const Measurements<dim> &measurements);
    void make_field_readings(const Measurements<dim> &measurements);
    std::vector<std::pair<unsigned int, double>> snapshot_weights(double from, double until) const;
    std::vector<std::pair<unsigned int, double>> step_weights(double from, double until) const;

    std::unique_ptr<ModelState<dim>> solve_once(const Vector &parameters, const SampleGroups *together) const;
    std::shared_ptr<StateMatrix> take_matrix() const;
    std::vector<GhostedVector> ghosted_fields(const Vector &parameters) const;
    bool factorise(StateMatrix &matrix) const;
    MultiVector prescribed_values(ModelState<dim> &state) const;
    std::pair<Vector, Vector> coefficient(const Vector &parameters, unsigned int field) const;
    void add_field_loads(ModelState<dim> &state) const;
    const MultiVector &loads(const ModelState<dim> &state) const { return field_loads_.empty() ? loads_ : state.loads; }
    MultiVector robin_product(MultiVector states) const;
    void assemble_storage(ModelState<dim> &state, const std::vector<GhostedVector> &fields) const;
    bool solve_states(const StateMatrix &matrix, MultiVector &x, double tolerance = 0.) const;
    bool solve_states_from(const MultiVector &start, const StateMatrix &matrix, MultiVector &x) const;
    bool solve_linearized(const StateMatrix &matrix, MultiVector &x, bool transpose, double tolerance) const;
    bool solve_linear(ModelState<dim> &state, const std::vector<GhostedVector> &fields) const;
    bool solve_linear_step(ModelState<dim> &state, const Vector &zero_state, unsigned int step,
                           MultiVector &solved) const;
    bool solve_nonlinear(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                         unsigned int experiment) const;
    bool solve_shared(ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                      const SampleGroups &groups) const;
    double newton_target(const ModelState<dim> &state, double cold_residual, const Solved &at) const;
    double cold_residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields,
                         const Solved &at) const;
    bool solve_newton(ModelState<dim> &state, const std::vector<GhostedVector> &fields, const Solved &at, MultiVector u,
                      double target) const;
    Vector residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields, const Vector &u,
                    const Solved &at, StateMatrix *matrix) const;
    Vector free_residual(const ModelState<dim> &state, const std::vector<GhostedVector> &fields, const Vector &u,
                         const Solved &at, StateMatrix *matrix) const;
    MultiVector with_dirichlet(const ModelState<dim> &state, const Solved &at, MultiVector inside) const;
    MultiVector before(const ModelState<dim> &state, const Solved &at, unsigned int steps) const;
    MultiVector level(const ModelState<dim> &state, const MultiVector &u, const Solved &at) const;
    MultiVector rate(const ModelState<dim> &state, const MultiVector &u, const Solved &at) const;
    /// H₁ and H₂ times the two states before, or their changes.
    MultiVector history(const ModelState<dim> &state, const Solved &at, const MultiVector &last,
                        const MultiVector &before_last) const;
    /// Solves with the matrix of a step for each experiment; all in one block where they share it.
    bool solve_blocks(const ModelState<dim> &state, unsigned int step, std::vector<MultiVector> &blocks, bool transpose,
                      double tolerance) const;
    std::size_t system(const Solved &at) const { return at.step * experiments_.size() + at.experiment; }
    StateMatrix &matrix_of(const ModelState<dim> &state, const Solved &at) const
    {
      return *state.matrices[physics_->is_linear() ? steps_[at.step].kind : system(at)];
    }
    unsigned int column_of(const Solved &at) const { return column(at.step + first_solved_, at.experiment); }
    bool has_trace(unsigned int column) const;
    bool measures_flux(const Solved &at) const { return flux_readings_[system(at)].nonZeros() > 0; }
    Eigen::SparseMatrix<double> owned_flux_readings(const Solved &at) const;
    template <class Action>
    void for_traces_in(unsigned int column, const Action &action) const;
    /// Columns of weights with a weight in an experiment, and the last snapshot with one, which falls.
    struct ActiveColumns
    {
      std::vector<Index> columns;
      std::vector<int> last;
      /// How many of them matter at a snapshot: the first ones.
      Index n_at(int snapshot) const
      {
        return std::partition_point(last.begin(), last.end(), [=](int l) { return l >= snapshot; }) - last.begin();
      }
    };
    std::vector<ActiveColumns> active_columns(const Matrix &weights, int &last_snapshot) const;
    void predict(ModelState<dim> &state) const;
    void finish_state_matrix(SparseMatrix &matrix, double per_state) const;
    void zero_dirichlet(MultiVector &block) const;
    double norm(const Vector &values) const;

    // Parameters
    Choice<Physics<dim>> physics_{"Equation", "diffusion"};
    unsigned int degree_ = 1, max_newton_ = 30;
    double newton_tolerance_ = 1e-10;
    std::string state_unit_;
    Experiment common_;
    TimeSettings time_;
    ElectrodeSettings electrode_settings_;

    // Set up by initialize()
    std::vector<Experiment> experiments_;
    const Mesh<dim> *mesh_       = nullptr;
    const FieldSet<dim> *fields_ = nullptr;
    std::vector<unsigned int> experiment_of_; ///< each measurement
    std::vector<int> last_snapshot_;          ///< that each measurement depends on; −1: on none
    SolverSettings settings_;
    std::vector<TimeStep> steps_{TimeStep()};
    std::vector<double> jumps_;
    unsigned int first_solved_ = 0; ///< snapshot; the one before is the initial state
    std::unique_ptr<StateSpace<dim>> space_;
    dealii::AffineConstraints<double> condensed_; ///< hanging nodes, and zero at Dirichlet nodes
    std::vector<unsigned int> dirichlet_nodes_;   ///< local indices
    MultiVector prescribed_;                      ///< owned nodes × columns; fixed values
    std::deque<Trace> traces_;
    MultiVector loads_;          ///< owned nodes × systems
    MultiVector boundary_loads_; ///< the part of them that Neumann and Robin conditions give
    std::vector<FieldLoad> field_loads_;
    std::unique_ptr<Assembler<dim>> assembler_;
    std::unique_ptr<Electrodes<dim>> electrodes_;
    std::vector<FieldReading> field_readings_;
    /// Of each system: all nodes × measurements of the flux at a node. The same on all ranks.
    std::vector<Eigen::SparseMatrix<double>> flux_readings_;
    Vector constants_; ///< parts of the predictions that do not depend on the state
    std::vector<Eigen::SparseMatrix<double, Eigen::RowMajor>> observation_; ///< B of each column, owned columns
    bool is_affine_ = false, constant_matrix_ = false;
    mutable std::shared_ptr<const Hierarchy> hierarchy_; ///< of the state matrix, if a solver asked for it
    Pool<StateMatrix> matrix_pool_;
    Pool<SparseMatrix> storage_pool_;
    Pool<std::deque<SparseMatrix>> by_field_pool_;
    mutable std::vector<std::shared_ptr<StateMatrix>> constant_matrices_; ///< where they do not depend on parameters
    mutable std::shared_ptr<SparseMatrix> constant_storage_;
    mutable MultiVector last_, start_; ///< states: of the last solve, and where iterations begin (if not empty)
    mutable Cost cost_;
  };
} // namespace varfield

#endif
