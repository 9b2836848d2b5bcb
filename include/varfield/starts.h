#ifndef varfield_starts_h
#define varfield_starts_h

#include <cmath>
#include <varfield/map.h>

namespace varfield
{
  /// The same density for one sample group alone: its members are collective over that group only, so that groups can
  /// work at different things. `density` and `alone` (one group, over the ranks of this group's `space`) must outlive
  /// the object.
  class InOneGroup : public LogDensity
  {
  public:
    InOneGroup(const LogDensity &density, const SampleGroups &alone) : density_(density), alone_(alone) {}
    const GaussianPrior &prior() const override { return density_.prior(); }
    std::optional<double> potential(const Vector &m) const override { return density_.potential(m); }
    std::unique_ptr<Linearization> linearize(const Vector &m, const Effort &effort) const override
    {
      return density_.linearize(m, {effort.tolerance, false});
    }
    std::optional<std::pair<double, Vector>> potential_and_gradient(const Vector &m, bool) const override
    {
      return density_.potential_and_gradient(m);
    }
    double potential_error() const override { return density_.potential_error(); }
    bool is_quadratic() const override { return density_.is_quadratic(); }
    bool keeps_linearizations(unsigned int n) const override { return density_.keeps_linearizations(n); }
    Cost cost() const override { return density_.cost(); }
    const SampleGroups &groups() const override { return alone_; }

  private:
    const LogDensity &density_;
    const SampleGroups &alone_;
  };

  /// Where one search for the MAP point ended.
  struct SearchEnd
  {
    bool converged   = false;
    double objective = 0; ///< Φ(m) + ½mᵀC⁻¹m
    double distance  = 0; ///< from the point compared with, in the norm of C⁻¹
  };

  /// What searches from draws of the prior found, compared with a point found before.
  struct SeveralStarts
  {
    double objective = 0;        ///< of the point compared with
    std::vector<SearchEnd> ends; ///< of the searches
    /// The best of them, where it is better than the point found. Then it is what all is compared with, and the point
    /// found, `before`, is among those elsewhere.
    std::optional<Vector> better;
    std::optional<SearchEnd> before;
    std::vector<Vector> elsewhere; ///< other points where searches ended, each once, the best first
    double gained    = 0;          ///< by which `better` is better
    bool interrupted = false;      ///< then nothing of this is of use

    /// To and from a file; points are of this layout.
    void keep(Archive &archive, const Layout &layout);

    /// Converged searches that ended at the point compared with: objectives that differ by less than `same` nat, and a
    /// distance of less than `near`.
    unsigned int at_the_same() const;
    unsigned int n_converged() const;
    /// The best objective of a converged search that ended elsewhere, or of `before`, less `objective`; infinite
    /// without one.
    double best_elsewhere() const;
    static constexpr double same = 0.01, near = 0.5;
    bool is_same(const SearchEnd &end) const
    {
      return std::abs(end.objective - objective) < same && end.distance < near;
    }
  };

  /// Minimises Φ(m) + ½mᵀC⁻¹m from `n` draws of the prior, spread over the groups. A search that fails or does not
  /// converge counts as such. Collective over the world.
  SeveralStarts search_from_prior(const LogDensity &density, const MapSolver &solver, const Vector &found,
                                  unsigned int n, std::uint64_t seed, const StopCheck &stop = {});
} // namespace varfield

#endif
