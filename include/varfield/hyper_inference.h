#ifndef varfield_hyper_inference_h
#define varfield_hyper_inference_h

#include <varfield/report.h>
#include <varfield/run.h>

namespace varfield
{
  /// The posterior of fields and hyper-parameters θ together, q(θ) q(m|θ): for every θ the best q(m|θ) of the family,
  /// and with these the best q(θ), which is ∝ p(θ) exp(ELBO(θ)) (the ELBO of the pair is log ∫ p(θ) exp(ELBO(θ)) dθ).
  /// Nothing is assumed about how fields and θ depend on each other; where the posterior given θ is exact
  /// (linear-Gaussian problems), so is the whole, but for the surface: the ELBO is computed at a few tens of θ, and in
  /// between it is that of a ResponseSurface in the normal scores of the prior, in which tails are no longer than those
  /// of a normal distribution. After some values spread over the prior, the next one always is where
  /// p(θ) exp(ELBO(θ)) has the largest variance, until what is not known of the ELBO is small, on the average over
  /// the posterior (Kandasamy, Schneider, Póczos 2015, Bayesian active learning for posterior estimation, sec. 3).
  ///
  /// `problem` is the case as it is; in the end it is the one at the best θ, where the inference is done once more as
  /// the case has it: the others are allowed larger errors. `used`: the measurements in use, empty: as in the case.
  /// `similar`: found from nearly the same data; its heaviest points take the place of those spread over the prior, and
  /// the surface is that of what the ELBO differs by from there, which a few inferences tell. The results are those of
  /// the mixture over all θ. `parts`: the inferences at one θ that are done; nullptr: none are kept. Collective over
  /// the world.
  template <int dim>
  Results<dim> infer_with_hyper_parameters(std::unique_ptr<Case<dim>> &problem, const std::vector<bool> &used,
                                           Report &report, const HyperPosterior *similar = nullptr,
                                           const FinishedParts *parts = nullptr);

  /// Fields, and hyper-parameters where there are some; of the latter each fold of a cross-validation has its own, and
  /// there are no chains with them. As infer(). Collective over the world.
  template <int dim>
  Results<dim> infer_all(std::unique_ptr<Case<dim>> &problem, Report &report, const Extras &extras = {});
} // namespace varfield

#endif
