#include <cmath>
#include <map>
#include <varfield/expression.h>
#include <varfield/noise.h>
#include <varfield/text.h>

namespace varfield
{
  void Noise::use(const std::vector<bool> &used)
  {
    rows_.clear();
    for (std::size_t i = 0; i < used.size(); ++i)
      if (used[i])
        rows_.push_back(static_cast<Index>(i));
  }

  Vector Noise::gradient(const Vector &residuals) const
  {
    const NoiseRoot at = root(residuals);
    return at.root * at.residuals;
  }

  NoiseRoot Noise::diagonal_root(const Vector &weights, const Vector &gradient) const
  {
    const auto n = static_cast<Index>(rows_.size());
    NoiseRoot result{Eigen::SparseMatrix<double>(weights.size(), n), Vector(n)};
    result.root.reserve(Eigen::VectorXi::Constant(n, 1));
    for (Index k = 0; k < n; ++k)
    {
      const Index i            = rows_[static_cast<std::size_t>(k)];
      const double root        = std::sqrt(weights[i]);
      result.residuals[k]      = gradient[i] / root;
      result.root.insert(i, k) = root;
    }
    return result;
  }

  void ScaledNoise::add_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter("Standard deviation", absolute_,
                      "of the errors, in the unit of the data. 0: taken from the column “std” of the file.",
                      dealii::Patterns::Double(0));
    prm.add_parameter("Relative standard deviation", relative_,
                      "Added in quadrature: this fraction of the absolute value of each datum.",
                      dealii::Patterns::Double(0));
    prm.add_parameter("Relative to reference", to_reference_,
                      "Added in quadrature: this fraction of the difference that a reference measurement has from its "
                      "prediction (Reference of the set, or the column “reference_difference”): how far the error of "
                      "the model may be another one here.",
                      dealii::Patterns::Double(0));
    prm.add_parameter("Group standard deviations", groups_,
                      "For the rows of a group (column “group”) in place of the standard deviation above, for example "
                      "“A: 0.1; B: 0.3”.");
  }

  void ScaledNoise::initialize(const Table &table, const Vector &values, const std::string &section)
  {
    Vector absolute = base(table, section);
    apply_groups(table, section, absolute);
    if (to_reference_ > 0. && !table.has("reference_difference"))
      throw UserError(section + "/Relative to reference: the set has no Reference, nor " + table.path() +
                      " a column “reference_difference”.");
    const auto references = to_reference_ > 0. ? table.numbers("reference_difference")
                                               : std::vector<double>(static_cast<std::size_t>(values.size()), 0.);
    deviations_.resize(values.size());
    for (Index i = 0; i < values.size(); ++i)
    {
      if (absolute(i) < 0.)
        throw UserError(table.where(i) + ": the standard deviation of a measurement cannot be negative, but is " +
                        to_text(absolute(i)) + ".");
      deviations_(i) =
          std::hypot(absolute(i), relative_ * values(i), to_reference_ * references[static_cast<std::size_t>(i)]);
      if (!(deviations_(i) > 0.))
        throw UserError(table.where(i) + ": the standard deviation of this measurement has to be positive, but is " +
                        to_text(deviations_(i)) + " (column “std”, or " + section + "/Standard deviation).");
    }
  }

  Vector ScaledNoise::base(const Table &table, const std::string &section) const
  {
    if (absolute_ > 0.)
      return Vector::Constant(table.n_rows(), absolute_);
    if (table.has("std"))
    {
      const auto column = table.numbers("std");
      return Eigen::Map<const Vector>(column.data(), column.size());
    }
    if (relative_ == 0. && groups_.empty())
      throw UserError(section + "/Standard deviation: has to be positive, because the file " + table.path() +
                      " has no column “std”; it is 0.");
    return Vector::Zero(table.n_rows());
  }

  void ScaledNoise::apply_groups(const Table &table, const std::string &section, Vector &absolute) const
  {
    const std::string origin = section + "/Group standard deviations";
    std::map<std::string, double> by_group;
    for (const auto &[group, text] : parse_boundary_map(groups_, origin, "group"))
      by_group[group] = parse_number(text, origin + ", group " + group);
    if (by_group.empty())
      return;
    const auto groups = table.strings("group");
    for (std::size_t i = 0; i < groups.size(); ++i)
      if (by_group.count(groups[i]) > 0)
        absolute(i) = by_group.at(groups[i]);
    for (const auto &[group, deviation] : by_group)
      if (std::find(groups.begin(), groups.end(), group) == groups.end())
        throw UserError(origin + ": the file " + table.path() + " has no row of group “" + group + "”" +
                        did_you_mean(group, groups) + ".");
  }
} // namespace varfield
