#include <deal.II/base/function_lib.h>

#include <algorithm>
#include <varfield/grid_function.h>
#include <varfield/table.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// The distinct coordinates, ascending; two closer than 1e-9 of their range are one.
    std::vector<double> distinct(std::vector<double> values)
    {
      std::sort(values.begin(), values.end());
      const double tolerance = 1e-9 * (values.back() - values.front());
      const auto same        = [tolerance](double a, double b) { return b - a <= tolerance; };
      values.erase(std::unique(values.begin(), values.end(), same), values.end());
      return values;
    }

    std::size_t position(const std::vector<double> &grid, double value)
    {
      const auto above = std::lower_bound(grid.begin(), grid.end(), value);
      if (above == grid.begin())
        return 0;
      if (above == grid.end())
        return grid.size() - 1;
      return std::abs(*above - value) < std::abs(*(above - 1) - value) ? above - grid.begin()
                                                                       : above - grid.begin() - 1;
    }
  } // namespace

  template <int dim>
  std::unique_ptr<Function<dim>> read_grid_function(const std::string &path, MPI_Comm comm)
  {
    const Table table = Table::read(path, comm);
    const std::vector<std::string> names{"x", "y", "z"};
    std::array<std::vector<double>, dim> coordinates, grid;
    TableIndices<dim> sizes;
    std::size_t n = 1;
    for (unsigned int d = 0; d < dim; ++d)
    {
      coordinates[d] = table.numbers(names[d]);
      grid[d]        = distinct(coordinates[d]);
      sizes[d]       = grid[d].size();
      n *= grid[d].size();
      if (grid[d].size() < 2)
        throw UserError(path + ": the points have to be the nodes of a grid with at least two values of " + names[d] +
                        ", but it has one.");
    }
    if (n != table.n_rows())
      throw UserError(
          path + ": the points have to be all the nodes of a tensor grid. With the coordinates found that would be " +
          std::to_string(n) + " rows, but the table has " + std::to_string(table.n_rows()) + ".");
    const auto values = table.numbers("value");
    dealii::Table<dim, double> data;
    data.reinit(sizes);
    std::vector<bool> seen(n, false);
    for (unsigned int row = 0; row < table.n_rows(); ++row)
    {
      TableIndices<dim> index;
      std::size_t flat = 0;
      for (unsigned int d = 0; d < dim; ++d)
      {
        index[d] = position(grid[d], coordinates[d][row]);
        flat     = flat * grid[d].size() + index[d];
      }
      if (seen[flat])
        throw UserError(table.where(row) + ": this point of the grid occurs twice.");
      seen[flat]  = true;
      data(index) = values[row];
    }
    return std::make_unique<Functions::InterpolatedTensorProductGridData<dim>>(grid, data);
  }

  template std::unique_ptr<Function<2>> read_grid_function<2>(const std::string &, MPI_Comm);
  template std::unique_ptr<Function<3>> read_grid_function<3>(const std::string &, MPI_Comm);
} // namespace varfield
