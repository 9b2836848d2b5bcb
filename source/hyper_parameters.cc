#include <cmath>
#include <varfield/hyper_parameters.h>
#include <varfield/text.h>

namespace varfield
{
  void HyperParameters::add_parameters(dealii::ParameterHandler &prm, const std::vector<std::string> &names)
  {
    for (const std::string &name : names)
    {
      members_.emplace_back();
      members_.back().name = name;
      prm.enter_subsection(name);
      prm.add_parameter(
          "Parameter", members_.back().parameter,
          "The entry that is inferred, as in “Fields/log T/spde/Correlation length”; a positive number. The "
          "value given there is where the search begins.");
      members_.back().prior.add_parameters(prm);
      prm.leave_subsection();
    }
  }

  void HyperParameters::check(const dealii::ParameterHandler &prm, unsigned int dim)
  {
    if (members_.size() > most)
      throw UserError("Hyperparameters/Names: at most " + std::to_string(most) +
                      " can be inferred together, but there are " + std::to_string(members_.size()) + ".");
    start_.resize(size());
    for (Index i = 0; i < size(); ++i)
    {
      Member &member            = members_[static_cast<std::size_t>(i)];
      const std::string section = "Hyperparameters/" + member.name;
      member.prior->check(section + "/" + member.prior.name(), dim);
      auto path = split(member.parameter, '/');
      if (path.size() < 2)
        throw UserError(section +
                        "/Parameter: has to name an entry with its sections, as in “Fields/log T/spde/Correlation "
                        "length”, but found “" +
                        member.parameter + "”.");
      const std::string name = path.back();
      path.pop_back();
      double value = 0.;
      try
      {
        value = prm.get_double(path, name);
      }
      catch (const dealii::ExceptionBase &)
      {
        throw UserError(section + "/Parameter: there is no number “" + member.parameter + "” among the parameters.");
      }
      if (!(value > 0.))
        throw UserError(section + "/Parameter: “" + member.parameter + "” is " + to_text(value) +
                        ", but the search has to begin at a positive number.");
      start_[i] = std::log(value);
    }
  }

  std::vector<std::string> HyperParameters::names() const
  {
    std::vector<std::string> result;
    for (const Member &member : members_)
      result.push_back(member.name);
    return result;
  }

  double HyperParameters::log_prior(const Vector &t) const
  {
    double sum = 0.;
    for (Index i = 0; i < size(); ++i)
      sum += (*this)[i].prior->log_density(t[i]);
    return sum;
  }

  std::vector<std::string> HyperParameters::overrides(const Vector &t) const
  {
    std::vector<std::string> result;
    for (Index i = 0; i < size(); ++i)
      result.push_back((*this)[i].parameter + "=" + to_text(std::exp(t[i])));
    return result;
  }
} // namespace varfield
