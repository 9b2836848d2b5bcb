#include <varfield/quantity.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  void Quantities<dim>::add_parameters(ParameterHandler &prm, const std::vector<std::string> &names)
  {
    for (const std::string &name : names)
    {
      members_.emplace_back();
      members_.back().name = name;
      prm.enter_subsection(name);
      prm.add_parameter("Unit", members_.back().unit, "of the quantity, for tables.");
      members_.back().choice.add_parameters(prm);
      prm.leave_subsection();
    }
  }

  template <int dim>
  void Quantities<dim>::initialize(const ForwardModel<dim> &model, const FieldSet<dim> &fields)
  {
    comm_ = model.space().comm();
    for (Member &member : members_)
    {
      member.choice->initialize(model, fields, "Quantities/" + member.name + "/" + member.choice.name());
      for (const std::string &label : member.choice->labels())
      {
        names_.push_back(member.name + label);
        units_.push_back(member.unit);
      }
    }
  }

  template <int dim>
  Vector Quantities<dim>::evaluate(const ModelState<dim> &state) const
  {
    Vector result(size());
    Index first = 0;
    for (const Member &member : members_)
    {
      const Vector part                  = member.choice->part(state);
      result.segment(first, part.size()) = part;
      first += part.size();
    }
    sum_over(comm_, result.data(), static_cast<std::size_t>(size()));
    return result;
  }

  template <int dim>
  unsigned int experiment_of(const ForwardModel<dim> &model, const std::string &name, const std::string &section)
  {
    const auto names = model.experiment_names();
    if (name.empty() && names.size() == 1)
      return 0;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw UserError(
          section + "/Experiment: " +
          (name.empty() ? "one of the experiments has to be named" : "there is no experiment “" + name + "”") +
          "; they are " + join(names) + (name.empty() ? "" : did_you_mean(name, names)) + ".");
    return static_cast<unsigned int>(found - names.begin());
  }

  template <int dim>
  unsigned int component_of(const ForwardModel<dim> &model, const std::string &name, const std::string &section)
  {
    const auto names = model.state_names();
    if (name.empty() && names.size() == 1)
      return 0;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw UserError(section + "/Component: has to be one of " + join(names) + ", but found “" + name + "”" +
                      did_you_mean(name, names) + ".");
    return static_cast<unsigned int>(found - names.begin());
  }

  template <int dim>
  unsigned int snapshot_of(const ForwardModel<dim> &model, const std::string &text, const std::string &section)
  {
    if (trim(text).empty())
      return model.n_snapshots() - 1;
    const double time  = parse_number(text, section + "/Time");
    const double start = model.snapshot_time(0), end = model.snapshot_time(model.n_snapshots() - 1);
    if (!model.time().is_transient() || time < start || time > end)
      throw UserError(section + "/Time: " +
                      (model.time().is_transient()
                           ? "the problem is solved from " + to_text(start) + " to " + to_text(end)
                           : "the problem is stationary") +
                      ", but found " + to_text(time) + ".");
    return model.snapshot_near(time);
  }

  template <int dim>
  void QuantitySource<dim>::add_parameters(ParameterHandler &prm)
  {
    prm.add_parameter("Of", of_, "The name of a field, or “state”.");
    prm.add_parameter("Transformed", transform_,
                      "Of a field: its coefficient k = T(m), as the equation sees it; if false, m itself.");
    prm.add_parameter("Experiment", experiment_name_, "Of the state: in which experiment; empty where there is one.");
    prm.add_parameter("Component", component_name_, "Of the state: which component; empty where there is one.");
    prm.add_parameter("Time", time_,
                      "Of the state, in problems in time: after the step that ends nearest to it; empty: at the end.");
  }

  template <int dim>
  void QuantitySource<dim>::initialize(const ForwardModel<dim> &model, const FieldSet<dim> &fields,
                                       const std::string &section)
  {
    model_                 = &model;
    fields_                = &fields;
    const std::string name = normalize(of_);
    field_                 = name == "state" ? -1 : static_cast<int>(fields.find(name));
    if (field_ == static_cast<int>(fields.size()))
    {
      auto known = fields.names();
      known.push_back("state");
      throw UserError(section + "/Of: there is no field “" + name + "”; known are " + join(known) +
                      did_you_mean(name, known) + ".");
    }
    if (!is_state())
      return;
    experiment_ = experiment_of(model, normalize(experiment_name_), section);
    component_  = component_of(model, normalize(component_name_), section);
    snapshot_   = snapshot_of(model, time_, section);
  }

  template <int dim>
  const DoFHandler<dim> &QuantitySource<dim>::dof_handler() const
  {
    return is_state() ? model_->space().dof_handler() : (*fields_)[field_].space().dof_handler();
  }

  template <int dim>
  const AffineConstraints<double> &QuantitySource<dim>::constraints() const
  {
    return is_state() ? model_->space().hanging() : none_;
  }

  template <int dim>
  GhostedVector QuantitySource<dim>::values(const ModelState<dim> &state) const
  {
    return is_state() ? model_->space().ghosted(state.states.col(model_->column(snapshot_, experiment_)))
                      : (*fields_)[field_].space().ghosted(fields_->values(state.parameters, field_));
  }

  template <int dim>
  double QuantitySource<dim>::transformed(double value) const
  {
    return is_state() || !transform_ ? value : (*fields_)[field_].transform().derivative(0, value);
  }

  template <int dim>
  std::vector<bool> QuantitySource<dim>::contains(const std::vector<Point<dim>> &points) const
  {
    // In the state's space, where no node is held at zero: the functional of a point inside is not empty.
    std::vector<bool> result;
    for (const Functional &functional :
         model_->space().point_values(points, std::vector<unsigned int>(points.size(), 0)))
      result.push_back(!functional.empty());
    return result;
  }

  template class Quantities<2>;
  template class Quantities<3>;
  template class QuantitySource<2>;
  template class QuantitySource<3>;
  template unsigned int experiment_of(const ForwardModel<2> &, const std::string &, const std::string &);
  template unsigned int experiment_of(const ForwardModel<3> &, const std::string &, const std::string &);
  template unsigned int snapshot_of(const ForwardModel<2> &, const std::string &, const std::string &);
  template unsigned int snapshot_of(const ForwardModel<3> &, const std::string &, const std::string &);
  template unsigned int component_of(const ForwardModel<2> &, const std::string &, const std::string &);
  template unsigned int component_of(const ForwardModel<3> &, const std::string &, const std::string &);
} // namespace varfield
