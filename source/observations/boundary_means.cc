#include <varfield/observation.h>

namespace varfield
{
  namespace
  {
    template <int dim>
    class BoundaryMeans : public Observation<dim>
    {
    public:
      std::vector<std::string> place_columns() const override { return {"boundary"}; }
      std::vector<dealii::Point<dim>> locations(const Table &table, MPI_Comm) const override
      {
        return points_if_given<dim>(table);
      }

      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &) const override
      {
        std::vector<std::vector<dealii::types::boundary_id>> ids;
        const auto names = table.strings("boundary");
        for (unsigned int i = 0; i < names.size(); ++i)
          ids.push_back(space.mesh.boundary_ids(names[i], table.where(i)));
        const auto [integrals, areas] = boundary_functionals(space, ids, components);
        std::vector<Functional> rows;
        for (std::size_t i = 0; i < integrals.size(); ++i)
          rows.push_back(combination({{1. / areas[i], &integrals[i]}}));
        return rows;
      }
    };

    const char *const boundary_means_text = "Means over a boundary, its name or id in the column “boundary”.";
    const Registration<Observation<2>, BoundaryMeans<2>> boundary_means_2d("boundary means", boundary_means_text);
    const Registration<Observation<3>, BoundaryMeans<3>> boundary_means_3d("boundary means", boundary_means_text);
  } // namespace
} // namespace varfield
