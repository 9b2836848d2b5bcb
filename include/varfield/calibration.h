#ifndef varfield_calibration_h
#define varfield_calibration_h

#include <varfield/report.h>
#include <varfield/run.h>

namespace varfield
{
  /// How uniform numbers in (0, 1) are.
  struct Uniformity
  {
    double p_value    = 0;                                 ///< of Kolmogorov's and Smirnov's test
    double coverage50 = 0, coverage80 = 0, coverage95 = 0; ///< share in the central intervals
  };
  Uniformity uniformity(const std::vector<double> &ranks);

  /// Simulation-based calibration (Talts, Betancourt, Simpson, Vehtari, Gelman 2018, arXiv:1804.06788): truths from the
  /// prior, data simulated from each, the inference repeated. The rank of the truth among the draws of its posterior is
  /// uniform if the posteriors are right.
  struct Calibration
  {
    /// Quantities of interest, then hyper-parameters; then σ²/ρ^{2ν} of every field whose standard deviation σ and
    /// correlation length ρ are among these, ν the smoothness: what data of a bounded domain can tell (Zhang 2004,
    /// Journal of the American Statistical Association 99).
    std::vector<std::string> names;
    Matrix ranks;  ///< truths × names, in (0, 1); not a number where the inference failed or was not made
    Matrix truths; ///< values of the same
    std::vector<Uniformity> uniformity;
    unsigned int failed = 0, not_converged = 0;
    bool interrupted = false;

    std::vector<std::string> lines() const;
  };

  /// The truths are spread over the sample groups of `problem`, each of which infers on its own. Truth k has its own
  /// random numbers, whatever the groups. `parts`: the truths that are done; nullptr: none are kept. UserError where
  /// the case has no quantities of interest. Collective over the world.
  template <int dim>
  Calibration calibrate(const Case<dim> &problem, Report &report, const FinishedParts *parts = nullptr);
} // namespace varfield

#endif
