#ifndef varfield_map_h
#define varfield_map_h

#include <deal.II/base/parameter_handler.h>

#include <varfield/family.h>
#include <varfield/monitor.h>

namespace varfield
{
  /// What the search for the MAP point on one mesh leaves to that on the next.
  struct MapMemory
  {
    double reference_gradient = 0.;           ///< to which the gradient tolerance is relative; 0: that at the start
    std::optional<LowRankCorrection> inverse; ///< of C⁻¹ + H
    LoopState loop;
  };

  /// The maximum a posteriori point: minimiser of J(m) = Φ(m) + ½mᵀC⁻¹m by inexact Newton–CG in the prior's inner
  /// product: the forcing term η_k = min(½, sqrt(|g_k|/|g_0|)) (Eisenstat, Walker 1996), Steihaug's test for negative
  /// curvature, and an Armijo line search that shortens the step where the model cannot be solved or overflows. Where
  /// the curvature has an explicit factor G the Newton system is solved exactly by the Woodbury identity instead, and
  /// its inverse serves the steps that follow for as long as the gradient falls quickly: these take one adjoint solve.
  class MapSolver
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm);
    /// Starts from `m` and leaves the MAP point there. Throws ComputationError if the model cannot be solved at the
    /// start. Collective over the world; every group makes the same steps.
    Termination minimize(const LogDensity &density, Vector &m, const Monitor &monitor,
                         MapMemory *memory = nullptr) const;

    unsigned int max_iterations    = 200;
    unsigned int max_cg_iterations = 200;
    double gradient_tolerance      = 1e-8;  ///< relative to the gradient at the start, in the norm of C
    double absolute_tolerance      = 1e-10; ///< of the same norm
    double armijo                  = 1e-4;
    unsigned int max_halvings      = 30;
  };
} // namespace varfield

#endif
