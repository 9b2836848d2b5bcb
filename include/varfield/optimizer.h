#ifndef varfield_optimizer_h
#define varfield_optimizer_h

#include <varfield/elbo.h>
#include <varfield/monitor.h>

namespace varfield
{
  /// What an optimiser on one mesh leaves to the same on the next.
  struct OptimizerMemory
  {
    unsigned int iterations = 0;  ///< so far on all meshes: each iteration has draws of its own
    unsigned int n_averaged = 0;  ///< iterations in the running average that the family is; 0: start afresh
    double noise_sum        = 0.; ///< sampling errors of the gradients of these
    Estimate elbo;                ///< in the last iteration
  };

  /// Finds the member of a family with the largest ELBO.
  class Optimizer
  {
  public:
    virtual ~Optimizer() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// Throws UserError where family and optimiser do not fit.
    virtual void check(const Family &) const {}

    /// Starts from `family` as it is (usually the Laplace approximation, or the posterior on a coarser mesh with the
    /// memory from there) and leaves the best in it. Collective over the world.
    virtual Termination maximize(const LogDensity &density, Family &family, std::uint64_t seed, const Monitor &monitor,
                                 OptimizerMemory *memory = nullptr) = 0;
  };
} // namespace varfield

#endif
