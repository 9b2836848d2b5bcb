#include <deal.II/base/mpi.h>

#include <numeric>
#include <varfield/case.h>
#include <varfield/pareto_smoothing.h>
#include <varfield/results.h>
#include <varfield/state_mean_field.h>
#include <varfield/timing.h>

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
           {std::pair("mean", &field.mean), std::pair("MAP", &field.map), std::pair("truth", &field.truth),
            std::pair("state mean field", &field.state_mean_field)})
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

  namespace
  {
    /// The directions of a low-rank correction, those of the largest |λ| first.
    std::vector<Index> by_information(const Vector &lambda)
    {
      std::vector<Index> order(static_cast<std::size_t>(lambda.size()));
      std::iota(order.begin(), order.end(), Index(0));
      std::stable_sort(order.begin(), order.end(),
                       [&](Index a, Index b) { return std::abs(lambda[a]) > std::abs(lambda[b]); });
      return order;
    }

    template <int dim>
    MultiVector posterior_draws(const Case<dim> &problem, unsigned int n)
    {
      MultiVector draws(problem.density().prior().layout().n_local(), n);
      for (unsigned int k = 0; k < n; ++k)
        draws.col(k) = problem.inference().family->sample({problem.seed(), Stream::posterior_draw, k, 1.}).m;
      return draws;
    }

    void take_from_chains(const NumberSummary &number, QuantityResult &result)
    {
      result.variational = {result.mean, result.deviation};
      result.mean        = number.mean;
      result.deviation   = number.deviation;
      result.mean_error  = number.mean_error;
      result.quantiles   = number.quantiles;
    }
  } // namespace

  template <int dim>
  void Results<dim>::collect_fields(const Case<dim> &problem, const Vector &map_point, const StopCheck &stop)
  {
    const Stage stage("pointwise variances");
    const OutputSettings &output = problem.output();
    VarianceSettings variances{output.exact_variance_limit, output.variance_probes, problem.seed(), {}};
    if (!interrupted)
      variances.stop = stop;
    else
    {
      // Whoever stopped the run waits for its end: coarse variances will do.
      variances.exact_limit = 0;
      variances.n_draws     = std::min(variances.n_draws, 64u);
    }
    const auto &spaces   = problem.fields();
    const Family &family = *problem.inference().family;
    std::optional<LowRankCorrection> correction;
    if (has_spread)
    {
      correction    = family.low_rank_correction();
      first_dropped = family.first_dropped();
    }
    MultiVector modes;
    if (correction)
    {
      // The precision that each direction adds, and the leading directions alone: the basis may be large.
      const Vector lambda = correction->shrinkage.array() / (1. - correction->shrinkage.array());
      auto order          = by_information(lambda);
      eigenvalues         = lambda(order);
      order.resize(std::min<std::size_t>(order.size(), output.n_modes));
      modes = (*correction->modes)(Eigen::all, order);
    }
    const MultiVector draws = posterior_draws(problem, has_spread ? output.n_draws : 0);
    for (unsigned int f = 0; f < spaces.size(); ++f)
    {
      FieldResult result;
      const auto &field = spaces[f];
      result.mean       = spaces.values(has_spread ? family.mean() : map_point, f);
      result.map        = spaces.values(map_point, f);
      FieldVariances found =
          pointwise_variances(spaces, f, problem.groups(), has_spread ? &family : nullptr, variances);
      result.prior_variance = std::move(found.prior);
      result.variance       = std::move(found.posterior);
      if (correction)
        result.modes = field.expand(spaces.part(modes, f));
      result.draws = field.expand(spaces.part(draws, f));
      result.draws.colwise() += field.mean();
      if (const auto truth = problem.truth(f))
        result.truth = *truth;
      fields.push_back(std::move(result));
    }
    if (!problem.inference().state_mean_field.empty() && has_spread && !interrupted)
    {
      // A comparison does not lose the results: on a mesh that has become too fine it is left out.
      try
      {
        const auto deviations = state_mean_field(problem, family.mean());
        for (std::size_t f = 0; f < fields.size(); ++f)
          fields[f].state_mean_field = deviations[f];
      }
      catch (const std::runtime_error &)
      {
      }
    }
  }

  template <int dim>
  void Results<dim>::collect_quantities(const Case<dim> &problem)
  {
    const auto &asked   = problem.quantities();
    const Matrix &draws = averages.quantity_draws;
    quantity_draws      = draws;
    for (Index i = 0; i < draws.cols() && draws.rows() > 1; ++i)
    {
      const double mean  = draws.col(i).mean();
      const double scale = std::sqrt((draws.col(i).array() - mean).square().mean());
      if (scale > 0.)
        quantity_draws.col(i) =
            averages.quantity_mean[i] + (draws.col(i).array() - mean) / scale * averages.quantity_deviation[i];
    }
    quantity_weights = Vector::Constant(draws.rows(), 1. / std::max<double>(1., double(draws.rows())));
    for (Index i = 0; i < asked.size(); ++i)
    {
      QuantityResult result;
      result.name       = asked.names()[i];
      result.unit       = asked.units()[i];
      result.mean       = averages.quantity_mean[i];
      result.deviation  = averages.quantity_deviation[i];
      result.mean_error = result.deviation / std::sqrt(std::max(1., double(averages.elbo.elbo.draws)));
      result.quantiles.fill(result.mean);
      if (draws.rows() > 1)
      {
        const auto on_finest = quantity_draws.col(i);
        const std::vector<double> all(on_finest.begin(), on_finest.end());
        for (std::size_t k = 0; k < quantile_levels.size(); ++k)
          result.quantiles[k] = quantile(all, quantile_levels[k]);
        result.k = tail_shape(averages.log_weights, draws.col(i));
      }
      if (corrected)
        take_from_chains(certificate->chains.numbers[first_quantity + static_cast<std::size_t>(i)], result);
      quantities.push_back(std::move(result));
    }
  }

  template <int dim>
  void Results<dim>::correct_by_chains()
  {
    corrected              = true;
    const Certificate &end = *certificate;
    for (std::size_t f = 0; f < fields.size(); ++f)
    {
      FieldResult &field            = fields[f];
      field.variational_mean        = field.mean;
      field.variational_deviation   = field.variance.values.cwiseSqrt();
      field.mean                    = end.fields[f].mean;
      field.variance                = {end.fields[f].deviation.cwiseAbs2(), 0.};
      field.variance.relative_error = std::sqrt(2. / std::max(2., end.chains.end.ess));
      const Index n = field.draws.cols(), kept = end.kept[f].cols();
      for (Index k = 0; k < std::min(n, kept); ++k)
        field.draws.col(k) = end.kept[f].col(k * kept / n);
    }
    averages.state_mean           = end.state_mean;
    averages.state_deviation      = end.state_deviation;
    averages.prediction_mean      = end.prediction_mean;
    averages.prediction_deviation = end.prediction_deviation;
  }

  template <int dim>
  std::optional<Scores> score_held_out(const Measurements<dim> &measurements, const Averages &predicted,
                                       const Vector &noise)
  {
    std::vector<Index> rows;
    for (Index i = 0; i < measurements.size(); ++i)
      if (!measurements.used()[static_cast<std::size_t>(i)] && measurements.known()[static_cast<std::size_t>(i)])
        rows.push_back(i);
    if (rows.empty())
      return {};
    const auto all = measurements.spreads(predicted.prediction_deviation, noise);
    std::vector<NormalMixture> spreads;
    for (const Index i : rows)
      spreads.push_back(all[static_cast<std::size_t>(i)]);
    return score(measurements.values()(rows), predicted.prediction_mean(rows), spreads);
  }

  template std::optional<Scores> score_held_out(const Measurements<2> &, const Averages &, const Vector &);
  template std::optional<Scores> score_held_out(const Measurements<3> &, const Averages &, const Vector &);
  template struct Results<2>;
  template struct Results<3>;
} // namespace varfield
