#include <cmath>
#include <iomanip>
#include <sstream>
#include <varfield/certification.h>
#include <varfield/text.h>
#include <varfield/weighted_draws.h>

namespace varfield
{
  void CertificationSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    using namespace dealii::Patterns;
    prm.add_parameter(
        "Enabled", enabled,
        "Whether every run ends with Markov chains of the exact posterior that judge the variational one, "
        "as “varfield certify” does.");
    prm.add_parameter("Method", method,
                      "“chains”: Markov chains. “weights”: draws of the variational posterior with smoothed importance "
                      "weights, much cheaper, but of use below a k-hat of 0.7 only. (Of the entries below, those on "
                      "warm-up, R-hat, starts and checkpoints are for chains; iterations are draws.)",
                      Selection("chains|weights"));
    prm.add_parameter("Mean tolerance", mean_tolerance,
                      "The largest difference of means, in standard deviations of the posterior, of a variational "
                      "posterior that passes.",
                      Double(0.));
    prm.add_parameter("Spread tolerance", spread_tolerance,
                      "The largest relative difference of standard deviations; 0.2: a factor of 1.2 either way.",
                      Double(0.));
    prm.add_parameter("Share", share,
                      "Of the pointwise values, for which both have to hold (for all quantities they "
                      "have to).",
                      Double(0., 1.));
    prm.add_parameter("Correct", correct,
                      "Whether a variational posterior that fails is replaced by the draws of the chains in what is "
                      "written as the answer.");
    chains.add_parameters(prm);
  }

  void CertificationSettings::check() const
  {
    chains.check("Certification");
  }

  Agreement compare(const Moment &q, const Moment &posterior)
  {
    Agreement result;
    if (posterior.deviation <= 0.)
      return result;
    const double mean_error   = std::hypot(q.mean_error, posterior.mean_error);
    const double spread_error = 2. * std::hypot(q.deviation_error / std::max(q.deviation, 1e-300),
                                                posterior.deviation_error / posterior.deviation);
    result.shift              = std::max(0., std::abs(q.mean - posterior.mean) - 2. * mean_error) / posterior.deviation;
    const double ratio        = q.deviation / posterior.deviation;
    result.ratio = ratio > 1. ? std::max(1., ratio / (1. + spread_error)) : std::min(1., ratio * (1. + spread_error));
    return result;
  }

  namespace
  {
    /// Coordinates of the leading directions of q that are watched.
    constexpr Index n_directions = 10;
    /// Zonal fields of at most so many zones are watched value by value.
    constexpr Index most_zones = 1000;

    template <int dim>
    class FieldWatch : public Watch
    {
    public:
      FieldWatch(const Case<dim> &problem, const FrozenGaussian &q) : problem_(problem), q_(q)
      {
        const auto &fields = problem.fields();
        std::vector<Layout> layouts;
        names_.push_back("misfit");
        const auto &quantities = problem.quantities().names();
        names_.insert(names_.end(), quantities.begin(), quantities.end());
        for (unsigned int f = 0; f < fields.size(); ++f)
        {
          const auto &space = fields[f].space();
          layouts.push_back(layout_of(space.dof_handler()));
          n_judged_ += space.n_owned();
          const Index zones = space.is_nodal() ? 0 : static_cast<Index>(space.zone_centres().size());
          if (zones > 0 && zones <= most_zones)
            zonal_.push_back(f);
          for (const std::string &kind : kinds(fields[f]))
            for (Index z = 0; z < (zones <= most_zones ? zones : 0); ++z)
              names_.push_back(kind + fields[f].name() + (zones > 1 ? " " + std::to_string(z) : ""));
        }
        for (Index i = 0; i < std::min(n_directions, q.rank()); ++i)
          names_.push_back("direction " + std::to_string(i + 1));
        for (unsigned int c = 0; c < problem.model().n_columns(); ++c)
          layouts.push_back(layout_of(problem.model().space().dof_handler()));
        layouts.push_back(on_first_rank(problem.measurements().size()));
        layout_ = concatenate(problem.groups().space(), layouts);
      }

      std::vector<std::string> names() const override { return names_; }
      const Layout &layout() const override { return layout_; }
      Index n_judged() const override { return n_judged_; }
      /// Coordinates of directions, the last numbers, serve the chains; what counts are values and quantities.
      bool counts(std::size_t number) const
      {
        return number + static_cast<std::size_t>(std::min(n_directions, q_.rank())) < names_.size();
      }

      void evaluate(const Vector &m, Vector &numbers, Vector &values) const override
      {
        const auto &fields          = problem_.fields();
        const ModelState<dim> &last = *problem_.density().last();
        values.resize(layout_.n_local());
        Index row         = 0;
        const auto append = [&](const Vector &part)
        {
          values.segment(row, part.size()) = part;
          row += part.size();
        };
        for (unsigned int f = 0; f < fields.size(); ++f)
          append(fields.values(m, f));
        append(last.states.reshaped());
        append(last.predictions.head(layout_.n_local() - row));

        numbers.resize(static_cast<Index>(names_.size()));
        numbers[0]             = problem_.measurements().potential(last.predictions);
        const Index nq         = problem_.quantities().size();
        Index i                = 1 + nq;
        numbers.segment(1, nq) = problem_.quantities().evaluate(last);
        for (const unsigned int f : zonal_)
        {
          const Vector zones               = zone_values(m, f);
          numbers.segment(i, zones.size()) = zones;
          i += zones.size();
          if (!fields[f].transform().is_identity())
          {
            numbers.segment(i, zones.size()) =
                zones.unaryExpr([&](double x) { return fields[f].transform().derivative(0, x); });
            i += zones.size();
          }
        }
        const Index r = numbers.size() - i;
        if (r > 0)
          numbers.tail(r) = q_.coordinates(m).head(r);
      }

      /// Mean and standard deviation of q for the numbers that it has them of (else a deviation of 0).
      std::vector<Moment> moments_of(const Family &family, const Averages &averages) const
      {
        std::vector<Moment> result(names_.size());
        std::size_t i     = 1;
        const double root = std::sqrt(std::max(2., double(averages.elbo.elbo.draws)));
        for (Index k = 0; k < averages.quantity_mean.size(); ++k, ++i)
        {
          const double deviation = averages.quantity_deviation[k];
          result[i]              = {averages.quantity_mean[k], deviation, deviation / root, deviation / root};
        }
        for (const unsigned int f : zonal_)
        {
          const auto &field    = problem_.fields()[f];
          const Layout &layout = field.space().layout();
          const Index zones    = layout.n_global();
          // One application of the covariance for each zone.
          MultiVector dual = MultiVector::Zero(family.mean().size(), zones);
          dual.middleRows(problem_.fields().offset(f), layout.n_local()) = layout.identity();
          const MultiVector covariance                                   = family.covariance(dual);
          const Vector variance = problem_.density().prior().layout().column_dots(dual, covariance);
          const Vector mean     = zone_values(family.mean(), f);
          for (Index z = 0; z < zones; ++z)
            result[i++] = {mean[z], std::sqrt(std::max(0., variance[z])), 0., 0.};
          i += (kinds(field).size() - 1) * static_cast<std::size_t>(zones);
        }
        const Vector mean = q_.coordinates(family.mean());
        for (Index d = 0; i < result.size(); ++d, ++i)
          result[i] = {mean[d], q_.factor().row(d).norm(), 0., 0.};
        return result;
      }

    private:
      /// Of the numbers of a zonal field: m, and the coefficient where it is another number.
      static std::vector<std::string> kinds(const Field<dim> &field)
      {
        return field.transform().is_identity() ? std::vector<std::string>{""}
                                               : std::vector<std::string>{"", "coefficient of "};
      }

      /// m in every zone: the space's coefficients (the trend's are not in them) and the prior mean.
      Vector zone_values(const Vector &m, unsigned int f) const
      {
        const auto &field    = problem_.fields()[f];
        const Layout &layout = field.space().layout();
        const Vector part    = problem_.fields().part(m, f).topRows(layout.n_local());
        return layout.gather(part).col(0) + Vector::Constant(layout.n_global(), zone_mean(f));
      }

      /// A constant prior mean, that of the first owned cell; a mean that varies is left out of the numbers.
      double zone_mean(unsigned int f) const
      {
        const Vector &mean  = problem_.fields()[f].mean();
        const MPI_Comm comm = problem_.groups().space();
        const double low    = dealii::Utilities::MPI::min(mean.size() > 0 ? mean.minCoeff() : 1e300, comm);
        const double high   = dealii::Utilities::MPI::max(mean.size() > 0 ? mean.maxCoeff() : -1e300, comm);
        return low == high ? low : 0.;
      }

      Layout layout_of(const dealii::DoFHandler<dim> &handler) const
      {
        std::vector<std::uint64_t> keys;
        for (const auto dof : handler.locally_owned_dofs())
          keys.push_back(dof);
        return Layout(problem_.groups().space(), std::move(keys));
      }

      Layout on_first_rank(Index n) const
      {
        std::vector<std::uint64_t> keys;
        if (dealii::Utilities::MPI::this_mpi_process(problem_.groups().space()) == 0)
          for (Index i = 0; i < n; ++i)
            keys.push_back(i);
        return Layout(problem_.groups().space(), std::move(keys));
      }

      const Case<dim> &problem_;
      const FrozenGaussian &q_;
      std::vector<std::string> names_;
      std::vector<unsigned int> zonal_;
      Layout layout_;
      Index n_judged_ = 0;
    };

    ChainMoments rows(const ChainMoments &all, Index first, Index n)
    {
      return {all.mean.segment(first, n),       all.deviation.segment(first, n),
              all.mean_error.segment(first, n), all.deviation_error.segment(first, n),
              all.ess.segment(first, n),        all.rhat.segment(first, n)};
    }

    /// Fields, states and predictions out of the one list of values.
    template <int dim>
    void take_apart(const Case<dim> &problem, Certificate &result)
    {
      const ChainMoments &all = result.chains.values;
      const auto &model       = problem.model();
      Index row               = 0;
      for (unsigned int f = 0; f < problem.fields().size(); ++f)
      {
        const Index n = problem.fields()[f].space().n_owned();
        result.fields.push_back(rows(all, row, n));
        result.kept.push_back(result.chains.kept.middleRows(row, n));
        row += n;
      }
      const Index n = model.space().n_owned(), columns = model.n_columns();
      result.state_mean      = all.mean.segment(row, n * columns).reshaped(n, columns);
      result.state_deviation = all.deviation.segment(row, n * columns).reshaped(n, columns);
      row += n * columns;
      result.prediction_mean = result.prediction_deviation = Vector::Zero(problem.measurements().size());
      const Index here                                     = all.mean.size() - row;
      result.prediction_mean.head(here)                    = all.mean.tail(here);
      result.prediction_deviation.head(here)               = all.deviation.tail(here);
      for (Vector *x : {&result.prediction_mean, &result.prediction_deviation})
        broadcast_over(problem.groups().space(), x->data(), static_cast<std::size_t>(x->size()));
      result.chains.kept.resize(0, 0);
    }

    template <int dim>
    void compare_pointwise(const Case<dim> &problem, const Family &family, const std::vector<Vector> &deviations,
                           Certificate &result)
    {
      const auto &settings = problem.certification();
      double agreeing = 0., all = 0.,
             extremes[3] = {0., 0., 0.}; // shift, −log of the smallest ratio, log of the largest
      for (unsigned int f = 0; f < problem.fields().size(); ++f)
      {
        const ChainMoments &chains = result.fields[f];
        const Vector mean          = problem.fields().values(family.mean(), f);
        Vector shift(mean.size()), ratio(mean.size());
        for (Index i = 0; i < mean.size(); ++i)
        {
          const Agreement agreement =
              compare({mean[i], deviations[f][i], 0., 0.},
                      {chains.mean[i], chains.deviation[i], chains.mean_error[i], chains.deviation_error[i]});
          agreeing += agreement.holds(settings);
          all += 1.;
          extremes[0]            = std::max(extremes[0], agreement.shift);
          extremes[1]            = std::max(extremes[1], -std::log(agreement.ratio));
          extremes[2]            = std::max(extremes[2], std::log(agreement.ratio));
          const double deviation = std::max(chains.deviation[i], 1e-300);
          shift[i]               = (mean[i] - chains.mean[i]) / deviation;
          ratio[i]               = deviations[f][i] / deviation;
        }
        result.mean_shift.push_back(shift);
        result.deviation_ratio.push_back(ratio);
      }
      const MPI_Comm comm = problem.groups().space();
      MPI_Allreduce(MPI_IN_PLACE, extremes, 3, MPI_DOUBLE, MPI_MAX, comm);
      result.share_agreeing = problem.density().agreed(dealii::Utilities::MPI::sum(agreeing, comm) /
                                                       dealii::Utilities::MPI::sum(all, comm));
      result.largest_shift  = extremes[0];
      result.smallest_ratio = std::exp(-extremes[1]);
      result.largest_ratio  = std::exp(extremes[2]);
    }

    /// Standard error of a standard deviation from n effective draws of a nearly normal number.
    double deviation_error(const NumberSummary &number)
    {
      return number.deviation /
             std::sqrt(2. * std::max(2., std::min(number.convergence.ess_mean, number.convergence.ess_tail)));
    }
  } // namespace

  template <int dim>
  Certificate certify(const Case<dim> &problem, const Family &family, const std::vector<Vector> &deviations,
                      const Averages &averages, const std::vector<Vector> &modes, Report &report,
                      const std::string &checkpoint)
  {
    problem.inference().require_low_rank("Inference/Family: chains need");
    const auto &settings = problem.certification();
    const FrozenGaussian q(family.prior(), family.mean(), *family.low_rank_correction());
    const FieldWatch<dim> watch(problem, q);
    Certificate result;
    if (settings.method == "chains")
    {
      result.sampler = settings.chains.sampler.name();
      result.chains  = run_chains(
           problem.density(), q, watch, modes, settings.chains, problem.seed(),
           [&](const ChainProgress &progress) { return report.chains(progress, settings.chains); }, checkpoint);
    }
    else
      result.chains =
          weigh_draws(problem.density(), family, watch, settings.chains, problem.seed(),
                      [&](const ChainProgress &progress) { return report.weighted_draws(progress, settings.chains); });
    report.line("  " + result.chains.reason);
    if (!result.sampler.empty() && result.chains.modes < modes.size())
      report.line("  Of " + std::to_string(modes.size()) + " other modes the best " +
                  std::to_string(result.chains.modes) +
                  " were starts of chains: half of the chains begin there (Certification/Chains).");
    if (result.chains.numbers.empty())
      return result;
    take_apart(problem, result);
    compare_pointwise(problem, family, deviations, result);
    const auto of_q = watch.moments_of(family, averages);
    bool agrees     = result.share_agreeing >= settings.share;
    for (std::size_t i = 0; i < of_q.size(); ++i)
    {
      const NumberSummary &number = result.chains.numbers[i];
      if (of_q[i].deviation > 0. &&
          !compare(of_q[i], {number.mean, number.deviation, number.mean_error, deviation_error(number)})
               .holds(settings))
      {
        result.disagreeing.push_back(number.name);
        agrees = agrees && !watch.counts(i);
      }
    }
    result.verdict = !result.chains.converged ? Verdict::inconclusive : agrees ? Verdict::passed : Verdict::failed;
    return result;
  }

  template Certificate certify(const Case<2> &, const Family &, const std::vector<Vector> &, const Averages &,
                               const std::vector<Vector> &, Report &, const std::string &);
  template Certificate certify(const Case<3> &, const Family &, const std::vector<Vector> &, const Averages &,
                               const std::vector<Vector> &, Report &, const std::string &);
} // namespace varfield
