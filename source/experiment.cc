#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <varfield/experiment.h>
#include <varfield/text.h>

namespace varfield
{
  void Experiment::add_parameters(dealii::ParameterHandler &prm)
  {
    source = "0";
    add_own_parameters(prm);
    prm.add_parameter(
        "Robin", robin,
        "Conditions n·f₁ = a (u_ref − u) by boundary, as “boundary: a, u_ref”, separated by semicolons; a and u_ref "
        "are expressions, and u_ref may have fields in it.");
  }

  void Experiment::add_own_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter(
        "Source", source,
        "Right-hand side of the PDE, an expression in x, y, z; where the state has several components, one for each, "
        "separated by semicolons, or 0. Fields may be in it, “0.1 + field(recharge)”, as in Dirichlet conditions.");
    prm.add_parameter(
        "Dirichlet", dirichlet,
        "Values of the state by boundary, separated by semicolons, for example “bottom: 0; top: 1 + x; 7: "
        "field(boundary head)”: an expression in which traces of fields may occur, as long as it is an affine "
        "function of them. A boundary is a side of the box, an id, or “all”; where two meet, the later entry counts. "
        "“left[u_x]: 0” is for one component of the state. In problems in time, t is the time here, in Neumann and in "
        "Source.");
    prm.add_parameter(
        "Neumann", neumann,
        "Flux n·f₁ into the domain (the traction, of an elastic body) by boundary, for example “left: 2*y” or, for "
        "one component of the state, “top[u_y]: -1”. Fields may be in it. Zero on all other boundaries.");
    prm.add_parameter(
        "Wells", wells,
        "CSV table x,y[,z],rate of point sources; a rate is positive where something is added to the domain. In "
        "problems in time, columns “start” and “end” say when.",
        dealii::Patterns::FileName());
  }

  void Experiment::inherit(const Experiment &common)
  {
    const auto take = [](std::string &own, const std::string &other)
    {
      if (trim(own).empty())
        own = other;
    };
    take(source, common.source);
    take(dirichlet, common.dirichlet);
    take(neumann, common.neumann);
    take(wells, common.wells);
    robin = common.robin;
  }

  namespace
  {
    /// Places and lengths of “field(NAME)”.
    std::vector<std::pair<std::size_t, std::size_t>> traces_in(const std::string &text, const std::string &origin)
    {
      const std::string word = "field(";
      std::vector<std::pair<std::size_t, std::size_t>> result;
      for (std::size_t i = text.find(word); i != std::string::npos; i = text.find(word, i + 1))
      {
        if (i > 0 && (std::isalnum(static_cast<unsigned char>(text[i - 1])) || text[i - 1] == '_'))
          continue;
        const std::size_t end = text.find(')', i);
        if (end == std::string::npos)
          throw UserError(origin + ": “field(” is not closed in “" + text + "”.");
        result.emplace_back(i, end + 1 - i);
      }
      return result;
    }
  } // namespace

  template <int dim>
  FieldExpression<dim>::FieldExpression(const std::string &text, const std::string &origin, bool in_time)
  {
    const auto traces = traces_in(text, origin);
    std::vector<std::string> name_of;
    for (const auto &[begin, length] : traces)
    {
      name_of.push_back(normalize(text.substr(begin + 6, length - 7)));
      if (std::find(fields_.begin(), fields_.end(), name_of.back()) == fields_.end())
        fields_.push_back(name_of.back());
    }
    const auto with = [&](const std::function<std::string(const std::string &)> &value)
    {
      std::string result;
      std::size_t done = 0;
      for (std::size_t i = 0; i < traces.size(); ++i)
      {
        result += text.substr(done, traces[i].first - done) + "(" + value(name_of[i]) + ")";
        done = traces[i].first + traces[i].second;
      }
      return Expression<dim>(result + text.substr(done), origin, in_time);
    };
    with_zero_ = with([](const std::string &) { return "0"; });
    if (fields_.empty())
      return;
    for (const char *value : {"-3.7", "0.37", "1", "1000"})
      probes_.emplace_back(std::atof(value), with([value](const std::string &) { return value; }));
    for (const std::string &field : fields_)
      with_one_.push_back(with([&field](const std::string &name) { return name == field ? "1" : "0"; }));
  }

  template <int dim>
  std::vector<double> FieldExpression<dim>::coefficients(const dealii::Point<dim> &x, double time) const
  {
    std::vector<double> result{with_zero_.value(x, time)};
    if (fields_.empty())
      return result;
    double sum = 0., size = std::abs(result[0]);
    for (const auto &expression : with_one_)
    {
      result.push_back(expression.value(x, time) - result[0]);
      sum += result.back();
      size = std::max(size, std::abs(result.back()));
    }
    const auto is_affine = [&](const auto &probe)
    {
      const double expected = result[0] + probe.first * sum;
      return std::abs(probe.second.value(x, time) - expected) <= 1e-9 * size * (1. + std::abs(probe.first));
    };
    if (!std::all_of(probes_.begin(), probes_.end(), is_affine))
      throw UserError(with_zero_.origin() +
                      ": an expression with fields in it has to be an affine function of them, as in “1 + x*field(" +
                      fields_[0] + ")”: their products and other functions of them are not allowed.");
    return result;
  }

  namespace
  {
    template <int dim>
    Expression<dim> without_fields(const std::string &text, const std::string &origin)
    {
      if (!traces_in(text, origin).empty())
        throw UserError(origin + ": the coefficient of a Robin condition has no fields in it, but found “" + text +
                        "”.");
      return Expression<dim>(text, origin);
    }

    /// “left”, or “left[u_x]” for one component.
    template <int dim>
    BoundaryPlace place_of(const std::string &text, const Mesh<dim> &mesh, const std::vector<std::string> &state_names,
                           const std::string &origin)
    {
      BoundaryPlace place;
      const auto bracket = text.find('[');
      place.ids          = mesh.boundary_ids(trim(text.substr(0, bracket)), origin);
      if (bracket == std::string::npos)
        return place;
      if (text.back() != ']')
        throw UserError(origin + ": one component of the state at a boundary is written as “left[" + state_names[0] +
                        "]”, but found “" + text + "”.");
      const std::string name = trim(text.substr(bracket + 1, text.size() - bracket - 2));
      const auto found       = std::find(state_names.begin(), state_names.end(), name);
      if (found == state_names.end())
        throw UserError(origin + ": the components of the state are " + join(state_names) + ", but found “" + name +
                        "”" + did_you_mean(name, state_names) + ".");
      place.component = static_cast<unsigned int>(found - state_names.begin());
      return place;
    }
  } // namespace

  template <int dim>
  std::vector<DirichletCondition<dim>> parse_dirichlet(const Experiment &experiment, const Mesh<dim> &mesh,
                                                       const std::vector<std::string> &state_names, bool in_time)
  {
    const std::string origin = experiment.section + "/Dirichlet";
    std::vector<DirichletCondition<dim>> conditions;
    for (const auto &[boundary, text] : parse_boundary_map(experiment.dirichlet, origin))
    {
      DirichletCondition<dim> condition;
      condition.place = place_of(boundary, mesh, state_names, origin);
      condition.value = FieldExpression<dim>(text, origin, in_time);
      conditions.push_back(condition);
    }
    return conditions;
  }

  namespace
  {
    /// Splits “a, b” at the last comma that stands outside of parentheses.
    std::pair<std::string, std::string> split_pair(const std::string &text, const std::string &origin)
    {
      int depth = 0;
      for (std::size_t i = text.size(); i-- > 0;)
      {
        depth += text[i] == ')' ? 1 : text[i] == '(' ? -1 : 0;
        if (text[i] == ',' && depth == 0)
          return {trim(text.substr(0, i)), trim(text.substr(i + 1))};
      }
      throw UserError(origin + ": a Robin condition has two expressions, “boundary: a, u_ref”, but found “" + text +
                      "”.");
    }
  } // namespace

  template <int dim>
  std::vector<FluxCondition<dim>> parse_fluxes(const Experiment &experiment, const Mesh<dim> &mesh,
                                               const std::vector<std::string> &state_names, bool in_time)
  {
    std::vector<FluxCondition<dim>> conditions;
    std::string origin = experiment.section + "/Neumann";
    for (const auto &[boundary, text] : parse_boundary_map(experiment.neumann, origin))
    {
      FluxCondition<dim> condition;
      condition.place = place_of(boundary, mesh, state_names, origin);
      condition.flux  = FieldExpression<dim>(text, origin, in_time);
      conditions.push_back(condition);
    }
    origin = "Physics/Robin";
    for (const auto &[boundary, text] : parse_boundary_map(experiment.robin, origin))
    {
      FluxCondition<dim> condition;
      const auto [coefficient, reference] = split_pair(text, origin);
      condition.place                     = place_of(boundary, mesh, state_names, origin);
      condition.is_robin                  = true;
      condition.coefficient               = without_fields<dim>(coefficient, origin);
      condition.reference                 = FieldExpression<dim>(reference, origin, in_time);
      conditions.push_back(condition);
    }
    return conditions;
  }

  template class FieldExpression<2>;
  template class FieldExpression<3>;
  template std::vector<DirichletCondition<2>> parse_dirichlet<2>(const Experiment &, const Mesh<2> &,
                                                                 const std::vector<std::string> &, bool);
  template std::vector<DirichletCondition<3>> parse_dirichlet<3>(const Experiment &, const Mesh<3> &,
                                                                 const std::vector<std::string> &, bool);
  template std::vector<FluxCondition<2>> parse_fluxes<2>(const Experiment &, const Mesh<2> &,
                                                         const std::vector<std::string> &, bool);
  template std::vector<FluxCondition<3>> parse_fluxes<3>(const Experiment &, const Mesh<3> &,
                                                         const std::vector<std::string> &, bool);
} // namespace varfield
