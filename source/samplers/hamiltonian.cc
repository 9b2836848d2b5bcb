#include <cmath>
#include <varfield/sampler.h>

namespace varfield
{
  namespace
  {
    /// Hamiltonian Monte Carlo on functions (Beskos, Pinski, Sanz-Serna, Stuart 2011, Stochastic Processes and their
    /// Applications 121, sec. 4) with the reference measure q = N(mean, S): x = m − mean, velocity v ~ N(0, S),
    ///
    ///     kick by ε:       v ← v + ε S∇w(m),
    ///     rotation by h:   (x, v) ← (cos h x + sin h v, −sin h x + cos h v),
    ///
    /// a step being half a kick, a rotation, half a kick with ε = h/2. Rotations keep ½xᵀS⁻¹x + ½vᵀS⁻¹v, infinite in
    /// the limit of fine meshes; kicks change it by ε vᵀ∇w + ½ε²∇wᵀS∇w, which is what is summed up, so that the energy
    /// error is finite there. A trajectory has the angle u π/2 · `length` with u uniform in (½, 3/2), which no
    /// direction's period matches.
    class Hamiltonian : public Sampler
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        using namespace dealii::Patterns;
        prm.add_parameter("Target acceptance", target_, "Share of proposals to be accepted.", Double(0.01, 0.99));
        prm.add_parameter("Trajectory", length_,
                          "Mean length of a trajectory; 1 takes a Gaussian posterior to an independent draw.",
                          Double(0.01, 10.));
        prm.add_parameter("Maximum steps", most_steps_, "of a trajectory: a gradient each.", Integer(1));
      }
      bool needs_gradient() const override { return true; }
      double target_acceptance() const override { return target_; }
      double first_step() const override { return 0.2; }

      Proposal propose(const ReferencedDensity &density, const ChainPoint &from, double step,
                       const DrawKey &key) const override
      {
        const FrozenGaussian &q = density.reference();
        const double angle      = M_PI_2 * length_ * (0.5 + uniform_number(key, 1));
        const auto n_steps =
            static_cast<unsigned int>(std::min<double>(most_steps_, std::max(1., std::round(angle / step))));
        Vector x = from.m - q.mean(), v = q.deviation(key);
        Proposal result;
        result.point  = from;
        double energy = 0.;
        energy += kick(density, *result.point, 0.5 * step, v);
        for (unsigned int i = 0; i < n_steps; ++i)
        {
          const Vector rotated = std::cos(step) * x + std::sin(step) * v;
          v                    = std::cos(step) * v - std::sin(step) * x;
          x                    = rotated;
          result.point         = density.at(q.mean() + x, true);
          if (!result.point)
            return result;
          energy += kick(density, *result.point, i + 1 < n_steps ? step : 0.5 * step, v);
          // Nothing comes back from there.
          if (!(energy - result.point->log_weight + from.log_weight < hopeless))
            break;
        }
        result.log_acceptance = result.point->log_weight - from.log_weight - energy;
        return result;
      }

    private:
      static constexpr double hopeless = 1000.;

      /// Changes v and returns by how much its energy grew.
      static double kick(const ReferencedDensity &density, const ChainPoint &at, double epsilon, Vector &v)
      {
        const Vector step   = density.reference().covariance(at.gradient);
        const double growth = density.layout().dot(at.gradient, epsilon * v + 0.5 * epsilon * epsilon * step);
        v += epsilon * step;
        return growth;
      }

      double target_ = 0.8, length_ = 1.;
      unsigned int most_steps_ = 50;
    };

    const Registration<Sampler, Hamiltonian>
        hamiltonian("hamiltonian", "Hamiltonian Monte Carlo preconditioned by the variational posterior.");
  } // namespace
} // namespace varfield
