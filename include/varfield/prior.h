#ifndef varfield_prior_h
#define varfield_prior_h

#include <varfield/field_space.h>
#include <varfield/gaussian_prior.h>
#include <varfield/linear_solver.h>
#include <varfield/registry.h>

namespace varfield
{
  /// Recipe for the Gaussian prior of one field: reads parameters, then builds the prior on the coefficients of a
  /// space.
  template <int dim>
  class Prior
  {
  public:
    virtual ~Prior()                                           = default;
    virtual void add_parameters(dealii::ParameterHandler &prm) = 0;
    /// Throws UserError; messages begin with `section`.
    virtual void check(const std::string &section) const = 0;
    /// Whether this prior is for nodal fields (else for zonal ones).
    virtual bool is_nodal() const = 0;
    /// Whether the field's deviation from its mean is held at zero on the boundary of the mesh.
    virtual bool zero_on_boundary() const { return false; }
    /// Builds the prior. `space` must outlive it. Collective; UserError that begins with `section`.
    virtual std::shared_ptr<const GaussianPrior> build(const FieldSpace<dim> &space, const SolverSettings &settings,
                                                       const std::string &section) const = 0;
    /// The prior in a few words, for the terminal.
    virtual std::string describe() const = 0;
  };
} // namespace varfield

#endif
