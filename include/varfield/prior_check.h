#ifndef varfield_prior_check_h
#define varfield_prior_check_h

#include <varfield/case.h>

namespace varfield
{
  /// What the prior predicts for the measurements, before they are used.
  struct PriorCheck
  {
    /// One data set, or one group of its rows (column “group”).
    struct Group
    {
      std::string name;
      unsigned int measurements = 0;
      double z                  = 0; ///< of the mean of its standardised data under the prior
    };

    unsigned int draws = 0, failed = 0;
    Vector mean, deviation; ///< of the predictions, over draws of the prior
    Vector z;               ///< (d − mean)/sqrt(deviation² + σ²) of every measurement
    std::vector<Group> groups;

    Index worst(const std::vector<bool> &used) const;
  };

  /// Draws of the prior, spread over the sample groups, solved on the mesh of `problem`. Collective over the world.
  template <int dim>
  PriorCheck check_prior(const Case<dim> &problem, unsigned int n_draws);

  /// The rows of each data set, or of each of its groups where the file has a column “group”, that are in use.
  template <int dim>
  std::vector<std::pair<std::string, std::vector<Index>>> data_groups(const Measurements<dim> &measurements);
} // namespace varfield

#endif
