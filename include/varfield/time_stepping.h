#ifndef varfield_time_stepping_h
#define varfield_time_stepping_h

#include <deal.II/base/parameter_handler.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace varfield
{
  /// One step from uₙ₋₁ to uₙ of S ∂u/∂t + F(u) = load: find uₙ with
  ///   S Σⱼ rate[j] uₙ₋ⱼ + F(level[0] uₙ + level[1] uₙ₋₁) = load.
  /// θ-scheme: rate = (1, −1, 0)/Δt, level = (θ, 1 − θ), as a one-leg method: the same as the θ-scheme for a linear
  /// law, and F is linearised at one state only (E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd
  /// ed. 1996, sec. V.6). BDF2 with steps of different sizes, ω = Δtₙ/Δtₙ₋₁ < 2.4: rate = ((1 + 2ω)/(1 + ω), −(1 + ω),
  /// ω²/(1 + ω))/Δtₙ, level = (1, 0) (sec. III.5 of volume I). A stationary problem is one step with rate = 0.
  struct TimeStep
  {
    double begin = 0., end = 0.;
    std::array<double, 3> rate{{0., 0., 0.}};
    std::array<double, 2> level{{1., 0.}};
    unsigned int kind = 0; ///< the same for steps with the same rate[0] and level[0]
    double size() const { return end - begin; }
    /// The time of the state that F is evaluated at; a little before the end, where that is meant: data that jump at
    /// the end have there the value of the step.
    double time() const { return begin + (level[0] < 1. ? level[0] : 1. - 1e-9) * size(); }
  };

  /// When and how a problem is solved step by step.
  class TimeSettings
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm);
    /// UserError.
    void check() const;
    bool is_transient() const { return scheme_ != "stationary"; }
    double start() const { return start_; }
    double end() const;
    /// Those that the parameters name.
    std::vector<double> jumps() const;
    const std::string &initial_state() const { return initial_state_; }
    const std::string &storage() const { return storage_; }
    /// The steps, for data that also jump at the times `jumps`; those outside of start and end do not matter. Each
    /// jump is the end of a step, and the scheme starts anew there with implicit Euler steps, which damp what the jump
    /// excites (BDF2 also where a step is more than 2.4 times as large as the one before): BDF2 with one, the θ-scheme
    /// with θ < 1 with four of half the size in place of two (R. Rannacher, Numerische Mathematik 43 (1984) 309; M. B.
    /// Giles, R. Carter, Journal of Computational Finance 9 (2006) 89).
    /// `size_at`: if given, in place of the sizes that the parameters ask for, how large a step from a time should be;
    /// all steps between two jumps or ends of stretches are made smaller by one factor, so that they end there.
    std::vector<TimeStep> steps(std::vector<double> jumps, const std::function<double(double)> &size_at = {}) const;
    /// Of the steps that are chosen by the program; 0: they are given.
    double tolerance() const { return tolerance_; }
    std::string describe() const;

  private:
    struct Stretch
    {
      double end;
      unsigned int steps;
    };
    std::vector<Stretch> stretches() const;

    std::string scheme_ = "stationary", stretches_, jumps_, initial_state_ = "0", storage_ = "1";
    double start_ = 0., theta_ = 0.5, first_step_ = 0., tolerance_ = 0.;
  };
} // namespace varfield

#endif
