// ranks: 1
#include "dense_models.h"

#include <boost/math/distributions/students_t.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <varfield/noise.h>

/// Densities of measurement errors against their definitions.
BOOST_AUTO_TEST_SUITE(noise)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  const Table table = Table::parse("x,y,value,experiment\n0,0,1,a\n0.3,0.4,2,a\n3,4,-1,a\n0,0,5,b\n", "test.csv");

  Vector values()
  {
    const auto column = table.numbers("value");
    return Eigen::Map<const Vector>(column.data(), static_cast<Index>(column.size()));
  }

  std::unique_ptr<Noise> noise_of(const std::string &name, Settings settings = {}, std::vector<bool> used = {})
  {
    settings.insert({"Standard deviation", "0.5"});
    settings.insert({"Correlation length", "2"});
    auto result = create<Noise>(name, settings);
    result->read(MPI_COMM_SELF, "test");
    result->initialize(table, values(), "test");
    result->use(used.empty() ? std::vector<bool>(table.n_rows(), true) : used);
    return result;
  }

  const Vector residuals = Eigen::Vector4d(0.3, -0.2, 0.9, -4.);

  std::string message(const std::function<void()> &call)
  {
    try
    {
      call();
    }
    catch (const UserError &error)
    {
      return error.what();
    }
    return "";
  }

  bool contains(const std::string &text, const std::string &part)
  {
    return text.find(part) != std::string::npos;
  }
} // namespace

BOOST_AUTO_TEST_CASE(root_gives_gradient_and_curvature)
{
  for (const std::string &name : Registry<Noise>::names())
    for (const auto &used : {std::vector<bool>(4, true), std::vector<bool>{true, false, true, true}})
      BOOST_TEST_CONTEXT(name)
      {
        const auto noise      = noise_of(name, {}, used);
        constexpr double h    = 1e-5;
        const NoiseRoot root  = noise->root(residuals);
        const Vector gradient = noise->gradient(residuals);
        const Matrix curvature(root.root * root.root.transpose());
        for (Index i = 0; i < 4; ++i)
        {
          const Vector step    = h * Vector::Unit(4, i);
          const double central = (noise->potential(residuals + step) - noise->potential(residuals - step)) / (2. * h);
          BOOST_TEST(std::abs(gradient[i] - central) < 1e-8 * (1. + std::abs(central)));
          // The outlier has a negative second derivative with heavy tails, in the place of which a small one is put.
          if (noise->is_gaussian() || i < 3)
          {
            const Vector column = (noise->gradient(residuals + step) - noise->gradient(residuals - step)) / (2. * h);
            BOOST_TEST((curvature.col(i) - column).norm() < 1e-7 * (1. + column.norm()));
          }
          else
            BOOST_TEST(curvature(i, i) > 0.);
        }
      }
}

/// ∫ exp(−potential) over the residual of one row is 1.
BOOST_AUTO_TEST_CASE(densities_are_normalised)
{
  for (const std::string &name : Registry<Noise>::names())
  {
    const auto noise = noise_of(name, {}, {true, false, false, false});
    double sum       = 0.;
    // r = sinh(x) reaches the heavy tails.
    constexpr double h = 0.01;
    for (double x = -25.; x <= 25.; x += h)
      sum += h * std::cosh(x) * std::exp(-noise->potential(std::sinh(x) * Vector::Unit(4, 0)));
    BOOST_TEST(std::abs(sum - 1.) < 1e-9, name << " " << sum);
  }
}

/// The 97.5 % quantile of t with four degrees of freedom is 2.776445 (any table), its density a mixture of normals, and
/// its weights are the means of the mixing variables.
BOOST_AUTO_TEST_CASE(student_t_is_a_scale_mixture)
{
  const auto noise = noise_of("student t", {{"Degrees of freedom", "4"}});
  BOOST_TEST(std::abs(noise->sample(Vector::Constant(4, 1.959963984540054))[0] - 0.5 * 2.776445105) < 1e-8);
  BOOST_TEST(std::abs(noise->sample(Vector::Constant(4, -1.959963984540054))[0] + 0.5 * 2.776445105) < 1e-8);
  for (const double freedom : {1., 3., 4., 30.})
  {
    const auto errors           = noise_of("student t", {{"Degrees of freedom", to_text(freedom)}});
    const NormalMixture mixture = errors->mixture();
    const boost::math::students_t t(freedom);
    BOOST_TEST(std::abs(mixture.weights.sum() - 1.) < 1e-12);
    for (const double z : {0., 1., 5., 20.})
    {
      double density = 0., mixing = 0.;
      for (Index k = 0; k < mixture.weights.size(); ++k)
      {
        const double s    = mixture.deviations[k];
        const double part = mixture.weights[k] * std::exp(-0.5 * z * z / (s * s)) / (s * std::sqrt(2. * M_PI));
        density += part;
        mixing += part / (s * s);
      }
      BOOST_TEST(std::abs(density - boost::math::pdf(t, z)) < 1e-6 * boost::math::pdf(t, z), freedom << " " << z);
      BOOST_TEST(std::abs(mixing / density - errors->weight(0, 0.5 * z)) < 1e-6);
    }
  }
}

/// Of predictions with heavy tails, and of their squared residuals by quadrature.
BOOST_AUTO_TEST_CASE(normal_scores_and_squares)
{
  const NormalMixture normal{Vector::Constant(1, 0.5), Vector::Ones(1)};
  for (const double z : {-30., -1., 0., 2., 37.})
    BOOST_TEST(std::abs(normal.normal_score(0.5 * z) - z) < 1e-9 * (1. + std::abs(z)));
  const NormalMixture t = noise_of("student t", {{"Degrees of freedom", "4"}})->mixture();
  BOOST_TEST(std::abs(t.normal_score(2.776445105) - 1.959963985) < 1e-6);
  BOOST_TEST(std::abs(t.normal_score(-2.776445105) + 1.959963985) < 1e-6);
  const NormalMixture narrow = noise_of("student t", {{"Degrees of freedom", "30"}})->mixture();
  BOOST_TEST(std::abs(narrow.standard_deviation() - std::sqrt(30. / 28.)) < 1e-6);

  for (const std::string &name : Registry<Noise>::names())
  {
    const auto noise = noise_of(name, {}, {true, false, false, false});
    double mean = 0., square = 0.;
    constexpr double h = 0.01;
    for (double x = -25.; x <= 25.; x += h)
    {
      const Vector r    = std::sinh(x) * Vector::Unit(4, 0);
      const double mass = h * std::cosh(x) * std::exp(-noise->potential(r)), s = noise->gradient(r)[0] * r[0];
      mean += mass * s;
      square += mass * s * s;
    }
    BOOST_TEST(std::abs(mean - 1.) < 1e-9, name);
    BOOST_TEST(std::abs(square - 1. - noise->square_variance()) < 1e-8, name << " " << square - 1.);
  }
}

BOOST_AUTO_TEST_CASE(correlated_noise_has_the_covariance_of_its_kernel)
{
  const double length = 2., variance = 0.25;
  const std::map<std::string, std::function<double(double)>> kernels{
      {"exponential", [&](double d) { return std::exp(-d / length); }},
      {"matern 3/2",
       [&](double d) { return (1. + std::sqrt(3.) * d / length) * std::exp(-std::sqrt(3.) * d / length); }},
      {"squared exponential", [&](double d) { return std::exp(-0.5 * d * d / (length * length)); }}};
  for (const auto &[name, kernel] : kernels)
  {
    const auto noise = noise_of("correlated", {{"Kernel", name}, {"Independent share", "0.1"}});
    Matrix samples(4, 4);
    for (Index i = 0; i < 4; ++i)
      samples.col(i) = noise->sample(Vector::Unit(4, i));
    const Matrix covariance = samples * samples.transpose();
    // Rows 0 and 1 are 0.5 apart, 0 and 2 five, and the last belongs to another experiment.
    BOOST_TEST(std::abs(covariance(0, 0) - variance) < 1e-14);
    BOOST_TEST(std::abs(covariance(0, 1) - 0.9 * variance * kernel(0.5)) < 1e-14);
    BOOST_TEST(std::abs(covariance(0, 2) - 0.9 * variance * kernel(5.)) < 1e-14);
    BOOST_TEST(covariance(0, 3) == 0.);

    const Matrix used = covariance.topLeftCorner(3, 3);
    const Vector r    = residuals.head(3);
    const double expected =
        0.5 * r.dot(used.llt().solve(r)) + 0.5 * std::log(used.determinant()) + 1.5 * std::log(2. * M_PI);
    BOOST_TEST(
        std::abs(noise_of("correlated", {{"Kernel", name}, {"Independent share", "0.1"}}, {true, true, true, false})
                     ->potential(residuals) -
                 expected) < 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(covariance_from_a_file)
{
  const std::string path = std::filesystem::absolute("covariance.csv").string();
  const auto with_file   = [&](const std::string &text)
  {
    std::ofstream(path) << text;
    return noise_of("correlated", {{"Covariance file", path}});
  };
  const auto noise = with_file("# of four rows\n4, 1, 0, 0\n1, 9, 0, 0\n0, 0, 1, 0\n0, 0, 0, 16\n");
  BOOST_TEST((noise->standard_deviations() - Vector(Eigen::Vector4d(2., 3., 1., 4.))).norm() < 1e-14);
  Matrix covariance = Eigen::Vector4d(4., 9., 1., 16.).asDiagonal();
  covariance(0, 1) = covariance(1, 0) = 1.;
  const double expected               = 0.5 * residuals.dot(covariance.llt().solve(residuals)) +
                          0.5 * std::log(covariance.determinant()) + 2. * std::log(2. * M_PI);
  BOOST_TEST(std::abs(noise->potential(residuals) - expected) < 1e-12);

  BOOST_TEST(contains(message([&] { with_file("1,0\n0,1\n"); }), "has 2 rows of 2 numbers, but test.csv has 4 rows"));
  BOOST_TEST(contains(message([&] { with_file("1,0\n0,1,2\n"); }), "line 2: has 3 numbers, but the first row has 2"));
  BOOST_TEST(contains(message([&] { with_file("1,2,0,0\n0,1,0,0\n0,0,1,0\n0,0,0,1\n"); }), "is not symmetric"));
  BOOST_TEST(contains(message([&] { with_file("1,2,0,0\n2,1,0,0\n0,0,1,0\n0,0,0,1\n"); }), "is not positive definite"));
  BOOST_TEST(contains(message([&] { with_file("1,a,0,0\n"); }), "line 1"));
  std::filesystem::remove(path);
  BOOST_TEST(contains(message([&] { noise_of("correlated", {{"Covariance file", path}}); }), path));
  BOOST_TEST(contains(message([&] { noise_of("correlated", {{"Correlation length", "0"}}); }), "Correlation length"));
  BOOST_TEST(contains(message([&] { noise_of("student t", {{"Degrees of freedom", "0"}}); }), "Degrees of freedom"));
}

BOOST_AUTO_TEST_SUITE_END()
