#ifndef varfield_transfer_h
#define varfield_transfer_h

#include <varfield/assembly.h>
#include <varfield/field.h>

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

  /// Through the prior: with C = A⁻¹MA⁻¹ the source s = M⁻¹Am = A⁻¹(C⁻¹m) is interpolated and smoothed again, m =
  /// A⁻¹Ms on the fine mesh. The kinks of the interpolated m itself are rough in the norm of the prior. Loads go down
  /// by the transpose of the interpolation. Zonal values and trend coefficients stay as they are.
  template <int dim>
  class FieldTransfer : public Transfer
  {
  public:
    /// Both sets must outlive the object. Collective.
    FieldTransfer(const FieldSet<dim> &coarse, const FieldSet<dim> &fine);
    PrimalDual prolongate(const MultiVector &coarse_dual) const override;
    MultiVector restrict_load(const MultiVector &fine_load) const override;

  private:
    const FieldSet<dim> &coarse_, &fine_;
    std::vector<std::unique_ptr<Interpolation<dim>>> interpolations_; ///< of nodal fields
  };
} // namespace varfield

#endif
