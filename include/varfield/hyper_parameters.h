#ifndef varfield_hyper_parameters_h
#define varfield_hyper_parameters_h

#include <deque>
#include <map>
#include <varfield/hyper_prior.h>
#include <varfield/vectors.h>

namespace varfield
{
  /// Positive numbers of the parameter file (prior scales, noise levels) that are inferred with the fields. An entry
  /// whose value is a text may have several: “Section/Name: A” is 0.1 in “A: 0.1; B: 0.3”, “Section/Name: 4” is 1 in
  /// “4, 0; 0, 1”.
  class HyperParameters
  {
  public:
    /// At most so many.
    static constexpr std::size_t most = 8;

    struct Member
    {
      std::string name, parameter;
      Choice<HyperPrior> prior{"Prior", "pc upper"};
      std::string entry, key; ///< “Section/Name”, and which number of its text; empty: the value itself
    };

    /// Declares a subsection for each name.
    void add_parameters(dealii::ParameterHandler &prm, const std::vector<std::string> &names);
    /// UserError where a parameter is none, or not a positive number. `prm` holds all parameters of the case.
    void check(const dealii::ParameterHandler &prm, unsigned int dim);

    Index size() const { return static_cast<Index>(members_.size()); }
    const Member &operator[](Index i) const { return members_[static_cast<std::size_t>(i)]; }
    std::vector<std::string> names() const;
    /// log of the values that the parameter file gives.
    const Vector &start() const { return start_; }
    /// Σ log densities of t = log θ.
    double log_prior(const Vector &t) const;
    /// Coordinates of which the prior is N(0, I): normal scores u, θᵢ the quantile of probability Φ(uᵢ). log θ from u,
    /// and u from log θ, by bisection between −4 and 4.
    Vector from_scores(const Vector &u) const;
    Vector scores(const Vector &t) const;
    /// "Section/Name=value" for each entry.
    std::vector<std::string> overrides(const Vector &t) const;

  private:
    double read(const dealii::ParameterHandler &prm, const Member &member, const std::string &origin);

    std::deque<Member> members_;
    std::map<std::string, std::string> texts_; ///< of the entries with several numbers
    Vector start_;
  };
} // namespace varfield

#endif
