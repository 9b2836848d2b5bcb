#include <cmath>
#include <varfield/noise.h>

namespace varfield
{
  namespace
  {
    /// Independent errors N(0, σᵢ²).
    class Gaussian : public ScaledNoise
    {
    public:
      double potential(const Vector &residuals) const override
      {
        double sum = 0.;
        for (const Index i : rows_)
        {
          const double z = residuals(i) / deviations_(i);
          sum += 0.5 * z * z + 0.5 * std::log(2. * M_PI) + std::log(deviations_(i));
        }
        return sum;
      }

      NoiseRoot root(const Vector &residuals) const override
      {
        const Vector weights = deviations_.cwiseAbs2().cwiseInverse();
        return diagonal_root(weights, weights.cwiseProduct(residuals));
      }

      Vector sample(const Vector &standard_normal) const override { return deviations_.cwiseProduct(standard_normal); }
    };

    const Registration<Noise, Gaussian> gaussian("gaussian", "Independent normal errors.");
  } // namespace
} // namespace varfield
