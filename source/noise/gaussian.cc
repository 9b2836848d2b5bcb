#include <cmath>
#include <map>
#include <varfield/expression.h>
#include <varfield/noise.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// Independent errors N(0, σᵢ²) with σᵢ² = aᵢ² + (b dᵢ)²: aᵢ from the parameter, the group or the column “std”, b
    /// relative.
    class Gaussian : public Noise
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Standard deviation", absolute_,
                          "of the errors, in the unit of the data. 0: taken from the column “std” of the file.",
                          dealii::Patterns::Double(0));
        prm.add_parameter("Relative standard deviation", relative_,
                          "Added in quadrature: this fraction of the absolute value of each datum.",
                          dealii::Patterns::Double(0));
        prm.add_parameter(
            "Group standard deviations", groups_,
            "For the rows of a group (column “group”) in place of the standard deviation above, for example “A: "
            "0.1; B: 0.3”.");
      }

      void initialize(const Table &table, const Vector &values, const std::string &section) override
      {
        Vector absolute = base(table, section);
        apply_groups(table, section, absolute);
        deviations_.resize(values.size());
        for (Index i = 0; i < values.size(); ++i)
        {
          if (absolute(i) < 0.)
            throw UserError(table.where(i) + ": the standard deviation of a measurement cannot be negative, but is " +
                            to_text(absolute(i)) + ".");
          deviations_(i) = std::hypot(absolute(i), relative_ * values(i));
          if (!(deviations_(i) > 0.))
            throw UserError(table.where(i) +
                            ": the standard deviation of this measurement has to be positive, but is " +
                            to_text(deviations_(i)) + " (column “std”, or " + section + "/Standard deviation).");
        }
      }

      double potential(const Vector &residuals, const std::vector<bool> &used) const override
      {
        double sum = 0.;
        for (Index i = 0; i < residuals.size(); ++i)
          if (used[i])
          {
            const double z = residuals(i) / deviations_(i);
            sum += 0.5 * z * z + 0.5 * std::log(2. * M_PI) + std::log(deviations_(i));
          }
        return sum;
      }

      Vector gradient(const Vector &residuals, const std::vector<bool> &used) const override
      {
        return weights(residuals, used).cwiseProduct(residuals);
      }

      Vector weights(const Vector &residuals, const std::vector<bool> &used) const override
      {
        Vector w(residuals.size());
        for (Index i = 0; i < w.size(); ++i)
          w(i) = used[i] ? 1. / (deviations_(i) * deviations_(i)) : 0.;
        return w;
      }

      const Vector &standard_deviations() const override { return deviations_; }
      Vector sample(const Vector &standard_normal) const override { return deviations_.cwiseProduct(standard_normal); }
      bool is_gaussian() const override { return true; }

    private:
      Vector base(const Table &table, const std::string &section) const
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

      void apply_groups(const Table &table, const std::string &section, Vector &absolute) const
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

      double absolute_ = 0., relative_ = 0.;
      std::string groups_;
      Vector deviations_;
    };

    const Registration<Noise, Gaussian> gaussian("gaussian", "Independent normal errors.");
  } // namespace
} // namespace varfield
