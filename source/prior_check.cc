#include <cmath>
#include <varfield/prior_check.h>
#include <varfield/text.h>

namespace varfield
{
  Index PriorCheck::worst(const std::vector<bool> &used) const
  {
    Index result = -1;
    for (Index i = 0; i < z.size(); ++i)
      if (used[static_cast<std::size_t>(i)] && (result < 0 || std::abs(z[i]) > std::abs(z[result])))
        result = i;
    return result;
  }

  void PriorCheck::keep(Archive &archive)
  {
    archive.number("draws", draws);
    archive.number("failed", failed);
    archive.numbers("mean", mean);
    archive.numbers("deviation", deviation);
    archive.numbers("z", z);
    std::string names;
    std::vector<double> group_z;
    for (const Group &group : groups)
    {
      names += (group_z.empty() ? "" : "\n") + group.name;
      group_z.push_back(group.z);
    }
    archive.text("groups", names);
    archive.numbers("z of groups", group_z);
    groups.clear();
    const auto list = split(names, '\n');
    for (std::size_t i = 0; i < group_z.size(); ++i)
      groups.push_back({list[i], group_z[i]});
  }

  const PriorCheck::Group *PriorCheck::worst_group() const
  {
    const Group *result = nullptr;
    for (const Group &group : groups)
      if (result == nullptr || std::abs(group.z) > std::abs(result->z))
        result = &group;
    return result;
  }

  bool PriorCheck::is_in_conflict(const std::vector<bool> &used) const
  {
    const Index datum  = worst(used);
    const Group *group = worst_group();
    return datum < 0 || std::abs(z[datum]) > 4. || (group != nullptr && std::abs(group->z) > 3.);
  }

  template <int dim>
  std::string PriorCheck::in_words(const Measurements<dim> &measurements) const
  {
    const Index datum = worst(measurements.used());
    if (datum < 0)
      return "the model could be solved at " + std::to_string(draws) + " draws of the prior only, " +
             std::to_string(failed) + " failed";
    std::string text = counted(draws, "draw") +
                       " of the prior: the datum furthest from its predictions is z = " + with_decimals(z[datum], 1) +
                       " away (" + measurements.name_of_row(datum) + ")";
    if (const Group *group = worst_group())
      text += ", the mean of the group “" + group->name + "” z = " + with_decimals(group->z, 1);
    return text;
  }

  template <int dim>
  std::vector<std::string> PriorCheck::lines(const Measurements<dim> &measurements) const
  {
    return {"", "prior         " + in_words(measurements) +
                    (is_in_conflict(measurements.used())
                         ? "\n              The prior all but excludes these data, or hardly any draw can be solved."
                         : "")};
  }

  template <int dim>
  std::vector<std::pair<std::string, std::vector<Index>>> data_groups(const Measurements<dim> &measurements)
  {
    std::vector<std::pair<std::string, std::vector<Index>>> result;
    std::map<std::string, std::size_t> places;
    for (Index i = 0; i < measurements.size(); ++i)
    {
      if (!measurements.used()[static_cast<std::size_t>(i)])
        continue;
      const auto [s, row]        = measurements.origin(i);
      const auto &set            = *measurements.sets()[s];
      const std::string name     = set.table.has("group") ? set.name + "/" + set.table.text(row, "group") : set.name;
      const auto [place, is_new] = places.insert({name, result.size()});
      if (is_new)
        result.push_back({name, {}});
      result[place->second].second.push_back(i);
    }
    return result;
  }

  template <int dim>
  std::optional<PriorCheck> check_prior(const Case<dim> &problem, unsigned int n_draws, const StopCheck &stop)
  {
    const auto &measurements   = problem.measurements();
    const SampleGroups &groups = problem.groups();
    const GaussianPrior &prior = problem.density().prior();
    const Index n              = measurements.size();
    Matrix predictions         = Matrix::Zero(n_draws, n + 1); // the last column: whether the draw could be solved
    const SampleGroups alone(groups.space(), 1);
    bool interrupted = false;
    groups.together(
        [&]
        {
          for (unsigned int k = groups.group(); k < n_draws && !interrupted; k += groups.n_groups())
          {
            if (problem.density().potential(prior.draw({problem.seed(), Stream::prior_check, k, 1.})))
            {
              predictions.row(k).head(n) = problem.density().last()->predictions;
              predictions(k, n)          = 1.;
            }
            interrupted = stop && stop(alone);
          }
        });
    if (groups.sum(interrupted ? 1. : 0.) > 0.)
      return {};
    agreed_sum(groups, prior.layout(), predictions);

    PriorCheck result;
    result.draws  = static_cast<unsigned int>(predictions.col(n).sum());
    result.failed = n_draws - result.draws;
    if (result.draws < InferenceSettings::least_prior_draws)
      return result;
    const Vector solved  = predictions.col(n);
    const double count   = result.draws;
    const Matrix values  = predictions.leftCols(n);
    result.mean          = values.transpose() * solved / count;
    const Matrix centred = solved.asDiagonal() * (values.rowwise() - result.mean.transpose());
    result.deviation     = (centred.colwise().squaredNorm() / (count - 1.)).cwiseSqrt();
    const Vector noise   = measurements.standard_deviations();
    const auto spreads   = measurements.spreads(result.deviation, noise);
    result.z.resize(n);
    for (Index i = 0; i < n; ++i)
      result.z[i] = spreads[static_cast<std::size_t>(i)].normal_score(measurements.values()[i] - result.mean[i]);
    // Data of each draw, the errors of which may hang together: less their means.
    Matrix simulated = centred;
    for (Index k = 0; k < n_draws; ++k)
      if (solved[k] > 0.)
        simulated.row(k) +=
            measurements.errors({problem.seed(), Stream::prior_check, n_draws + static_cast<std::uint32_t>(k), 1.});
    for (const auto &[name, rows] : data_groups(measurements))
    {
      // The mean of its standardised data, and what draws say its spread is.
      double of_data  = 0.;
      Vector of_draws = Vector::Zero(n_draws);
      for (const Index i : rows)
      {
        const double total = spreads[static_cast<std::size_t>(i)].standard_deviation();
        of_data += (measurements.values()[i] - result.mean[i]) / total;
        of_draws += simulated.col(i) / total;
      }
      result.groups.push_back({name, of_data / std::sqrt(of_draws.squaredNorm() / (count - 1.))});
    }
    return result;
  }

  template std::vector<std::pair<std::string, std::vector<Index>>> data_groups(const Measurements<2> &);
  template std::vector<std::pair<std::string, std::vector<Index>>> data_groups(const Measurements<3> &);
  template std::string PriorCheck::in_words(const Measurements<2> &) const;
  template std::string PriorCheck::in_words(const Measurements<3> &) const;
  template std::vector<std::string> PriorCheck::lines(const Measurements<2> &) const;
  template std::vector<std::string> PriorCheck::lines(const Measurements<3> &) const;
  template std::optional<PriorCheck> check_prior(const Case<2> &, unsigned int, const StopCheck &);
  template std::optional<PriorCheck> check_prior(const Case<3> &, unsigned int, const StopCheck &);
} // namespace varfield
