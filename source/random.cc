#include <Random123/philox.h>
#include <cmath>
#include <varfield/random.h>
#include <varfield/timing.h>

namespace varfield
{
  namespace
  {
    /// 53 random bits as a number in (0, 1), never 0.
    double uniform(std::uint32_t high, std::uint32_t low)
    {
      return static_cast<double>((static_cast<std::uint64_t>(high) << 32 | low) >> 11) * 0x1p-53 + 0x1p-54;
    }

    using Generator = r123::Philox4x32;

    Generator::ctr_type random_bits(const DrawKey &key, std::uint32_t low, std::uint32_t high)
    {
      const Generator::key_type seed{
          {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)}};
      return Generator()({{low, high, key.draw, static_cast<std::uint32_t>(key.stream)}}, seed);
    }
  } // namespace

  Vector standard_normal(const Layout &layout, const DrawKey &key)
  {
    const Timed timed(Work::random_numbers);
    // Entries 2j and 2j+1 share one block of random bits: the cosine and the sine of Box and Muller.
    std::uint64_t block = ~std::uint64_t(0);
    double pair[2]      = {0., 0.};
    Vector result(layout.n_local());
    for (Index i = 0; i < layout.n_local(); ++i)
    {
      const std::uint64_t entry = layout.keys()[static_cast<std::size_t>(i)];
      if (entry / 2 != block)
      {
        block           = entry / 2;
        const auto bits = random_bits(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32));
        const double radius = std::sqrt(-2. * std::log(uniform(bits[0], bits[1])));
        const double angle  = 2. * M_PI * uniform(bits[2], bits[3]);
        pair[0]             = radius * std::cos(angle);
        pair[1]             = radius * std::sin(angle);
      }
      result[i] = key.sign * pair[entry % 2];
    }
    return result;
  }

  double uniform_number(const DrawKey &key, std::uint32_t index)
  {
    // The high word of entries never gets so far.
    const auto bits = random_bits(key, index, 0xFFFFFFFFu);
    return uniform(bits[0], bits[1]);
  }
} // namespace varfield
