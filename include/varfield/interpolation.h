#ifndef varfield_interpolation_h
#define varfield_interpolation_h

#include <varfield/assembly.h>
#include <varfield/mesh.h>

namespace varfield
{
  /// Interpolation of finite-element functions (of any number of components of one element) between meshes of which the
  /// second is refined from the first, whatever their partitions.
  template <int dim>
  class Interpolation
  {
  public:
    /// `coarse_mesh` is the one of `coarse`. Collective.
    Interpolation(const dealii::DoFHandler<dim> &coarse, const Mesh<dim> &coarse_mesh,
                  const dealii::DoFHandler<dim> &fine);
    /// Fine × coarse degrees of freedom, hanging nodes included on both sides.
    const SparseMatrix &matrix() const { return matrix_; }
    /// Owned fine degrees of freedom from owned coarse ones. Collective.
    MultiVector apply(const MultiVector &coarse) const;
    /// Its transpose, for dual vectors. Collective.
    MultiVector apply_transpose(const MultiVector &fine) const;

  private:
    SparseMatrix matrix_;
  };
} // namespace varfield

#endif
