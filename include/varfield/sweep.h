#ifndef varfield_sweep_h
#define varfield_sweep_h

#include <varfield/curvature_sketch.h>
#include <varfield/elbo.h>

namespace varfield
{
  /// How far the mean of q is from the stationary point E_q[∇Φ] + C⁻¹mean = 0: the squared norm of that gradient g in
  /// the metric of an approximation of (C⁻¹ + E_q[H])⁻¹, twice the ELBO that a Newton step gains.
  struct MeanResidual
  {
    double value = 0;
    double noise = 0; ///< the part of it that is sampling error, in the mean
    /// What `noise` would be of the same draws without the coarse posterior; `noise` itself where there is none.
    double uncoupled_noise = 0;
  };

  /// What one set of draws says about q: its ELBO, the gradient by its mean, and the averaged curvature.
  ///
  /// Keeps the linearisations of its group's draws, or where the density says that these are too large, their gradients
  /// and a sketch of the averaged curvature (only for a family that follows the curvature, from which it takes the
  /// directions). With a posterior on a coarser mesh as control variate all averages are those of CoarsePosterior, and
  /// there always is a sketch. References must outlive it. All members are collective over the world.
  class Sweep
  {
  public:
    /// Linearises at the draws; their number must be even, they come in antithetic pairs.
    Sweep(const LogDensity &density, const Family &family, const DrawRange &draws,
          const CoarsePosterior *coarse = nullptr);

    const ElboEstimate &elbo() const { return elbo_; }
    /// E_q[∇Φ] + C⁻¹mean, dual, the same in all groups.
    const Vector &gradient() const { return gradient_; }
    /// E_q[H].
    Curvature curvature() const;
    /// See CurvatureSketch::unresolved().
    double unresolved() const { return sketch_ ? sketch_->unresolved() : 0.; }
    /// `approximation` of the metric as a correction of C; nullptr: C itself.
    MeanResidual residual(const LowRankCorrection *approximation) const;
    /// ELBO of `changed`, a later state of the family, less that of q then, on these draws. Not finite where the model
    /// fails.
    Estimate gain_of(const Family &changed) const;

  private:
    struct Solved
    {
      unsigned int k;                    ///< number of the draw
      DrawKey key;                       ///< that was used in the end
      Vector gradient;                   ///< with a coarse posterior the part that its average does not have
      std::unique_ptr<Linearization> at; ///< empty where there is a sketch
      Vector uncoupled, coarse;          ///< ∇Φ(m) and ∇Φ'(m') where there is a coarse posterior
    };

    void solve_draws(const Family &family, const DrawRange &draws);
    void average_gradients();
    void correct_elbo(const Matrix &on_coarse_mesh);

    const LogDensity &density_;
    const CoarsePosterior *const coarse_;
    const unsigned int n_draws_;
    ElboEstimate elbo_;          ///< its numbers of draws are those of this mesh alone
    std::vector<Solved> solved_; ///< of this group
    std::unique_ptr<CurvatureSketch> sketch_;
    Vector prior_gradient_; ///< C⁻¹mean
    Vector gradient_;
  };
} // namespace varfield

#endif
