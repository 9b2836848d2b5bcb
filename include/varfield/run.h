#ifndef varfield_run_h
#define varfield_run_h

#include <varfield/pointwise.h>
#include <varfield/posterior_averages.h>

namespace varfield
{
  /// One field's part of the answer, at its owned degrees of freedom.
  struct FieldResult
  {
    Vector mean, map, truth; ///< of the field m, the prior mean included; truth: empty where unknown
    PointwiseVariance variance, prior_variance;
    MultiVector modes, draws; ///< leading directions of the covariance's change; draws of the posterior
  };

  /// What a run found.
  template <int dim>
  struct Results
  {
    std::vector<FieldResult> fields;
    Vector parameters; ///< the mean as a parameter vector
    Averages averages;
    Vector eigenvalues; ///< of the low-rank families: λ
    double first_dropped = 0.;
    double map_objective = 0., map_misfit = 0., map_regularisation = 0.;
    Termination map, optimization;
    bool interrupted = false; ///< by a signal or the time budget, before the fields were collected
    bool has_spread  = true;  ///< false where there is a MAP point only
    double seconds   = 0.;
  };

  /// MAP point, Laplace approximation, variational posterior, averages over fresh draws. Where the mesh is refined on
  /// the way, `problem` is replaced by the same case on the last mesh, to which the results belong. Collective over the
  /// world.
  template <int dim>
  Results<dim> infer(std::unique_ptr<Case<dim>> &problem, Report &report);
} // namespace varfield

#endif
