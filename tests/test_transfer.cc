// ranks: 1 2
#include "cases.h"
#include "dense_models.h"

#include <boost/test/unit_test.hpp>
#include <varfield/transfer.h>

/// From mesh to mesh: interpolation between nested meshes with hanging nodes, parameter vectors through the prior,
/// posteriors, and the search for the MAP point from coarse to fine.
BOOST_AUTO_TEST_SUITE(transfer)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  constexpr unsigned int twice_refined = 6; // 16 × 16 cells are level 4

  /// Two nodal fields, the first held at zero on the boundary, the second with a trend; refined twice at one side.
  std::string nested_fields()
  {
    return "subsection Mesh\nset Subdivisions = 16, 16\nset Refinements towards boundaries = left: 2\nend\n"
           "subsection Fields\nset Names = a, b\nsubsection a\nsubsection spde\nset Standard deviation = 0.5\n"
           "set Correlation length = 0.4\nset Mass = consistent\nset Boundary condition = dirichlet\nend\nend\n"
           "subsection b\nset Transform = identity\nset Trend = linear\n"
           "subsection spde\nset Standard deviation = 0.5\nset Correlation length = 0.4\nend\nend\nend\n"
           "subsection Physics\nset Source = 1\nset Dirichlet = all: field(b)\nsubsection diffusion\n"
           "set Conductivity = a\nend\nend\nsubsection Measurements\nset Names = u\nsubsection u\n"
           "set File = parameter_files/linear_gaussian/A_observations.csv\nend\nend\n";
  }

  Vector plane(const FieldSpace<2> &space)
  {
    Vector values(space.n_owned());
    for (Index i = 0; i < values.size(); ++i)
      values[i] = space.points()[static_cast<std::size_t>(i)][0] + 2. * space.points()[static_cast<std::size_t>(i)][1];
    return space.extract(values);
  }

  BOOST_AUTO_TEST_CASE(ancestors_are_nested_and_interpolation_keeps_planes)
  {
    const auto fine = case_from_text<2>(nested_fields());
    BOOST_TEST(fine->mesh().triangulation().n_global_levels() == twice_refined + 1u);
    auto cells = fine->mesh().triangulation().n_global_active_cells();
    for (const unsigned int level : {5u, 4u, 3u})
    {
      const auto coarse = fine->coarser(level);
      BOOST_REQUIRE(coarse);
      BOOST_TEST(coarse->mesh().triangulation().n_global_levels() == level + 1u);
      BOOST_TEST(coarse->mesh().triangulation().n_global_active_cells() < cells);
      cells            = coarse->mesh().triangulation().n_global_active_cells();
      const auto &from = coarse->fields()[1].space(), &to = fine->fields()[1].space();
      const Interpolation<2> interpolation(from.dof_handler(), coarse->mesh(), to.dof_handler());
      const MultiVector difference = to.extract(interpolation.apply(from.expand(plane(from)))) - plane(to);
      BOOST_TEST(dealii::Utilities::MPI::max(difference.size() > 0 ? difference.cwiseAbs().maxCoeff() : 0.,
                                             MPI_COMM_WORLD) < 1e-12);
    }
  }

  BOOST_AUTO_TEST_CASE(parameter_vectors_keep_their_prior_norm)
  {
    const auto fine = case_from_text<2>(nested_fields());
    double last     = 1.;
    for (const unsigned int level : {3u, 4u, 5u})
    {
      const auto coarse = fine->coarser(level);
      const auto &from = coarse->fields().prior(), &to = fine->fields().prior();
      const MultiVector modes = from.leading_modes(4); // of unit norm
      const FieldTransfer<2> transfer(coarse->fields(), fine->fields());
      const PrimalDual carried = transfer.prolongate(from.precision(modes));
      BOOST_TEST((to.precision(carried.primal) - carried.dual).norm() <= 1e-7 * carried.dual.norm() + 1e-12);
      const Matrix gram  = to.layout().gram(carried.primal, carried.dual);
      const double error = (gram - Matrix::Identity(gram.rows(), gram.cols())).norm();
      BOOST_TEST_MESSAGE("level " << level << ": error of the norms " << error);
      BOOST_TEST(error < 0.5 * last); // second order would be a quarter
      last = error;
      // The trend, the last three entries of the second field on the first rank, stays as it is.
      const MultiVector trend      = coarse->fields().part(modes, 1).bottomRows(from.layout().offset() == 0 ? 3 : 0);
      const MultiVector fine_trend = fine->fields().part(carried.primal, 1).bottomRows(trend.rows());
      BOOST_TEST((trend - fine_trend).norm() < 1e-10);
    }
  }

  /// Rᵀ M_fine R = M_coarse with the interpolation R: white noise stays white noise. Mc is the load of A⁻¹Mc.
  BOOST_AUTO_TEST_CASE(restricted_white_noise_has_the_coarse_mass_as_covariance)
  {
    const auto fine   = case_from_text<2>(nested_fields());
    const auto coarse = fine->coarser(4);
    const auto &from = coarse->fields()[0].space(), &to = fine->fields()[0].space();
    const auto times_mass = [](const FieldSet<2> &fields, const MultiVector &sources)
    {
      MultiVector all = MultiVector::Zero(fields.prior().layout().n_local(), sources.cols());
      all.middleRows(fields.offset(0), sources.rows()) = sources;
      return fields.prior().load(fields.prior().from_source(all).primal);
    };
    const Vector c = standard_normal(from.layout(), {1, Stream::verification, 0, 1.});
    const Interpolation<2> interpolation(from.dof_handler(), coarse->mesh(), to.dof_handler());
    const MultiVector fine_load = times_mass(fine->fields(), to.extract(interpolation.apply(from.expand(c))));
    const MultiVector expected  = times_mass(coarse->fields(), c);
    const MultiVector found     = FieldTransfer<2>(coarse->fields(), fine->fields()).restrict_load(fine_load);
    const auto &layout          = coarse->fields().prior().layout();
    BOOST_TEST(layout.column_dots(found - expected, found - expected)[0] <
               1e-16 * layout.column_dots(expected, expected)[0]);
    // A draw is what its load gives.
    const auto &prior            = fine->fields().prior();
    const Vector xi              = standard_normal(prior.noise_layout(), {1, Stream::verification, 1, 1.});
    const MultiVector difference = prior.from_load(prior.random_load(xi)) - prior.apply_factor(xi);
    BOOST_TEST(prior.layout().column_dots(difference, difference)[0] < 1e-16);
  }

  const std::vector<std::string> refined_ld100{"Mesh/Refinements towards boundaries=left: 1",
                                               "Inference/Coarsest cells=50"};

  BOOST_AUTO_TEST_CASE(a_posterior_keeps_its_divergence_from_the_prior)
  {
    const auto fine    = shipped_case<2>("ld100/ld100", refined_ld100);
    const auto coarse  = fine->coarser(4);
    const auto laplace = [](Case<2> &problem, Family &family, const Vector &m)
    {
      const auto at = problem.density().linearize(m);
      family.initialize(problem.fields().prior(), 1);
      family.set_mean(m);
      family.natural_step(Curvature(problem.density(), *at), 1.);
    };
    Family &from = *coarse->inference().family, &to = *fine->inference().family;
    laplace(*coarse, from, coarse->fields().prior().draw({1, Stream::verification, 0, 0.5}));
    const FieldTransfer<2> transfer(coarse->fields(), fine->fields());
    to.initialize(fine->fields().prior(), 1);
    to.prolongate(from, transfer);
    BOOST_TEST(to.rank() == from.rank());
    BOOST_TEST(to.kl() == from.kl(), boost::test_tools::tolerance(0.03));
    const auto correction = to.low_rank_correction();
    const Matrix gram     = fine->fields().prior().layout().gram(correction->modes, correction->dual);
    BOOST_TEST((gram - Matrix::Identity(gram.rows(), gram.cols())).norm() < 1e-8);
    const auto reference = fine->inference().family->clone();
    laplace(*fine, *reference, to.mean());
    const Vector exact = reference->low_rank_correction()->shrinkage;
    BOOST_TEST((correction->shrinkage.head(10) - exact.head(10)).norm() < 0.01);
  }

  /// The sum over the meshes has the expectation of the finest mesh, whatever the coarser ones give.
  BOOST_AUTO_TEST_CASE(averages_over_several_meshes_agree_with_those_on_the_finest)
  {
    const auto fine    = shipped_case<2>("ld100/ld100", {"Mesh/Subdivisions=32,32", "Inference/ELBO error=0.4"});
    const auto coarse  = fine->coarser(4);
    const auto coarser = fine->coarser(3);
    Vector m           = fine->start();
    fine->inference().map.minimize(fine->density(), m, {});
    Family &family = *fine->inference().family;
    family.initialize(fine->fields().prior(), 1);
    family.set_mean(m);
    family.natural_step(Curvature(fine->density(), *fine->density().linearize(m)), 1.);
    Report report(fine->groups(), 0.);
    const Silence silence;
    const Averages one   = average_over_posterior<2>({fine.get()}, family, false, report);
    const Averages three = average_over_posterior<2>({coarser.get(), coarse.get(), fine.get()}, family, false, report);
    BOOST_TEST(one.draws.size() == 1u);
    BOOST_REQUIRE(three.draws.size() > 1u);
    BOOST_TEST(three.draws[0].draws < one.draws[0].draws);
    BOOST_TEST_MESSAGE("one mesh: " << one.elbo.elbo.value << " +- " << one.elbo.elbo.error << " from "
                                    << one.draws[0].draws << " draws; " << three.draws.size()
                                    << " meshes: " << three.elbo.elbo.value << " +- " << three.elbo.elbo.error << ", "
                                    << three.draws[0].draws << " draws on the finest");
    BOOST_TEST(one.elbo.elbo.error <= 0.4);
    BOOST_TEST(three.elbo.elbo.error <= 0.4);
    const auto agree = [](const Estimate &a, const Estimate &b)
    { return std::abs(a.value - b.value) < 4. * std::hypot(a.error, b.error); };
    BOOST_TEST(agree(one.elbo.elbo, three.elbo.elbo));
    BOOST_TEST(agree(one.elbo.misfit, three.elbo.misfit));
    // Means of pairs of draws, nearly free of the linear part: a fifth of the standard deviation is many errors.
    const Vector shift = (one.prediction_mean - three.prediction_mean).cwiseQuotient(one.prediction_deviation);
    BOOST_TEST(shift.cwiseAbs().maxCoeff() < 0.2);
    const Vector ratio = three.prediction_deviation.cwiseQuotient(one.prediction_deviation);
    BOOST_TEST(ratio.minCoeff() > 0.7);
    BOOST_TEST(ratio.maxCoeff() < 1.3);
    const auto square = [&](const MultiVector &x)
    { return dealii::Utilities::MPI::sum(x.squaredNorm(), fine->mesh().comm()); };
    BOOST_TEST(square(one.state_mean - three.state_mean) < 0.04 * square(one.state_deviation));
    BOOST_TEST(square(one.state_deviation - three.state_deviation) < 0.04 * square(one.state_deviation));
  }

  BOOST_AUTO_TEST_CASE(the_search_from_coarse_to_fine_ends_at_the_same_point)
  {
    std::vector<std::string> settings = refined_ld100;
    settings.push_back("Inference/Method=map");
    auto by_hierarchy   = shipped_case<2>("ld100/ld100", settings);
    const auto fast     = infer_silently(by_hierarchy);
    const double solves = by_hierarchy->density().cost().factorizations;
    settings.push_back("Inference/Coarse to fine=false");
    auto directly   = shipped_case<2>("ld100/ld100", settings);
    const auto slow = infer_silently(directly);
    BOOST_TEST((fast.map.converged && slow.map.converged));
    BOOST_TEST(fast.map_objective == slow.map_objective, boost::test_tools::tolerance(1e-9));
    const auto &layout      = directly->fields().prior().layout();
    const Vector difference = fast.parameters - slow.parameters;
    BOOST_TEST(std::sqrt(layout.dot(difference, difference) / layout.dot(slow.parameters, slow.parameters)) < 1e-6);
    BOOST_TEST(solves < directly->density().cost().factorizations);
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
