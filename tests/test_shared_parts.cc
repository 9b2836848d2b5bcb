// ranks: 1 2
#include "linear_case.h"

#include <boost/test/unit_test.hpp>

/// Cases that are made from each other have in common what is costly and the same, and nothing else.
BOOST_AUTO_TEST_SUITE(shared_parts)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  struct Shared
  {
    bool mesh, fields, model;
  };

  bool operator==(const Shared &a, const Shared &b)
  {
    return a.mesh == b.mesh && a.fields == b.fields && a.model == b.model;
  }

  /// What a variant with this entry has in common with the case.
  Shared shared_with(const Case<2> &problem, const std::string &change)
  {
    const auto variant = problem.with_overrides({change});
    return {&variant->mesh() == &problem.mesh(), &variant->fields() == &problem.fields(),
            &variant->model() == &problem.model()};
  }

  BOOST_AUTO_TEST_CASE(as_far_as_settings_agree)
  {
    const auto problem = linear_case({});
    const Shared everything{true, true, true}, nothing{false, false, false}, mesh{true, false, false},
        fields{true, true, false};
    BOOST_CHECK(shared_with(*problem, "Random seed=7") == everything);
    BOOST_CHECK(shared_with(*problem, "Inference/ELBO error=0.2") == everything);
    BOOST_CHECK(shared_with(*problem, "Measurements/u/gaussian/Standard deviation=0.02") == everything);
    BOOST_CHECK(shared_with(*problem, "Fields/f/Truth=1") == everything);
    BOOST_CHECK(shared_with(*problem, "Physics/Degree=2") == fields);
    BOOST_CHECK(shared_with(*problem, "Fields/f/spde/Standard deviation=2") == mesh);
    BOOST_CHECK(shared_with(*problem, "Linear solver/Tolerance=1e-9") == mesh);
    BOOST_CHECK(shared_with(*problem, "Mesh/Subdivisions=8, 8") == nothing);
    BOOST_CHECK(shared_with(*problem, "Mesh/Refinements towards sensors=1") == nothing);
  }

  BOOST_AUTO_TEST_CASE(answers_are_the_same)
  {
    const auto problem = linear_case({});
    const Vector m     = problem->density().prior().draw({3, Stream::prior_draw, 0, 1.});
    problem->density().potential(m);
    const auto shared = problem->with_overrides({"Measurements/u/gaussian/Standard deviation=0.02"});
    const auto alone  = linear_case({"Measurements/u/gaussian/Standard deviation=0.02"});
    BOOST_CHECK_EQUAL(*shared->density().potential(m), *alone->density().potential(m));
    // Each counts its own work.
    BOOST_CHECK_EQUAL(shared->density().cost().state_solves, 1.);
    BOOST_CHECK_EQUAL(alone->density().cost().state_solves, 1.);
  }

  BOOST_AUTO_TEST_CASE(held_until_others_are)
  {
    const auto parts = std::make_shared<SharedParts>();
    std::weak_ptr<int> first;
    {
      const auto part = std::make_shared<int>(1);
      first           = part;
      parts->add("number", "one", part);
      parts->hold({part});
    }
    BOOST_CHECK_EQUAL(*parts->find<int>("number", "one"), 1);
    BOOST_CHECK(!parts->find<int>("number", "two"));
    BOOST_CHECK(!parts->find<int>("word", "one"));
    parts->hold({});
    BOOST_CHECK(first.expired());
    BOOST_CHECK(!parts->find<int>("number", "one"));
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
