#ifndef varfield_curvature_sketch_h
#define varfield_curvature_sketch_h

#include <varfield/coarse_posterior.h>

namespace varfield
{
  /// The average H of curvatures as a factor of low rank, gathered draw by draw: whatever their number, one
  /// linearisation is held at a time, and H is applied once to each column of a block Ω.
  ///
  /// With Y = HΩ, H ≈ Y (ΩᵀY)⁻¹ Yᵀ = FFᵀ (Nyström; Tropp, Yurtsever, Udell, Cevher 2017): never larger than H, exact on
  /// the span of Ω, and off it wrong by no more than the part of H that Ω does not see. The first columns of Ω are the
  /// directions U in which the family has found curvature so far; for these the sampling variance of UᵀHU is gathered
  /// as well. The others are draws of the prior with U taken out.
  ///
  /// With a coarse posterior H is its known average with the correction by the draws, positive but for their sampling
  /// errors. Only directions of the span in which H is larger than twice the most negative value that these leave,
  /// relative to C⁻¹, are kept.
  class CurvatureSketch : public Linearization
  {
  public:
    /// At least 80 columns, 20 of them random. `key` names the first of the random ones. `density` must outlive the
    /// object. Collective over the world, as is finish().
    CurvatureSketch(const LogDensity &density, const LowRankCorrection &known, const DrawKey &key,
                    const CoarsePosterior *coarse = nullptr);

    /// The next draw of this group; two consecutive ones are an antithetic pair. Collective in the group; a
    /// ComputationError leaves everything as it was.
    void add(const Linearization &at, const Linearization *on_coarse_mesh = nullptr);
    /// Averages over all `n_draws` of all groups. After that the other members can be used.
    void finish(unsigned int n_draws);

    unsigned int n_draws() const { return n_draws_; }
    /// Eigenvalues of E[H] up to this one may be missing because sampling errors are as large; 0 without a coarse
    /// posterior.
    double unresolved() const { return unresolved_; }
    MultiVector apply_curvature(const MultiVector &directions) const override;
    /// F, the same in all groups.
    const SharedBlock *curvature_factor() const override { return &factor_; }
    /// Whether these are the directions U. Collective in the group.
    bool knows(const MultiVector &directions) const;
    /// UᵀHU.
    const Spread &forms() const { return forms_; }

  private:
    void add_coarse_average();

    const LogDensity &density_;
    const CoarsePosterior *const coarse_;
    const Index n_known_;
    MultiVector omega_;        ///< Ω until finish()
    MultiVector coarse_omega_; ///< DᵀΩ
    Matrix metric_;            ///< ΩᵀC⁻¹Ω
    MultiVector image_;        ///< Σ HΩ over the draws so far
    MultiVector coarse_image_; ///< Σ H'DᵀΩ
    SharedBlock factor_;       ///< F
    Vector fingerprint_;       ///< sum of the columns of U
    Matrix pending_;           ///< UᵀHU of the first of a pair
    Matrix sum_, squares_;
    Spread forms_;
    unsigned int n_draws_ = 0;
    double unresolved_    = 0.;
  };
} // namespace varfield

#endif
