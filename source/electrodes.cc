#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <varfield/electrodes.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  void ElectrodeSettings::add_parameters(ParameterHandler &prm)
  {
    using namespace Patterns;
    prm.add_parameter(
        "Boundaries", boundaries_,
        "The boundary ids of the electrodes, for example “1-32” or “1, 2, 5”, which are their names; empty: "
        "there are none.");
    prm.add_parameter("Contact impedances", impedances_text_,
                      "z in u + z k ∂u/∂n = U: one number for all electrodes, or one for each.");
    prm.add_parameter(
        "Currents", currents_file_,
        "CSV table experiment,electrode,current: into the body, zero in sum in each experiment; electrodes "
        "without a row have none. Its experiments are those of the case.",
        FileName());
    prm.add_parameter("Current scale", scale_, "What the currents of the table are multiplied by.");
  }

  void ElectrodeSettings::read(MPI_Comm comm)
  {
    const std::string section = "Physics/Electrodes";
    names_.clear();
    for (const auto &part : split(boundaries_, ','))
    {
      const auto dash    = part.find('-');
      const double first = parse_number(part.substr(0, dash), section + "/Boundaries"),
                   last =
                       dash == std::string::npos ? first : parse_number(part.substr(dash + 1), section + "/Boundaries");
      if (!(first >= 0.) || first != std::floor(first) || last != std::floor(last) || last < first || last > 1e5)
        throw UserError(section + "/Boundaries: has to be ids and ranges of ids such as “1-32”, but found “" +
                        boundaries_ + "”.");
      for (auto id = static_cast<unsigned int>(first); id <= last; ++id)
        names_.push_back(std::to_string(id));
    }
    if (names_.size() < 2 || std::set<std::string>(names_.begin(), names_.end()).size() != names_.size())
      throw UserError(section + "/Boundaries: at least two electrodes are needed, each once, but found “" +
                      boundaries_ + "”.");
    impedances_ = parse_numbers(impedances_text_, section + "/Contact impedances");
    if ((impedances_.size() != 1 && impedances_.size() != names_.size()) ||
        std::any_of(impedances_.begin(), impedances_.end(), [](double z) { return !(z > 0.); }))
      throw UserError(section + "/Contact impedances: has to be one positive number, or one for each of the " +
                      std::to_string(names_.size()) + " electrodes, but found “" + impedances_text_ + "”.");
    if (currents_file_.empty())
      throw UserError(section + "/Currents: has to name the table of the currents.");
    const Table table      = Table::read(currents_file_, comm, "table " + section + "/Currents");
    const auto experiments = table.strings("experiment"), electrodes = table.strings("electrode");
    const auto currents = table.numbers("current");
    experiments_.clear();
    currents_.clear();
    for (unsigned int row = 0; row < table.n_rows(); ++row)
    {
      const auto electrode  = std::find(names_.begin(), names_.end(), electrodes[row]);
      const auto experiment = std::find(experiments_.begin(), experiments_.end(), experiments[row]);
      if (electrode == names_.end())
        throw UserError(table.where(row) + ": there is no electrode “" + electrodes[row] + "”; they are " +
                        join(names_) + " (" + section + "/Boundaries).");
      const auto e = static_cast<std::size_t>(experiment - experiments_.begin());
      if (experiment == experiments_.end())
      {
        experiments_.push_back(experiments[row]);
        currents_.emplace_back(names_.size(), 0.);
      }
      currents_[e][static_cast<std::size_t>(electrode - names_.begin())] += scale_ * currents[row];
    }
    for (std::size_t e = 0; e < currents_.size(); ++e)
    {
      const double sum = std::accumulate(currents_[e].begin(), currents_[e].end(), 0.);
      double size      = 0.;
      for (const double current : currents_[e])
        size += std::abs(current);
      if (!(std::abs(sum) <= 1e-6 * size))
        throw UserError("The table “" + currents_file_ + "”: the currents of experiment “" + experiments_[e] +
                        "” have the sum " + to_text(sum) + "; it has to be zero.");
    }
  }

  template <int dim>
  Electrodes<dim>::Electrodes(const ElectrodeSettings &settings, const StateSpace<dim> &space)
      : settings_(settings), space_(space)
  {
    std::vector<std::vector<types::boundary_id>> ids;
    for (const auto &name : settings.names())
      ids.push_back(space.mesh().boundary_ids(name, "Physics/Electrodes/Boundaries"));
    const auto [integrals, areas] =
        boundary_functionals(space.functional_space(), ids, std::vector<unsigned int>(ids.size(), 0));
    for (unsigned int l = 0; l < ids.size(); ++l)
    {
      const double z = settings.impedance(l);
      c_.push_back(combination({{1. / z, &integrals[l]}}));
      d_.push_back(areas[l] / z);
    }
  }

  template <int dim>
  std::string Electrodes<dim>::robin() const
  {
    std::string text;
    for (unsigned int l = 0; l < c_.size(); ++l)
      text += (l > 0 ? "; " : "") + settings_.names()[l] + ": " + to_text(1. / settings_.impedance(l)) + ", 0";
    return text;
  }

  template <int dim>
  std::vector<std::pair<types::global_dof_index, types::global_dof_index>> Electrodes<dim>::couplings() const
  {
    const auto &owned = space_.dof_handler().locally_owned_dofs();
    std::vector<std::pair<types::global_dof_index, types::global_dof_index>> result;
    for (std::size_t l = 1; l < c_.size(); ++l)
      for (const auto &i : c_[l])
        if (owned.is_element(i.first))
          for (const auto &j : c_[l])
            result.emplace_back(i.first, j.first);
    return result;
  }

  template <int dim>
  void Electrodes<dim>::add_to(SparseMatrix &matrix, double factor) const
  {
    const auto &owned = space_.dof_handler().locally_owned_dofs();
    std::vector<types::global_dof_index> columns;
    std::vector<double> values;
    for (std::size_t l = 1; l < c_.size(); ++l)
    {
      columns.clear();
      for (const auto &j : c_[l])
        columns.push_back(j.first);
      for (const auto &[i, weight] : c_[l])
        if (owned.is_element(i))
        {
          values.clear();
          for (const auto &j : c_[l])
            values.push_back(-factor * weight * j.second / d_[l]);
          matrix.add(i, columns, values, false);
        }
    }
  }

  template <int dim>
  void Electrodes<dim>::add_product(const Vector &state, Vector &sum) const
  {
    const auto &owned = space_.dof_handler().locally_owned_dofs();
    Vector products   = Vector::Zero(static_cast<Index>(c_.size()));
    for (std::size_t l = 1; l < c_.size(); ++l)
      for (const auto &[i, weight] : c_[l])
        if (owned.is_element(i))
          products[static_cast<Index>(l)] += weight * state[static_cast<Index>(owned.index_within_set(i))];
    sum_over(space_.comm(), products.data(), static_cast<std::size_t>(products.size()));
    for (std::size_t l = 1; l < c_.size(); ++l)
      for (const auto &[i, weight] : c_[l])
        if (owned.is_element(i))
          sum[static_cast<Index>(owned.index_within_set(i))] -= weight * products[static_cast<Index>(l)] / d_[l];
  }

  template <int dim>
  void Electrodes<dim>::add_load(unsigned int experiment, Eigen::Ref<Vector> load) const
  {
    const auto &owned = space_.dof_handler().locally_owned_dofs();
    for (std::size_t l = 1; l < c_.size(); ++l)
      for (const auto &[i, weight] : c_[l])
        if (owned.is_element(i))
          load[static_cast<Index>(owned.index_within_set(i))] += weight * settings_.currents(experiment)[l] / d_[l];
  }

  template <int dim>
  unsigned int Electrodes<dim>::find(const std::string &name, const std::string &origin) const
  {
    const auto &names = settings_.names();
    const auto found  = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw UserError(origin + ": there is no electrode “" + name + "”; they are " + join(names) + ".");
    return static_cast<unsigned int>(found - names.begin());
  }

  template <int dim>
  std::pair<Functional, double> Electrodes<dim>::voltage(const std::string &a, const std::string &b,
                                                         unsigned int experiment, const std::string &origin) const
  {
    std::vector<double> factors(c_.size(), b.empty() ? -1. / static_cast<double>(c_.size()) : 0.);
    factors[find(a, origin)] += 1.;
    if (!b.empty())
      factors[find(b, origin)] -= 1.;
    std::vector<std::pair<double, const Functional *>> parts;
    double constant = 0.;
    for (std::size_t l = 1; l < c_.size(); ++l) // the first one is grounded
      if (factors[l] != 0.)
      {
        parts.emplace_back(factors[l] / d_[l], &c_[l]);
        constant += factors[l] * settings_.currents(experiment)[l] / d_[l];
      }
    return {combination(parts), constant};
  }

  template class Electrodes<2>;
  template class Electrodes<3>;
} // namespace varfield
