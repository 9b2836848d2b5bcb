#ifndef varfield_indicator_h
#define varfield_indicator_h

#include <varfield/family.h>
#include <varfield/forward_model.h>

namespace varfield
{
  /// Tells where a mesh is to be refined.
  template <int dim>
  class Indicator
  {
  public:
    virtual ~Indicator() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// Whether evaluate() needs the change of the covariance.
    virtual bool needs_posterior() const { return false; }
    /// A number ≥ 0 for every active cell that this rank owns, in their order: the larger, the sooner is the cell
    /// refined. `m` is the MAP point; `correction`, which may be nullptr unless needs_posterior(), what the data change
    /// in the covariance. ComputationError where the model cannot be solved. Collective over the mesh's communicator.
    virtual Vector evaluate(const ForwardModel<dim> &model, const FieldSet<dim> &fields, const Vector &m,
                            const LowRankCorrection *correction) const = 0;
  };

  /// The ids of the cells with the largest indicators, a `share` of all cells: ascending, the same list on every rank
  /// of the mesh's communicator, over which it is collective.
  template <int dim>
  std::vector<dealii::CellId> largest_cells(const Mesh<dim> &mesh, const Vector &indicators, double share);

  /// Refinement of the mesh in the course of the inference.
  template <int dim>
  struct AdaptiveRefinement
  {
    void add_parameters(dealii::ParameterHandler &prm);

    unsigned int cycles = 0;
    double share        = 0.15;
    Choice<Indicator<dim>> indicator{"Indicator", "state error"};
  };
} // namespace varfield

#endif
