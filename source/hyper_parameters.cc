#include <algorithm>
#include <cmath>
#include <varfield/expression.h>
#include <varfield/hyper_parameters.h>
#include <varfield/normal_distribution.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    double log_quantile(const HyperPrior &prior, double u)
    {
      // Beyond ±7 a probability is 0 or 1 in double precision, or nearly.
      return std::log(prior.quantile(normal_probability(std::clamp(u, -7., 7.))));
    }

    /// Where in a text the number of this key is: in “A: 0.1; B: 0.3” that of “A”, in “4, 0; 0, 1” the second for “2”.
    /// UserError that names the keys there are.
    std::pair<std::size_t, std::size_t> place_of(const std::string &text, const std::string &key,
                                                 const std::string &origin)
    {
      const bool is_map = text.find(':') != std::string::npos;
      if (is_map)
        parse_boundary_map(text, origin, "name"); // throws where it is none
      std::vector<std::string> keys;
      for (std::size_t begin = 0; begin < text.size();)
      {
        const std::size_t end   = std::min(text.find_first_of(is_map ? ";" : ",;", begin), text.size());
        const std::size_t colon = is_map ? std::min(text.find(':', begin), end) : end;
        keys.push_back(is_map ? normalize(text.substr(begin, colon - begin)) : std::to_string(keys.size() + 1));
        const std::size_t first = is_map ? colon + 1 : begin;
        if (keys.back() == key)
          return {first, end - first};
        begin = end + 1;
      }
      throw UserError(origin + ": there is no number “" + key + "” in “" + text + "”; there are " + join(keys) + ".");
    }
  } // namespace

  void HyperParameters::add_parameters(dealii::ParameterHandler &prm, const std::vector<std::string> &names)
  {
    for (const std::string &name : names)
    {
      members_.emplace_back();
      members_.back().name = name;
      prm.enter_subsection(name);
      prm.add_parameter(
          "Parameter", members_.back().parameter,
          "The entry that is inferred, as in “Fields/log T/spde/Correlation length”; a positive number. The value "
          "given there is where the search begins. One number of several in an entry is named after a colon: "
          "“Measurements/heads/gaussian/Group standard deviations: A”, or by its place, "
          "“Fields/log T/spde/Anisotropy: 1”.");
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
      const std::string origin = section + "/Parameter";
      const std::size_t colon  = member.parameter.find(':', member.parameter.rfind('/') + 1);
      std::vector<std::string> path;
      for (const std::string &piece : split(member.parameter.substr(0, colon), '/'))
        path.push_back(normalize(piece));
      if (path.size() < 2)
        throw UserError(origin +
                        ": has to name an entry with its sections, as in “Fields/log T/spde/Correlation length”, but "
                        "found “" +
                        member.parameter + "”.");
      member.entry = join(path, "/");
      member.key   = colon == std::string::npos ? "" : normalize(member.parameter.substr(colon + 1));
      for (Index j = 0; j < i; ++j)
        if ((*this)[j].entry == member.entry && (*this)[j].key == member.key)
          throw UserError(origin + ": “" + member.parameter + "” is inferred as “" + (*this)[j].name + "” already.");
      const double value = read(prm, member, origin);
      if (!(value > 0.))
        throw UserError(section + "/Parameter: “" + member.parameter + "” is " + to_text(value) +
                        ", but the search has to begin at a positive number.");
      start_[i] = std::log(value);
    }
  }

  double HyperParameters::read(const dealii::ParameterHandler &prm, const Member &member, const std::string &origin)
  {
    auto path              = split(member.entry, '/');
    const std::string name = path.back();
    path.pop_back();
    std::string text;
    try
    {
      if (member.key.empty())
        return prm.get_double(path, name);
      text = prm.get(path, name);
    }
    catch (const dealii::ExceptionBase &)
    {
      throw UserError(origin + ": there is no number “" + member.entry + "” among the parameters.");
    }
    texts_[member.entry]      = text;
    const auto [begin, count] = place_of(text, member.key, origin);
    return parse_number(text.substr(begin, count), origin + ", “" + member.parameter + "”");
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

  Vector HyperParameters::from_scores(const Vector &u) const
  {
    Vector t(size());
    for (Index i = 0; i < size(); ++i)
      t[i] = log_quantile(*(*this)[i].prior, u[i]);
    return t;
  }

  Vector HyperParameters::scores(const Vector &t) const
  {
    Vector u(size());
    for (Index i = 0; i < size(); ++i)
    {
      double low = -4., high = 4.;
      while (high - low > 1e-10)
      {
        const double middle                                           = 0.5 * (low + high);
        (log_quantile(*(*this)[i].prior, middle) < t[i] ? low : high) = middle;
      }
      u[i] = 0.5 * (low + high);
    }
    return u;
  }

  std::vector<std::string> HyperParameters::overrides(const Vector &t) const
  {
    std::vector<std::string> result;
    auto texts = texts_;
    for (Index i = 0; i < size(); ++i)
    {
      const Member &member    = (*this)[i];
      const std::string value = to_text(std::exp(t[i]));
      if (member.key.empty())
        result.push_back(member.entry + "=" + value);
      else
      {
        std::string &text         = texts.at(member.entry);
        const auto [begin, count] = place_of(text, member.key, member.parameter);
        text.replace(begin, count, " " + value);
      }
    }
    for (const auto &[entry, text] : texts)
      result.push_back(entry + "=" + text);
    return result;
  }
} // namespace varfield
