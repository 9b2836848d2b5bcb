// ranks: 3 4
#include "words.h"

#include <boost/test/unit_test.hpp>
#include <varfield/physics.h>

/// Every registered equation on all ranks and on one alone, in the same test.
BOOST_AUTO_TEST_SUITE(equations)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  /// Numbers that do not depend on who has which unknowns: predictions, the potential, its slopes along some draws of
  /// the prior, and what the curvature makes of them.
  template <int dim>
  std::vector<double> answer(const std::string &text, MPI_Comm comm)
  {
    const auto problem = case_from_text<dim>(text, {}, comm);
    const auto &prior  = problem->density().prior();
    const Vector m     = prior.draw({3, Stream::verification, 0, 0.5});
    const auto at      = problem->density().linearize(m);
    const auto state   = problem->model().solve(m);
    BOOST_REQUIRE(at);
    BOOST_REQUIRE(state);
    std::vector<double> numbers(state->predictions.begin(), state->predictions.end());
    numbers.push_back(at->potential);
    MultiVector directions(prior.layout().n_local(), 4);
    for (Index k = 0; k < directions.cols(); ++k)
      directions.col(k) = prior.draw({4, Stream::verification, static_cast<std::uint32_t>(k), 1.});
    const MultiVector curvature = at->apply_curvature(directions);
    for (Index k = 0; k < directions.cols(); ++k)
    {
      numbers.push_back(prior.layout().dot(at->gradient, directions.col(k)));
      for (Index j = 0; j < directions.cols(); ++j)
        numbers.push_back(prior.layout().dot(directions.col(j), curvature.col(k)));
    }
    return numbers;
  }

  template <int dim>
  void check_all()
  {
    for (const auto &equation : Registry<Physics<dim>>::names())
      BOOST_TEST_CONTEXT(equation << " in " << dim << "D")
      {
        Words<dim> words;
        words.mesh          = "set Refinements towards boundaries = right: 1";
        const auto text     = words.text(equation);
        const auto together = answer<dim>(text, MPI_COMM_WORLD);
        std::vector<double> alone;
        if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
          alone = answer<dim>(text, MPI_COMM_SELF);
        alone = dealii::Utilities::MPI::broadcast(MPI_COMM_WORLD, alone, 0);
        BOOST_REQUIRE_EQUAL(together.size(), alone.size());
        for (std::size_t i = 0; i < alone.size(); ++i)
          BOOST_TEST(std::abs(together[i] - alone[i]) < 1e-8 * (1. + std::abs(alone[i])),
                     "number " << i << ": " << together[i] << ", alone " << alone[i]);
      }
  }

  BOOST_AUTO_TEST_CASE(on_all_ranks_as_on_one)
  {
    check_all<2>();
    check_all<3>();
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
