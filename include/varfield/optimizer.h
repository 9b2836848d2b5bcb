#ifndef varfield_optimizer_h
#define varfield_optimizer_h

#include <varfield/coarse_posterior.h>
#include <varfield/monitor.h>

namespace varfield
{
  /// What an optimiser on one mesh leaves to the same on the next.
  struct OptimizerMemory
  {
    unsigned int draws = 0; ///< so far on all meshes: each iteration has draws of its own
    /// Iterations in the running average that the family was when it last settled without a coarse posterior; 0: it
    /// has not settled, start afresh.
    unsigned int n_averaged = 0;
    double noise_sum        = 0.;                  ///< sampling errors of the gradients of these
    double loss             = 0.;                  ///< ELBO that sampling has cost the family [nat]
    double coupled_loss     = 0.;                  ///< the part of it that came in where there was a coarse posterior
    ElboEstimate elbo;                             ///< in the last iteration, before its step
    bool more_to_come = false;                     ///< whether there is a finer mesh after this one
    std::shared_ptr<const CoarsePosterior> coarse; ///< the family as it settled on the mesh before, or nothing
    LoopState loop;

    /// But for `coarse` and `loop`.
    void keep(Archive &archive)
    {
      archive.number("draws", draws);
      archive.number("averaged", n_averaged);
      archive.number("noise", noise_sum);
      archive.number("loss", loss);
      archive.number("coupled loss", coupled_loss);
      archive.number("more to come", more_to_come);
      archive.in("last ", [&] { elbo.keep(archive); });
    }
  };

  /// Finds the member of a family with the largest ELBO.
  class Optimizer
  {
  public:
    virtual ~Optimizer() = default;
    virtual void add_parameters(dealii::ParameterHandler &) {}
    /// Draws in an iteration.
    virtual unsigned int draws_per_iteration() const = 0;
    /// Throws UserError where family and optimiser do not fit.
    virtual void check(const Family &) const {}

    /// Starts from `family` as it is (usually the Laplace approximation, or the posterior on a coarser mesh with the
    /// memory from there) and leaves the best in it. Collective over the world.
    virtual Termination maximize(const LogDensity &density, Family &family, std::uint64_t seed, const Monitor &monitor,
                                 OptimizerMemory *memory = nullptr) = 0;
  };
} // namespace varfield

#endif
