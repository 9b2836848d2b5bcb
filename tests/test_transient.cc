// ranks: 1 3
#include "cases.h"
#include "dense_models.h"

#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_values.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <varfield/time_stepping.h>
#include <varfield/verification.h>

/// Problems in time.
BOOST_AUTO_TEST_SUITE(transient)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  boost::test_tools::assertion_result is_alone(boost::unit_test::test_unit_id)
  {
    return dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) == 1;
  }

  TimeSettings settings(const std::string &text)
  {
    TimeSettings result;
    dealii::ParameterHandler prm;
    result.add_parameters(prm);
    prm.parse_input_from_string(text);
    result.check();
    return result;
  }

  /// Rates of a scheme are exact for polynomials of its order, at the time of the level.
  void check_polynomials(const std::string &text, unsigned int order)
  {
    const auto steps = settings(text).steps({});
    for (std::size_t n = 1; n < steps.size(); ++n)
    {
      const auto &step         = steps[n];
      const double times[]     = {step.end, step.begin, steps[n - 1].begin};
      const unsigned int exact = step.rate[2] == 0. && step.level[0] == 1. ? 1 : order;
      for (unsigned int p = 0; p <= exact; ++p)
      {
        double rate = 0., level = 0.;
        for (unsigned int j = 0; j < 3; ++j)
          rate += step.rate[j] * std::pow(times[j], p);
        for (unsigned int j = 0; j < 2; ++j)
          level += step.level[j] * times[j];
        BOOST_TEST(std::abs(rate - p * std::pow(level, p - 1.)) < 1e-11 * std::abs(step.rate[0]),
                   text << ", p = " << p);
      }
    }
  }

  BOOST_AUTO_TEST_CASE(schemes_are_consistent)
  {
    const std::string grid =
        "\nset Start = 1\nset Steps = 2: 7; 5: 9\nset First step = 0.03\nset Jumps = 1.5, 1.6, 3\n";
    check_polynomials("set Scheme = BDF2" + grid, 2);
    check_polynomials("set Scheme = theta\nset Theta = 0.5" + grid, 2);
    check_polynomials("set Scheme = theta\nset Theta = 0.7" + grid, 1);
  }

  BOOST_AUTO_TEST_CASE(steps_end_where_data_jump)
  {
    const auto steps =
        settings("set Scheme = BDF2\nset Steps = 10: 10; 30: 5\nset First step = 0.1").steps({4., 10., 50.});
    std::set<double> ends;
    double begin = 0.;
    for (const auto &step : steps)
    {
      BOOST_TEST(step.begin == begin);
      BOOST_TEST(step.size() > 0.);
      ends.insert(begin = step.end);
    }
    for (const double t : {4., 10., 30.})
      BOOST_TEST(ends.count(t) == 1u);
    for (const auto &step : steps)
      if (step.begin == 0. || step.begin == 4. || step.begin == 10.)
      {
        BOOST_TEST(std::abs(step.size() - 0.1) < 1e-12);
        BOOST_TEST(step.rate[2] == 0.);
      }
      else
        BOOST_TEST(step.rate[2] > 0.);
    // Four implicit Euler steps of half the size begin a Crank–Nicolson run.
    const auto trapezoidal = settings("set Scheme = theta\nset Steps = 1: 10").steps({});
    BOOST_REQUIRE_EQUAL(trapezoidal.size(), 12u);
    for (std::size_t i = 0; i < trapezoidal.size(); ++i)
    {
      BOOST_TEST(trapezoidal[i].level[0] == (i < 4 ? 1. : 0.5));
      BOOST_TEST(std::abs(trapezoidal[i].size() - (i < 4 ? 0.05 : 0.1)) < 1e-12);
    }
    BOOST_TEST(trapezoidal.back().kind == 1u);
  }

  std::string text_of(const std::string &fields, const std::string &physics, const std::string &time,
                      const std::string &table, unsigned int n = 4, const std::string &more = "")
  {
    const std::string file = std::filesystem::absolute("in_time.csv").string();
    MPI_Barrier(MPI_COMM_WORLD); // the table of before has been read
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(file) << table;
    MPI_Barrier(MPI_COMM_WORLD);
    const std::string size = std::to_string(n);
    return "set Dimension = 2\nsubsection Mesh\nset Subdivisions = " + size + ", " + size +
           "\nend\nsubsection Fields\n" + fields + "end\nsubsection Physics\n" + physics + "subsection Time\n" + time +
           "end\nend\n" + more + "subsection Measurements\nset Names = u\nsubsection u\nset File = " + file +
           "\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n";
  }

  const std::string one_row = "x,y,time,value\n0.4,0.6,1,0\n";

  /// Largest error at the nodes at the end of time.
  double error_at_end(const std::string &text, const std::function<double(const dealii::Point<2> &)> &solution)
  {
    const auto problem = case_from_text<2>(text);
    const auto &model  = problem->model();
    const auto state   = model.solve(Vector::Zero(problem->density().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    std::map<dealii::types::global_dof_index, dealii::Point<2>> support;
    dealii::DoFTools::map_dofs_to_support_points(problem->mesh().mapping(), model.space().dof_handler(), support);
    const auto &owned = model.space().dof_handler().locally_owned_dofs();
    double error      = 0.;
    for (const auto dof : owned)
      error = std::max(error, std::abs(state->states(static_cast<Index>(owned.index_within_set(dof)),
                                                     model.column(model.n_snapshots() - 1, 0)) -
                                       solution(support.at(dof))));
    return dealii::Utilities::MPI::max(error, MPI_COMM_WORLD);
  }

  /// u = (1 + xy) cos t is in the space of bilinear elements: all of the error is that of the scheme. Storage 1 + x is
  /// a field, the conductivity 1 (times 1 + u² of the nonlinear law).
  std::string bilinear_in_time(bool is_linear, const std::string &time, unsigned int steps)
  {
    const std::string u = "(1+x*y)*cos(t)", rate = "-(1+x)*(1+x*y)*sin(t)";
    const std::string physics =
        "set Dirichlet = left: " + u + "; bottom: " + u + "\n" +
        (is_linear
             ? "set Source = " + rate +
                   "\nset Neumann = right: y*cos(t); top: x*cos(t)\nsubsection diffusion\nset Conductivity = 1\nend\n"
             : "set Equation = nonlinear conduction\nset Source = " + rate + " - 2*(" + u +
                   ")*(x^2+y^2)*cos(t)^2\nset Neumann = right: (1+(" + u + ")^2)*y*cos(t); top: (1+(" + u +
                   ")^2)*x*cos(t)\nsubsection nonlinear conduction\nset Conductivity = 1\nset Quadratic "
                   "coefficient = 1\nend\n");
    return text_of("set Names = s\nsubsection s\nset Transform = identity\nset Mean = 1+x\nend\n", physics,
                   "set Initial state = 1+x*y\nset Storage = s\nset Steps = 1: " + std::to_string(steps) + "\n" + time,
                   one_row);
  }

  void check_order(bool is_linear, const std::string &time, double order)
  {
    const auto error = [&](unsigned int steps)
    {
      return error_at_end(bilinear_in_time(is_linear, time, steps),
                          [](const auto &x) { return (1. + x[0] * x[1]) * std::cos(1.); });
    };
    const double coarse = error(64), fine = error(128);
    BOOST_TEST_MESSAGE(time << (is_linear ? "linear" : "nonlinear") << ": errors " << coarse << ", " << fine);
    BOOST_TEST(std::log2(coarse / fine) > order - 0.15);
    BOOST_TEST(fine > 1e-12);
  }

  BOOST_AUTO_TEST_CASE(orders_in_time, *boost::unit_test::precondition(is_alone))
  {
    for (const bool is_linear : {true, false})
    {
      check_order(is_linear, "set Scheme = theta\nset Theta = 1\n", 1.);
      check_order(is_linear, "set Scheme = theta\n", 2.);
      check_order(is_linear, "set Scheme = BDF2\n", 2.);
      check_order(is_linear, "set Scheme = BDF2\nset First step = 0.01\n", 2.);
    }
  }

  /// u = x − t + 2y moves with the velocity 1: a residual along the streamlines that has the rate of change in it is
  /// zero.
  BOOST_AUTO_TEST_CASE(advection_is_exact_for_what_moves)
  {
    for (const std::string scheme : {"BDF2", "theta"})
      BOOST_TEST(
          error_at_end(
              text_of("set Names = k\nsubsection k\nset Mean = log(1e-4)\nend\n",
                      "set Equation = advection diffusion\nset Dirichlet = left: x - t + 2*y; bottom: x - t; top: x "
                      "- t + 2\nset Neumann = right: 1e-4\nsubsection advection diffusion\nset Diffusivity = "
                      "k\nset Velocity x = 2\nend\n",
                      "set Scheme = " + scheme +
                          "\nset Steps = 1: 5\nset Storage = 2\nset Initial state = x + "
                          "2*y\n",
                      one_row),
              [](const auto &x) { return x[0] - 1. + 2. * x[1]; }) < 1e-8); // data at 1 − 1e-9 of a step
  }

  // A field in every place, two experiments, values at times and means over a time.
  const std::string places =
      "set Names = k, s, a, b, c, history\n"
      "subsection k\nsubsection spde\nset Standard deviation = 0.3\nset Correlation length = 0.5\nend\nend\n"
      "subsection s\nset Mean = -1\nsubsection spde\nset Standard deviation = 0.2\nend\nend\n"
      "subsection a\nset Transform = identity\nend\n"
      "subsection b\nset Space = global\nset Prior = independent\nset Transform = identity\nend\n"
      "subsection c\nset Mean = 0.2\nsubsection spde\nset Standard deviation = 0.2\nend\nend\n"
      "subsection history\nset Space = intervals of time\nset Intervals = 0: 1: 4\n"
      "set Transform = identity\nset Prior = kernel\nend\n";
  const std::string boundary = "set Dirichlet = left: field(b) + 2*field(a); right: field(history)*(1 + y) + "
                               "t*field(c); bottom: field(b) - x\nset Source = 1 + t + x*t*field(a)\n"
                               "set Neumann = top: t + field(history)\nset Robin = top: 1 + x, t*field(c)\n";
  const std::string experiments =
      "subsection Experiments\nset Names = first, second\nsubsection first\n"
      "set Source = 5*x\nend\nsubsection second\nset Dirichlet = left: 1; right: field(a); bottom: field(c)\n"
      "end\nend\n";
  const std::string table = "x,y,time,until,value,experiment\n0.2,0.3,0.3,0.3,1,first\n0.6,0.4,0,0,2,first\n"
                            "0.2,0.3,0.5,0.9,0.5,second\n0.9,0.7,1,1,1.5,second\n0.45,0.55,0.1,0.35,1,second\n";

  std::string all_places(const std::string &law, const std::string &scheme, const std::string &more = "")
  {
    const std::string slots = law == "diffusion" ? "set Conductivity = k\n"
                              : law == "nonlinear conduction"
                                  ? "set Conductivity = k\nset Quadratic coefficient = 0.5\n"
                                  : "set Diffusivity = 0.01\nset Velocity x = k\nset Velocity y = 2\n";
    return text_of(places, "set Equation = " + law + "\n" + boundary + "subsection " + law + "\n" + slots + "end\n",
                   "set Storage = s\nset Initial state = field(b) + x*field(a) + field(c)\nset Steps = 1: 6\n"
                   "set First step = 0.02\n" +
                       scheme,
                   table, 5, experiments + more);
  }

  /// Measurements of the flux through boundaries beside those of the state.
  std::vector<std::string> fluxes_as_well()
  {
    const std::string file = std::filesystem::absolute("fluxes_in_time.csv").string();
    MPI_Barrier(MPI_COMM_WORLD); // the table of before has been read
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(file) << "boundary,time,until,value,experiment\ntop,0.4,0.4,0,first\nleft,0.2,0.9,1,second\n"
                             "right,1,1,0,first\n";
    MPI_Barrier(MPI_COMM_WORLD);
    return {"Measurements/Names=u, q", "Measurements/q/Type=boundary fluxes", "Measurements/q/File=" + file,
            "Measurements/q/gaussian/Standard deviation=0.5"};
  }

  void check_derivatives(const std::string &law, const std::string &scheme, const std::string &mesh,
                         const std::vector<std::string> &settings = {})
  {
    BOOST_TEST_CONTEXT(law << ", " << scheme << mesh)
    {
      auto overrides = fluxes_as_well();
      overrides.insert(overrides.end(), settings.begin(), settings.end());
      const auto problem = case_from_text<2>(all_places(law, scheme, mesh), overrides);
      BOOST_TEST(problem->model().is_affine() == false);
      for (const auto &result : verify(*problem))
        BOOST_TEST(result.passed, result.name << ": " << result.observed << ", wanted " << result.wanted);
    }
  }

  /// On one rank every law with every scheme, on several each of them once, with hanging nodes.
  BOOST_AUTO_TEST_CASE(derivatives_in_time)
  {
    const std::string bdf2 = "set Scheme = BDF2\n", trapezoidal = "set Scheme = theta\n",
                      euler   = "set Scheme = theta\nset Theta = 1\n";
    const std::string hanging = "subsection Mesh\nset Refinements towards boundaries = right: 1\nend\n";
    // Loads that do not change in time are shared by steps and experiments.
    check_derivatives("diffusion", trapezoidal, hanging,
                      {"Physics/Source=1 + x*field(a)", "Physics/Neumann=top: 1 + field(c)",
                       "Physics/Robin=top: 1 + x, field(b)",
                       "Experiments/second/Source=", "Experiments/first/Source="});
    if (!is_alone(0))
    {
      check_derivatives("diffusion", trapezoidal, hanging);
      check_derivatives("nonlinear conduction", bdf2, hanging);
      check_derivatives("advection diffusion", euler, hanging);
      return;
    }
    for (const std::string law : {"diffusion", "nonlinear conduction", "advection diffusion"})
      for (const std::string &scheme : {bdf2, trapezoidal, euler})
        for (const std::string &mesh : {std::string(), hanging})
          check_derivatives(law, scheme, mesh);
  }

  BOOST_AUTO_TEST_CASE(predictions_do_not_depend_on_the_partition)
  {
    const std::string text = all_places("nonlinear conduction", "set Scheme = BDF2\n");
    const auto predict     = [&](MPI_Comm comm)
    {
      const auto problem = case_from_text<2>(text, {}, comm);
      const auto state   = problem->model().solve(problem->density().prior().draw({3, Stream::verification, 0, 0.5}));
      BOOST_REQUIRE(state);
      return state->predictions;
    };
    const Vector whole = predict(MPI_COMM_WORLD), alone = predict(MPI_COMM_SELF);
    BOOST_TEST((whole - alone).norm() < 1e-10 * alone.norm());
  }

  /// Both routes to the curvature, and groups that share the experiments of a nonlinear law.
  BOOST_AUTO_TEST_CASE(routes_in_time)
  {
    const auto curvature = [](const std::string &route)
    {
      const auto problem =
          case_from_text<2>(all_places("diffusion", "set Scheme = theta\n"), {"Inference/Curvature/Route=" + route});
      const auto &prior = problem->density().prior();
      const auto at     = problem->density().linearize(prior.draw({3, Stream::verification, 0, 0.5}));
      BOOST_REQUIRE(at);
      return Matrix(prior.layout().gather(at->apply_curvature(prior.draws({{4, Stream::verification, 0, 1.}}))));
    };
    BOOST_TEST(relative_difference(curvature("data space"), curvature("parameter space")) < 1e-10);
  }

  /// Where steps are chosen, cos(t) is linear between their ends up to h²/8 of its largest change. (BDF2 begins with a
  /// step of implicit Euler, whose own error is seen as curvature.)
  BOOST_AUTO_TEST_CASE(steps_are_chosen, *boost::unit_test::precondition(is_alone))
  {
    for (const double tolerance : {1e-3, 1e-4})
      for (const std::string scheme : {"set Scheme = BDF2\n", "set Scheme = theta\n"})
      {
        const auto problem =
            case_from_text<2>(bilinear_in_time(true, scheme + "set Tolerance = " + to_text(tolerance) + "\n", 7));
        const auto &model = problem->model();
        double largest    = 0.;
        for (unsigned int n = 1; n < model.n_snapshots(); ++n)
        {
          const double a = model.snapshot_time(n - 1), b = model.snapshot_time(n), middle = 0.5 * (a + b);
          const double off = std::abs(0.5 * (std::cos(a) + std::cos(b)) - std::cos(middle));
          largest          = std::max(largest, off / (1. - std::cos(1.)));
        }
        BOOST_TEST_MESSAGE(scheme << tolerance << ": " << model.n_snapshots() - 1 << " steps, off by " << largest);
        BOOST_TEST(largest < 2. * tolerance);
        BOOST_TEST(largest > 0.15 * tolerance); // sizes are rounded down, by √2 at most
      }
    // Robin conditions are those of the parameter file, however often steps were tried.
    std::string text            = bilinear_in_time(true, "set Scheme = BDF2\nset Tolerance = 1e-4\n", 7);
    const std::string neumann   = "right: y*cos(t); top";
    const std::string dirichlet = "set Dirichlet";
    text.replace(text.find(neumann), neumann.size(), "top");
    text.replace(text.find(dirichlet), dirichlet.size(), "set Robin = right: 2, (1+1.5*y)*cos(t)\nset Dirichlet");
    BOOST_TEST(error_at_end(text, [](const auto &x) { return (1. + x[0] * x[1]) * std::cos(1.); }) < 1e-3);
  }

  /// A well that pumps for some time: what is stored in the end is what was pumped, nothing flows through the boundary.
  BOOST_AUTO_TEST_CASE(wells_have_a_schedule)
  {
    const std::string wells = std::filesystem::absolute("schedule.csv").string();
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(wells) << "x,y,rate,start,end\n0.52,0.48,3,0.13,0.41\n0.2,0.2,-1,0,0.2\n";
    MPI_Barrier(MPI_COMM_WORLD);
    const auto problem = case_from_text<2>(
        text_of("set Names = k\nsubsection k\nend\n",
                "set Wells = " + wells + "\nsubsection diffusion\nset Conductivity = k\nend\n",
                "set Scheme = BDF2\nset Steps = 1: 8\nset Storage = 2\n", one_row, 6,
                "subsection Quantities\nset Names = stored, early\nsubsection stored\nsubsection average\nset Of = "
                "state\nset Integral = true\nend\nend\nsubsection early\nsubsection average\nset Of = state\nset "
                "Integral = true\nset Time = 0.13\nend\nend\nend\n"));
    const auto state = problem->model().solve(problem->density().prior().draw({3, Stream::verification, 0, 0.5}));
    BOOST_REQUIRE(state);
    const Vector stored = problem->quantities().evaluate(*state);
    BOOST_TEST(std::abs(stored[0] - 0.5 * (3. * 0.28 - 0.2)) < 1e-10);
    BOOST_TEST(std::abs(stored[1] + 0.5 * 0.13) < 1e-10);
  }

  /// The temperature in a half-space whose surface becomes warmer at t = 0 is erfc(z/√(4κt)) (H. S. Carslaw, J. C.
  /// Jaeger, Conduction of Heat in Solids, 2nd ed. 1959, sec. 2.5).
  BOOST_AUTO_TEST_CASE(a_jump_at_the_surface)
  {
    const auto error = [](unsigned int n)
    {
      const std::string text = text_of(
          "set Names = s\nsubsection s\nset Space = global\nset Prior = independent\nset Transform = identity\nset "
          "Mean = 1\nend\n",
          "set Dirichlet = left: field(s); right: 0\nsubsection diffusion\nset Conductivity = 1\nend\n",
          "set Scheme = BDF2\nset Steps = 0.01: " + std::to_string(n) + "\nset First step = " + to_text(0.0004 / n) +
              "\n",
          "x,y,time,value\n0.1,0.6,0.01,0\n0.2,0.6,0.01,0\n0.1,0.5,0.005,0\n");
      const auto problem = case_from_text<2>(text, {"Mesh/Subdivisions=" + std::to_string(4 * n) + ", 4"});
      const auto state   = problem->model().solve(Vector::Zero(problem->density().prior().layout().n_local()));
      BOOST_REQUIRE(state);
      const double exact[] = {std::erfc(0.1 / 0.2), std::erfc(0.2 / 0.2), std::erfc(0.1 / std::sqrt(0.02))};
      double largest       = 0.;
      for (Index i = 0; i < 3; ++i)
        largest = std::max(largest, std::abs(state->predictions[i] - exact[i]));
      return largest;
    };
    const double coarse = error(20), fine = error(40);
    BOOST_TEST_MESSAGE("errors " << coarse << ", " << fine);
    BOOST_TEST(coarse < 5e-3);
    BOOST_TEST(fine < 0.32 * coarse);
  }

  /// A case of the equation `wave`; S is a field with this mean.
  std::string waves(const std::string &speed, const std::string &robin, const std::string &time, double storage = 1.)
  {
    return text_of("set Names = s\nsubsection s\nset Transform = identity\nset Mean = " + to_text(storage) + "\nend\n",
                   "set Equation = wave\nset Robin = " + robin + "\nsubsection wave\nset Squared speed = " + speed +
                       "\nend\n",
                   "set Scheme = theta\nset Storage = s\n" + time, "x,y,time,component,value\n0.4,0.6,0.1,u,0\n");
  }

  /// ½ ∫ v² + k|∇u|² dx of every snapshot, and ∫ ((vₙ + vₙ₋₁)/2)² ds over all sides for the step before it; k = 1 +
  /// xy/2.
  std::vector<std::array<double, 2>> energies(const Case<2> &problem, const ModelState<2> &state)
  {
    const auto &space = problem.model().space();
    dealii::FEValues<2> inside(problem.mesh().mapping(), space.fe(), dealii::QGauss<2>(2),
                               dealii::update_values | dealii::update_gradients | dealii::update_quadrature_points |
                                   dealii::update_JxW_values);
    dealii::FEFaceValues<2> side(problem.mesh().mapping(), space.fe(), dealii::QGauss<1>(2),
                                 dealii::update_values | dealii::update_JxW_values);
    const dealii::FEValuesExtractors::Scalar u(0), v(1);
    const unsigned int n = problem.model().n_snapshots();
    Vector sums          = Vector::Zero(2 * n);
    for (unsigned int s = 0; s < n; ++s)
    {
      const auto now    = space.ghosted(state.states.col(s));
      const auto middle = space.ghosted(0.5 * (state.states.col(s) + state.states.col(s > 0 ? s - 1 : 0)));
      std::vector<double> values(4), side_values(2);
      std::vector<dealii::Tensor<1, 2>> gradients(4);
      for (const auto &cell : space.dof_handler().active_cell_iterators())
      {
        if (!cell->is_locally_owned())
          continue;
        inside.reinit(cell);
        inside[v].get_function_values(now, values);
        inside[u].get_function_gradients(now, gradients);
        for (unsigned int q = 0; q < 4; ++q)
        {
          const auto &x = inside.quadrature_point(q);
          sums[2 * s] +=
              0.5 * inside.JxW(q) * (values[q] * values[q] + (1. + x[0] * x[1] / 2.) * gradients[q].norm_square());
        }
        for (const auto f : cell->face_indices())
          if (cell->face(f)->at_boundary())
          {
            side.reinit(cell, f);
            side[v].get_function_values(middle, side_values);
            for (unsigned int q = 0; q < 2; ++q)
              sums[2 * s + 1] += side.JxW(q) * side_values[q] * side_values[q];
          }
      }
    }
    sums = sum(sums, MPI_COMM_WORLD);
    std::vector<std::array<double, 2>> result;
    for (unsigned int s = 0; s < n; ++s)
      result.push_back({{sums[2 * s], sums[2 * s + 1]}});
    return result;
  }

  /// From the sum of the equations tested with the mean of −∂v/∂t and of v: in a step of Crank–Nicolson the energy
  /// falls by Δt ∫ a v² ds, the work at the boundary, and not at all where a = 0. Euler steps lose some more.
  BOOST_AUTO_TEST_CASE(energy_of_waves)
  {
    const unsigned int n = 40;
    for (const double a : {0., 0.7})
    {
      const auto problem =
          case_from_text<2>(waves("1+x*y/2", "all[v]: " + to_text(a) + ", 0",
                                  "set Steps = 2: 40\nset Initial state = cos(pi*x)*y + x^2; sin(4*x*y)\n"),
                            {"Mesh/Subdivisions=6, 7"});
      const auto state = problem->model().solve(Vector::Zero(problem->density().prior().layout().n_local()));
      BOOST_REQUIRE(state);
      const auto all = energies(*problem, *state);
      BOOST_REQUIRE_EQUAL(all.size(), n + 3);
      for (unsigned int s = 1; s <= 4; ++s)
        BOOST_TEST(all[s][0] < all[s - 1][0]);
      for (unsigned int s = 5; s < all.size(); ++s)
        BOOST_TEST(std::abs(all[s][0] - all[s - 1][0] + 2. / n * a * all[s][1]) < 1e-12 * all[0][0]);
      BOOST_TEST((a > 0. ? all.back()[0] < 0.2 * all[4][0] : all.back()[0] > 0.5 * all[0][0]));
    }
  }

  /// Largest errors of u and v at the nodes at the end.
  std::array<double, 2> errors_of_waves(const std::string &text, const std::vector<std::string> &overrides,
                                        const std::array<std::function<double(const dealii::Point<2> &)>, 2> &exact)
  {
    const auto problem = case_from_text<2>(text, overrides);
    const auto &model  = problem->model();
    const auto state   = model.solve(Vector::Zero(problem->density().prior().layout().n_local()));
    BOOST_REQUIRE(state);
    std::array<double, 2> errors{};
    for (unsigned int c = 0; c < 2; ++c)
    {
      std::map<dealii::types::global_dof_index, dealii::Point<2>> support;
      dealii::ComponentMask mask(2, false);
      mask.set(c, true);
      dealii::DoFTools::map_dofs_to_support_points(problem->mesh().mapping(), model.space().dof_handler(), support,
                                                   mask);
      const auto &owned = model.space().dof_handler().locally_owned_dofs();
      for (const auto &[dof, x] : support)
        if (owned.is_element(dof))
          errors[c] =
              std::max(errors[c],
                       std::abs(state->states(static_cast<Index>(owned.index_within_set(dof)), model.n_columns() - 1) -
                                exact[c](x)));
      errors[c] = dealii::Utilities::MPI::max(errors[c], MPI_COMM_WORLD);
    }
    return errors;
  }

  /// u = cos(√2 πt) cos πx cos πy in a closed box, or with sines where it is held at the sides.
  BOOST_AUTO_TEST_CASE(standing_waves)
  {
    const double w   = std::sqrt(2.) * M_PI;
    const auto error = [w](unsigned int n, bool is_held)
    {
      const auto at_end = [w, is_held](double in_time)
      {
        return [in_time, is_held](const auto &x)
        {
          return in_time * (is_held ? std::sin(M_PI * x[0]) * std::sin(M_PI * x[1])
                                    : std::cos(M_PI * x[0]) * std::cos(M_PI * x[1]));
        };
      };
      const std::string size = std::to_string(n);
      std::vector<std::string> overrides{"Mesh/Subdivisions=" + size + ", " + size};
      if (is_held)
        overrides.emplace_back("Physics/Dirichlet=all: 0");
      return errors_of_waves(waves("1", "all[v]: 0, 0",
                                   "set Steps = 1: " + std::to_string(2 * n) + "\nset Initial state = " +
                                       (is_held ? "sin(pi*x)*sin(pi*y)" : "cos(pi*x)*cos(pi*y)") + "; 0\n"),
                             overrides, {{at_end(std::cos(w)), at_end(-w * std::sin(w))}});
    };
    for (const bool is_held : {false, true})
    {
      const auto coarse = error(12, is_held), fine = error(24, is_held);
      for (unsigned int c = 0; c < 2; ++c)
      {
        BOOST_TEST_MESSAGE("component " << c << ": errors " << coarse[c] << ", " << fine[c]);
        BOOST_TEST(std::log2(coarse[c] / fine[c]) > 1.85);
        BOOST_TEST(fine[c] < 0.1);
      }
    }
  }

  /// A pulse g(x − ct) with c = √k/S (d'Alembert) passes the right side where n·k∇u = −√k v: it is on its way there as
  /// it was, and then there is nothing. Where the side is closed, what comes back is as large.
  BOOST_AUTO_TEST_CASE(a_pulse_leaves_through_an_absorbing_side)
  {
    struct Setting
    {
      double k, storage;
    };
    for (const auto &[k, storage] : {Setting{4., 1.}, Setting{1., 2.}})
    {
      const double speed = std::sqrt(k) / storage, root = std::sqrt(k);
      const auto errors = [&](double travelled, double a, double left)
      {
        const auto g = [travelled, left](const auto &x)
        { return left * std::exp(-std::pow((x[0] - 0.4 - travelled) / 0.1, 2)); };
        const auto v = [g, travelled, root](const auto &x)
        { return root * 2. * (x[0] - 0.4 - travelled) / 0.01 * g(x); };
        return errors_of_waves(waves(to_text(k), "right[v]: " + to_text(a) + ", 0; left[v]: " + to_text(root) + ", 0",
                                     "set Steps = " + to_text(travelled / speed) + ": " +
                                         to_text(std::round(160. * travelled)) +
                                         "\nset Initial state = exp(-((x-0.4)/0.1)^2); " + to_text(root) +
                                         "*2*(x-0.4)/0.01*exp(-((x-0.4)/0.1)^2)\n",
                                     storage),
                               {"Mesh/Subdivisions=80, 1"}, {{g, v}})[0];
      };
      const double on_its_way = errors(0.25, root, 1.), gone = errors(1., root, 0.), back = errors(0.8, 0., 0.);
      BOOST_TEST_MESSAGE("error on its way " << on_its_way << ", reflected " << gone << ", by a closed side " << back);
      BOOST_TEST(on_its_way < 0.02);
      BOOST_TEST(gone < 0.02);
      BOOST_TEST(back > 0.9);
    }
  }

  /// k, S and the initial state are fields, in two experiments, with an absorbing side.
  BOOST_AUTO_TEST_CASE(derivatives_of_waves)
  {
    const std::string fields  = "set Names = k, s, a\nsubsection k\nsubsection spde\nset Standard deviation = "
                                "0.3\nend\nend\nsubsection s\nsubsection spde\nset Standard deviation = "
                                "0.2\nend\nend\nsubsection a\nset Transform = identity\nend\n";
    const std::string physics = "set Equation = wave\nset Robin = right[v]: 1, 0\nset Dirichlet = left: 0\n"
                                "set Neumann = top[v]: t\nsubsection wave\nset Squared speed = k\nend\n";
    const std::string shots   = "subsection Experiments\nset Names = first, second\nsubsection first\nset Source = 0; "
                                "5*x*t\nend\nsubsection second\nset Source = t; 0\nend\nend\n";
    const std::string table   = "x,y,time,value,experiment,component\n0.3,0.3,0.3,1,first,u\n0.6,0.4,1,2,first,v\n"
                                "0.2,0.3,0.9,0.5,second,u\n0.9,0.7,1,1.5,second,u\n";
    for (const std::string scheme : {"BDF2", "theta"})
      BOOST_TEST_CONTEXT(scheme)
      {
        const auto problem = case_from_text<2>(text_of(
            fields, physics,
            "set Storage = s\nset Initial state = x*field(a); field(a)\nset Steps = 1: 12\nset Scheme = " + scheme +
                "\n",
            table, 5, shots));
        for (const auto &result : verify(*problem))
          BOOST_TEST(result.passed, result.name << ": " << result.observed << ", wanted " << result.wanted);
      }
  }
} // namespace

BOOST_AUTO_TEST_SUITE_END()
