#include <cmath>
#include <varfield/observation.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// ∫wu dx / ∫w dx with a weight that `make_region` gives for every row.
    template <int dim>
    class MeanObservation : public Observation<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override
      {
        prm.add_parameter("Parts of a cell", n_parts_,
                          "in each direction, on which the quadrature is made: cells may be met in part.",
                          Patterns::Integer(1, 100));
      }

      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &) const override
      {
        const auto regions = make_regions(table, space.mesh);
        auto rows          = mean_functionals(space, regions, components, n_parts_);
        for (unsigned int i = 0; i < rows.size(); ++i)
          if (rows[i].empty())
            throw UserError(
                table.where(i) +
                ": no point of the quadrature is there: it is outside of the mesh, or smaller than a part of a "
                "cell (“Parts of a cell”).");
        return rows;
      }

    protected:
      virtual std::vector<Region<dim>> make_regions(const Table &table, const Mesh<dim> &mesh) const = 0;

      static std::vector<double> positive(const Table &table, const std::string &column)
      {
        auto numbers = table.numbers(column);
        for (unsigned int i = 0; i < numbers.size(); ++i)
          if (!(numbers[i] > 0.))
            throw UserError(table.where(i) + ": “" + column + "” has to be positive, but found " + to_text(numbers[i]) +
                            ".");
        return numbers;
      }

      static BoundingBox<dim> box_around(const Point<dim> &centre, double radius)
      {
        BoundingBox<dim> box({centre, centre});
        box.extend(radius);
        return box;
      }

    private:
      unsigned int n_parts_ = 4;
    };

    template <int dim>
    class BallMeans : public MeanObservation<dim>
    {
      std::vector<std::string> place_columns() const override { return {"x", "y", "z", "radius"}; }

      std::vector<Region<dim>> make_regions(const Table &table, const Mesh<dim> &) const override
      {
        const auto centres = points_of<dim>(table);
        const auto radii   = this->positive(table, "radius");
        std::vector<Region<dim>> regions;
        for (std::size_t i = 0; i < centres.size(); ++i)
          regions.push_back({this->box_around(centres[i], radii[i]),
                             [c = centres[i], r = radii[i]](const Point<dim> &x, types::material_id)
                             { return x.distance(c) <= r ? 1. : 0.; }});
        return regions;
      }
    };

    template <int dim>
    class BoxMeans : public MeanObservation<dim>
    {
      std::vector<std::string> place_columns() const override
      {
        return {"x", "y", "z", "width_x", "width_y", "width_z"};
      }

      std::vector<Region<dim>> make_regions(const Table &table, const Mesh<dim> &) const override
      {
        const auto centres = points_of<dim>(table);
        std::vector<std::vector<double>> widths;
        for (unsigned int d = 0; d < dim; ++d)
          widths.push_back(this->positive(table, std::string("width_") + "xyz"[d]));
        std::vector<Region<dim>> regions;
        for (std::size_t i = 0; i < centres.size(); ++i)
        {
          std::pair<Point<dim>, Point<dim>> corners(centres[i], centres[i]);
          for (unsigned int d = 0; d < dim; ++d)
          {
            corners.first[d] -= 0.5 * widths[d][i];
            corners.second[d] += 0.5 * widths[d][i];
          }
          const BoundingBox<dim> box(corners);
          regions.push_back(
              {box, [box](const Point<dim> &x, types::material_id) { return box.point_inside(x) ? 1. : 0.; }});
        }
        return regions;
      }
    };

    /// The image of an instrument whose resolution is the kernel exp(−|x − x₀|²/(2w²)), cut off at 4w.
    template <int dim>
    class KernelMeans : public MeanObservation<dim>
    {
      std::vector<std::string> place_columns() const override { return {"x", "y", "z", "width"}; }

      std::vector<Region<dim>> make_regions(const Table &table, const Mesh<dim> &) const override
      {
        const auto centres = points_of<dim>(table);
        const auto widths  = this->positive(table, "width");
        std::vector<Region<dim>> regions;
        for (std::size_t i = 0; i < centres.size(); ++i)
          regions.push_back({this->box_around(centres[i], 4. * widths[i]),
                             [c = centres[i], w = widths[i]](const Point<dim> &x, types::material_id)
                             {
                               const double s = x.distance_square(c) / (w * w);
                               return s <= 16. ? std::exp(-0.5 * s) : 0.;
                             }});
        return regions;
      }
    };

    template <int dim>
    class MaterialMeans : public MeanObservation<dim>
    {
      std::vector<std::string> place_columns() const override { return {"material"}; }
      std::vector<Point<dim>> locations(const Table &table, MPI_Comm) const override
      {
        return points_if_given<dim>(table);
      }

      std::vector<Region<dim>> make_regions(const Table &table, const Mesh<dim> &mesh) const override
      {
        const auto materials = table.numbers("material");
        std::vector<Region<dim>> regions;
        for (const double material : materials)
          regions.push_back({mesh.bounding_box(), [material](const Point<dim> &, types::material_id id)
                             { return static_cast<double>(id) == material ? 1. : 0.; }});
        return regions;
      }
    };

    const char *const balls = "Means over the balls around x, y[, z] with the radius in the column “radius”.";
    const char *const boxes = "Means over the boxes around x, y[, z] of the widths width_x, width_y[, width_z].";
    const char *const kernels =
        "Means around x, y[, z] with the weight exp(−r²/(2 width²)): the pixels of an image of this "
        "resolution.";
    const char *const materials = "Means over the cells of a material, column “material”.";
    const Registration<Observation<2>, BallMeans<2>> balls_2d("ball means", balls);
    const Registration<Observation<3>, BallMeans<3>> balls_3d("ball means", balls);
    const Registration<Observation<2>, BoxMeans<2>> boxes_2d("box means", boxes);
    const Registration<Observation<3>, BoxMeans<3>> boxes_3d("box means", boxes);
    const Registration<Observation<2>, KernelMeans<2>> kernels_2d("kernel means", kernels);
    const Registration<Observation<3>, KernelMeans<3>> kernels_3d("kernel means", kernels);
    const Registration<Observation<2>, MaterialMeans<2>> materials_2d("material means", materials);
    const Registration<Observation<3>, MaterialMeans<3>> materials_3d("material means", materials);
  } // namespace
} // namespace varfield
