#include <algorithm>
#include <cmath>
#include <varfield/exceptions.h>
#include <varfield/text.h>
#include <varfield/time_stepping.h>

namespace varfield
{
  void TimeSettings::add_parameters(dealii::ParameterHandler &prm)
  {
    using namespace dealii::Patterns;
    prm.add_parameter("Scheme", scheme_,
                      "“stationary”: no time. “theta”: the θ-scheme, of second order for θ = 1/2 (Crank–Nicolson), and "
                      "implicit Euler for θ = 1. “BDF2”: of second order, damps at all frequencies.",
                      Selection("stationary|theta|BDF2"));
    prm.add_parameter("Theta", theta_, "of the θ-scheme.", Double(0.5, 1.));
    prm.add_parameter("Start", start_, "Time of the initial state.");
    prm.add_parameter("Steps", stretches_,
                      "Stretches of time “end: number of steps”, separated by semicolons, for example “60: 30; 3600: "
                      "40”: 30 steps up to the time 60, then 40 up to 3600.",
                      Anything());
    prm.add_parameter(
        "First step", first_step_,
        "Size of the first step after the start and after each jump; those that follow grow by a constant "
        "factor, at most 2, up to the end of the stretch. 0: all steps of a stretch are equal.",
        Double(0.));
    prm.add_parameter("Tolerance", tolerance_,
                      "0: the steps are those given. Else their sizes are chosen, at the prior mean of the fields, for "
                      "the state to be off by this fraction of its largest change where it is taken as linear between "
                      "two times; the steps given are where the search begins. They are the same for all parameters.",
                      Double(0., 1.));
    prm.add_parameter(
        "Jumps", jumps_,
        "Times, separated by commas, at which data jump: the scheme starts anew there. Those of wells and "
        "of fields on intervals of time are known.");
    prm.add_parameter("Initial state", initial_state_,
                      "An expression in x, y, z for each component, separated by semicolons; it may have fields in it, "
                      "“2*field(a) + x”, as long as it is an affine function of them.");
    prm.add_parameter(
        "Storage", storage_,
        "S in S ∂u/∂t + … = source, of all components of the state. The name of a field, or an expression.");
  }

  void TimeSettings::check() const
  {
    if (!is_transient())
      return;
    const std::string section = "Physics/Time";
    if (stretches().empty())
      throw UserError(section + "/Steps: a problem in time needs stretches “end: number of steps”.");
    jumps();
    double begin = start_;
    for (const auto &stretch : stretches())
    {
      if (!(stretch.end > begin))
        throw UserError(section + "/Steps: the stretches have to end one after the other, after the start " +
                        to_text(start_) + ", but found “" + stretches_ + "”.");
      if (first_step_ >= stretch.end - begin)
        throw UserError(section + "/First step: " + to_text(first_step_) +
                        " is not less than the stretch of time from " + to_text(begin) + " to " + to_text(stretch.end) +
                        ".");
      begin = stretch.end;
    }
  }

  std::vector<TimeSettings::Stretch> TimeSettings::stretches() const
  {
    const std::string origin = "Physics/Time/Steps";
    std::vector<Stretch> result;
    for (const auto &entry : split(stretches_, ';'))
    {
      const auto colon = entry.find(':');
      if (colon == std::string::npos)
        throw UserError(origin + ": stretches have the form “end: number of steps”, but found “" + entry + "”.");
      const double end = parse_number(entry.substr(0, colon), origin),
                   n   = parse_number(entry.substr(colon + 1), origin);
      if (!(n >= 1.) || n != std::floor(n) || n > 1e6)
        throw UserError(origin + ": the number of steps is a whole number from 1 to 1000000, but found “" + entry +
                        "”.");
      result.push_back({end, static_cast<unsigned int>(n)});
    }
    return result;
  }

  std::vector<double> TimeSettings::jumps() const
  {
    return parse_numbers(jumps_, "Physics/Time/Jumps");
  }

  double TimeSettings::end() const
  {
    const auto all = stretches();
    return all.empty() ? start_ : all.back().end;
  }

  namespace
  {
    /// q with 1 + q + … + qⁿ⁻¹ = sum, by bisection of its logarithm; 1 where the sum is n or less.
    double growth(double sum, unsigned int n)
    {
      const auto series = [n](double q)
      {
        double value = 0.;
        for (unsigned int i = 0; i < n; ++i)
          value = value * q + 1.;
        return value;
      };
      if (n < 2 || sum <= n)
        return 1.;
      double low = 0., high = std::log(sum);
      for (unsigned int i = 0; i < 100; ++i)
      {
        const double middle                           = 0.5 * (low + high);
        (series(std::exp(middle)) < sum ? low : high) = middle;
      }
      return std::exp(0.5 * (low + high));
    }

    /// The number of steps of a stretch with jumps in it is shared out by length, rounded up.
    std::vector<double> given_sizes(double part, double n_steps, double first_step)
    {
      auto n           = static_cast<unsigned int>(std::ceil(n_steps - 1e-9));
      const bool grows = first_step > 0. && first_step * n < part;
      // BDF2 is stable for factors up to 1 + √2 (Hairer, Nørsett, Wanner I, sec. III.5).
      while (grows && (n < 2 || growth(part / first_step, n) > 2.))
        ++n;
      const double q = grows ? growth(part / first_step, n) : 1.;
      std::vector<double> sizes{grows ? first_step : part / n};
      while (sizes.size() < n)
        sizes.push_back(q * sizes.back());
      return sizes;
    }

    std::vector<double> chosen_sizes(const std::function<double(double)> &size_at, double begin, double end)
    {
      // Few different sizes need few matrices: powers of √2, of the part, and one factor for all in the end.
      const auto rounded = [&](double size)
      { return (end - begin) * std::pow(2., std::min(0., std::floor(2. * std::log2(size / (end - begin))) / 2.)); };
      std::vector<double> sizes;
      double time = begin;
      for (; time < end - 1e-6 * (end - begin); time += sizes.back())
        sizes.push_back(rounded(size_at(time)));
      for (double &size : sizes)
        size *= (end - begin) / (time - begin);
      return sizes;
    }

    bool is_close(double a, double b)
    {
      return std::abs(a - b) <= 1e-12 * std::max(std::abs(a), std::abs(b));
    }
  } // namespace

  std::vector<TimeStep> TimeSettings::steps(std::vector<double> jumps,
                                            const std::function<double(double)> &size_at) const
  {
    if (!is_transient())
      return {TimeStep()};
    const auto named = this->jumps();
    jumps.insert(jumps.end(), named.begin(), named.end());
    std::sort(jumps.begin(), jumps.end());
    const double tolerance = 1e-9 * (end() - start_);

    std::vector<TimeStep> result, kinds;
    unsigned int since_jump = 0; // steps
    const auto add          = [&](double size, double step_end, bool implicit)
    {
      TimeStep step;
      step.begin     = result.empty() ? start_ : result.back().end;
      step.end       = step_end;
      const double w = result.empty() ? 1. : size / result.back().size();
      if (scheme_ == "BDF2" && since_jump > 0 && w < 2.4)
      {
        step.rate = {{(1. + 2. * w) / (1. + w) / size, -(1. + w) / size, w * w / (1. + w) / size}};
      }
      else
      {
        step.rate  = {{1. / size, -1. / size, 0.}};
        step.level = implicit || scheme_ == "BDF2" ? std::array<double, 2>{{1., 0.}}
                                                   : std::array<double, 2>{{theta_, 1. - theta_}};
      }
      const auto same = [&step](const TimeStep &other)
      { return is_close(other.rate[0], step.rate[0]) && other.level[0] == step.level[0]; };
      const auto known = std::find_if(kinds.begin(), kinds.end(), same);
      step.kind        = static_cast<unsigned int>(known - kinds.begin());
      if (known == kinds.end())
        kinds.push_back(step);
      result.push_back(step);
      ++since_jump;
    };

    double begin    = start_;
    bool has_jumped = true;
    for (const auto &stretch : stretches())
    {
      const double length = stretch.end - begin;
      std::vector<double> ends;
      for (const double jump : jumps)
        if (jump > begin + tolerance && jump < stretch.end - tolerance &&
            (ends.empty() || jump > ends.back() + tolerance))
          ends.push_back(jump);
      ends.push_back(stretch.end);
      for (const double part_end : ends)
      {
        const double part = part_end - begin;
        std::vector<double> sizes =
            size_at ? chosen_sizes(size_at, begin, part_end)
                    : given_sizes(part, stretch.steps * part / length, has_jumped ? first_step_ : 0.);
        const bool is_damped = scheme_ == "theta" && theta_ < 1.;
        double time          = begin;
        if (has_jumped)
          since_jump = 0;
        for (std::size_t i = 0; i < sizes.size(); ++i)
        {
          const double size = sizes[i], step_end = i + 1 == sizes.size() ? part_end : time + size;
          if (has_jumped && is_damped && i < 2)
          {
            add(0.5 * size, time + 0.5 * size, true);
            add(0.5 * size, step_end, true);
          }
          else
            add(size, step_end, false);
          time += size;
        }
        begin      = part_end;
        has_jumped = std::any_of(jumps.begin(), jumps.end(),
                                 [&](double jump) { return std::abs(jump - part_end) <= tolerance; });
      }
    }
    return result;
  }

  std::string TimeSettings::describe() const
  {
    return scheme_ == "BDF2" ? "BDF2" : theta_ == 1. ? "implicit Euler" : theta_ == 0.5 ? "Crank–Nicolson" : "θ-scheme";
  }
} // namespace varfield
