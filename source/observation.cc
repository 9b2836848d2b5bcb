#include <limits>
#include <varfield/mesh_file.h>
#include <varfield/observation.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  std::vector<Point<dim>> points_of(const Table &table, const std::string &ending)
  {
    const std::vector<std::string> names{"x", "y", "z"};
    std::vector<Point<dim>> points(table.n_rows());
    for (unsigned int d = 0; d < dim; ++d)
    {
      const auto column = table.numbers(names[d] + ending);
      for (unsigned int row = 0; row < table.n_rows(); ++row)
        points[row][d] = column[row];
    }
    return points;
  }

  template <int dim>
  std::vector<Point<dim>> points_if_given(const Table &table)
  {
    if (table.has("x"))
      return points_of<dim>(table);
    Point<dim> none;
    for (unsigned int d = 0; d < dim; ++d)
      none[d] = std::numeric_limits<double>::quiet_NaN();
    return std::vector<Point<dim>>(table.n_rows(), none);
  }

  std::vector<unsigned int> components_of(const Table &table, const std::vector<std::string> &state_names)
  {
    std::vector<unsigned int> components(table.n_rows(), 0);
    if (!table.has("component"))
      return components;
    const auto texts = table.strings("component");
    for (unsigned int row = 0; row < table.n_rows(); ++row)
    {
      unsigned int c = 0;
      while (c < state_names.size() && texts[row] != state_names[c] && texts[row] != std::to_string(c))
        ++c;
      if (c == state_names.size())
        throw UserError(table.where(row) + ": the component is one of " + join(state_names) +
                        " (or its number from 0), but found “" + texts[row] + "”.");
      components[row] = c;
    }
    return components;
  }

  template <int dim>
  void refuse_points_outside(const Table &table, const std::vector<Point<dim>> &points,
                             const std::vector<Functional> &functionals, const Mesh<dim> &mesh)
  {
    for (unsigned int row = 0; row < points.size(); ++row)
      if (functionals[row].empty())
      {
        const auto corners = mesh.bounding_box().get_boundary_points();
        throw UserError(table.where(row) + ": the point " + in_words(points[row]) +
                        " lies outside of the mesh, which fills the box from " + in_words(corners.first) + " to " +
                        in_words(corners.second) + " or a part of it.");
      }
  }

  template std::vector<Point<2>> points_of<2>(const Table &, const std::string &);
  template std::vector<Point<3>> points_of<3>(const Table &, const std::string &);
  template std::vector<Point<2>> points_if_given<2>(const Table &);
  template std::vector<Point<3>> points_if_given<3>(const Table &);
  template void refuse_points_outside<2>(const Table &, const std::vector<Point<2>> &, const std::vector<Functional> &,
                                         const Mesh<2> &);
  template void refuse_points_outside<3>(const Table &, const std::vector<Point<3>> &, const std::vector<Functional> &,
                                         const Mesh<3> &);
} // namespace varfield
