#ifndef varfield_assembler_h
#define varfield_assembler_h

#include <deal.II/base/quadrature_lib.h>
#include <deal.II/lac/full_matrix.h>

#include <deque>
#include <map>
#include <varfield/assembly.h>
#include <varfield/field.h>
#include <varfield/physics.h>
#include <varfield/state_space.h>

namespace varfield
{
  /// One pass over the cells: evaluates the weak form at every quadrature point, with derivatives, and adds up R(u, m),
  /// ∂R/∂u and ∂R/∂m as asked. In problems in time R = ∫ S w v dx + R(u, m), w = ∂u/∂t. All members are collective over
  /// the mesh's communicator.
  template <int dim>
  class Assembler
  {
  public:
    /// A coefficient of the PDE that is an unknown field; the slot behind those of the PDE is the storage S.
    struct FieldSlot
    {
      unsigned int slot, field;
    };

    /// What a pass reads and adds to. Residual and state matrix are condensed by the hanging nodes, field matrices by
    /// `row_constraints`; assembly is to be finished by the caller.
    struct Task
    {
      const std::vector<GhostedVector> &fields;                           ///< m of each field slot
      const GhostedVector *state                               = nullptr; ///< u; nullptr: zero
      const GhostedVector *rate                                = nullptr; ///< w; nullptr: zero
      double per_state                                         = 1.;      ///< of what R is differentiated by:
      double per_rate                                          = 0.;      ///< u and w change with it by so much
      GhostedVector *residual                                  = nullptr; ///< volume and Robin terms of R(u, m)
      SparseMatrix *state_matrix                               = nullptr;
      std::deque<SparseMatrix> *field_matrices                 = nullptr;
      const dealii::AffineConstraints<double> *row_constraints = nullptr;
    };

    /// Finds the slots that are fields and evaluates the others once, at all quadrature points. `origin` names the
    /// PDE's section in messages; `storage` is a field or an expression, empty in stationary problems. UserError on all
    /// ranks alike. The arguments must outlive the object.
    Assembler(const StateSpace<dim> &space, const FieldSet<dim> &fields, const Physics<dim> &physics,
              const std::string &origin, const std::string &storage);

    ~Assembler();

    const std::vector<FieldSlot> &field_slots() const { return field_slots_; }
    bool is_storage(const FieldSlot &slot) const { return slot.slot == n_slots_; }
    /// Matrices ∫ a φᵢφⱼ ds of Robin conditions by active cell index: added to what the PDE gives.
    std::map<unsigned int, dealii::FullMatrix<double>> &robin() { return robin_; }
    /// Σⱼ ∫ a φᵢφⱼ ds uⱼ at the owned nodes i. Collective.
    Vector robin_part(const GhostedVector &state) const;
    /// Gives ∂R/∂m of every field slot its pattern.
    void reinit_field_matrices(std::deque<SparseMatrix> &matrices,
                               const dealii::AffineConstraints<double> &row_constraints) const;
    void sweep(const Task &task) const;

    /// u and w, and ∂R/∂m there: of each field slot, condensed by `row_constraints`; to be finished by the caller.
    struct Linearized
    {
      const GhostedVector *state, *rate; ///< nullptr: zero
      std::deque<SparseMatrix> *field_matrices;
    };
    /// Of a law that is affine in u and w, ∂R/∂m of many states in one pass: on every cell it is A₀ + Σₖ uₖ Aₖ + Σₖ wₖ
    /// Bₖ, where uₖ and wₖ are the local coefficients. What one pass of sweep() evaluates is evaluated
    /// n_linear_evaluations() times, for all states together.
    void sweep_linear(const std::vector<GhostedVector> &fields, const std::vector<Linearized> &all,
                      const dealii::AffineConstraints<double> &row_constraints) const;
    unsigned int n_linear_evaluations() const;

  private:
    struct Scratch; ///< shape functions, local vectors and matrices of a cell
    using Cell = typename dealii::DoFHandler<dim>::active_cell_iterator;

    Scratch &scratch() const;
    void read_cell(const Cell &cell, const std::vector<GhostedVector> &fields, Scratch &scratch) const;
    Cell field_cell(const Cell &cell, unsigned int slot) const;
    void read_dofs(const Cell &cell, Scratch &scratch) const;
    void read_states(const GhostedVector *state, const GhostedVector *rate, Scratch &scratch) const;
    void evaluate(const Task &task, bool field_matrices, std::size_t first_cached, Scratch &scratch) const;
    void find_slopes(const std::vector<GhostedVector> &fields, std::size_t first_cached, std::vector<Matrix> &slopes,
                     Scratch &scratch) const;
    bool depends_on_rate() const;
    void read_point(unsigned int q, std::size_t cached, Scratch &scratch) const;
    void read_rate(Scratch &scratch) const;
    void add_rate(Scratch &scratch) const;
    bool is_transient() const { return known_.size() > n_slots_; }
    void add_known(const std::string &text, const std::string &origin, const std::vector<dealii::Point<dim>> &points);
    void add_residual(double weight, Scratch &scratch) const;
    void add_state_matrix(double weight, const Task &task, Scratch &scratch) const;
    void add_field_matrices(double weight, unsigned int q, Scratch &scratch) const;
    void write_cell(const Cell &cell, const Task &task, Scratch &scratch) const;
    void write_field_matrices(std::deque<SparseMatrix> &matrices, const dealii::AffineConstraints<double> &rows,
                              const Scratch &scratch) const;

    const StateSpace<dim> &space_;
    const FieldSet<dim> &fields_;
    const Physics<dim> &physics_;
    dealii::QGauss<dim> quadrature_;
    unsigned int n_slots_; ///< of the PDE
    std::vector<FieldSlot> field_slots_;
    std::vector<std::vector<double>> known_; ///< of each slot that is known: values by (owned cell, quadrature point)
    std::map<unsigned int, dealii::FullMatrix<double>> robin_;
    const dealii::AffineConstraints<double> no_constraints_;
    mutable std::unique_ptr<Scratch> scratch_; ///< made by the first sweep
  };
} // namespace varfield

#endif
