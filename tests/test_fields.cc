// ranks: 1 3
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <set>
#include <varfield/checkpoint.h>

/// The parameter vector of several fields with all that can make their numbering irregular, trends and means, and
/// pointwise variances.
BOOST_AUTO_TEST_SUITE(fields)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  void write_on_first_rank(const std::string &path, const std::string &text)
  {
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(path) << text;
    MPI_Barrier(MPI_COMM_WORLD);
  }

  /// Two nodal fields on a locally refined mesh, the first zero on the boundary, the second with a trend.
  std::string two_fields(const std::string &second = "set Trend = linear\nset Trend standard deviations = 2, 3\n")
  {
    return "subsection Mesh\nset Subdivisions = 6, 6\nset Refinements towards boundaries = left: 1\nend\n"
           "subsection Fields\nset Names = a, b\nsubsection a\nsubsection spde\nset Standard deviation = 0.5\n"
           "set Correlation length = 0.4\nset Boundary condition = dirichlet\nend\nend\nsubsection b\n"
           "set Transform = identity\n" +
           second +
           "subsection spde\nset Standard deviation = 0.5\nset Correlation length = 0.4\nend\nend\nend\n"
           "subsection Physics\nset Source = 1\nset Dirichlet = all: field(b)\nsubsection diffusion\n"
           "set Conductivity = a\nend\nend\nsubsection Measurements\nset Names = u\nsubsection u\n"
           "set File = parameter_files/linear_gaussian/A_observations.csv\nend\nend\n";
  }

  BOOST_AUTO_TEST_CASE(every_entry_has_a_key_of_its_own)
  {
    const auto problem = case_from_text<2>(two_fields());
    for (const Layout *layout : {&problem->fields().prior().layout(), &problem->fields().prior().noise_layout()})
    {
      std::set<std::uint64_t> keys;
      for (const auto &part : dealii::Utilities::MPI::all_gather(layout->comm(), layout->keys()))
        keys.insert(part.begin(), part.end());
      BOOST_TEST(keys.size() == static_cast<std::size_t>(layout->n_global()));
      BOOST_TEST(*keys.rbegin() + 1 == layout->key_bound());
    }
  }

  BOOST_AUTO_TEST_CASE(a_checkpoint_comes_back)
  {
    const std::string path = std::filesystem::absolute("checkpoint.csv").string();
    const auto problem     = case_from_text<2>(two_fields());
    const auto &prior      = problem->fields().prior();
    const Vector m         = prior.draw({3, Stream::verification, 0, 1.});
    write_vector(path, prior.layout(), m);
    BOOST_TEST((read_vector(path, prior.layout()) - m).norm() == 0.);
    // And it is where a run begins.
    const auto again = case_from_text<2>(two_fields(), {"Inference/Start from=" + path});
    BOOST_TEST((again->start() - m).norm() == 0.);
    BOOST_TEST(problem->start().norm() == 0.);
  }

  BOOST_AUTO_TEST_CASE(trends_and_means)
  {
    const std::string file = std::filesystem::absolute("mean.csv").string();
    write_on_first_rank(file, "x,y,value\n0,0,1\n1,0,3\n0,1,2\n1,1,4\n"); // 1 + 2x + y
    for (const auto &[trend, n_trend] : {std::pair<std::string, int>("constant", 1), {"linear", 3}})
    {
      const auto problem = case_from_text<2>(
          two_fields("set Trend = " + trend + "\nset Trend standard deviations = 2\nset Mean file = " + file + "\n"));
      const auto &field  = problem->fields()[1];
      const auto &points = field.space().points();
      const auto &prior  = *field.prior();
      BOOST_TEST(prior.layout().n_global() == field.space().layout().n_global() + n_trend);
      for (std::size_t i = 0; i < points.size(); ++i)
        BOOST_TEST(std::abs(field.mean()(static_cast<Index>(i)) - (1. + 2. * points[i][0] + points[i][1])) < 1e-13);
      // The first rank owns the trend's coefficients, the last entries there: 1, and x and y from the middle.
      Vector coefficients = Vector::Zero(field.n_local());
      if (field.n_local() > field.space().layout().n_local())
        for (int t = 0; t < n_trend; ++t)
          coefficients(field.space().layout().n_local() + t) = 10. + t;
      const Vector values = field.expand(coefficients).col(0);
      for (std::size_t i = 0; i < points.size(); ++i)
        BOOST_TEST(std::abs(values(static_cast<Index>(i)) -
                            (n_trend == 1 ? 10. : 10. + 11. * (points[i][0] - 0.5) + 12. * (points[i][1] - 0.5))) <
                   1e-12);
      const double variance =
          prior.layout().dot(coefficients, Vector(prior.precision(coefficients))); // cᵀC⁻¹c with C = 4 I
      BOOST_TEST(std::abs(variance - (n_trend == 1 ? 100. : 100. + 121. + 144.) / 4.) < 1e-10);
    }
  }

  /// By draws, the variance of a posterior that is much narrower than the prior has the relative error that is stated.
  BOOST_AUTO_TEST_CASE(estimated_variances_have_the_error_that_is_stated)
  {
    const auto problem = shipped_case<2>("ld100/ld100", {"Mesh/Subdivisions=16, 16"});
    const auto &fields = problem->fields();
    const auto family  = create<Family>("low rank", {});
    family->initialize(fields.prior(), 1);
    const auto at = problem->density().linearize(family->mean());
    BOOST_REQUIRE(at);
    family->natural_step(Curvature(problem->density(), *at), 1.);
    const auto &groups           = problem->groups();
    const auto [prior, exact]    = pointwise_variances<2>(fields, 0, groups, family.get(), {20000, 1, 1, {}});
    const auto [rough, estimate] = pointwise_variances<2>(fields, 0, groups, family.get(), {0, 500, 1, {}});
    const auto worst_of          = [&](const Vector &a, const Vector &b)
    { return dealii::Utilities::MPI::max((a.array() / b.array() - 1.).abs().maxCoeff(), MPI_COMM_WORLD); };
    BOOST_TEST(prior.relative_error == 0.);
    BOOST_TEST(std::abs(estimate.relative_error - std::sqrt(2. / 500.)) < 1e-12);
    BOOST_TEST(dealii::Utilities::MPI::min((exact.values.array() / prior.values.array()).minCoeff(), MPI_COMM_WORLD) <
               0.1);
    // The largest of 289 correlated errors.
    BOOST_TEST(worst_of(rough.values, prior.values) < 4. * rough.relative_error);
    BOOST_TEST(worst_of(estimate.values, exact.values) < 4. * estimate.relative_error);
    BOOST_TEST(worst_of(estimate.values, exact.values) > 0.);
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
