#ifndef varfield_optimizer_h
#define varfield_optimizer_h

#include <varfield/elbo.h>
#include <varfield/monitor.h>

namespace varfield
{
  /// Finds the member of a family with the largest ELBO.
  class Optimizer
  {
  public:
    virtual ~Optimizer() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// Throws UserError where family and optimiser do not fit.
    virtual void check(const Family &) const {}

    /// Starts from `family` as it is (usually the Laplace approximation) and leaves the best in it. Collective over the
    /// world.
    virtual Termination maximize(const LogDensity &density, Family &family, std::uint64_t seed,
                                 const Monitor &monitor) = 0;
  };
} // namespace varfield

#endif
