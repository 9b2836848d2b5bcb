// ranks: 2
#include "dense_models.h"
#include "words.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <tuple>
#include <varfield/output.h>
#include <varfield/verification.h>
#include <varfield/weak_form.h>

/// Derivatives of every registered PDE, in every way in which a field can enter. The cases are made from the slots that
/// a PDE declares: a new one is tested without an edit here.
BOOST_AUTO_TEST_SUITE(derivatives)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  // Equations that reach what the shipped ones do not: registered here, they run through all tests below.

  /// Two states that exchange: a double-porosity medium.
  template <int dim>
  struct Exchange
  {
    using S                      = Sizes<dim, 2, 2>;
    static constexpr bool linear = true, symmetric = true;
    static std::vector<std::string> state_names() { return {"fracture", "matrix"}; }
    static std::vector<Slot> slots() { return {{"Conductivity", "", ""}, {"Rate", "", ""}}; }
    template <class N>
    void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
    {
      r.f0[0] = a.k[1] * (a.u[0] - a.u[1]);
      r.f0[1] = a.k[1] * (a.u[1] - a.u[0]);
      for (int d = 0; d < dim; ++d)
      {
        r.f1[0][d] = a.k[0] * a.grad_u[0][d];
        r.f1[1][d] = 0.1 * a.grad_u[1][d];
      }
    }
  };
  const PdeRegistration<Exchange> exchange("exchange", "Of the tests.");

  /// −∇·((1 + u²)∇u) + k u³ = f: Newton's method, an unsymmetric matrix.
  template <int dim>
  struct Nonlinear
  {
    using S                      = Sizes<dim, 1, 1>;
    static constexpr bool linear = false, symmetric = false;
    static std::vector<std::string> state_names() { return {"u"}; }
    static std::vector<Slot> slots() { return {{"Reaction", "", ""}}; }
    template <class N>
    void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
    {
      r.f0[0] = a.k[0] * a.u[0] * a.u[0] * a.u[0];
      for (int d = 0; d < dim; ++d)
        r.f1[0][d] = (1. + a.u[0] * a.u[0]) * a.grad_u[0][d];
    }
  };
  const PdeRegistration<Nonlinear> nonlinear("nonlinear", "Of the tests.");

  /// −Δu + ∇k·∇u = f: advection by the gradient of a field.
  template <int dim>
  struct Drift
  {
    using S                      = Sizes<dim, 1, 1, true>;
    static constexpr bool linear = true, symmetric = false;
    static std::vector<std::string> state_names() { return {"u"}; }
    static std::vector<Slot> slots() { return {{"Potential", "", ""}}; }
    template <class N>
    void operator()(const Arguments<S, N> &a, Fluxes<S, N> &r) const
    {
      for (int d = 0; d < dim; ++d)
      {
        r.f0[0] += a.grad_k[0][d] * a.grad_u[0][d];
        r.f1[0][d] = a.grad_u[0][d];
      }
    }
  };
  const PdeRegistration<Drift> drift("drift", "Of the tests.");

  template <int dim>
  void check(const std::string &equation, const Words<dim> &words)
  {
    const auto problem = case_from_text<dim>(words.text(equation));
    for (const auto &result : verify(*problem))
      BOOST_TEST(result.passed, equation << " in " << dim << "D: " << result.name << ": " << result.observed
                                         << ", wanted " << result.wanted);
  }

  template <int dim>
  void check_all(const Words<dim> &words)
  {
    for (const auto &equation : Registry<Physics<dim>>::names())
      check(equation, words);
  }

  /// Of every kind (linear or not, symmetric or not, with or without gradients of its coefficients, one state or
  /// several) the equation with the fewest states.
  template <int dim>
  std::vector<std::string> one_of_each_kind()
  {
    std::map<std::tuple<bool, bool, bool, bool>, std::pair<std::size_t, std::string>> found;
    for (const auto &equation : Registry<Physics<dim>>::names())
    {
      const auto physics       = Registry<Physics<dim>>::members().at(equation).create();
      const std::size_t states = physics->state_names().size();
      const std::tuple kind{physics->is_linear(), physics->is_symmetric(), physics->uses_field_gradients(), states > 1};
      const auto [known, is_new] = found.insert({kind, {states, equation}});
      if (!is_new && states < known->second.first)
        known->second = {states, equation};
    }
    std::vector<std::string> names;
    for (const auto &[kind, equation] : found)
      names.push_back(equation.second);
    return names;
  }

  template <int dim>
  void check_kinds(const Words<dim> &words)
  {
    for (const auto &equation : one_of_each_kind<dim>())
      check(equation, words);
  }

  template <int dim>
  void check_variants()
  {
    BOOST_TEST(one_of_each_kind<dim>().size() >= 5u);
    check_all(Words<dim>());
    for (const std::string transform : {"logit", "identity"})
    {
      Words<dim> words;
      words.transform = transform;
      BOOST_TEST_CONTEXT(transform)
      check_kinds(words);
    }
    // A piecewise constant field has no gradient that an equation could use.
    Words<dim> zonal;
    zonal.space = "blocks";
    for (const auto &equation : one_of_each_kind<dim>())
      if (!Registry<Physics<dim>>::members().at(equation).create()->uses_field_gradients())
        BOOST_TEST_CONTEXT("zonal")
        {
          check(equation, zonal);
        }
    Words<dim> hanging;
    hanging.mesh = "set Refinements towards boundaries = right: 1";
    BOOST_TEST_CONTEXT("hanging nodes")
    check_kinds(hanging);
    Words<dim> quadratic;
    quadratic.degree = 2;
    quadratic.n      = dim == 2 ? 4 : 2;
    BOOST_TEST_CONTEXT("Q2")
    check_kinds(quadratic);
  }

  BOOST_AUTO_TEST_CASE(every_pde_in_2d)
  {
    check_variants<2>();
  }
  BOOST_AUTO_TEST_CASE(every_pde_in_3d)
  {
    check_variants<3>();
  }

  const std::string two_experiments =
      "subsection Experiments\nset Names = first, second\nsubsection first\n"
      "set Source = 5\nend\nsubsection second\nset Dirichlet = left: 1; right: field(a)\n"
      "end\nend\n";

  /// The experiments above have a source for one component.
  template <int dim>
  bool takes(const std::string &equation, const Words<dim> &words)
  {
    return words.experiments.empty() ||
           Registry<Physics<dim>>::members().at(equation).create()->state_names().size() == 1;
  }

  BOOST_AUTO_TEST_CASE(several_experiments)
  {
    Words<2> words;
    words.experiments = two_experiments;
    for (const auto &equation : one_of_each_kind<2>())
      if (takes(equation, words))
        check(equation, words);
  }

  /// Potential, gradient and curvature of a case at a point, whole.
  template <int dim>
  struct AtOnePoint
  {
    explicit AtOnePoint(const std::string &text)
    {
      const auto problem = case_from_text<dim>(text);
      const auto &prior  = problem->density().prior();
      const auto at      = problem->density().linearize(prior.draw({3, Stream::verification, 0, 0.5}));
      BOOST_REQUIRE(at);
      potential = at->potential;
      gradient  = prior.layout().gather(at->gradient);
      MultiVector directions(prior.layout().n_local(), 4);
      for (Index k = 0; k < directions.cols(); ++k)
        directions.col(k) = prior.draw({4, Stream::verification, static_cast<std::uint32_t>(k), 1.});
      curvature = prior.layout().gather(at->apply_curvature(directions));
    }

    void check_equal(const AtOnePoint &other, double tolerance) const
    {
      BOOST_TEST(std::abs(potential / other.potential - 1.) < tolerance);
      BOOST_TEST(relative_difference(gradient, other.gradient) < tolerance);
      BOOST_TEST(relative_difference(curvature, other.curvature) < tolerance);
    }

    double potential;
    Matrix gradient, curvature;
  };

  /// Of the laws that are linear in the state the derivatives of many states are found together: the same as one by
  /// one.
  template <int dim>
  void check_many_experiments(Words<dim> words)
  {
    for (const auto &equation : one_of_each_kind<dim>())
      if (const auto physics = Registry<Physics<dim>>::members().at(equation).create(); physics->is_linear())
        BOOST_TEST_CONTEXT(equation << " in " << dim << "D, degree " << words.degree)
        {
          words.experiments = "subsection Experiments\nset Names = first, second\nend\n";
          const AtOnePoint<dim> few(words.text(equation));
          std::string names = "first, second";
          for (std::size_t e = 0; e < physics->state_names().size() * std::pow(words.degree + 1, dim); ++e)
            names += ", more " + std::to_string(e);
          words.experiments = "subsection Experiments\nset Names = " + names + "\nend\n";
          AtOnePoint<dim>(words.text(equation)).check_equal(few, 1e-11);
        }
  }

  BOOST_AUTO_TEST_CASE(many_experiments)
  {
    Words<2> words;
    words.mesh = "set Refinements towards boundaries = right: 1";
    check_many_experiments(words);
    words.degree = 2;
    check_many_experiments(words);
    Words<3> in_3d;
    in_3d.n = 2;
    check_many_experiments(in_3d);
  }

  /// On a mesh that was refined once, solved by multigrid.
  std::unique_ptr<Case<2>> iterative_case(const std::string &equation, const std::string &extra = "")
  {
    Words<2> words;
    words.n     = 24;
    words.mesh  = "set Global refinements = 1";
    words.extra = extra;
    return case_from_text<2>(words.text(equation), {"Linear solver/Type=multigrid"});
  }

  std::string route(const std::string &name)
  {
    return "subsection Inference\nsubsection Curvature\nset Route = " + name + "\nend\nend\n";
  }

  template <int dim>
  void check_routes(Words<dim> words)
  {
    for (const auto &equation : one_of_each_kind<dim>())
      if (takes(equation, words))
        BOOST_TEST_CONTEXT(equation << " in " << dim << "D")
        {
          words.extra = route("data space");
          const AtOnePoint<dim> data(words.text(equation));
          words.extra = route("parameter space");
          data.check_equal(AtOnePoint<dim>(words.text(equation)), 1e-10);
        }
  }

  BOOST_AUTO_TEST_CASE(both_routes_give_the_same_curvature)
  {
    check_routes(Words<2>());
    check_routes(Words<3>());
    Words<2> hanging;
    hanging.mesh        = "set Refinements towards boundaries = right: 1";
    hanging.experiments = two_experiments;
    check_routes(hanging);
  }

  template <int dim>
  void check_solvers(unsigned int n)
  {
    Words<dim> words;
    words.n = n;
    for (const auto &equation : one_of_each_kind<dim>())
      BOOST_TEST_CONTEXT(equation << " in " << dim << "D")
      {
        words.extra = "subsection Linear solver\nset Type = direct\nend\n";
        const AtOnePoint<dim> direct(words.text(equation));
        words.extra = "subsection Linear solver\nset Type = multigrid\nset Tolerance = 1e-11\nend\n";
        AtOnePoint<dim>(words.text(equation)).check_equal(direct, 1e-8);
      }
  }

  BOOST_AUTO_TEST_CASE(multigrid_agrees_with_direct_solver)
  {
    check_solvers<2>(44); // the hierarchy of meshes ends at 2000 unknowns
    check_solvers<3>(12);
  }

  BOOST_AUTO_TEST_CASE(every_component_of_the_state_is_written)
  {
    auto problem = case_from_text<2>(Words<2>().text("exchange"), {"Inference/Method=map"});
    Report report(problem->groups(), 0.);
    const auto results = [&]
    {
      const Silence silence;
      return infer(problem, report);
    }();
    const std::string folder = std::filesystem::absolute("components").string() + "/";
    std::filesystem::create_directories(folder);
    MPI_Barrier(MPI_COMM_WORLD);
    write_results(*problem, results, judge(*problem, results), report, folder, 0);
    MPI_Barrier(MPI_COMM_WORLD);
    const std::string record = read_text_file(folder + "state_0000.pvtu", MPI_COMM_WORLD);
    for (const std::string name :
         {"state_fracture_mean", "state_fracture_std", "state_matrix_mean", "state_matrix_std"})
      BOOST_TEST(record.find("Name=\"" + name + "\"") != std::string::npos, name);
  }

  /// The same states from a start nearby, in fewer iterations.
  BOOST_AUTO_TEST_CASE(states_are_found_from_a_start)
  {
    for (const std::string equation : {"nonlinear", "diffusion"})
      BOOST_TEST_CONTEXT(equation)
      {
        const auto problem = iterative_case(equation);
        const auto &model  = problem->model();
        const auto &prior  = problem->density().prior();
        const Vector m     = prior.draw({3, Stream::verification, 0, 0.5});
        const Vector near  = m + 0.01 * prior.draw({3, Stream::verification, 1, 1.});
        const auto count   = [&](const Vector &at, MultiVector &states)
        {
          const Cost before = model.cost();
          const auto state  = model.solve(at);
          BOOST_REQUIRE(state);
          states = state->states;
          return (model.cost() - before).state_solves;
        };
        MultiVector cold, warm, other;
        const double n_cold = count(near, cold);
        count(m, other);
        model.start_from_last();
        const double n_warm = count(near, warm);
        const auto size     = [&](const MultiVector &x)
        { return std::sqrt(dealii::Utilities::MPI::sum(x.squaredNorm(), MPI_COMM_WORLD)); };
        BOOST_TEST(size(warm - cold) < 1e-7 * size(cold));
        if (equation == "nonlinear")
          BOOST_TEST(n_warm < n_cold);
      }
  }

  /// Groups that solve the same nonlinear experiments share them out, and find the same.
  BOOST_AUTO_TEST_CASE(experiments_are_shared_by_groups)
  {
    const int n_ranks = static_cast<int>(dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD));
    for (const int n_groups : {1, 2, 4})
      if (n_ranks % n_groups == 0)
        BOOST_TEST_CONTEXT(n_groups << " groups")
        {
          Words<2> words;
          words.experiments = two_experiments;
          const auto problem =
              case_from_text<2>(words.text("nonlinear"), {"Parallel/Sample groups=" + std::to_string(n_groups)});
          const auto &model  = problem->model();
          const Vector m     = problem->density().prior().draw({3, Stream::verification, 0, 0.5});
          const Cost before  = model.cost();
          const auto alone   = model.solve(m);
          const Cost between = model.cost();
          const auto shared  = model.solve(m, &problem->groups());
          BOOST_REQUIRE((alone && shared));
          const double n_alone = (between - before).state_solves, n_shared = (model.cost() - between).state_solves;
          BOOST_TEST((shared->states - alone->states).norm() <= 1e-11 * alone->states.norm());
          BOOST_TEST((shared->predictions - alone->predictions).norm() <= 1e-11 * alone->predictions.norm());
          // The Newton steps of one of the two experiments, or of none beyond the second group.
          BOOST_TEST((n_groups == 1 ? n_shared == n_alone : n_shared < n_alone));
          BOOST_TEST(problem->groups().sum(n_shared) == n_alone);
          const auto at = problem->density().linearize(m, {0., true}), at_alone = problem->density().linearize(m);
          BOOST_REQUIRE((at && at_alone));
          BOOST_TEST((at->gradient - at_alone->gradient).norm() <= 1e-9 * at_alone->gradient.norm());
          BOOST_TEST(at->potential == at_alone->potential, boost::test_tools::tolerance(1e-11));
        }
  }

  /// With loose solves potential and gradient are as before, the curvature is as accurate as asked for.
  BOOST_AUTO_TEST_CASE(loose_linearizations)
  {
    for (const std::string name : {"data space", "parameter space"})
      BOOST_TEST_CONTEXT(name)
      {
        const auto problem = iterative_case("diffusion", route(name));
        const auto &prior  = problem->density().prior();
        const Vector m     = prior.draw({3, Stream::verification, 0, 0.5});
        const auto exact = problem->density().linearize(m), loose = problem->density().linearize(m, {1e-4, false});
        BOOST_REQUIRE((exact && loose));
        BOOST_TEST(exact->potential == loose->potential, boost::test_tools::tolerance(1e-8));
        const auto &layout = prior.layout();
        BOOST_TEST(relative_difference(layout.gather(loose->gradient), layout.gather(exact->gradient)) < 1e-7);
        const MultiVector v = prior.draws({{4, Stream::verification, 0, 1.}, {4, Stream::verification, 1, 1.}});
        const double error =
            relative_difference(layout.gather(loose->apply_curvature(v)), layout.gather(exact->apply_curvature(v)));
        BOOST_TEST_MESSAGE(name << ": error of the curvature " << error);
        BOOST_TEST(error < 1e-2);
        BOOST_TEST(error > 1e-9);
      }
  }

  BOOST_AUTO_TEST_CASE(observed_orders)
  {
    const auto order = [](const std::function<double(double)> &error)
    { return observed_order(error, 0.25, 1e-12, 2.); };
    BOOST_TEST(std::abs(order([](double h) { return 3. * h * h + h * h * h; }) - 2.) < 0.01);
    // A wrong derivative, whose remainder changes sign on the way.
    BOOST_TEST(std::abs(order([](double h) { return std::abs(h * h - 0.01 * h); }) - 1.) < 0.1);
    BOOST_TEST(order([](double) { return 0.; }) == 2.);
    for (const double bad : {double(NAN), double(INFINITY)})
    {
      BOOST_TEST(std::isnan(order([bad](double) { return bad; })));
      BOOST_TEST(std::isnan(order([bad](double h) { return h < 0.1 ? bad : h * h; })));
    }
  }

  /// An equation whose derivative by the field is 1 % too large.
  template <int dim>
  class Wrong : public WeakForm<Nonlinear<dim>>
  {
    void evaluate(const PointValues<dim> &in, PointFluxes &out) const override
    {
      WeakForm<Nonlinear<dim>>::evaluate(in, out);
      for (double &x : out.field_gradient)
        x *= 1.01;
    }
  };

  /// Last of all, since it stays registered.
  BOOST_AUTO_TEST_CASE(a_wrong_derivative_is_found)
  {
    const Registration<Physics<2>, Wrong<2>> wrong("wrong", "Of the tests.");
    const auto problem = case_from_text<2>(Words<2>().text("wrong"));
    std::set<std::string> failed;
    for (const auto &result : verify(*problem))
      if (!result.passed)
        failed.insert(result.name.substr(0, result.name.find(':')));
    BOOST_TEST((failed == std::set<std::string>{"Jacobian", "curvature", "gradient"}));
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
