#include <cmath>
#include <limits>
#include <varfield/faults.h>
#include <varfield/text.h>
#include <varfield/trust.h>

namespace varfield
{
  const char *name_of(Colour colour)
  {
    static const char *const names[] = {"", "green", "amber", "red"};
    return names[static_cast<int>(colour)];
  }

  Colour TrustReport::colour() const
  {
    Colour worst = Colour::green;
    for (const Finding &finding : findings)
      worst = std::max(worst, finding.colour);
    return worst;
  }

  std::vector<std::string> TrustReport::lines() const
  {
    std::vector<std::string> result;
    std::string shout = name_of(colour());
    std::transform(shout.begin(), shout.end(), shout.begin(), [](unsigned char c) { return std::toupper(c); });
    result.push_back("trust         " + shout);
    for (const Finding &finding : findings)
    {
      std::string head = "  " + std::string(name_of(finding.colour));
      head.resize(9, ' ');
      head += finding.name;
      head.resize(std::max<std::size_t>(30, head.size() + 1), ' ');
      result.push_back(head + finding.text);
      if (!finding.advice.empty())
        result.push_back(std::string(30, ' ') + "-> " + finding.advice);
    }
    return result;
  }

  DivergenceBounds divergence_bounds(const Vector &log_weights)
  {
    const double largest         = log_weights.maxCoeff();
    const double log_mean_square = 2. * largest + std::log((2. * (log_weights.array() - largest)).exp().mean());
    DivergenceBounds result;
    result.divergence = std::max(0., log_mean_square - 2. * log_weights.mean());
    const double chi  = std::sqrt(std::expm1(result.divergence));
    result.mean       = chi;
    result.deviation  = std::sqrt(2. * std::sqrt(3.) * chi);
    return result;
  }

  namespace
  {
    Colour by_size(double value, double amber, double red)
    {
      return value > red ? Colour::red : value > amber ? Colour::amber : Colour::green;
    }

    template <int dim>
    class Judge
    {
    public:
      Judge(const Case<dim> &problem, const Results<dim> &results) : problem_(problem), results_(results) {}

      TrustReport judge()
      {
        optimisation();
        if (results_.has_spread && results_.averages.log_weights.size() > 0)
        {
          elbo();
          weights();
          rank();
        }
        scales();
        quantities();
        other_modes();
        prior_conflict();
        data_fit();
        outliers();
        failed_solves();
        certificate();
        return std::move(report_);
      }

    private:
      Finding &add(const std::string &name, Colour colour, const std::string &text, const std::string &advice = "")
      {
        report_.findings.push_back({name, colour, text, colour == Colour::green ? "" : advice, {}});
        return report_.findings.back();
      }

      void optimisation()
      {
        const bool converged = results_.map.converged && results_.optimization.converged;
        add("optimisation",
            converged                 ? Colour::green
            : results_.is_certified() ? Colour::amber
                                      : Colour::red,
            results_.map.converged ? results_.optimization.reason : "MAP point: " + results_.map.reason,
            results_.is_certified() ? "the certificate below has settled it"
                                    : "allow more iterations; see convergence.csv for what they gained")
            .figures = {{"iterations", double(results_.map.iterations + results_.optimization.iterations)},
                        {"gradient", results_.optimization.gradient}};
      }

      void elbo()
      {
        const Estimate &elbo = results_.averages.elbo.elbo;
        add("ELBO", elbo.error <= problem_.inference().elbo_error ? Colour::green : Colour::amber,
            with_decimals(elbo.value, 3) + " ± " + with_decimals(elbo.error, 3) +
                " nat, a lower bound on the log evidence" + at_best_scales(),
            "raise Inference/Maximum draws: differences between models below this error mean nothing")
            .figures = {{"value", elbo.value}, {"error", elbo.error}};
      }

      /// Whether chains or weights have come to a verdict.
      bool is_settled() const { return results_.certificate && results_.certificate->verdict != Verdict::inconclusive; }

      /// There are no chains of fields and scales together.
      std::string at_fixed_scales() const { return results_.hyper ? " (at scales that are given)" : ""; }

      /// What is of one inference of many.
      std::string at_best_scales() const { return results_.hyper ? ", given the best scales" : ""; }

      /// Between the inferences made.
      void scales()
      {
        if (!results_.hyper)
          return;
        const HyperPosterior &hyper = *results_.hyper;
        const double error = hyper.surface_error, doubtful = hyper.weight_not_converged;
        add("scales", std::max(by_size(error, 0.3, 1.), by_size(doubtful, 0.05, 0.5)),
            "between the " + std::to_string(hyper.elbo.size()) + " inferences the ELBO is known to within " +
                with_decimals(error, 2) + " nat" +
                (hyper.failed > 0 ? "; " + std::to_string(hyper.failed) + " of them failed" : "") +
                (doubtful > 5e-4
                     ? "; " + with_decimals(100. * doubtful, 1) + " % of the weight is on some that did not converge"
                     : ""),
            doubtful > 0.05 ? "allow more iterations"
                            : "intervals of the scales are uncertain: narrower priors, or fewer scales together")
            .figures = {{"surface_error", error}, {"failed", double(hyper.failed)}, {"not_converged", doubtful}};
      }

      /// k-hat, evidence and bounds from the importance weights.
      void weights()
      {
        const Vector &log_weights      = results_.averages.log_weights;
        const auto n                   = static_cast<double>(log_weights.size());
        const SmoothedWeights smoothed = pareto_smooth(log_weights);
        if (n < 30.)
        {
          add("k-hat", Colour::amber, "too few draws (" + to_text(n) + ") for importance weights to say anything",
              "raise Inference/Minimum draws");
          return;
        }
        Colour colour = by_size(smoothed.k, std::min(0.5, largest_good_k(log_weights.size())), 0.7);
        if (is_settled())
          colour = std::min(colour, Colour::amber);
        const double k = std::min(99., std::max(smoothed.k, -9.));
        Finding &found = add(
            "k-hat", colour,
            with_decimals(k, 2) + (std::isfinite(smoothed.k_error) ? " ± " + with_decimals(smoothed.k_error, 2) : "") +
                ", effective size " + with_digits(smoothed.effective_size, 3) + " of " + to_text(n) + " draws on " +
                std::to_string(results_.averages.weights_cells) + " cells: the posterior " +
                (smoothed.k > 0.7   ? "has mass where the variational one has next to none"
                 : smoothed.k > 0.5 ? "has heavier tails than the variational one"
                                    : "is close enough to be reweighted"),
            is_settled() ? "the certificate below has settled it"
                         : "means and spreads may still be good: “varfield certify” tells, and repairs them" +
                               at_fixed_scales());
        found.figures = {{"k", k},
                         {"error", smoothed.k_error},
                         {"effective_size", smoothed.effective_size},
                         {"draws", n},
                         {"cells", static_cast<double>(results_.averages.weights_cells)}};

        const double gap = smoothed.log_mean - log_weights.mean(), elbo = results_.averages.elbo.elbo.value;
        const double error = std::hypot(smoothed.log_mean_error, results_.averages.elbo.elbo.error);
        add("evidence", Colour::none,
            "log evidence" + at_best_scales() + " " + with_decimals(elbo + gap, 3) + " ± " + with_decimals(error, 3) +
                " nat by these weights, " + with_decimals(gap, 3) + " above the ELBO" +
                (smoothed.k > 0.7 ? " (a lower bound only: the weights have no mean to speak of)" : ""))
            .figures = {{"log_evidence", elbo + gap}, {"error", error}, {"gap", gap}};

        if (smoothed.k >= 0.5)
          return;
        const DivergenceBounds bounds = divergence_bounds(log_weights);
        const bool is_normal          = problem_.inference().family->is_normal(); // as the bound on spreads assumes
        add("error bounds", Colour::none,
            "at most " + with_digits(bounds.mean, 3) + " standard deviations off in means" +
                (is_normal ? ", " + with_digits(bounds.deviation, 3) + " in standard deviations" : "") +
                " (divergence " + with_digits(bounds.divergence, 3) + " nat)")
            .figures = {{"divergence", bounds.divergence}, {"mean", bounds.mean}};
        if (is_normal)
          report_.findings.back().figures.push_back({"deviation", bounds.deviation});
      }

      /// Those whose means draws of q do not tell; where chains have, there is nothing to say.
      void quantities()
      {
        if (results_.quantities.empty() || !results_.has_spread || is_settled())
          return;
        std::string names;
        double worst = -std::numeric_limits<double>::infinity();
        for (const QuantityResult &quantity : results_.quantities)
        {
          worst = std::max(worst, quantity.k);
          if (quantity.k > 0.7)
            names += (names.empty() ? "" : ", ") + quantity.name;
        }
        add("quantities", names.empty() ? Colour::green : Colour::amber,
            names.empty() ? "k-hat of all of them is at most " + with_decimals(std::max(worst, -9.), 2)
                          : "k-hat above 0.7, up to " + with_decimals(std::min(worst, 99.), 2) + ": " + names,
            "their intervals may be wrong: “varfield certify”" + at_fixed_scales())
            .figures = {{"largest_k", worst}};
      }

      void rank()
      {
        if (results_.eigenvalues.size() == 0)
          return;
        const double lambda = results_.first_dropped, loss = 0.5 * (lambda - std::log1p(lambda));
        const Colour colour = by_size(lambda, 0.5, 3.);
        add("rank", results_.is_certified() ? std::min(colour, Colour::amber) : colour,
            std::to_string(results_.eigenvalues.size()) + " directions; the first one left out has the eigenvalue " +
                with_digits(lambda, 2) + " and costs " + with_digits(loss, 2) + " nat",
            "raise the rank of the family: what is left out keeps the prior's spread")
            .figures = {{"rank", static_cast<double>(results_.eigenvalues.size())}, {"first_dropped", lambda}};
      }

      void other_modes()
      {
        if (!results_.starts)
          return;
        const SeveralStarts &starts  = *results_.starts;
        const auto n                 = static_cast<unsigned int>(starts.ends.size());
        const unsigned int converged = starts.n_converged(), same = starts.at_the_same();
        const double difference = std::abs(starts.best_elsewhere());
        const std::string where =
            " from draws of the prior" + (results_.starts_mesh.empty() ? std::string() : " on " + results_.starts_mesh);
        if (std::isinf(difference))
          add("other modes", converged > 0 ? Colour::green : Colour::amber,
              std::to_string(same) + " of " + counted(n, "search", "searches") + where + " ended at the same point" +
                  (converged < n ? ", " + std::to_string(n - converged) + " did not converge" : ""),
              "the searches do not get far: a better start (Inference/Start from) or a narrower prior helps")
              .figures = {{"searches", double(n)}, {"same", double(same)}, {"converged", double(converged)}};
        else
        {
          // Chains that began at these points and agree have the modes in them; weighted draws never go there.
          const bool settled      = is_settled() && !results_.certificate->sampler.empty();
          const std::string lower = with_digits(difference, 3) + " nat below that of this run";
          add("other modes", settled ? Colour::green : by_size(-difference, -15., -5.),
              (converged > same
                   ? std::to_string(converged - same) + " of " + counted(n, "search", "searches") + where +
                         " ended at other points, the best of them " + lower +
                         (starts.better ? ", which they have found" : "")
                   : "the search from the start ended at a point " + lower + ", which " + std::to_string(same) +
                         " of " + counted(n, "search", "searches") + where + " found") +
                  (settled ? "; chains begun at " +
                                 (results_.certificate->chains.modes < starts.elsewhere.size()
                                      ? "the best " + std::to_string(results_.certificate->chains.modes) + " of these"
                                      : std::string("these")) +
                                 " and here have come to agree"
                           : ""),
              difference < 5.
                  ? "the posterior has several modes of like weight, of which this answer shows one: “varfield "
                    "certify” begins chains at each" +
                        at_fixed_scales()
                  : "look at what distinguishes them: more searches (Inference/Starts)")
              .figures = {{"searches", double(n)},
                          {"same", double(same)},
                          {"converged", double(converged)},
                          {"best_elsewhere", starts.best_elsewhere()}};
        }
      }

      void prior_conflict()
      {
        if (!results_.prior_check)
          return;
        const PriorCheck &check        = *results_.prior_check;
        const auto &measurements       = problem_.measurements();
        const Index worst              = check.worst(measurements.used());
        const PriorCheck::Group *group = check.worst_group();
        // Never red: with a prior in conflict the posterior is still the posterior, though of a doubtful model.
        Finding &found =
            add("prior and data", check.is_in_conflict(measurements.used()) ? Colour::amber : Colour::green,
                check.in_words(measurements),
                worst < 0 ? "a narrower prior, or a bounded transform"
                          : "the prior all but excludes these data: check units and boundary values, then "
                            "the prior's mean and scales");
        found.figures = {{"draws", double(check.draws)}, {"failed", double(check.failed)}};
        if (worst >= 0 && group != nullptr)
        {
          found.figures.push_back({"largest_z", check.z[worst]});
          found.figures.push_back({"group_z", group->z});
        }
      }

      /// Of the measurements: variance of the prediction over that of the noise, as far as it counts, at most 0.99.
      /// Where errors hang together no variances alone tell what a datum has spent on the field: 0.
      Vector leverages() const
      {
        const auto &measurements = problem_.measurements();
        const Averages &averages = results_.averages;
        Vector result = (averages.prediction_deviation.cwiseQuotient(results_.noise_deviation).array().square() *
                         measurements.weights(averages.prediction_mean, averages.prediction_deviation).array())
                            .cwiseMin(0.99);
        for (Index i = 0; i < result.size(); ++i)
          if (!noise_of(i).is_independent())
            result[i] = 0.;
        return result;
      }

      /// χ² over its degrees of freedom, n less the leverages. With residuals r of the mean and the density p of the
      /// noise χ² = −Σ r ∂log p/∂r, whose mean is n whatever the density (by parts); 2n is its variance if p is normal.
      void data_fit()
      {
        const auto &measurements = problem_.measurements();
        const Vector &predicted  = results_.averages.prediction_mean;
        const Vector squares     = (predicted - measurements.values()).cwiseProduct(measurements.gradient(predicted));
        const Vector leverage    = leverages();
        for (const auto &[name, rows] : data_groups(measurements))
        {
          double chi = 0., freedom = 0., variance = 0.;
          for (const Index i : rows)
          {
            chi += squares[i];
            freedom += 1. - leverage[i];
            variance += (1. - leverage[i]) * noise_of(i).square_variance();
          }
          freedom = std::max(1., freedom);
          // Without a spread nobody knows what the data have spent on the field, nor where errors hang together: then
          // too large a χ² is one all the same.
          const bool known    = results_.has_spread && noise_of(rows.front()).is_independent();
          const double spread = std::sqrt(variance) / freedom, reduced = chi / freedom, z = (reduced - 1.) / spread;
          add("data fit, " + name, z < 0. ? (known ? by_size(-z, 3., 1e300) : Colour::none) : by_size(z, 3., 8.),
              "reduced χ² " + with_decimals(reduced, 2) + ", expected 1 ± " + with_decimals(spread, 2) + " (" +
                  counted(rows.size(), "datum", "data") + ", " + with_decimals(freedom, 1) + " degrees of freedom)",
              z > 0.
                  ? "the model cannot follow these data within their noise: the noise is larger than stated, there are "
                    "outliers, or the model lacks something"
                  : "the data are fitted better than their noise allows: the noise is smaller than stated")
              .figures = {{"reduced_chi2", reduced}, {"spread", spread}, {"freedom", freedom}, {"z", z}};
        }
      }

      const Noise &noise_of(Index i) const
      {
        const auto &measurements = problem_.measurements();
        return *measurements.sets()[measurements.origin(i).first]->noise;
      }

      /// Deleted residuals (d − prediction)/(1 − leverage) as normal scores of what would be predicted without the
      /// datum, noise of variance σ² (times the mixture's) and a prediction of σ² leverage/(1 − leverage); also what
      /// heavy tails hardly count.
      void outliers()
      {
        const auto &measurements = problem_.measurements();
        constexpr double light   = 0.3;
        const Vector &noise = results_.noise_deviation, leverage = leverages();
        const Vector weights =
            measurements.weights(results_.averages.prediction_mean, results_.averages.prediction_deviation);
        const Vector without =
            noise.array() * (leverage.array() / (1. - leverage.array())).sqrt(); // of the deleted prediction
        const auto spreads = measurements.spreads(without, noise);
        std::vector<std::pair<double, Index>> found;
        double worst = 0.;
        for (Index i = 0; i < measurements.size(); ++i)
          if (measurements.used()[static_cast<std::size_t>(i)])
          {
            const double z = spreads[static_cast<std::size_t>(i)].normal_score(
                (measurements.values()[i] - results_.averages.prediction_mean[i]) / (1. - leverage[i]));
            worst = std::max(worst, std::abs(z));
            if (std::abs(z) > 3. || weights[i] < light)
              found.push_back({z, i});
          }
        std::sort(found.begin(), found.end(),
                  [](const auto &a, const auto &b) { return std::abs(a.first) > std::abs(b.first); });
        std::string list;
        for (std::size_t k = 0; k < std::min<std::size_t>(5, found.size()); ++k)
        {
          const Index i = found[k].second;
          list += (k == 0 ? ": " : "; ") + problem_.measurements().name_of_row(i) + ", " +
                  with_decimals(found[k].first, 1) +
                  (!noise_of(i).is_gaussian() ? " (counts for " + with_decimals(weights[i], 2) + ")" : "");
        }
        if (found.size() > 5)
          list += "; …";
        add("outliers", worst > 3. ? Colour::amber : Colour::green,
            found.empty() ? "all data are within " + with_decimals(worst, 1) + " standard deviations"
                          : counted(found.size(), "datum", "data") + " beyond 3 standard deviations" +
                                (measurements.is_gaussian() ? "" : " (as normal scores), or of little weight") + list,
            measurements.is_gaussian()
                ? "look at these first: a mistake in the table, or noise with heavy tails (Noise = student t)"
                : "look at these first: a mistake in the table?")
            .figures = {{"found", double(found.size())}, {"largest", worst}};
      }

      void failed_solves()
      {
        const Estimate &elbo = results_.averages.elbo.elbo;
        // Each group has its own.
        const SampleGroups &groups = problem_.groups();
        const double repeated = groups.sum(solve_counts().repeated), failed = groups.sum(solve_counts().failed);
        if (elbo.draws == 0)
          return;
        const double share = double(elbo.failed) / double(elbo.draws + elbo.failed);
        std::string text =
            elbo.failed == 0 ? "" : counted(elbo.failed, "draw") + " could not be solved and had to be replaced";
        if (repeated > 0.)
          text = counted(static_cast<std::uint64_t>(repeated), "solve") + " repeated by a safer solver" +
                 (text.empty() ? "" : "; ") + text;
        add("failed solves", by_size(share, 0.005, 0.1), text.empty() ? "none" : text,
            "the posterior reaches where the model has no solution: a bounded transform or a narrower prior helps")
            .figures = {{"failed", double(elbo.failed)}, {"repeated_solves", repeated}, {"failed_solves", failed}};
      }

      void certificate()
      {
        if (!results_.certificate)
          return;
        const Certificate &found = *results_.certificate;
        const std::string chains = found.sampler.empty() || found.chains.chains == 0
                                       ? found.chains.reason
                                       : counted(found.chains.chains, "chain") + " of " +
                                             std::to_string(found.chains.end.iterations) + " draws, " +
                                             found.chains.reason;
        std::string text;
        if (!found.fields.empty())
          text = "; " + with_decimals(100. * found.share_agreeing, 1) +
                 " % of the pointwise values agree (largest shift " + with_decimals(found.largest_shift, 2) +
                 " standard deviations, spreads " + with_decimals(found.smallest_ratio, 2) + " to " +
                 with_decimals(found.largest_ratio, 2) + " of those of " + found.source() + ", beyond sampling errors)";
        Colour colour      = Colour::red;
        std::string advice = std::string(found.sampler.empty() ? "let chains judge (Certification/Method = chains)"
                                                               : "allow more draws or time (Certification)") +
                             ": until then nothing is known either way";
        if (found.verdict == Verdict::passed)
        {
          colour = Colour::green;
          text += ": the variational posterior is as good as asked for";
        }
        else if (found.verdict == Verdict::failed)
        {
          colour = results_.corrected ? Colour::amber : Colour::red;
          text += ": the variational posterior is NOT as good as asked for";
          advice = results_.corrected ? "means, spreads and predictions in the results are those of " + found.source() +
                                            "; the variational ones are beside them"
                                      : "let " + found.source() + " correct the answer (Certification/Correct = true)";
        }
        add("certificate", colour, chains + text, advice).figures = {
            {"share_agreeing", found.share_agreeing}, {"largest_shift", found.largest_shift},
            {"smallest_ratio", found.smallest_ratio}, {"largest_ratio", found.largest_ratio},
            {"rhat", found.chains.end.rhat},          {"effective_size", found.chains.end.ess}};
      }

      const Case<dim> &problem_;
      const Results<dim> &results_;
      TrustReport report_;
    };
  } // namespace

  template <int dim>
  TrustReport judge(const Case<dim> &problem, const Results<dim> &results)
  {
    return Judge<dim>(problem, results).judge();
  }

  template TrustReport judge(const Case<2> &, const Results<2> &);
  template TrustReport judge(const Case<3> &, const Results<3> &);
} // namespace varfield
