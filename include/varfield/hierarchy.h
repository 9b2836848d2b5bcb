#ifndef varfield_hierarchy_h
#define varfield_hierarchy_h

#include <deque>
#include <memory>
#include <varfield/block_matrix.h>
#include <varfield/interpolation.h>

namespace varfield
{
  /// The interpolations P between the finite-element spaces of a mesh and of the meshes from which it was refined: what
  /// a multigrid method needs besides the matrix, whose coarse counterparts are PᵀAP.
  ///
  /// On the finest level all degrees of freedom are rows, those of constrained ones (hanging nodes, nodes where the
  /// value is given) zero. On the levels below only free degrees of freedom count, so that no coarse matrix has a zero
  /// row; a coarse function that does not vanish at a node of given value is none of the space.
  class Hierarchy
  {
  public:
    /// From the constraints that hold for the matrix; those without entries are given values. Stops where a level has
    /// at most `enough` unknowns. Collective.
    template <int dim>
    Hierarchy(const Mesh<dim> &mesh, const dealii::DoFHandler<dim> &handler,
              const dealii::AffineConstraints<double> &constraints, std::uint64_t enough = 2000);
    ~Hierarchy();
    Hierarchy(const Hierarchy &)            = delete;
    Hierarchy &operator=(const Hierarchy &) = delete;

    /// The number of interpolations, from the finest pair of levels to the coarsest; may be zero.
    std::size_t size() const { return blocks_.size(); }
    Mat interpolation(std::size_t i) const { return matrices_[i]; }
    /// How vectors of the levels are ordered here, from the finest to the coarsest, which stays as it is.
    const Order &order(std::size_t level) const { return orders_[level]; }
    /// The same interpolations, for vectors in these orders.
    const BlockProduct &block(std::size_t i) const { return blocks_[i]; }
    std::uint64_t n_coarsest() const { return n_coarsest_; }

  private:
    std::vector<Mat> matrices_;
    std::deque<BlockProduct> blocks_;
    std::vector<Order> orders_;
    std::uint64_t n_coarsest_ = 0;
  };
} // namespace varfield

#endif
