#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>
#include <varfield/calibration.h>
#include <varfield/collective.h>
#include <varfield/hyper_inference.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
  }

  Uniformity uniformity(const std::vector<double> &ranks)
  {
    std::vector<double> sorted = ranks;
    std::sort(sorted.begin(), sorted.end());
    const auto n    = static_cast<double>(sorted.size());
    double distance = 0.;
    Uniformity result;
    if (ranks.empty())
      return {not_a_number, not_a_number, not_a_number, not_a_number};
    for (std::size_t i = 0; i < sorted.size(); ++i)
    {
      const double x = sorted[i], k = static_cast<double>(i);
      distance                 = std::max({distance, x - k / n, (k + 1.) / n - x});
      const double from_middle = 2. * std::abs(x - 0.5);
      result.coverage50 += from_middle < 0.5 ? 1. / n : 0.;
      result.coverage80 += from_middle < 0.8 ? 1. / n : 0.;
      result.coverage95 += from_middle < 0.95 ? 1. / n : 0.;
    }
    // Kolmogorov's distribution with Stephens' (1970) correction for finite n.
    const double lambda = distance * (std::sqrt(n) + 0.12 + 0.11 / std::sqrt(n));
    double sum          = 0.;
    for (int j = 1; j < 100; ++j)
      sum += (j % 2 == 1 ? 2. : -2.) * std::exp(-2. * j * j * lambda * lambda);
    result.p_value = lambda < 0.2 ? 1. : std::min(1., std::max(0., sum));
    return result;
  }

  std::vector<std::string> Calibration::lines() const
  {
    std::size_t width = 12;
    for (const std::string &name : names)
      width = std::max(width, name.size() + 2);
    std::vector<std::string> result{padded("quantity", width) + "   uniform (p)   in 50 %   in 80 %   in 95 %"};
    for (std::size_t i = 0; i < names.size(); ++i)
    {
      const Uniformity &u = uniformity[i];
      std::ostringstream line;
      line << padded(names[i], width) << std::fixed << std::setprecision(4) << std::setw(14) << u.p_value
           << std::setprecision(3);
      for (const double share : {u.coverage50, u.coverage80, u.coverage95})
        line << std::setw(10) << share;
      result.push_back(line.str());
    }
    return result;
  }

  namespace
  {
    /// A combination Σ direction · log θ of hyper-parameters.
    struct Combination
    {
      std::string name;
      Vector direction;
    };

    /// σ²/ρ^{2ν} of fields with a Matérn prior of smoothness ν = 2 − dim/2.
    std::vector<Combination> microergodic(const HyperParameters &hyper, int dim)
    {
      std::vector<Combination> result;
      const std::string length = "/spde/Correlation length", deviation = "/spde/Standard deviation";
      for (Index i = 0; i < hyper.size(); ++i)
        for (Index j = 0; j < hyper.size(); ++j)
        {
          const std::string &sigma = hyper[i].entry, &rho = hyper[j].entry;
          if (sigma.size() <= deviation.size() || rho.size() <= length.size())
            continue;
          const std::string field = sigma.substr(0, sigma.size() - deviation.size());
          if (sigma != field + deviation || rho != field + length)
            continue;
          Vector direction = Vector::Zero(hyper.size());
          direction[i]     = 2.;
          direction[j]     = -(4. - dim);
          result.push_back({hyper[i].name + "^2/" + hyper[j].name + "^" + to_text(4. - dim), direction});
        }
      return result;
    }

    /// One truth: what its quantities are, and where they are in the posterior.
    struct Trial
    {
      Vector truth, ranks;
      bool converged = false, interrupted = false;

      void keep(Archive &archive)
      {
        archive.numbers("truth", truth);
        archive.numbers("ranks", ranks);
        archive.number("converged", converged);
      }
    };

    template <int dim>
    class Trials
    {
    public:
      Trials(const Case<dim> &problem, std::uint64_t seed, const Report &report)
          : problem_(problem),
            combinations_(microergodic(problem.hyper_parameters(), dim)),
            seed_(seed),
            report_(report)
      {
      }

      /// Of what is ranked: quantities of interest, hyper-parameters, combinations of these.
      std::vector<std::string> names() const
      {
        std::vector<std::string> result = problem_.quantities().names();
        for (const std::string &name : problem_.hyper_parameters().names())
          result.push_back(name);
        for (const Combination &combination : combinations_)
          result.push_back(combination.name);
        return result;
      }

      /// The trial of truth k, from an earlier run where that has made it.
      Trial run(unsigned int k, const FinishedParts *parts) const
      {
        Trial trial;
        get_part(
            parts, "truth-" + std::to_string(k), problem_.groups(), [&](Archive &archive) { trial.keep(archive); },
            [&]
            {
              trial = run(k);
              return !trial.interrupted;
            });
        return trial;
      }

    private:
      Trial run(unsigned int k) const
      {
        const auto &hyper = problem_.hyper_parameters();
        Vector t(hyper.size());
        for (Index i = 0; i < t.size(); ++i)
          t[i] =
              std::log(hyper[i].prior->quantile(uniform_number(key(Stream::truths, k), static_cast<std::uint32_t>(i))));
        const auto truth = problem_.with_overrides(hyper.overrides(t));
        Trial trial;
        Vector quantities;
        const Vector values = simulate(*truth, k, quantities);

        auto again = problem_.with_overrides({"Random seed=" + std::to_string(seed_ + k)});
        again->set_measured(values);
        Report silent              = report_.silent(again->groups());
        const Results<dim> results = infer_all(again, silent);
        trial.converged            = results.map.converged && results.optimization.converged;
        trial.interrupted          = results.interrupted;
        if (!trial.interrupted)
          compare(results, quantities, t, trial);
        return trial;
      }

      DrawKey key(Stream stream, unsigned int k) const { return {seed_, stream, k, 1.}; }

      /// Data of a draw of the prior; `quantities` are those of the draw.
      Vector simulate(const Case<dim> &truth, unsigned int k, Vector &quantities) const
      {
        const auto state = truth.model().solve(truth.density().prior().draw(key(Stream::prior_draw, k)));
        if (!state)
          throw ComputationError("The model cannot be solved at a draw of the prior.");
        quantities = truth.quantities().evaluate(*state);
        return truth.measurements().simulated(state->predictions, key(Stream::data_noise, k));
      }

      void compare(const Results<dim> &results, const Vector &quantities, const Vector &t, Trial &trial) const
      {
        const Index n = quantities.size(), n_scales = t.size();
        trial.truth = trial.ranks = Vector::Zero(n + n_scales + static_cast<Index>(combinations_.size()));
        trial.truth.head(n)       = quantities;
        for (Index i = 0; i < n; ++i)
          trial.ranks[i] = results.share_of_draws_below(i, quantities[i]);
        Index next           = n;
        const auto add_scale = [&](const Vector &direction)
        {
          trial.truth[next]   = std::exp(direction.dot(t));
          trial.ranks[next++] = results.hyper->below(direction, direction.dot(t));
        };
        for (Index i = 0; i < n_scales; ++i)
          add_scale(Vector::Unit(n_scales, i));
        for (const Combination &combination : combinations_)
          add_scale(combination.direction);
      }

      const Case<dim> &problem_; ///< of this group alone
      const std::vector<Combination> combinations_;
      const std::uint64_t seed_;
      const Report &report_;
    };
  } // namespace

  template <int dim>
  Calibration calibrate(const Case<dim> &problem, Report &report, const FinishedParts *parts)
  {
    const unsigned int n_truths = problem.calibration().truths;
    const auto &groups          = problem.groups();
    Calibration result;
    if (problem.quantities().size() == 0)
      throw UserError("Quantities/Names: a calibration ranks quantities of interest; name at least one.");
    const auto own     = problem.for_one_group();
    const Layout &like = own->density().prior().layout();
    const Trials<dim> trials(*own, problem.seed(), report);
    result.names = trials.names();
    const auto n = static_cast<Index>(result.names.size());
    // Ranks, truths, whether the trial was made, whether it converged, whether it failed.
    Matrix numbers = Matrix::Zero(n_truths, 2 * n + 3);
    std::string message;
    for (unsigned int first = 0; first < n_truths && !result.interrupted; first += groups.n_groups())
    {
      const unsigned int k = first + groups.group();
      if (k < n_truths)
        try
        {
          const Trial trial = trials.run(k, parts);
          if (!trial.interrupted)
            numbers.row(k) << trial.ranks.transpose(), trial.truth.transpose(), 1., trial.converged ? 1. : 0., 0.;
        }
        catch (const StoppedEarly &)
        {
          // As if it had not begun.
        }
        catch (const ComputationError &)
        {
          numbers(k, 2 * n + 2) = 1.;
        }
        catch (const UserError &error)
        {
          message = error.what();
        }
      report.progress("truths", first + 1, n_truths);
      result.interrupted = report.should_stop();
      throw_together(message, groups.world());
    }
    agreed_sum(groups, like, numbers);
    if (numbers.col(2 * n + 2).sum() == n_truths)
      throw ComputationError("The inference failed for every truth.");
    result.ranks  = numbers.leftCols(n);
    result.truths = numbers.middleCols(n, n);
    for (Index k = 0; k < numbers.rows(); ++k)
    {
      const bool made = numbers(k, 2 * n) > 0.;
      if (!made)
        result.ranks.row(k).setConstant(not_a_number);
      result.failed += numbers(k, 2 * n + 2) > 0.;
      result.not_converged += made && numbers(k, 2 * n + 1) == 0.;
    }
    for (Index i = 0; i < n; ++i)
    {
      std::vector<double> ranks;
      for (Index k = 0; k < numbers.rows(); ++k)
        if (std::isfinite(result.ranks(k, i)))
          ranks.push_back(result.ranks(k, i));
      result.uniformity.push_back(uniformity(ranks));
    }
    return result;
  }

  template Calibration calibrate(const Case<2> &, Report &, const FinishedParts *);
  template Calibration calibrate(const Case<3> &, Report &, const FinishedParts *);
} // namespace varfield
