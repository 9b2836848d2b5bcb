#ifndef varfield_hyper_prior_h
#define varfield_hyper_prior_h

#include <varfield/registry.h>

namespace varfield
{
  /// Prior density of one positive hyper-parameter θ (a standard deviation, a correlation length). A plugin.
  class HyperPrior
  {
  public:
    virtual ~HyperPrior()                                      = default;
    virtual void add_parameters(dealii::ParameterHandler &prm) = 0;
    /// UserError that begins with `section`. `dim`: of the mesh.
    virtual void check(const std::string &section, unsigned int dim) = 0;
    /// log density of t = log θ.
    virtual double log_density(double t) const = 0;
    /// θ with P(below) = p.
    virtual double quantile(double p) const = 0;
  };
} // namespace varfield

#endif
