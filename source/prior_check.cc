#include <cmath>
#include <varfield/prior_check.h>

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
      const std::string name     = set.table.has("group") ? set.name + "/" + set.table.strings("group")[row] : set.name;
      const auto [place, is_new] = places.insert({name, result.size()});
      if (is_new)
        result.push_back({name, {}});
      result[place->second].second.push_back(i);
    }
    return result;
  }

  template <int dim>
  PriorCheck check_prior(const Case<dim> &problem, unsigned int n_draws)
  {
    const auto &measurements   = problem.measurements();
    const SampleGroups &groups = problem.groups();
    const GaussianPrior &prior = problem.density().prior();
    const Index n              = measurements.size();
    Matrix predictions         = Matrix::Zero(n_draws, n + 1); // the last column: whether the draw could be solved
    for (unsigned int k = groups.group(); k < n_draws; k += groups.n_groups())
      if (problem.density().potential(prior.draw({problem.seed(), Stream::prior_check, k, 1.})))
      {
        predictions.row(k).head(n) = problem.density().last()->predictions;
        predictions(k, n)          = 1.;
      }
    agreed_sum(groups, prior.layout(), predictions);

    PriorCheck result;
    result.draws  = static_cast<unsigned int>(predictions.col(n).sum());
    result.failed = n_draws - result.draws;
    if (result.draws < 10)
      return result;
    const Vector solved  = predictions.col(n);
    const double count   = result.draws;
    const Matrix values  = predictions.leftCols(n);
    result.mean          = values.transpose() * solved / count;
    const Matrix centred = solved.asDiagonal() * (values.rowwise() - result.mean.transpose());
    result.deviation     = (centred.colwise().squaredNorm() / (count - 1.)).cwiseSqrt();
    const Vector noise   = measurements.standard_deviations();
    const Vector total   = (result.deviation.cwiseAbs2() + noise.cwiseAbs2()).cwiseSqrt();
    result.z             = (measurements.values() - result.mean).cwiseQuotient(total);
    for (const auto &[name, rows] : data_groups(measurements))
    {
      // Of the mean of the group's standardised data: what it is in the data, and what draws say its spread is.
      const double size = static_cast<double>(rows.size());
      Vector of_draws   = Vector::Zero(n_draws);
      double of_data = 0., of_noise = 0.;
      for (const Index i : rows)
      {
        of_data += result.z[i] / size;
        of_draws += centred.col(i) / (total[i] * size);
        of_noise += std::pow(noise[i] / (total[i] * size), 2);
      }
      const double spread = std::sqrt(of_draws.squaredNorm() / (count - 1.) + of_noise);
      result.groups.push_back({name, static_cast<unsigned int>(rows.size()), of_data / spread});
    }
    return result;
  }

  template std::vector<std::pair<std::string, std::vector<Index>>> data_groups(const Measurements<2> &);
  template std::vector<std::pair<std::string, std::vector<Index>>> data_groups(const Measurements<3> &);
  template PriorCheck check_prior(const Case<2> &, unsigned int);
  template PriorCheck check_prior(const Case<3> &, unsigned int);
} // namespace varfield
