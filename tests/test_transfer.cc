// ranks: 1 3
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

  BOOST_AUTO_TEST_CASE(the_search_from_coarse_to_fine_ends_at_the_same_point)
  {
    std::vector<std::string> settings = refined_ld100;
    settings.push_back("Inference/Method=map");
    auto by_hierarchy   = shipped_case<2>("ld100/ld100", settings);
    const auto fast     = infer_silently(*by_hierarchy);
    const double solves = by_hierarchy->density().cost().factorizations;
    settings.push_back("Inference/Coarse to fine=false");
    auto directly   = shipped_case<2>("ld100/ld100", settings);
    const auto slow = infer_silently(*directly);
    BOOST_TEST((fast.map.converged && slow.map.converged));
    BOOST_TEST(fast.map_objective == slow.map_objective, boost::test_tools::tolerance(1e-9));
    const auto &layout      = directly->fields().prior().layout();
    const Vector difference = fast.parameters - slow.parameters;
    BOOST_TEST(std::sqrt(layout.dot(difference, difference) / layout.dot(slow.parameters, slow.parameters)) < 1e-6);
    BOOST_TEST(solves < directly->density().cost().factorizations);
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
