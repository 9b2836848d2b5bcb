#include <cmath>
#include <varfield/sampler.h>

namespace varfield
{
  namespace
  {
    /// Cotter, Roberts, Stuart, White (2013), Statistical Science 28, eq. 4.10, and with a posterior approximation in
    /// the place of the prior Rudolf, Sprungk (2018), Foundations of Computational Mathematics 18: with an angle θ
    ///
    ///     m' = mean + cos θ (m − mean) + sin θ η,  η ~ N(0, S),  accepted with probability min(1, exp(w(m') − w(m))).
    class Pcn : public Sampler
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        prm.add_parameter("Target acceptance", target_, "Share of proposals to be accepted.",
                          dealii::Patterns::Double(0.01, 0.99));
      }
      bool needs_gradient() const override { return false; }
      double target_acceptance() const override { return target_; }
      double first_step() const override { return 0.3; }

      Proposal propose(const ReferencedDensity &density, const ChainPoint &from, double step,
                       const DrawKey &key) const override
      {
        const FrozenGaussian &q = density.reference();
        Proposal result;
        result.point =
            density.at(q.mean() + std::cos(step) * (from.m - q.mean()) + std::sin(step) * q.deviation(key), false);
        if (result.point)
          result.log_acceptance = result.point->log_weight - from.log_weight;
        return result;
      }

    private:
      double target_ = 0.3;
    };

    const Registration<Sampler, Pcn>
        pcn("pcn", "Generalised preconditioned Crank–Nicolson: proposals that keep the variational posterior, no "
                   "gradients.");
  } // namespace
} // namespace varfield
