// ranks: 1
#include "dense_models.h"
#include "linear_case.h"
#include "messages.h"
#include "scratch_file.h"

#include <boost/test/unit_test.hpp>
#include <varfield/hyper_inference.h>
#include <varfield/response_surface.h>

BOOST_AUTO_TEST_SUITE(hyper_parameters)

using namespace varfield;
using namespace varfield::tests;

namespace
{
  std::unique_ptr<HyperPrior> hyper_prior(const std::string &name, const Settings &settings, unsigned int dim)
  {
    auto prior = create<HyperPrior>(name, settings);
    prior->check("test", dim);
    return prior;
  }

  const std::vector<std::string> two_scales{
      "Hyperparameters/Names=sigma, noise",
      "Hyperparameters/sigma/Parameter=Fields/f/spde/Standard deviation",
      "Hyperparameters/sigma/Prior=pc upper",
      "Hyperparameters/sigma/pc upper/Limit=30",
      "Hyperparameters/noise/Parameter=Measurements/u/gaussian/Standard deviation",
      "Hyperparameters/noise/Prior=pc upper",
      "Hyperparameters/noise/pc upper/Limit=0.1"};
} // namespace

/// Densities of log θ integrate to one, and quantiles are those of the stated probabilities.
BOOST_AUTO_TEST_CASE(priors_of_scales)
{
  const Settings limits{{"Limit", "3"}, {"Probability", "0.05"}, {"Median", "2"}, {"Factor", "1.5"}};
  for (const unsigned int dim : {2u, 3u})
    for (const auto &[name, below] : std::map<std::string, std::pair<double, double>>{
             {"pc upper", {3., 0.95}}, {"pc lower", {3., 0.05}}, {"lognormal", {3., 0.8413447460685429}}})
    {
      const auto prior = hyper_prior(name, limits, dim);
      double all = 0., part = 0.;
      for (double t = -30.; t < 30.; t += 1e-3)
      {
        const double mass = 1e-3 * std::exp(prior->log_density(t));
        all += mass;
        part += t < std::log(below.first) ? mass : 0.;
      }
      BOOST_TEST(std::abs(all - 1.) < 1e-4, name);
      BOOST_TEST(std::abs(part - below.second) < 2e-3, name << ": " << part);
      BOOST_TEST(std::abs(prior->quantile(below.second) / below.first - 1.) < 1e-9, name);
    }
}

/// A skewed peak with correlation, from values that reach down to thousands below it.
BOOST_AUTO_TEST_CASE(surfaces)
{
  const auto height = [](const Vector &x)
  {
    const double a = x[0], b = x[1] - 0.3 * a;
    return 3. - (std::exp(a) - a - 1.) * 4. - 6. * b * b;
  };
  const Index n      = 60;
  const Matrix known = 1.7 * normal_points(2, n), at = 0.5 * normal_points(2, 2 * n).rightCols(n);
  Vector values(n), exact(n);
  for (Index k = 0; k < n; ++k)
  {
    values[k] = height(known.col(k));
    exact[k]  = height(at.col(k));
  }
  BOOST_TEST(values.minCoeff() < -80.);
  const ResponseSurface surface(known, values, Vector::Constant(n, 1e-4));
  const auto found = surface.predict(at);
  BOOST_TEST((surface(at) - found.mean).norm() < 1e-9);
  BOOST_TEST((surface(known) - values).cwiseAbs().cwiseQuotient((4. - values.array()).matrix()).maxCoeff() < 0.02);
  BOOST_TEST((found.mean - exact).cwiseAbs().maxCoeff() < 0.3);
  BOOST_TEST((found.mean - exact).norm() / std::sqrt(double(n)) < 0.05);
  // At the values everything is known, but for what keeps the covariance positive definite.
  Index top = 0;
  values.maxCoeff(&top);
  BOOST_TEST(std::sqrt(surface.predict(known.col(top)).variance[0]) < 0.01);
  // Far from all values nothing is known.
  const auto far = surface.predict(Vector::Constant(2, 30.));
  BOOST_TEST(far.mean[0] < -8.);
  BOOST_TEST(std::sqrt(far.variance[0]) > 5.);
}

/// Given θ the posterior of a linear problem is exact and its ELBO the evidence: the posterior of two scales against
/// the exact evidences on a fine grid.
BOOST_AUTO_TEST_CASE(scales_of_a_linear_problem)
{
  auto problem = linear_case(two_scales);
  Results<2> results;
  {
    const Silence silence;
    Report report(problem->groups(), 0.);
    results = infer_with_hyper_parameters(problem, {}, report);
  }
  BOOST_REQUIRE(results.hyper.has_value());
  const HyperPosterior &found = *results.hyper;
  BOOST_TEST(std::abs(found.weights.sum() - 1.) < 1e-12);

  const auto &hyper = problem->hyper_parameters();
  const auto exact  = [&](const Vector &t) { return exact_log_evidence(*problem->with_overrides(hyper.overrides(t))); };
  for (Index k = 0; k < found.points.cols(); k += 7)
    BOOST_TEST(std::abs(found.elbo[k] - exact(found.points.col(k))) < 1e-6);

  // The exact posterior on a grid of 15 × 15 points over four standard deviations.
  const Vector centre(
      Eigen::Vector2d(std::log(found.parameters[0].quantiles[2]), std::log(found.parameters[1].quantiles[2])));
  const Vector width(Eigen::Vector2d(found.parameters[0].log_deviation, found.parameters[1].log_deviation));
  constexpr int n = 15;
  std::vector<Vector> points;
  std::vector<double> heights;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j)
    {
      const Vector z = Eigen::Vector2d(-4. + 8. * i / (n - 1.), -4. + 8. * j / (n - 1.));
      points.push_back(centre + width.cwiseProduct(z));
      heights.push_back(exact(points.back()) + hyper.log_prior(points.back()));
    }
  const double top = *std::max_element(heights.begin(), heights.end());
  double sum       = 0.;
  Vector mean = Vector::Zero(2), square = mean;
  for (std::size_t k = 0; k < points.size(); ++k)
  {
    const double mass = std::exp(heights[k] - top);
    sum += mass;
    mean += mass * points[k];
    square += mass * points[k].cwiseAbs2();
  }
  mean /= sum;
  const Vector deviation = (square / sum - mean.cwiseAbs2()).cwiseSqrt();
  const double evidence  = top + std::log(sum * (8. / (n - 1.) * width[0]) * (8. / (n - 1.) * width[1]));
  BOOST_TEST(std::abs(found.log_evidence - evidence) < 0.05);
  for (Index i = 0; i < 2; ++i)
  {
    const Vector log_theta = found.population.row(i);
    BOOST_TEST(std::abs(log_theta.dot(found.mass) - mean[i]) < 0.05 * deviation[i]);
    BOOST_TEST(std::abs(found.parameters[static_cast<std::size_t>(i)].log_deviation / deviation[i] - 1.) < 0.05);
    BOOST_TEST(std::abs(found.below(i, found.parameters[static_cast<std::size_t>(i)].quantiles[3]) - 0.95) < 0.01);
  }
}

/// Data of noise alone: the scales of the field are known as far as their priors know them, whose tails are long.
BOOST_AUTO_TEST_CASE(scales_that_the_data_hardly_know)
{
  auto problem = linear_case({"Hyperparameters/Names=sigma, rho",
                              "Hyperparameters/sigma/Parameter=Fields/f/spde/Standard deviation",
                              "Hyperparameters/sigma/Prior=pc upper", "Hyperparameters/sigma/pc upper/Limit=30",
                              "Hyperparameters/rho/Parameter=Fields/f/spde/Correlation length",
                              "Hyperparameters/rho/Prior=pc lower", "Hyperparameters/rho/pc lower/Limit=0.2"});
  problem->set_measured(problem->measurements().simulated(Vector::Zero(36), {5, Stream::data_noise, 0, 1.}));
  Results<2> results;
  {
    const Silence silence;
    Report report(problem->groups(), 0.);
    results = infer_with_hyper_parameters(problem, {}, report);
  }
  BOOST_REQUIRE(results.hyper.has_value());

  // The exact posterior on a grid of normal scores u: θ is the quantile of probability Φ(u), and p(u) standard normal.
  const auto &hyper  = problem->hyper_parameters();
  const auto theta   = [&](Index i, double u) { return hyper[i].prior->quantile(0.5 * std::erfc(-u / M_SQRT2)); };
  constexpr double h = 0.5;
  double sum         = 0.;
  std::map<std::pair<Index, double>, double> below;
  for (double a = -4.25; a < 4.3; a += h)
    for (double b = -4.25; b < 4.3; b += h)
    {
      const Vector u = Eigen::Vector2d(a, b), t = Eigen::Vector2d(std::log(theta(0, a)), std::log(theta(1, b)));
      const double evidence = exact_log_evidence(*problem->with_overrides(hyper.overrides(t)));
      const double mass =
          std::exp(evidence - results.hyper->log_evidence - 0.5 * u.squaredNorm()) * h * h / (2. * M_PI);
      sum += mass;
      for (Index i = 0; i < 2; ++i)
        for (const double limit : {-2., -1., 0., 1., 2.})
          below[{i, limit}] += u[i] < limit ? mass : 0.;
    }
  BOOST_TEST(std::abs(std::log(sum)) < 0.05);
  for (const auto &[where, mass] : below)
  {
    const double found = results.hyper->below(where.first, theta(where.first, where.second));
    BOOST_TEST_MESSAGE(hyper[where.first].name << " below the score " << where.second << ": " << found << ", exactly "
                                               << mass / sum);
    BOOST_TEST(std::abs(found - mass / sum) < 0.01, hyper[where.first].name << " " << where.second);
  }
}

/// Up to eight variables: the posterior of a narrow, correlated Gaussian likelihood in closed form.
BOOST_AUTO_TEST_CASE(populations_of_gaussians)
{
  for (const Index dim : {1, 2, 3, 4, 5, 6, 7, 8})
    for (const double width : {1., 0.05})
    {
      Matrix precision = Matrix::Constant(dim, dim, 0.15);
      precision.diagonal().setConstant(1.1);
      precision /= width * width;
      const Vector centre       = Vector::LinSpaced(dim, -1.5, 1.);
      const auto log_likelihood = [&](const Matrix &u) -> Vector
      {
        const Matrix rest = u.colwise() - centre;
        return 7. - 0.5 * rest.cwiseProduct(precision * rest).colwise().sum().transpose().array();
      };
      const Population found = populate(log_likelihood, prior_population(dim), 20000);
      const Matrix sum       = precision + Matrix::Identity(dim, dim);
      const Vector mean      = sum.llt().solve(precision * centre);
      const double integral  = 7. - 0.5 * centre.dot(precision * (centre - mean)) - 0.5 * std::log(sum.determinant());
      BOOST_TEST(std::abs(found.log_integral - integral) < 0.02,
                 dim << " " << width << ": " << found.log_integral - integral);
      BOOST_TEST(std::abs(found.mass.sum() - 1.) < 1e-12);
      BOOST_TEST((found.points * found.mass - found.mean).norm() < 1e-12);
      const Matrix half = sum.llt().matrixU();
      BOOST_TEST((half * (found.mean - mean)).cwiseAbs().maxCoeff() < 0.04, dim << " " << width);
      const Matrix ratio = half * found.root * found.root.transpose() * half.transpose();
      BOOST_TEST((ratio - Matrix::Identity(dim, dim)).cwiseAbs().maxCoeff() < 0.06, dim << " " << width << "\n"
                                                                                        << ratio);
    }
}

/// One number of an entry that has several is read and written by its name or its place.
BOOST_AUTO_TEST_CASE(numbers_inside_of_entries)
{
  std::string text = "name,x,y,value,group\n";
  for (int i = 1; i < 6; ++i)
    text += "s," + std::to_string(0.15 * i) + ",0.4,0.05," + (i < 3 ? "near the well" : "B") + "\n";
  const ScratchFile file("hyper_groups.csv", text);
  const auto problem =
      linear_case({"Measurements/u/File=" + file.path,
                   "Measurements/u/gaussian/Group standard deviations=near the well: 0.02 ; B:0.01",
                   "Fields/f/spde/Anisotropy=2, 0.1; 0.1, 1", "Hyperparameters/Names=b, near, first, last",
                   "Hyperparameters/b/Parameter=Measurements/u/gaussian/Group standard deviations: B",
                   "Hyperparameters/near/Parameter=Measurements/u/gaussian/Group standard deviations: near the  well",
                   "Hyperparameters/first/Parameter=Fields/f/spde/Anisotropy: 1",
                   "Hyperparameters/last/Parameter=Fields/f/spde/Anisotropy: 4", "Hyperparameters/b/Prior=lognormal",
                   "Hyperparameters/near/Prior=lognormal", "Hyperparameters/first/Prior=lognormal",
                   "Hyperparameters/last/Prior=lognormal", "Hyperparameters/b/lognormal/Median=1",
                   "Hyperparameters/near/lognormal/Median=1", "Hyperparameters/first/lognormal/Median=1",
                   "Hyperparameters/last/lognormal/Median=1"});
  const HyperParameters &hyper = problem->hyper_parameters();
  BOOST_REQUIRE(hyper.size() == 4);
  BOOST_TEST((hyper.start().array().exp().matrix() - Eigen::Vector4d(0.01, 0.02, 2., 1.)).norm() < 1e-12);
  const auto changed = problem->with_overrides(hyper.overrides(Eigen::Vector4d(0.03, 0.04, 3., 0.5).array().log()));
  const Vector sigma = changed->measurements().standard_deviations();
  for (Index i = 0; i < 5; ++i)
    BOOST_TEST(std::abs(sigma[i] - (i < 2 ? 0.04 : 0.03)) < 1e-12);
  BOOST_TEST(
      (changed->hyper_parameters().start() - Eigen::Vector4d(0.03, 0.04, 3., 0.5).array().log().matrix()).norm() <
      1e-12);
  CHECK_CONTAINS(changed->parameters().get({"Fields", "f", "spde"}, "Anisotropy"), ", 0.1; 0.1,");

  const auto message = [&](const std::string &parameter)
  {
    return varfield::testing::message_of(
        [&]
        {
          linear_case({"Fields/f/spde/Anisotropy=2, 0.1; 0.1, 1", "Hyperparameters/Names=b, c",
                       "Hyperparameters/b/Parameter=Fields/f/spde/Anisotropy: 1",
                       "Hyperparameters/c/Parameter=" + parameter, "Hyperparameters/b/Prior=lognormal",
                       "Hyperparameters/c/Prior=lognormal", "Hyperparameters/b/lognormal/Median=1",
                       "Hyperparameters/c/lognormal/Median=1"});
        });
  };
  CHECK_CONTAINS(message("Fields/f/spde/Anisotropy: 5"), "there are 1, 2, 3, 4");
  CHECK_CONTAINS(message("Fields/f/spde/Anisotropy:1"), "is inferred as “b” already");
  CHECK_CONTAINS(message("Fields/f/spde/Anisotropi: 1"), "there is no number");
}

/// What is written is what the user gave, on every mesh; measurements that are left out are left out there as well.
BOOST_AUTO_TEST_CASE(derived_cases_keep_what_was_given)
{
  const auto problem = linear_case({"Inference/Minimum draws=300"});
  const auto derived = problem->with_overrides({"Fields/f/spde/Standard deviation=2"});
  BOOST_TEST(derived->parameters().get_integer({"Inference"}, "Minimum draws") == 100);
  std::vector<bool> used(36, true);
  used[5] = false;
  derived->use_measurements(used);
  const auto refined = derived->refined({});
  BOOST_TEST((refined->measurements().used() == used));
  for (const Case<2> *some : {problem.get(), derived.get(), refined.get()})
  {
    const auto given = some->as_given();
    BOOST_TEST(given->parameters().get_integer({"Inference"}, "Minimum draws") == 300);
    BOOST_TEST(given->parameters().get_double({"Fields", "f", "spde"}, "Standard deviation") == 4.);
  }
}

BOOST_AUTO_TEST_CASE(mistakes_are_named)
{
  const auto message = [](const std::vector<std::string> &changes)
  {
    auto overrides = two_scales;
    overrides.insert(overrides.end(), changes.begin(), changes.end());
    try
    {
      linear_case(overrides);
    }
    catch (const UserError &error)
    {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto contains = [](const std::string &text, const std::string &part)
  { return text.find(part) != std::string::npos; };
  BOOST_TEST(message({}).empty());
  BOOST_TEST(contains(message({"Hyperparameters/noise/Parameter=Measurements/u/Noise"}), "no number"));
  BOOST_TEST(
      contains(message({"Hyperparameters/noise/Parameter=Measurements/v/gaussian/Standard deviation"}), "no number"));
  BOOST_TEST(contains(message({"Hyperparameters/sigma/pc upper/Limit=0"}), "positive Limit"));
  BOOST_TEST(contains(message({"Inference/Method=map"}), "Hyperparameters/Names"));
}

BOOST_AUTO_TEST_SUITE_END()
