#include <varfield/quantity.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// k, m or u at a point, or at each point of a table.
    template <int dim>
    class PointValue : public Quantity<dim>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        source_.add_parameters(prm);
        prm.add_parameter("Point", point_, "Its coordinates, separated by commas.");
        prm.add_parameter(
            "File", file_,
            "In place of the point: a CSV table with the columns x, y[, z], a number for each row. A column "
            "“name” names them.",
            dealii::Patterns::FileName());
      }

      void initialize(const ForwardModel<dim> &model, const FieldSet<dim> &fields, const std::string &section) override
      {
        source_.initialize(model, fields, section);
        std::vector<dealii::Point<dim>> points;
        std::vector<std::string> origins;
        read_points(section, points, origins);
        functionals_ = point_functionals<dim>({source_.dof_handler(), source_.mesh(), source_.constraints()}, points,
                                              std::vector<unsigned int>(points.size(), source_.component()));
        const std::vector<bool> inside = source_.contains(points);
        for (std::size_t i = 0; i < points.size(); ++i)
          if (!inside[i])
            throw UserError(origins[i] + ": the point is outside of the mesh.");
        rank_ = dealii::Utilities::MPI::this_mpi_process(source_.mesh().comm());
      }

      std::vector<std::string> labels() const override { return labels_; }

      Vector part(const ModelState<dim> &state) const override
      {
        const GhostedVector values = source_.values(state);
        const auto &owned          = source_.dof_handler().locally_owned_dofs();
        Vector sums                = Vector::Zero(static_cast<Index>(functionals_.size()));
        for (Index i = 0; i < sums.size(); ++i)
          for (const auto &[dof, weight] : functionals_[static_cast<std::size_t>(i)])
            if (owned.is_element(dof))
              sums[i] += weight * values(dof);
        sum_over(source_.mesh().comm(), sums.data(), static_cast<std::size_t>(sums.size()));
        if (rank_ > 0)
          return Vector::Zero(sums.size());
        return sums.unaryExpr([this](double x) { return source_.transformed(x); });
      }

    private:
      void read_points(const std::string &section, std::vector<dealii::Point<dim>> &points,
                       std::vector<std::string> &origins)
      {
        if (!file_.empty())
        {
          const Table table = Table::read(file_, source_.mesh().comm(), "table " + section + "/File");
          points            = points_of<dim>(table);
          for (unsigned int row = 0; row < table.n_rows(); ++row)
          {
            labels_.push_back(" " + (table.has("name") ? table.text(row, "name") : std::to_string(row + 1)));
            origins.push_back(table.where(row));
          }
          return;
        }
        const auto x = parse_numbers(point_, section + "/Point");
        if (x.size() != dim)
          throw UserError(section + "/Point: " + std::to_string(dim) + " coordinates are needed, but found “" + point_ +
                          "”.");
        points.emplace_back();
        for (unsigned int d = 0; d < dim; ++d)
          points[0][d] = x[d];
        labels_ = {""};
        origins = {section + "/Point"};
      }

      QuantitySource<dim> source_;
      std::string point_, file_;
      std::vector<std::string> labels_;
      std::vector<Functional> functionals_;
      unsigned int rank_ = 0;
    };

    const char *const point_value_text = "The value at a point, or at every point of a table.";
    const Registration<Quantity<2>, PointValue<2>> point_value_2d("point value", point_value_text);
    const Registration<Quantity<3>, PointValue<3>> point_value_3d("point value", point_value_text);
  } // namespace
} // namespace varfield
