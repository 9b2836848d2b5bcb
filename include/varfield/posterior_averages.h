#ifndef varfield_posterior_averages_h
#define varfield_posterior_averages_h

#include <varfield/case.h>
#include <varfield/report.h>

namespace varfield
{
  /// Averages over draws of a posterior.
  struct Averages
  {
    /// Draws of which one mesh was the finest: each was solved there and, but on the coarsest mesh in use, also on the
    /// next coarser one.
    struct MeshDraws
    {
      std::uint64_t cells = 0;
      unsigned int draws  = 0;
    };

    ElboEstimate elbo;            ///< `draws` of all meshes; the numbers of the draws are those on the finest mesh
    std::vector<MeshDraws> draws; ///< the finest mesh first
    /// log p(d,m) − log q(m) of the draws of the mesh that has most of them, in antithetic pairs, and its cells.
    Vector log_weights;
    std::uint64_t weights_cells = 0;
    MultiVector state_mean, state_deviation; ///< owned degrees of freedom × ForwardModel::n_columns()
    Vector prediction_mean, prediction_deviation;
    Vector quantity_mean, quantity_deviation;
    /// Quantities of interest of the draws that log_weights are of: draws × quantities.
    Matrix quantity_draws;
    bool interrupted = false; ///< by a signal or the time budget, before the error of the ELBO was small enough

    /// To and from a file; `states`: layout of the states. Collective over the world.
    void keep(Archive &archive, const Layout &states);
    /// Averages over one point, without spread. ComputationError where the model cannot be solved there. Collective.
    template <int dim>
    static Averages at(const Case<dim> &problem, const Vector &m);
  };

  /// ELBO, predicted states and measurements of a posterior from fresh draws, as many as bring the error of the ELBO
  /// below the one asked for.
  ///
  /// Multilevel Monte Carlo (Giles 2008, Operations Research 56, eq. 3.1): with Y_l what one draw gives on mesh l, b ≤
  /// l ≤ L,
  ///
  ///     E[Y_L] = E[Y_b] + Σ_{l>b} E[Y_l − Y_{l−1}],
  ///
  /// each mean from draws of its own. The draw on mesh l − 1 is the one on mesh l, its white noise, mean and
  /// directions carried down as loads, so that Y_l − Y_{l−1} is small and its mean free of bias whatever the meshes. A
  /// few draws of each difference tell the variances V_l; the coarsest mesh b is chosen by the cost that they predict,
  /// N_l ∝ sqrt(V_l / cost_l). Cost is counted in unknowns, not in seconds: all runs choose alike. One mesh where the
  /// family's covariance is no low-rank correction of the prior's.
  ///
  /// `meshes`: the same case on nested meshes, the coarsest first; `family` belongs to the last. A run in a `hurry`
  /// takes a few draws on the finest mesh. `pause` is called after every few draws and says whether to stop; empty:
  /// Report::should_stop(). ComputationError where the model cannot be solved at the mean, or too often. Collective
  /// over the world.
  template <int dim>
  Averages average_over_posterior(const std::vector<const Case<dim> *> &meshes, const Family &family, bool hurry,
                                  Report &report, LoopState *loop = nullptr, const std::function<bool()> &pause = {});
} // namespace varfield

#endif
