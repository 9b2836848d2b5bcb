// ranks: 1 2 3 4
#include "cases.h"
#include "dense_models.h"

#include <deal.II/base/quadrature_lib.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_values.h>

#include <boost/test/unit_test.hpp>
#include <varfield/faults.h>
#include <varfield/hierarchy.h>
#include <varfield/state_space.h>

/// Multigrid on the hierarchy of meshes against sparse factorisations, on meshes with hanging nodes.
BOOST_AUTO_TEST_SUITE(multigrid)

namespace
{
  using namespace varfield;
  using namespace varfield::tests;

  template <int dim>
  std::unique_ptr<Mesh<dim>> locally_refined_mesh(unsigned int n)
  {
    auto mesh = std::make_unique<Mesh<dim>>();
    dealii::ParameterHandler prm;
    mesh->add_parameters(prm);
    const std::string size = std::to_string(n);
    prm.parse_input_from_string("set Subdivisions = " + size + ", " + size + (dim == 3 ? ", " + size : "") +
                                "\nset Refinements towards sensors = 2\n");
    mesh->check();
    dealii::Point<dim> corner;
    for (unsigned int d = 0; d < dim; ++d)
      corner[d] = 0.3;
    mesh->create(MPI_COMM_WORLD, {corner});
    return mesh;
  }

  /// −∇·(k∇u) + b ∂u/∂y, zero on the side x = 0; k spans four orders of magnitude without convection, else one.
  template <int dim>
  struct System
  {
    System(unsigned int n, unsigned int degree, double convection)
        : mesh(locally_refined_mesh<dim>(n)), space(*mesh, degree, 1), constraints(space.relevant())
    {
      const auto &handler = space.dof_handler();
      dealii::DoFTools::make_hanging_node_constraints(handler, constraints);
      dealii::DoFTools::make_zero_boundary_constraints(handler, 0, constraints);
      constraints.close();
      reinit_matrix(matrix, handler, constraints, handler, constraints);
      const dealii::QGauss<dim> quadrature(degree + 1);
      dealii::FEValues<dim> values(mesh->mapping(), space.fe(), quadrature,
                                   dealii::update_values | dealii::update_gradients | dealii::update_JxW_values |
                                       dealii::update_quadrature_points);
      const unsigned int n_dofs = space.fe().dofs_per_cell;
      dealii::FullMatrix<double> local(n_dofs, n_dofs);
      std::vector<dealii::types::global_dof_index> dofs(n_dofs);
      for (const auto &cell : handler.active_cell_iterators())
        if (cell->is_locally_owned())
        {
          values.reinit(cell);
          local = 0.;
          for (unsigned int q = 0; q < quadrature.size(); ++q)
          {
            const auto &x  = values.quadrature_point(q);
            const double k = std::exp((convection == 0. ? 4.6 : 1.) * std::sin(5. * x[0]) * std::cos(4. * x[1]));
            for (unsigned int i = 0; i < n_dofs; ++i)
              for (unsigned int j = 0; j < n_dofs; ++j)
                local(i, j) += (k * (values.shape_grad(i, q) * values.shape_grad(j, q)) +
                                convection * values.shape_value(i, q) * values.shape_grad(j, q)[1]) *
                               values.JxW(q);
          }
          cell->get_dof_indices(dofs);
          constraints.distribute_local_to_global(local, dofs, matrix);
        }
      finish_matrix(matrix, handler, constraints);
    }

    std::unique_ptr<LinearSolver> solver(const std::string &type, MatrixKind kind) const
    {
      SolverSettings settings;
      settings.type = type;
      auto result   = LinearSolver::create(
            settings, kind, space.dof_handler().n_dofs(), dim,
            [this] { return std::make_shared<Hierarchy>(*mesh, space.dof_handler(), constraints, 39); });
      BOOST_REQUIRE(result->set_matrix(matrix));
      return result;
    }

    /// Right-hand sides that do not depend on the partition; the third is zero.
    MultiVector loads(Index columns) const
    {
      MultiVector b(space.n_owned(), columns);
      Index row = 0;
      for (const auto dof : space.dof_handler().locally_owned_dofs())
      {
        for (Index j = 0; j < columns; ++j)
          b(row, j) =
              j == 2 || constraints.is_constrained(dof) ? 0. : std::sin(1. + (j + 1.) * static_cast<double>(dof));
        ++row;
      }
      return b;
    }

    double norm(const MultiVector &x) const
    {
      return std::sqrt(dealii::Utilities::MPI::sum(x.squaredNorm(), MPI_COMM_WORLD));
    }

    std::unique_ptr<Mesh<dim>> mesh;
    StateSpace<dim> space;
    dealii::AffineConstraints<double> constraints;
    SparseMatrix matrix;
  };

  /// Solves with both; returns the iterations of multigrid.
  template <int dim>
  unsigned int compare(const System<dim> &system, MatrixKind kind, Index columns, bool transpose = false)
  {
    const auto direct = system.solver("direct", kind), iterative = system.solver("multigrid", kind);
    MultiVector x = system.loads(columns), y = x;
    BOOST_REQUIRE(direct->solve(x, transpose));
    BOOST_REQUIRE(iterative->solve(y, transpose));
    BOOST_TEST(system.norm(x - y) < 1e-8 * system.norm(x));
    BOOST_TEST_MESSAGE(dim << "D, " << system.space.dof_handler().n_dofs() << " unknowns: " << iterative->iterations()
                           << " iterations");
    return iterative->iterations();
  }

  template <int dim>
  void check_coarsened_meshes(unsigned int n)
  {
    const auto fine = locally_refined_mesh<dim>(n);
    BOOST_TEST(fine->triangulation().has_hanging_nodes());
    const Mesh<dim> *mesh = fine.get();
    unsigned int count    = 1;
    for (const Mesh<dim> *coarse = mesh->coarsened(); coarse != nullptr; coarse = mesh->coarsened(), ++count)
    {
      const auto &cells = mesh->triangulation(), &coarse_cells = coarse->triangulation();
      BOOST_TEST(coarse_cells.n_global_levels() + 1 == cells.n_global_levels());
      BOOST_TEST(coarse_cells.n_global_active_cells() <= 0.7 * cells.n_global_active_cells());
      // Nested, or this throws.
      const StateSpace<dim> from(*coarse, 2, 1), to(*mesh, 2, 1);
      const Interpolation<dim> interpolation(from.dof_handler(), *coarse, to.dof_handler());
      const MultiVector ones = MultiVector::Ones(from.n_owned(), 1);
      BOOST_TEST(dealii::Utilities::MPI::sum((interpolation.apply(ones).array() - 1.).abs().sum(), MPI_COMM_WORLD) <
                 1e-9);
      mesh = coarse;
    }
    BOOST_TEST(count == fine->triangulation().n_global_levels());
    BOOST_TEST(mesh->triangulation().n_global_active_cells() == 1u);
  }
} // namespace

BOOST_AUTO_TEST_CASE(every_coarsened_mesh_joins_families)
{
  check_coarsened_meshes<2>(16);
  check_coarsened_meshes<3>(8);
}

BOOST_AUTO_TEST_CASE(coarse_functions_vanish_where_values_are_given)
{
  const System<2> system(16, 1, 0.);
  const Hierarchy levels(*system.mesh, system.space.dof_handler(), system.constraints, 39);
  BOOST_TEST(levels.size() >= 2u);
  BOOST_TEST(levels.n_coarsest() < 40u);
  Vec coarse = nullptr, fine = nullptr;
  MatCreateVecs(levels.interpolation(0), &coarse, &fine);
  VecSet(coarse, 1.);
  MatMult(levels.interpolation(0), coarse, fine);
  const double *values = nullptr;
  VecGetArrayRead(fine, &values);
  Index row = 0;
  for (const auto dof : system.space.dof_handler().locally_owned_dofs())
  {
    if (system.constraints.is_constrained(dof))
      BOOST_TEST(values[row] == 0.);
    ++row;
  }
  VecRestoreArrayRead(fine, &values);
  VecDestroy(&coarse);
  VecDestroy(&fine);
}

BOOST_AUTO_TEST_CASE(agrees_with_cholesky_in_iterations_that_do_not_grow)
{
  BOOST_TEST(compare(System<2>(16, 1, 0.), MatrixKind::spd, 11) <= 20u);
  BOOST_TEST(compare(System<2>(64, 1, 0.), MatrixKind::spd, 1) <= 20u);
  BOOST_TEST(compare(System<3>(8, 1, 0.), MatrixKind::spd, 11) <= 20u);
  BOOST_TEST(compare(System<3>(16, 1, 0.), MatrixKind::spd, 2) <= 20u);
  BOOST_TEST(compare(System<2>(16, 3, 0.), MatrixKind::spd, 3) <= 40u); // support points that are not nested
}

BOOST_AUTO_TEST_CASE(agrees_with_lu_and_its_transpose)
{
  for (const bool transpose : {false, true})
  {
    BOOST_TEST(compare(System<2>(32, 1, 20.), MatrixKind::general, 2, transpose) <= 30u);
    BOOST_TEST(compare(System<3>(8, 1, 4.), MatrixKind::general, 1, transpose) <= 30u);
  }
}

BOOST_AUTO_TEST_CASE(new_values_keep_the_pattern)
{
  System<2> system(16, 1, 0.);
  const auto solver   = system.solver("multigrid", MatrixKind::spd);
  const MultiVector b = system.loads(3);
  MultiVector x = b, y = b;
  BOOST_TEST(solver->solve(x));
  MatScale(system.matrix, 4.);
  BOOST_TEST(solver->set_matrix(system.matrix));
  BOOST_TEST(solver->solve(y));
  BOOST_TEST(system.norm(x - 4. * y) < 1e-9 * system.norm(x));
  MatScale(system.matrix, -1.);
  BOOST_TEST(!solver->set_matrix(system.matrix)); // no longer positive definite, and it shows on the diagonal
}

BOOST_AUTO_TEST_CASE(a_solve_is_as_accurate_as_asked_for)
{
  for (const MatrixKind kind : {MatrixKind::spd, MatrixKind::general})
    for (const bool transpose : {false, true})
    {
      const System<2> system(32, 1, kind == MatrixKind::spd ? 0. : 20.);
      const auto solver   = system.solver("multigrid", kind);
      const MultiVector b = system.loads(2);
      MultiVector fine = b, rough = b;
      BOOST_TEST(solver->solve(fine, transpose));
      const unsigned int iterations = solver->iterations();
      BOOST_TEST(solver->solve(rough, transpose, 1e-3));
      BOOST_TEST(solver->iterations() < iterations);
      const MultiVector residual =
          b - (transpose ? multiply_transpose(system.matrix, rough) : multiply(system.matrix, rough));
      for (Index j = 0; j < b.cols(); ++j)
      {
        BOOST_TEST(system.norm(residual.col(j)) < 1.02e-3 * system.norm(b.col(j)));
        BOOST_TEST(system.norm(residual.col(j)) > 1e-7 * system.norm(b.col(j)));
      }
    }
}

/// By a factorisation, as accurate as that is.
BOOST_AUTO_TEST_CASE(unconverged_solves_are_repeated)
{
  const System<2> system(16, 1, 0.);
  SolverSettings settings;
  settings.type           = "multigrid";
  settings.max_iterations = 2;
  const auto solver       = LinearSolver::create(
            settings, MatrixKind::spd, system.space.dof_handler().n_dofs(), 2,
            [&] { return std::make_shared<Hierarchy>(*system.mesh, system.space.dof_handler(), system.constraints, 39); });
  BOOST_REQUIRE(solver->set_matrix(system.matrix));
  const MultiVector b = system.loads(2);
  MultiVector x       = b;
  const double before = solve_counts().repeated;
  BOOST_TEST(solver->solve(x));
  BOOST_TEST(solve_counts().repeated == before + 1.);
  const MultiVector residual = b - multiply(system.matrix, x);
  for (Index j = 0; j < b.cols(); ++j)
    BOOST_TEST(system.norm(residual.col(j)) < 1e-12 * system.norm(b.col(j)));
}

BOOST_AUTO_TEST_SUITE_END()
