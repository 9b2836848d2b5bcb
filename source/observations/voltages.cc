#include <varfield/observation.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    template <int dim>
    class Voltages : public Observation<dim>
    {
    public:
      std::vector<std::string> place_columns() const override { return {"electrode", "reference"}; }
      std::vector<dealii::Point<dim>> locations(const Table &table, MPI_Comm) const override
      {
        return points_if_given<dim>(table);
      }
      bool is_of_electrodes() const override { return true; }

      std::vector<Functional> functionals(const Table &, const FunctionalSpace<dim> &,
                                          const std::vector<unsigned int> &, const std::string &section) const override
      {
        throw UserError(section + ": voltages are of electrodes (Physics/Electrodes), and of the state.");
      }

      std::vector<Functional> voltages(const Table &table, const Electrodes<dim> &electrodes,
                                       const std::vector<unsigned int> &experiments,
                                       std::vector<double> &constants) const override
      {
        const auto names = table.strings("electrode");
        const auto references =
            table.has("reference") ? table.strings("reference") : std::vector<std::string>(names.size());
        std::vector<Functional> rows;
        for (unsigned int i = 0; i < names.size(); ++i)
        {
          auto [row, constant] = electrodes.voltage(names[i], references[i], experiments[i], table.where(i));
          rows.push_back(std::move(row));
          constants.push_back(constant);
        }
        return rows;
      }
    };

    const char *const voltages_text =
        "Voltages of the electrodes in the column “electrode”, against those in the column "
        "“reference” or, where there is none, the mean of all.";
    const Registration<Observation<2>, Voltages<2>> voltages_2d("voltages", voltages_text);
    const Registration<Observation<3>, Voltages<3>> voltages_3d("voltages", voltages_text);
  } // namespace
} // namespace varfield
