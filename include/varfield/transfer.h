#ifndef varfield_transfer_h
#define varfield_transfer_h

#include <varfield/field.h>
#include <varfield/interpolation.h>

namespace varfield
{
  /// Through the prior: with C = A⁻¹MA⁻¹ the source s = M⁻¹Am = A⁻¹(C⁻¹m) is interpolated and smoothed again, m =
  /// A⁻¹Ms on the fine mesh. The kinks of the interpolated m itself are rough in the norm of the prior. Loads go down
  /// by the transpose of the interpolation. Zonal values and trend coefficients stay as they are.
  template <int dim>
  class FieldTransfer : public Transfer
  {
  public:
    /// Both sets must outlive the object. Collective.
    FieldTransfer(const FieldSet<dim> &coarse, const FieldSet<dim> &fine);
    MultiVector restrict_load(const MultiVector &fine_load) const override;

  private:
    MultiVector interpolate(const MultiVector &sources) const override;

    const FieldSet<dim> &coarse_, &fine_;
    std::vector<std::unique_ptr<Interpolation<dim>>> interpolations_; ///< of nodal fields
  };
} // namespace varfield

#endif
