#include <deal.II/base/mpi.h>

#include <boost/test/results_reporter.hpp>
#include <boost/test/unit_test.hpp>
#include <exception>
#include <iostream>
#include <string>

/// The tests run on every number of ranks. All ranks run the same tests in the same order, since most of them are
/// collective; a failure on any rank is a failure of the run.
namespace
{
  namespace ut = boost::unit_test;

  /// Says on which rank a check failed, and ends the run where going on could hang: a rank that leaves a test early
  /// would never meet the others in their next reduction.
  class RankObserver : public ut::test_observer
  {
  public:
    RankObserver()
    {
      MPI_Comm_rank(MPI_COMM_WORLD, &rank);
      MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    }

    /// One summary is enough; the checks that failed are printed by every rank.
    void test_unit_start(const ut::test_unit &) override
    {
      if (rank != 0)
        ut::results_reporter::set_level(ut::NO_REPORT);
    }

    void assertion_result(ut::assertion_result result) override
    {
      if (result == ut::AR_FAILED && n_ranks > 1)
        say("  (on rank " + place() + ")\n");
    }

    void exception_caught(const boost::execution_exception &) override { leave(); }
    void test_unit_aborted(const ut::test_unit &) override { leave(); }

    /// After Boost's own observers: they have printed the reason by then.
    int priority() override { return 100; }

  private:
    void leave() const
    {
      if (n_ranks == 1)
        return;
      say("Rank " + place() + " left a test early: the run is ended.\n");
      MPI_Abort(MPI_COMM_WORLD, 1);
    }

    std::string place() const { return std::to_string(rank) + " of " + std::to_string(n_ranks); }

    /// In one piece, so that the ranks do not cut into each other's lines.
    static void say(const std::string &text) { std::cerr << text << std::flush; }

    int rank = 0, n_ranks = 1;
  };

  bool initialize_tests()
  {
    static RankObserver observer;
    ut::framework::register_observer(observer);
    return true;
  }
} // namespace

int main(int argc, char **argv)
{
  dealii::Utilities::MPI::MPI_InitFinalize mpi(argc, argv, 1);
  try
  {
    const int result = ut::unit_test_main(&initialize_tests, argc, argv);
    int worst        = 0;
    MPI_Allreduce(&result, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    return worst;
  }
  catch (const std::exception &error)
  {
    std::cerr << error.what() << std::endl;
  }
  catch (...)
  {
    std::cerr << "An unknown exception left the tests." << std::endl;
  }
  MPI_Abort(MPI_COMM_WORLD, 1);
  return 1;
}
