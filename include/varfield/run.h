#ifndef varfield_run_h
#define varfield_run_h

#include <functional>
#include <varfield/checkpoints.h>
#include <varfield/results.h>

namespace varfield
{
  /// What comes after the posterior.
  struct Extras
  {
    bool chains = false, cross_validation = false;
    Checkpoints *checkpoints            = nullptr; ///< for the state of the run; nullptr: none is kept
    std::function<void(Archive &)> head = nullptr; ///< what a state begins with
    Archive *go_on_from                 = nullptr; ///< the state of an earlier run, behind its head
    const FinishedParts *parts          = nullptr; ///< inferences of this run that are done; nullptr: none are kept
  };

  /// Check of the prior, MAP point and searches for other modes, Laplace approximation, variational posterior, averages
  /// over fresh draws, then the extras. Where the mesh is refined on
  /// the way, `problem` is replaced by the same case on the last mesh, to which the results belong. Collective over the
  /// world.
  template <int dim>
  Results<dim> infer(std::unique_ptr<Case<dim>> &problem, Report &report, const Extras &extras = {});
} // namespace varfield

#endif
