#ifndef varfield_optimizer_h
#define varfield_optimizer_h

#include <varfield/coarse_posterior.h>
#include <varfield/monitor.h>

namespace varfield
{
  /// What an optimiser on one mesh leaves to the same on the next.
  struct OptimizerMemory
  {
    unsigned int draws      = 0;  ///< so far on all meshes: each iteration has draws of its own
    unsigned int n_averaged = 0;  ///< iterations in the running average that the family is; 0: start afresh
    double noise_sum        = 0.; ///< sampling errors of the gradients of these
    double loss             = 0.; ///< ELBO that sampling has cost the family [nat]
    ElboEstimate elbo;            ///< in the last iteration
    bool more_to_come = false;    ///< whether there is a finer mesh after this one
    std::shared_ptr<const CoarsePosterior> coarse; ///< the family where it settled on the mesh before, or nothing
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
