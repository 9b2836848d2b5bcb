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
      double z = 0; ///< of the mean of its standardised data under the prior
    };

    unsigned int draws = 0, failed = 0;
    Vector mean, deviation; ///< of the predictions, over draws of the prior
    Vector z;               ///< normal score of every measurement among what is predicted for it, noise included
    std::vector<Group> groups;

    /// To and from a file.
    void keep(Archive &archive);

    /// The measurement in use with the largest |z|, and the group; −1 and nullptr where too few draws could be solved.
    Index worst(const std::vector<bool> &used) const;
    const Group *worst_group() const;
    /// |z| above 4 of a datum or above 3 of a group, or nothing known.
    bool is_in_conflict(const std::vector<bool> &used) const;
    template <int dim>
    std::string in_words(const Measurements<dim> &measurements) const;
    /// For the terminal.
    template <int dim>
    std::vector<std::string> lines(const Measurements<dim> &measurements) const;
  };

  /// Draws of the prior, spread over the sample groups, solved on the mesh of `problem`; nothing once the run is to
  /// stop. Collective over the world.
  template <int dim>
  std::optional<PriorCheck> check_prior(const Case<dim> &problem, unsigned int n_draws, const StopCheck &stop = {});

  /// The rows of each data set, or of each of its groups where the file has a column “group”, that are in use.
  template <int dim>
  std::vector<std::pair<std::string, std::vector<Index>>> data_groups(const Measurements<dim> &measurements);
} // namespace varfield

#endif
