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
        "are expressions.");
  }

  void Experiment::add_own_parameters(dealii::ParameterHandler &prm)
  {
    prm.add_parameter(
        "Source", source,
        "Right-hand side of the PDE, an expression in x, y, z; where the state has several components, one for each, "
        "separated by semicolons, or 0.");
    prm.add_parameter(
        "Dirichlet", dirichlet,
        "Values of the state by boundary, separated by semicolons, for example “bottom: 0; top: 1 + x; 7: "
        "field(boundary head)”: an expression, or the trace of a field. A boundary is a side of the box, an id, "
        "or “all”; where two meet, the later entry counts. “left[u_x]: 0” is for one component of the state.");
    prm.add_parameter(
        "Neumann", neumann,
        "Flux n·f₁ into the domain (the traction, of an elastic body) by boundary, for example “left: 2*y” or, for "
        "one component of the state, “top[u_y]: -1”. Zero on all other boundaries.");
    prm.add_parameter(
        "Wells", wells,
        "CSV table x,y[,z],rate of point sources; a rate is positive where something is added to the domain.",
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
    template <int dim>
    Expression<dim> expression(const std::string &text, const std::string &origin)
    {
      if (text.find("field(") != std::string::npos)
        throw UserError(origin +
                        ": the trace of a field stands alone, as in “left: field(NAME)”, and in Dirichlet conditions "
                        "only, but found “" +
                        text + "”.");
      return Expression<dim>(text, origin);
    }
  } // namespace

  namespace
  {
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
                                                       const std::vector<std::string> &state_names)
  {
    const std::string origin = experiment.section + "/Dirichlet";
    std::vector<DirichletCondition<dim>> conditions;
    for (const auto &[boundary, text] : parse_boundary_map(experiment.dirichlet, origin))
    {
      DirichletCondition<dim> condition;
      condition.place = place_of(boundary, mesh, state_names, origin);
      if (text.rfind("field(", 0) == 0 && text.back() == ')')
        condition.field = trim(text.substr(6, text.size() - 7));
      else
        condition.value = expression<dim>(text, origin);
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
                                               const std::vector<std::string> &state_names)
  {
    std::vector<FluxCondition<dim>> conditions;
    std::string origin = experiment.section + "/Neumann";
    for (const auto &[boundary, text] : parse_boundary_map(experiment.neumann, origin))
    {
      FluxCondition<dim> condition;
      condition.place = place_of(boundary, mesh, state_names, origin);
      condition.flux  = expression<dim>(text, origin);
      conditions.push_back(condition);
    }
    origin = "Physics/Robin";
    for (const auto &[boundary, text] : parse_boundary_map(experiment.robin, origin))
    {
      FluxCondition<dim> condition;
      const auto [coefficient, reference] = split_pair(text, origin);
      condition.place                     = place_of(boundary, mesh, state_names, origin);
      condition.is_robin                  = true;
      condition.coefficient               = expression<dim>(coefficient, origin);
      condition.reference                 = expression<dim>(reference, origin);
      conditions.push_back(condition);
    }
    return conditions;
  }

  template std::vector<DirichletCondition<2>> parse_dirichlet<2>(const Experiment &, const Mesh<2> &,
                                                                 const std::vector<std::string> &);
  template std::vector<DirichletCondition<3>> parse_dirichlet<3>(const Experiment &, const Mesh<3> &,
                                                                 const std::vector<std::string> &);
  template std::vector<FluxCondition<2>> parse_fluxes<2>(const Experiment &, const Mesh<2> &,
                                                         const std::vector<std::string> &);
  template std::vector<FluxCondition<3>> parse_fluxes<3>(const Experiment &, const Mesh<3> &,
                                                         const std::vector<std::string> &);
} // namespace varfield
