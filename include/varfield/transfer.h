#ifndef varfield_transfer_h
#define varfield_transfer_h

#include <varfield/assembly.h>
#include <varfield/field.h>

namespace varfield
{
  /// Interpolation of a nodal field between meshes of which the second is refined from the first, whatever their
  /// partitions.
  template <int dim>
  class Interpolation
  {
  public:
    /// Collective.
    Interpolation(const FieldSpace<dim> &coarse, const FieldSpace<dim> &fine);
    /// Fine coefficients from coarse ones. Collective.
    MultiVector prolongate(const MultiVector &coarse) const;

  private:
    const FieldSpace<dim> &coarse_, &fine_;
    SparseMatrix matrix_; ///< fine × coarse degrees of freedom
  };

  /// Through the prior: with C = A⁻¹MA⁻¹ the source s = M⁻¹Am = A⁻¹(C⁻¹m) is interpolated and smoothed again, m =
  /// A⁻¹Ms on the fine mesh. The kinks of the interpolated m itself are rough in the norm of the prior. Zonal values
  /// and trend coefficients stay as they are.
  template <int dim>
  class FieldTransfer : public Transfer
  {
  public:
    /// Both sets must outlive the object. Collective.
    FieldTransfer(const FieldSet<dim> &coarse, const FieldSet<dim> &fine);
    PrimalDual prolongate(const MultiVector &coarse_dual) const override;

  private:
    const FieldSet<dim> &coarse_, &fine_;
    std::vector<std::unique_ptr<Interpolation<dim>>> interpolations_; ///< of nodal fields
  };
} // namespace varfield

#endif
