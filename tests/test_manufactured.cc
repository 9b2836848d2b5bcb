// ranks: 1 3
#include "cases.h"
#include "dense_models.h"

#include <deal.II/numerics/vector_tools.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <regex>

/// The forward model against solutions that are known: order p+1 in L2 and p in H1, through the way of the whole
/// program (the coefficient is a field with this mean, the right-hand side an expression).
BOOST_AUTO_TEST_SUITE(manufactured)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  const double pi = M_PI;

  /// A known solution with its gradient.
  template <int dim>
  class Exact : public dealii::Function<dim>
  {
  public:
    using Value    = std::function<double(const dealii::Point<dim> &)>;
    using Gradient = std::function<dealii::Tensor<1, dim>(const dealii::Point<dim> &)>;
    Exact(Value value, Gradient gradient) : u(std::move(value)), du(std::move(gradient)) {}
    double value(const dealii::Point<dim> &x, unsigned int) const override { return u(x); }
    dealii::Tensor<1, dim> gradient(const dealii::Point<dim> &x, unsigned int) const override { return du(x); }

  private:
    Value u;
    Gradient du;
  };

  /// What a case with a known solution is made of.
  template <int dim>
  struct Manufactured
  {
    std::string field, physics; ///< entries of Fields/m and of Physics
    std::shared_ptr<dealii::Function<dim>> solution;
  };

  template <int dim>
  std::shared_ptr<Exact<dim>> exact(typename Exact<dim>::Value value, typename Exact<dim>::Gradient gradient)
  {
    return std::make_shared<Exact<dim>>(std::move(value), std::move(gradient));
  }

  const std::string source_2d = "exp(0.5*sin(2*pi*x)*cos(pi*y)) * pi^2 * (5*sin(pi*x)*sin(2*pi*y)"
                                " - cos(2*pi*x)*cos(pi*y)*cos(pi*x)*sin(2*pi*y)"
                                " + sin(2*pi*x)*sin(pi*y)*sin(pi*x)*cos(2*pi*y))";
  const std::string source_3d = "exp(x*y - z/2) * (3*pi^2*sin(pi*x)*sin(pi*y)*sin(pi*z)"
                                " - pi*(y*cos(pi*x)*sin(pi*y)*sin(pi*z) + x*sin(pi*x)*cos(pi*y)*sin(pi*z)"
                                " - sin(pi*x)*sin(pi*y)*cos(pi*z)/2))";

  Manufactured<2> poisson_2d()
  {
    return {"set Mean = 0.5*sin(2*pi*x)*cos(pi*y)",
            "set Source = " + source_2d + "\nset Dirichlet = all: 0\nsubsection diffusion\nset Conductivity = m\nend",
            exact<2>([](const auto &x) { return std::sin(pi * x[0]) * std::sin(2. * pi * x[1]); },
                     [](const auto &x)
                     {
                       return dealii::Tensor<1, 2>({pi * std::cos(pi * x[0]) * std::sin(2. * pi * x[1]),
                                                    2. * pi * std::sin(pi * x[0]) * std::cos(2. * pi * x[1])});
                     })};
  }

  Manufactured<3> poisson_3d()
  {
    return {"set Mean = x*y - z/2",
            "set Source = " + source_3d + "\nset Dirichlet = all: 0\nsubsection diffusion\nset Conductivity = m\nend",
            exact<3>([](const auto &x) { return std::sin(pi * x[0]) * std::sin(pi * x[1]) * std::sin(pi * x[2]); },
                     [](const auto &x)
                     {
                       dealii::Tensor<1, 3> gradient;
                       for (unsigned int d = 0; d < 3; ++d)
                         gradient[d] =
                             pi * std::cos(pi * x[d]) * std::sin(pi * x[(d + 1) % 3]) * std::sin(pi * x[(d + 2) % 3]);
                       return gradient;
                     })};
  }

  /// −∇·((1 + xy/2)∇u) + (1 + y)u = m + 10x with u = eˣ sin(2y + 0.3): a flux at the right, a Robin condition at the
  /// top.
  Manufactured<2> reaction_diffusion()
  {
    const std::string u = "exp(x)*sin(2*y+0.3)", u_y = "2*exp(x)*cos(2*y+0.3)", k = "(1+x*y/2)";
    return {"set Transform = identity\nset Mean = 3*" + k + "*" + u + " - y/2*" + u + " - x/2*" + u_y + " + (1+y)*" +
                u + " - 10*x",
            "set Equation = reaction diffusion\nset Source = 10*x\nset Dirichlet = left: " + u + "; bottom: " + u +
                "\nset Neumann = right: " + k + "*" + u + "\nset Robin = top: 2+x, " + u + " + " + k + "*" + u_y +
                "/(2+x)\nsubsection reaction diffusion\nset Conductivity = " + k +
                "\nset Reaction = 1+y\nset Source density = m\nend",
            exact<2>([](const auto &x) { return std::exp(x[0]) * std::sin(2. * x[1] + 0.3); },
                     [](const auto &x)
                     {
                       return dealii::Tensor<1, 2>({std::exp(x[0]) * std::sin(2. * x[1] + 0.3),
                                                    2. * std::exp(x[0]) * std::cos(2. * x[1] + 0.3)});
                     })};
  }

  /// b·∇u − k Δu = m with u = eˣ sin(2y + 0.3), b = (1 + y, 1/2 + x).
  Manufactured<2> advection_diffusion()
  {
    const std::string u = "exp(x)*sin(2*y+0.3)", u_y = "2*exp(x)*cos(2*y+0.3)";
    return {"set Transform = identity\nset Mean = (1+y)*" + u + " + (0.5+x)*" + u_y + " + 3*" + u,
            "set Equation = advection diffusion\nset Dirichlet = left: " + u + "; bottom: " + u + "; top: " + u +
                "\nset Neumann = right: " + u +
                "\nsubsection advection diffusion\nset Source density = m\nset Velocity x = " +
                "1 + y\nset Velocity y = 0.5 + x\nend",
            reaction_diffusion().solution};
  }

  template <int dim>
  std::string text_of(const std::string &field, const std::string &physics, unsigned int n, unsigned int degree,
                      const std::string &mesh = "")
  {
    std::string size = std::to_string(n);
    for (int d = 1; d < dim; ++d)
      size += ", " + std::to_string(n);
    const std::string p = std::to_string(degree);
    return "set Dimension = " + std::to_string(dim) + "\nsubsection Mesh\nset Subdivisions = " + size + "\n" + mesh +
           "\nend\nsubsection Fields\nset Names = m\nsubsection m\nset Degree = " + p + "\n" + field +
           "\nend\nend\nsubsection Physics\nset Degree = " + p + "\n" + physics +
           "\nend\nsubsection Measurements\nset Names = u\nsubsection u\nset File = parameter_files/" +
           (dim == 2 ? "linear_gaussian/A_observations.csv" : "box_3d/measurements.csv") + "\nend\nend\n";
  }

  struct Errors
  {
    double l2 = 0., h1 = 0.;
  };

  template <int dim>
  Errors errors(const Manufactured<dim> &problem, unsigned int n, unsigned int degree, const std::string &mesh = "")
  {
    const auto built   = case_from_text<dim>(text_of<dim>(problem.field, problem.physics, n, degree, mesh));
    const auto &layout = built->density().prior().layout();
    const auto state   = built->model().solve(Vector::Zero(layout.n_local()));
    BOOST_REQUIRE(state);
    const auto &space = built->model().space();
    const auto u      = space.ghosted(state->states.col(0));
    const auto &grid  = built->mesh().triangulation();
    const auto norm   = [&](dealii::VectorTools::NormType type)
    {
      dealii::Vector<double> cells(grid.n_active_cells());
      dealii::VectorTools::integrate_difference(built->mesh().mapping(), space.dof_handler(), u, *problem.solution,
                                                cells, dealii::QGauss<dim>(degree + 3), type);
      return dealii::VectorTools::compute_global_error(grid, cells, type);
    };
    return {norm(dealii::VectorTools::L2_norm), norm(dealii::VectorTools::H1_seminorm)};
  }

  /// Between n and 2n cells in each direction.
  template <int dim>
  void check_orders(const std::string &name, const Manufactured<dim> &problem, unsigned int n, unsigned int degree,
                    const std::string &mesh = "")
  {
    const Errors coarse = errors(problem, n, degree, mesh), fine = errors(problem, 2 * n, degree, mesh);
    const double l2 = std::log2(coarse.l2 / fine.l2), h1 = std::log2(coarse.h1 / fine.h1);
    BOOST_TEST_MESSAGE(name << " " << dim << "D Q" << degree << " " << mesh << ": order " << l2 << " in L2, " << h1
                            << " in H1");
    BOOST_TEST(std::abs(l2 - (degree + 1.)) < 0.15, name << ", Q" << degree << ": order in L2 " << l2);
    BOOST_TEST(std::abs(h1 - degree) < 0.15, name << ", Q" << degree << ": order in H1 " << h1);
  }

  BOOST_AUTO_TEST_CASE(right_hand_sides_are_those_of_the_reference)
  {
    const auto table = read_columns("d4_mms_and_forward_checks/mms_rhs_values.csv");
    const Expression<2> f_2(source_2d, "f");
    const Expression<3> f_3(source_3d, "f");
    // Rows of poisson2d, poisson3d and a parabolic problem in turn.
    for (std::size_t i = 0; i + 1 < table.at("x").size(); i += 3)
    {
      const double x = table.at("x")[i], y = table.at("y")[i], z = table.at("z_or_t")[i + 1];
      BOOST_TEST(std::abs(f_2.value({x, y}) / table.at("f")[i] - 1.) < 1e-11);
      BOOST_TEST(std::abs(f_3.value({x, y, z}) / table.at("f")[i + 1] - 1.) < 1e-11);
    }
  }

  /// A problem in words. The field m has this mean and the transform identity; the state and its gradient, the flux f₁
  /// and the density f₀ of the equation there, one for each component.
  template <int dim>
  struct InWords
  {
    std::string equation, mean, slots;
    std::vector<std::string> u;
    std::vector<std::array<std::string, dim>> gradient, flux;
    std::vector<std::string> density;
  };

  /// f₀ − ∇·f₁, by central differences in words.
  template <int dim>
  std::string source_of(const InWords<dim> &words, std::size_t c)
  {
    std::string source = words.density[c];
    for (unsigned int d = 0; d < dim; ++d)
    {
      const std::string axis(1, "xyz"[d]);
      const auto moved = [&](const std::string &step) {
        return "(" + std::regex_replace(words.flux[c][d], std::regex("\\b" + axis + "\\b"), "(" + axis + step + ")") +
               ")";
      };
      source += " - (" + moved("+1e-4") + " - " + moved("-1e-4") + ")/2e-4";
    }
    return source;
  }

  /// The flux is given at the right, the state at all other sides.
  template <int dim>
  std::string physics_of(const InWords<dim> &words)
  {
    const auto names = Registry<Physics<dim>>::members().at(words.equation).create()->state_names();
    std::string source, dirichlet, neumann;
    for (std::size_t c = 0; c < names.size(); ++c)
    {
      source += (c > 0 ? "; " : "") + source_of(words, c);
      for (const std::string side : {"left", "bottom", "top", "front", "back"})
        if (dim == 3 || (side != "front" && side != "back"))
          dirichlet += (dirichlet.empty() ? "" : "; ") + side + "[" + names[c] + "]: " + words.u[c];
      neumann += (c > 0 ? "; " : "") + ("right[" + names[c] + "]: ") + words.flux[c][0];
    }
    return "set Equation = " + words.equation + "\nset Source = " + source + "\nset Dirichlet = " + dirichlet +
           "\nset Neumann = " + neumann + "\nsubsection " + words.equation + "\n" + words.slots + "end";
  }

  template <int dim>
  class Known : public dealii::Function<dim>
  {
  public:
    explicit Known(const InWords<dim> &words) : dealii::Function<dim>(words.u.size())
    {
      for (std::size_t c = 0; c < words.u.size(); ++c)
      {
        u_.emplace_back(words.u[c], "u");
        for (const std::string &text : words.gradient[c])
          gradient_.emplace_back(text, "gradient");
      }
    }
    double value(const dealii::Point<dim> &x, unsigned int c) const override { return u_[c].value(x); }
    dealii::Tensor<1, dim> gradient(const dealii::Point<dim> &x, unsigned int c) const override
    {
      dealii::Tensor<1, dim> result;
      for (unsigned int d = 0; d < dim; ++d)
        result[d] = gradient_[c * dim + d].value(x);
      return result;
    }

  private:
    std::deque<Expression<dim>> u_, gradient_;
  };

  template <int dim>
  Manufactured<dim> manufactured(const InWords<dim> &words)
  {
    return {"set Transform = identity\nset Mean = " + words.mean, physics_of(words),
            std::make_shared<Known<dim>>(words)};
  }

  /// Of the laws for one state: u = eˣ sin(2y) + 3 and m = 1 + xy/2, the flux a multiple of the gradient.
  InWords<2> scalar(const std::string &equation, const std::string &slots, const std::string &conductivity,
                    const std::string &density = "0")
  {
    const std::string u = "(exp(x)*sin(2*y)+3)", u_x = "(exp(x)*sin(2*y))", u_y = "(2*exp(x)*cos(2*y))";
    const auto in_u = [&](std::string text)
    {
      for (const auto &[name, value] : {std::pair("u", u), std::pair("p", u_x), std::pair("q", u_y)})
        text = std::regex_replace(text, std::regex("\\b" + std::string(name) + "\\b"), value);
      return text;
    };
    InWords<2> words{equation, "1+x*y/2", slots, {u}, {}, {}, {in_u(density)}};
    words.gradient.push_back({{u_x, u_y}});
    words.flux.push_back({{in_u(conductivity + "*p"), in_u(conductivity + "*q")}});
    return words;
  }

  /// λ and μ of an elastic body, in words, with its displacements.
  template <int dim>
  InWords<dim> elastic(const std::string &equation, const std::string &slots, const std::string &lambda,
                       const std::string &mu)
  {
    InWords<dim> words{equation, "1+x*y/2", slots, {}, {}, {}, {}};
    const std::string third = dim == 3 ? "*cos(z)" : "", slope = dim == 3 ? "*(-sin(z))" : "*0";
    words.u        = {"sin(2*x)*cos(y)" + third, "exp(x)*y*y" + third, "x*y*sin(z)"};
    words.gradient = {{{"2*cos(2*x)*cos(y)" + third, "(-sin(2*x))*sin(y)" + third}},
                      {{"exp(x)*y*y" + third, "2*exp(x)*y" + third}},
                      {{"y*sin(z)", "x*sin(z)"}}};
    if constexpr (dim == 3)
    {
      words.gradient[0][2] = "sin(2*x)*cos(y)" + slope;
      words.gradient[1][2] = "exp(x)*y*y" + slope;
      words.gradient[2][2] = "x*y*cos(z)";
    }
    words.u.resize(dim);
    words.gradient.resize(dim);
    std::string divergence = words.gradient[0][0];
    for (unsigned int c = 1; c < dim; ++c)
      divergence += "+" + words.gradient[c][c];
    for (unsigned int c = 0; c < dim; ++c)
    {
      words.density.emplace_back("0");
      words.flux.emplace_back();
      for (unsigned int d = 0; d < dim; ++d)
        words.flux[c][d] = mu + "*(" + words.gradient[c][d] + "+" + words.gradient[d][c] + ")" +
                           (c == d ? "+" + lambda + "*(" + divergence + ")" : "");
    }
    return words;
  }

  /// −v = f_u, −∇·(m∇u) = f_v: the equation of waves without time.
  InWords<2> waves()
  {
    const std::string m = "(1+x*y/2)", u_x = "(exp(x)*sin(2*y))", u_y = "(2*exp(x)*cos(2*y))";
    InWords<2> words{"wave", m, "set Squared speed = m\n", {"exp(x)*sin(2*y)", "cos(3*x)*y*y"}, {}, {}, {}};
    words.gradient = {{{u_x, u_y}}, {{"(-3*sin(3*x)*y*y)", "(2*cos(3*x)*y)"}}};
    words.flux     = {{{"0", "0"}}, {{m + "*" + u_x, m + "*" + u_y}}};
    words.density  = {"-cos(3*x)*y*y", "0"};
    return words;
  }

  // The sources of these are long texts; that states do not depend on the partition is seen below.

  BOOST_AUTO_TEST_CASE(orders_of_nonlinear_laws)
  {
    if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
      return;
    const std::string m = "(1+x*y/2)";
    for (const InWords<2> &words :
         {scalar("unconfined aquifer", "set Conductivity = m\nset Bottom = x/2\nset Least thickness = 0.5\n",
                 m + "*0.5*(u-x/2+sqrt((u-x/2)^2+1))"),
          scalar("nonlinear conduction",
                 "set Conductivity = m\nset Linear coefficient = 0.3\nset Quadratic coefficient = y\n",
                 m + "*(1+0.3*u+y*u^2)"),
          scalar("p-Laplacian", "set Conductivity = m\nset Exponent = 1.5\nset Regularization = 0.5\n",
                 m + "*(0.25+p^2+q^2)^(-0.25)"),
          scalar("nonlinear reaction",
                 "set Conductivity = m\nset Linear rate = x\nset Cubic rate = 0.5\nset Source density = 2*y\n", m,
                 "x*u+0.5*u^3-2*y")})
    {
      check_orders(words.equation, manufactured(words), 8, 1);
      check_orders(words.equation, manufactured(words), 4, 2);
    }
  }

  BOOST_AUTO_TEST_CASE(orders_of_elasticity)
  {
    if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
      return;
    const std::string m = "(1+x*y/2)";
    // With ν = 1/4: λ = μ = 2E/5 in plane strain and in space, λ = 4E/15 in plane stress.
    for (const InWords<2> &words :
         {elastic<2>("elasticity", "set Young's modulus = m\nset Poisson's ratio = 0.25\n", m + "*0.4", m + "*0.4"),
          elastic<2>("plane stress", "set Young's modulus = m\nset Poisson's ratio = 0.25\n", m + "*4/15", m + "*0.4"),
          elastic<2>("Lamé elasticity", "set First parameter = 1+y\nset Shear modulus = m\n", "(1+y)", m)})
    {
      check_orders(words.equation, manufactured(words), 8, 1);
      check_orders(words.equation, manufactured(words), 4, 2);
    }
    check_orders("elasticity",
                 manufactured(elastic<3>("elasticity", "set Young's modulus = m\nset Poisson's ratio = 0.25\n",
                                         m + "*0.4", m + "*0.4")),
                 3, 1);
  }

  BOOST_AUTO_TEST_CASE(orders_of_waves_without_time)
  {
    if (dealii::Utilities::MPI::n_mpi_processes(MPI_COMM_WORLD) > 1)
      return;
    check_orders("wave", manufactured(waves()), 8, 1);
    check_orders("wave", manufactured(waves()), 4, 2);
  }

  BOOST_AUTO_TEST_CASE(orders_in_the_square)
  {
    check_orders("poisson", poisson_2d(), 24, 1);
    check_orders("poisson", poisson_2d(), 16, 2);
    check_orders("reaction diffusion", reaction_diffusion(), 16, 1);
    check_orders("reaction diffusion", reaction_diffusion(), 8, 2);
    check_orders("advection diffusion", advection_diffusion(), 16, 1);
    check_orders("advection diffusion", advection_diffusion(), 8, 2);
  }

  BOOST_AUTO_TEST_CASE(orders_in_the_cube)
  {
    check_orders("poisson", poisson_3d(), 8, 1);
    check_orders("poisson", poisson_3d(), 5, 2);
  }

  BOOST_AUTO_TEST_CASE(orders_with_hanging_nodes)
  {
    for (const unsigned int degree : {1u, 2u})
    {
      const std::string mesh = "set Refinements towards boundaries = left: 1; top: 1";
      check_orders("poisson", poisson_2d(), 16, degree, mesh);
      check_orders("reaction diffusion", reaction_diffusion(), 8, degree, mesh);
      // Cells were made smaller only.
      BOOST_TEST(errors(poisson_2d(), 16, degree, mesh).l2 < 1.02 * errors(poisson_2d(), 16, degree).l2);
    }
    BOOST_TEST(errors(poisson_3d(), 6, 1, "set Refinements towards boundaries = left: 1").l2 <
               1.02 * errors(poisson_3d(), 6, 1).l2);
  }

  /// States of the model with all parameters zero, by coordinates of the nodes of a field of the same degree.
  NodalValues<2> state_of(const std::string &text, MPI_Comm comm = MPI_COMM_WORLD)
  {
    const auto problem  = case_from_text<2>(text, {}, comm);
    const auto state    = problem->model().solve(Vector::Zero(problem->density().prior().layout().n_local()));
    const auto &handler = problem->model().space().dof_handler();
    BOOST_REQUIRE(state);
    BOOST_REQUIRE_EQUAL(handler.n_dofs(), problem->fields()[0].space().dof_handler().n_dofs());
    return {problem->fields()[0].space(), state->states.col(0)};
  }

  void check_equal(const NodalValues<2> &a, const NodalValues<2> &b, double tolerance = 1e-11)
  {
    const auto [difference, size] = largest_difference(a, b);
    BOOST_TEST(size > 0.01);
    BOOST_TEST(difference < tolerance * size);
  }

  const std::string physics = "set Equation = reaction diffusion\nset Source = 3\nsubsection reaction diffusion\n"
                              "set Reaction = 1\nset Conductivity = 1+x\nset Source density = m\nend\n";

  BOOST_AUTO_TEST_CASE(trace_of_a_field_as_boundary_value)
  {
    for (const unsigned int degree : {1u, 2u})
      for (const std::string mesh : {"", "set Refinements towards boundaries = top: 1"})
      {
        const std::string fixed =
            text_of<2>("set Transform = exp\nset Mean = log(1+x*x)",
                       physics + "set Dirichlet = left: 0; top: 1+x*x; right: 2", 8, degree, mesh);
        const std::string trace =
            text_of<2>("set Transform = exp\nset Mean = log(1+x*x)",
                       physics + "set Dirichlet = left: 0; top: field(m); right: field(m)", 8, degree, mesh);
        check_equal(state_of(trace), state_of(fixed));
      }
  }

  BOOST_AUTO_TEST_CASE(point_well_is_its_load)
  {
    const std::string file = std::filesystem::absolute("wells.csv").string();
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(file) << "x,y,rate\n0.5375,0.5375,0.7\n";
    MPI_Barrier(MPI_COMM_WORLD);
    // On one cell, h = 1/8, t = (x − 1/2)/h: the bilinear function whose integral against the shape functions gives
    // their values at t = 0.3 in both directions.
    const std::string load = "3 + ((x>0.5) && (x<0.625) && (y>0.5) && (y<0.625) ? "
                             "0.7*64*(2.2-2.4*8*(x-0.5))*(2.2-2.4*8*(y-0.5)) : 0)";
    std::string by_load    = physics;
    by_load.replace(by_load.find("Source = 3"), 10, "Source = " + load);
    const std::string field = "set Transform = identity\n";
    const auto well = state_of(text_of<2>(field, physics + "set Dirichlet = left: 0\nset Wells = " + file, 8, 1));
    check_equal(well, state_of(text_of<2>(field, by_load + "set Dirichlet = left: 0", 8, 1)));
    const auto [difference, size] =
        largest_difference(well, state_of(text_of<2>(field, physics + "set Dirichlet = left: 0", 8, 1)));
    BOOST_TEST(difference > 0.05 * size);
  }

  BOOST_AUTO_TEST_CASE(states_do_not_depend_on_the_partition)
  {
    for (const unsigned int degree : {1u, 2u})
      for (const std::string mesh : {"", "set Refinements towards boundaries = top: 2"})
      {
        const std::string text = text_of<2>(poisson_2d().field, poisson_2d().physics, 10, degree, mesh);
        check_equal(state_of(text), state_of(text, MPI_COMM_SELF), 1e-10);
      }
  }

} // namespace

BOOST_AUTO_TEST_SUITE_END()
