#include <deal.II/base/mpi.h>

#include <algorithm>
#include <varfield/indicator.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  std::vector<CellId> largest_cells(const Mesh<dim> &mesh, const Vector &indicators, double share)
  {
    const MPI_Comm comm = mesh.comm();
    const double wanted = share * static_cast<double>(mesh.triangulation().n_global_active_cells());
    // The smallest threshold above which there are no more cells than wanted, by bisection.
    double low = 0., high = Utilities::MPI::max(indicators.size() > 0 ? indicators.maxCoeff() : 0., comm);
    const auto n_above = [&](double threshold)
    { return Utilities::MPI::sum(static_cast<double>((indicators.array() > threshold).count()), comm); };
    for (unsigned int i = 0; i < 40 && high > low; ++i)
    {
      const double middle                      = 0.5 * (low + high);
      (n_above(middle) <= wanted ? high : low) = middle;
    }
    std::vector<CellId> local;
    Index k = 0;
    for (const auto &cell : mesh.triangulation().active_cell_iterators())
      if (cell->is_locally_owned() && indicators[k++] > high)
        local.push_back(cell->id());
    std::vector<CellId> all;
    for (const auto &part : Utilities::MPI::all_gather(comm, local))
      all.insert(all.end(), part.begin(), part.end());
    std::sort(all.begin(), all.end());
    return all;
  }

  template <int dim>
  void AdaptiveRefinement<dim>::add_parameters(ParameterHandler &prm)
  {
    using namespace Patterns;
    prm.add_parameter("Cycles", cycles,
                      "How often the mesh is refined by the indicator and the inference goes on there; 0: not at all.",
                      Integer(0, 12));
    prm.add_parameter("Refined share", share, "Share of the cells that a cycle refines.", Double(0., 1.));
    indicator.add_parameters(prm);
  }

  template struct AdaptiveRefinement<2>;
  template struct AdaptiveRefinement<3>;
  template std::vector<CellId> largest_cells(const Mesh<2> &, const Vector &, double);
  template std::vector<CellId> largest_cells(const Mesh<3> &, const Vector &, double);
} // namespace varfield
