#include <deal.II/base/mpi.h>

#include <varfield/run.h>
#include <varfield/text.h>

namespace varfield
{
  void Averages::keep(Archive &archive, const Layout &states)
  {
    archive.in("estimate ", [&] { elbo.keep(archive); });
    Matrix of_meshes(static_cast<Index>(draws.size()), 2);
    for (std::size_t i = 0; i < draws.size(); ++i)
      of_meshes.row(static_cast<Index>(i)) << double(draws[i].cells), double(draws[i].draws);
    archive.numbers("draws", of_meshes);
    draws.clear();
    for (Index i = 0; i < of_meshes.rows(); ++i)
      draws.push_back({static_cast<std::uint64_t>(of_meshes(i, 0)), static_cast<unsigned int>(of_meshes(i, 1))});
    archive.numbers("weights of draws", log_weights);
    archive.number("their cells", weights_cells);
    archive.columns("mean of the states", states, state_mean);
    archive.columns("deviation of the states", states, state_deviation);
    archive.numbers("mean of the predictions", prediction_mean);
    archive.numbers("deviation of the predictions", prediction_deviation);
    archive.numbers("mean of the quantities", quantity_mean);
    archive.numbers("deviation of the quantities", quantity_deviation);
    archive.numbers("draws of the quantities", quantity_draws);
  }

  namespace
  {
    void keep_field(Archive &archive, const Layout &layout, FieldResult &field)
    {
      for (const auto &[name, variance] :
           {std::pair("variance", &field.variance), std::pair("prior variance", &field.prior_variance)})
      {
        archive.columns(name, layout, variance->values);
        archive.number(std::string("error of the ") + name, variance->relative_error);
      }
      // Not all of these are always there.
      for (const auto &[name, vector] :
           {std::pair("mean", &field.mean), std::pair("MAP", &field.map), std::pair("truth", &field.truth)})
      {
        bool is_there = dealii::Utilities::MPI::max(vector->size() > 0 ? 1 : 0, layout.comm()) > 0;
        archive.number(std::string("has ") + name, is_there);
        if (is_there)
          archive.columns(name, layout, *vector);
      }
      for (const auto &[name, block] : {std::pair("modes", &field.modes), std::pair("draws", &field.draws)})
      {
        if (block->cols() == 0)
          *block = MultiVector(layout.n_local(), 0);
        archive.columns(name, layout, *block);
      }
    }

    void keep_quantity(Archive &archive, QuantityResult &quantity)
    {
      archive.text("name", quantity.name);
      archive.text("unit", quantity.unit);
      Vector numbers(4 + quantity.quantiles.size());
      numbers.head(4) << quantity.mean, quantity.deviation, quantity.mean_error, quantity.k;
      std::copy(quantity.quantiles.begin(), quantity.quantiles.end(), numbers.data() + 4);
      archive.numbers("numbers", numbers);
      quantity.mean       = numbers[0];
      quantity.deviation  = numbers[1];
      quantity.mean_error = numbers[2];
      quantity.k          = numbers[3];
      std::copy(numbers.data() + 4, numbers.data() + numbers.size(), quantity.quantiles.begin());
    }
  } // namespace

  template <int dim>
  void Results<dim>::keep(Archive &archive, const Case<dim> &problem)
  {
    fields.resize(problem.fields().size());
    for (unsigned int f = 0; f < problem.fields().size(); ++f)
      archive.in("field " + std::to_string(f) + " ",
                 [&] { keep_field(archive, problem.fields()[f].space().dof_layout(), fields[f]); });
    archive.columns("parameters", problem.density().prior().layout(), parameters);
    archive.in("averages ", [&] { averages.keep(archive, problem.model().space().layout()); });
    auto n = quantities.size();
    archive.number("quantities", n);
    quantities.resize(n);
    for (std::size_t i = 0; i < n; ++i)
      archive.in("quantity " + std::to_string(i) + " ", [&] { keep_quantity(archive, quantities[i]); });
    archive.numbers("eigenvalues", eigenvalues);
    archive.number("first dropped", first_dropped);
    archive.number("MAP objective", map_objective);
    archive.number("MAP misfit", map_misfit);
    archive.number("MAP regularization", map_regularisation);
    archive.in("MAP ", [&] { map.keep(archive); });
    archive.in("optimization ", [&] { optimization.keep(archive); });
    archive.numbers("noise", noise_deviation);
    archive.number("has spread", has_spread);
    archive.number("seconds", seconds);
    archive.numbers("draws of the quantities", quantity_draws);
    archive.numbers("weights of these", quantity_weights);
  }

  template struct Results<2>;
  template struct Results<3>;
} // namespace varfield
