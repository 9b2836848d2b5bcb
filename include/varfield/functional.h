#ifndef varfield_functional_h
#define varfield_functional_h

#include <deal.II/base/bounding_box.h>

#include <functional>
#include <varfield/field_space.h>

namespace varfield
{
  /// A linear functional of a finite-element function: Σ weight · u(dof) over unconstrained degrees of freedom. Every
  /// rank holds it whole.
  using Functional = std::vector<std::pair<dealii::types::global_dof_index, double>>;

  /// Where functionals act: on the state, or on a field.
  template <int dim>
  struct FunctionalSpace
  {
    const dealii::DoFHandler<dim> &handler;
    const Mesh<dim> &mesh;
    const dealii::AffineConstraints<double> &constraints;
  };

  // All functions are collective, and their results the same on all ranks, on any number of them to rounding. An empty
  // functional is one whose points or regions are outside of the mesh. `components`: of the function, one for each row.

  /// The value at each point. A point on a face belongs to one cell, the same on every number of ranks.
  template <int dim>
  std::vector<Functional> point_functionals(const FunctionalSpace<dim> &space,
                                            const std::vector<dealii::Point<dim>> &points,
                                            const std::vector<unsigned int> &components);

  /// n·∇u at each point, n its direction; of the cell that the point belongs to.
  template <int dim>
  std::vector<Functional> derivative_functionals(const FunctionalSpace<dim> &space,
                                                 const std::vector<dealii::Point<dim>> &points,
                                                 const std::vector<dealii::Tensor<1, dim>> &directions,
                                                 const std::vector<unsigned int> &components);

  /// A part of space with a weight w ≥ 0.
  template <int dim>
  struct Region
  {
    dealii::BoundingBox<dim> box; ///< outside of which w is zero
    std::function<double(const dealii::Point<dim> &, dealii::types::material_id)> weight;
  };

  /// ∫wu dx / ∫w dx, by Gauss quadrature with two points in each direction on `n` subcells of each cell in each
  /// direction.
  template <int dim>
  std::vector<Functional> mean_functionals(const FunctionalSpace<dim> &space, const std::vector<Region<dim>> &regions,
                                           const std::vector<unsigned int> &components, unsigned int n = 4);

  /// ∫u ds over the boundaries of these ids, one or several for each row, and their areas.
  template <int dim>
  std::pair<std::vector<Functional>, std::vector<double>>
  boundary_functionals(const FunctionalSpace<dim> &space,
                       const std::vector<std::vector<dealii::types::boundary_id>> &ids,
                       const std::vector<unsigned int> &components);

  /// Σₖ factorₖ functionalₖ.
  Functional combination(const std::vector<std::pair<double, const Functional *>> &parts);
} // namespace varfield

#endif
