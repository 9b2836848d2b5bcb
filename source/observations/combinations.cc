#include <cmath>
#include <map>
#include <varfield/observation.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// Sums of point values with the weights of a sparse matrix.
    template <int dim>
    class Combinations : public Observation<dim>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Points", points_, "CSV table x,y[,z] of the points.", dealii::Patterns::FileName());
        prm.add_parameter(
            "Matrix", matrix_,
            "CSV table row,column,weight: what measurement “row” has of the value at point “column”, both "
            "counted from 1.",
            dealii::Patterns::FileName());
      }
      std::vector<std::string> place_columns() const override { return {}; }

      /// The means of the points, by the sizes of their weights.
      std::vector<dealii::Point<dim>> locations(const Table &table, MPI_Comm comm) const override
      {
        const auto points = points_of<dim>(Table::read(points_, comm, "table of points"));
        std::vector<dealii::Point<dim>> means(table.n_rows());
        std::vector<double> sums(table.n_rows(), 0.);
        for (const auto &[row, column, weight] : entries(table.n_rows(), points.size(), comm))
        {
          means[row] += std::abs(weight) * points[column];
          sums[row] += std::abs(weight);
        }
        for (std::size_t i = 0; i < means.size(); ++i)
          means[i] /= std::max(sums[i], 1e-300);
        return means;
      }

      std::vector<Functional> functionals(const Table &table, const FunctionalSpace<dim> &space,
                                          const std::vector<unsigned int> &components,
                                          const std::string &) const override
      {
        const Table at    = Table::read(points_, space.mesh.comm(), "table of points");
        const auto points = points_of<dim>(at);
        // The component is that of the measurement.
        std::vector<unsigned int> used = components;
        std::sort(used.begin(), used.end());
        used.erase(std::unique(used.begin(), used.end()), used.end());
        std::map<unsigned int, std::vector<Functional>> values;
        for (const unsigned int c : used)
        {
          values[c] = point_functionals(space, points, std::vector<unsigned int>(points.size(), c));
          refuse_points_outside(at, points, values[c], space.mesh);
        }
        std::vector<std::vector<std::pair<double, const Functional *>>> parts(table.n_rows());
        for (const auto &[row, column, weight] : entries(table.n_rows(), points.size(), space.mesh.comm()))
          parts[row].emplace_back(weight, &values.at(components[row])[column]);
        std::vector<Functional> rows;
        for (unsigned int i = 0; i < parts.size(); ++i)
        {
          if (parts[i].empty())
            throw UserError(table.where(i) + ": the matrix “" + matrix_ + "” has no entry in row " +
                            std::to_string(i + 1) + ".");
          rows.push_back(combination(parts[i]));
        }
        return rows;
      }

    private:
      struct Entry
      {
        std::size_t row, column;
        double weight;
      };

      std::vector<Entry> entries(std::size_t n_rows, std::size_t n_columns, MPI_Comm comm) const
      {
        const Table table = Table::read(matrix_, comm, "table of a matrix");
        const auto rows = table.numbers("row"), columns = table.numbers("column"), weights = table.numbers("weight");
        std::vector<Entry> result;
        const auto index = [&](unsigned int i, const std::string &what, double number, std::size_t n)
        {
          if (!(number >= 1.) || number > static_cast<double>(n) || number != std::floor(number))
            throw UserError(table.where(i) + ": “" + what + "” is a whole number from 1 to " + std::to_string(n) +
                            ", but found " + to_text(number) + ".");
          return static_cast<std::size_t>(number) - 1;
        };
        for (unsigned int i = 0; i < rows.size(); ++i)
          result.push_back({index(i, "row", rows[i], n_rows), index(i, "column", columns[i], n_columns), weights[i]});
        return result;
      }

      std::string points_, matrix_;
    };

    const char *const combinations_text =
        "Sums of the values at points with the weights of a sparse matrix, both from files.";
    const Registration<Observation<2>, Combinations<2>> combinations_2d("combinations", combinations_text);
    const Registration<Observation<3>, Combinations<3>> combinations_3d("combinations", combinations_text);
  } // namespace
} // namespace varfield
