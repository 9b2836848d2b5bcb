#include <varfield/log_density.h>

namespace varfield
{
  std::optional<std::pair<double, Vector>> LogDensity::potential_and_gradient(const Vector &m, bool together) const
  {
    const auto at_m = linearize(m, {0., together});
    if (!at_m)
      return {};
    return std::make_pair(at_m->potential, at_m->gradient);
  }

  const SampleGroups &LogDensity::groups() const
  {
    static const SampleGroups one_group;
    return one_group;
  }

  double LogDensity::agreed(double x) const
  {
    groups().broadcast(&x, 1);
    prior().layout().broadcast(&x, 1);
    return x;
  }

  void LogDensity::agree(Vector &values) const
  {
    groups().broadcast(values);
    prior().layout().broadcast(values.data(), static_cast<std::size_t>(values.size()));
  }

  std::unique_ptr<Linearization> linearize_at(const LogDensity &density, const Vector &m, const std::string &place)
  {
    for (unsigned int attempt = 0; attempt < 2; ++attempt)
    {
      auto at = density.linearize(m, {0., true});
      if (density.groups().sum(at ? 0. : 1.) == 0.)
        return at;
    }
    throw ComputationError("The model cannot be linearised at " + place + ".");
  }
} // namespace varfield
