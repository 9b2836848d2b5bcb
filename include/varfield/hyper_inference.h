#ifndef varfield_hyper_inference_h
#define varfield_hyper_inference_h

#include <varfield/report.h>
#include <varfield/run.h>

namespace varfield
{
  /// The posterior of fields and hyper-parameters θ together, q(θ) q(m|θ): for every θ the best q(m|θ) of the family,
  /// and with these the best q(θ), which is ∝ p(θ) exp(ELBO(θ)) (the ELBO of the pair is log ∫ p(θ) exp(ELBO(θ)) dθ).
  /// Nothing is assumed about how fields and θ depend on each other; where the posterior given θ is exact
  /// (linear-Gaussian problems), so is the whole, but for the surface: ELBO + log prior is known at a few tens of θ,
  /// found by a search for its peak and a design around it, and in between by a ResponseSurface. After Rue, Martino,
  /// Chopin (2009), Journal of the Royal Statistical Society B 71, sec. 3, with the ELBO in the place of Laplace's
  /// approximation.
  ///
  /// `problem` is the case as it is; in the end it is the one at the peak, where the inference is done once more as the
  /// case has it: those of the design are allowed larger errors. `used`: the measurements in use, empty: as in the
  /// case. `near`: what an inference from nearly the same data has found takes the place of a search for the peak. The
  /// results are those of the mixture over the points. Collective over the world.
  template <int dim>
  Results<dim> infer_with_hyper_parameters(std::unique_ptr<Case<dim>> &problem, const std::vector<bool> &used,
                                           Report &report, const std::optional<Peak> &near = {});
} // namespace varfield

#endif
