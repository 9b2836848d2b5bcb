#include <deal.II/base/quadrature_lib.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_values.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <varfield/field.h>
#include <varfield/hierarchy.h>
#include <varfield/state_space.h>
#include <varfield/text.h>

/// What linear solves cost, in products of the same matrix with a vector: −∇·(k∇u) = 1 on the unit square or cube with
/// u = 0 on two opposite sides and log k a draw of the Whittle–Matérn prior (standard deviation 1.3, correlation length
/// 0.25), and the solves of that prior itself.
///
///   mpirun -np 2 solver <dimension> <cells a side> <refinements towards 9 points> <direct|multigrid> [PETSc options]
///
/// One line of CSV for each matrix and number of right-hand sides. `seconds_product` is the unit; `setup` the work for
/// the first matrix (the hierarchy of meshes apart), `again` for new values; `solve` is for each right-hand side.
/// Times are wall time, `_cpu` those of the processor. The residual is the true one.
namespace varfield
{
  using namespace dealii;

  namespace
  {

    struct Seconds
    {
      double wall, cpu;
    };

    template <class Work>
    Seconds seconds(MPI_Comm comm, const Work &work)
    {
      const auto cpu_now = []
      {
        timespec time{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
      };
      MPI_Barrier(comm);
      const auto start       = std::chrono::steady_clock::now();
      const double cpu_start = cpu_now();
      work();
      const double cpu = cpu_now() - cpu_start;
      MPI_Barrier(comm);
      const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      return {Utilities::MPI::max(wall, comm), Utilities::MPI::max(cpu, comm)};
    }

    template <class Work>
    Seconds median(MPI_Comm comm, unsigned int n, const Work &work)
    {
      std::vector<double> wall, cpu;
      for (unsigned int i = 0; i < n; ++i)
      {
        const Seconds s = seconds(comm, work);
        wall.push_back(s.wall);
        cpu.push_back(s.cpu);
      }
      std::sort(wall.begin(), wall.end());
      std::sort(cpu.begin(), cpu.end());
      return {wall[n / 2], cpu[n / 2]};
    }

    /// Memory in use by this process, in MB.
    double memory()
    {
      std::ifstream file("/proc/self/statm");
      double total = 0., resident = 0.;
      file >> total >> resident;
      return resident * 4096. / 1e6;
    }

    template <int dim>
    class Benchmark
    {
    public:
      Benchmark(unsigned int cells, unsigned int refinements, const std::string &type)
          : cells_(cells), refinements_(refinements), field_("m")
      {
        settings_.type      = type;
        settings_.tolerance = 1e-8;
      }

      void run()
      {
        make_field();
        StateSpace<dim> space(mesh_, 1, 1);
        AffineConstraints<double> constraints(space.relevant());
        DoFTools::make_hanging_node_constraints(space.dof_handler(), constraints);
        for (const types::boundary_id id : {0, 1})
          DoFTools::make_zero_boundary_constraints(space.dof_handler(), id, constraints);
        constraints.close();
        SparseMatrix matrix;
        Vector load;
        assemble(space, constraints, matrix, load);
        measure("state", space, constraints, matrix, load);
      }

    private:
      void make_field()
      {
        ParameterHandler prm;
        prm.enter_subsection("Mesh");
        mesh_.add_parameters(prm);
        prm.leave_subsection();
        prm.enter_subsection("Field");
        field_.add_parameters(prm);
        prm.leave_subsection();
        const std::string n = std::to_string(cells_);
        prm.parse_input_from_string(
            "subsection Mesh\nset Subdivisions = " + n + ", " + n + (dim == 3 ? ", " + n : "") +
            "\nset Refinements towards sensors = " + std::to_string(refinements_) +
            "\nend\nsubsection Field\nsubsection spde\nset Standard deviation = 1.3\nset Correlation length = "
            "0.25\nend\nend\n");
        mesh_.check();
        std::vector<Point<dim>> sensors;
        for (unsigned int i = 0; i < 9; ++i)
        {
          Point<dim> point;
          for (unsigned int d = 0; d < dim; ++d)
            point[d] = std::fmod(0.37 + 0.618 * (i + 1) * (d + 1) + 0.1 * d, 1.);
          sensors.push_back(point);
        }
        const Seconds mesh  = seconds(MPI_COMM_WORLD, [&] { mesh_.create(MPI_COMM_WORLD, sensors); });
        const double before = memory();
        const Seconds prior = seconds(MPI_COMM_WORLD, [&] { field_.initialize(mesh_, settings_); });
        say("# mesh " + mesh_.describe() + ": " + to_text(mesh.wall) + " s; prior: " + to_text(prior.wall) + " s, " +
            to_text(Utilities::MPI::sum(memory() - before, MPI_COMM_WORLD)) + " MB");
      }

      /// K with an exp(m) at the quadrature points, and the load of a unit source.
      void assemble(const StateSpace<dim> &space, const AffineConstraints<double> &constraints, SparseMatrix &matrix,
                    Vector &load) const
      {
        const Vector draw     = field_.expand(field_.prior()->draw({1, Stream::verification, 0, 1.}));
        const GhostedVector m = field_.space().ghosted(draw);
        const auto &handler   = space.dof_handler();
        reinit_matrix(matrix, handler, constraints, handler, constraints);
        GhostedVector rhs(handler.locally_owned_dofs(), space.relevant(), space.comm());
        const QGauss<dim> quadrature(2);
        FEValues<dim> values(mesh_.mapping(), space.fe(), quadrature,
                             update_values | update_gradients | update_JxW_values);
        const unsigned int n = space.fe().dofs_per_cell;
        FullMatrix<double> k(n, n);
        dealii::Vector<double> f(n);
        std::vector<types::global_dof_index> dofs(n);
        for (const auto &cell : handler.active_cell_iterators())
          if (cell->is_locally_owned())
          {
            values.reinit(cell);
            cell->get_dof_indices(dofs); // the field's space is the same
            k = 0.;
            f = 0.;
            for (unsigned int q = 0; q < quadrature.size(); ++q)
            {
              double log_k = 0.;
              for (unsigned int i = 0; i < n; ++i)
                log_k += m(dofs[i]) * values.shape_value(i, q);
              for (unsigned int i = 0; i < n; ++i)
              {
                f(i) += values.shape_value(i, q) * values.JxW(q);
                for (unsigned int j = 0; j < n; ++j)
                  k(i, j) += std::exp(log_k) * (values.shape_grad(i, q) * values.shape_grad(j, q)) * values.JxW(q);
              }
            }
            constraints.distribute_local_to_global(k, dofs, matrix);
            constraints.distribute_local_to_global(f, dofs, rhs);
          }
        finish_matrix(matrix, handler, constraints);
        rhs.compress(VectorOperation::add);
        load = Eigen::Map<const Vector>(rhs.begin(), space.n_owned());
      }

      void measure(const std::string &name, const StateSpace<dim> &space, const AffineConstraints<double> &constraints,
                   const SparseMatrix &matrix, const Vector &load)
      {
        const MPI_Comm comm = space.comm();
        const auto &handler = space.dof_handler();
        Vec x = nullptr, y = nullptr;
        MatCreateVecs(matrix, &x, &y);
        VecSet(x, 1.);
        const auto product = [&] { MatMult(matrix, x, y); };
        median(comm, 5, product);
        std::shared_ptr<const Hierarchy> levels;
        const double before = memory();
        const Seconds hierarchy =
            seconds(comm, [&] { levels = std::make_shared<Hierarchy>(mesh_, handler, constraints); });
        const double with_levels = memory();
        const auto solver =
            LinearSolver::create(settings_, MatrixKind::spd, handler.n_dofs(), dim, [&] { return levels; });
        bool ok                  = true;
        const Seconds setup      = seconds(comm, [&] { ok = solver->set_matrix(matrix); });
        const double with_solver = memory();
        const Seconds again      = median(comm, 3, [&] { ok = solver->set_matrix(matrix) && ok; });
        say("# " + std::to_string(levels->size() + 1) + " levels, coarsest " + std::to_string(levels->n_coarsest()) +
            "; hierarchy " + to_text(hierarchy.wall) + " s, " +
            to_text(Utilities::MPI::sum(with_levels - before, comm)) + " MB; solver " +
            to_text(Utilities::MPI::sum(with_solver - with_levels, comm)) + " MB");
        for (const Index columns : {1, 8, 32, 128})
        {
          MultiVector rhs(load.size(), columns), solution;
          for (Index j = 0; j < columns; ++j)
            for (Index i = 0; i < load.size(); ++i)
              rhs(i, j) =
                  (j == 0 && columns < 100) ? load[i] : (load[i] != 0. && (i + 1) % (997 * (j + 1)) == 0 ? 1. : 0.);
          const Seconds unit         = median(comm, 15, product);
          const Seconds solve        = median(comm, columns > 8 ? 1 : 3,
                                              [&]
                                              {
                                         solution = rhs;
                                         ok       = solver->solve(solution) && ok;
                                       });
          const Seconds later        = median(comm, 15, product);
          const MultiVector residual = multiply(matrix, solution) - rhs;
          const double worst         = std::sqrt((Utilities::MPI::sum(residual.squaredNorm(), comm)) /
                                                 Utilities::MPI::sum(rhs.squaredNorm(), comm));
          const double mm = 0.5 * (unit.wall + later.wall), mm_cpu = 0.5 * (unit.cpu + later.cpu);
          const double each = static_cast<double>(columns);
          if (header_)
            say("dimension,cells,refinements,ranks,type,matrix,unknowns,columns,iterations,solve,solve_cpu,setup,setup_"
                "cpu,"
                "again,again_cpu,seconds_product,residual,converged");
          header_ = false;
          std::ostringstream line;
          line.precision(4);
          line << dim << ',' << cells_ << ',' << refinements_ << ',' << Utilities::MPI::n_mpi_processes(comm) << ','
               << settings_.type << ',' << name << ',' << handler.n_dofs() << ',' << columns << ','
               << solver->iterations() << ',' << solve.wall / mm / each << ',' << solve.cpu / mm_cpu / each << ','
               << setup.wall / mm << ',' << setup.cpu / mm_cpu << ',' << again.wall / mm << ',' << again.cpu / mm_cpu
               << ',' << mm << ',' << worst << ',' << ok;
          say(line.str());
        }
        VecDestroy(&x);
        VecDestroy(&y);
      }

      static void say(const std::string &line)
      {
        if (Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
          std::cout << line << std::endl;
      }

      const unsigned int cells_, refinements_;
      SolverSettings settings_;
      Mesh<dim> mesh_;
      Field<dim> field_;
      bool header_ = true;
    };
  } // namespace
} // namespace varfield

int main(int argc, char **argv)
{
  if (argc < 5)
  {
    std::cerr
        << "usage: solver <2|3> <cells a side> <refinements towards 9 points> <direct|multigrid> [PETSc options]\n";
    return 2;
  }
  int own_arguments = 1;
  const dealii::Utilities::MPI::MPI_InitFinalize mpi(own_arguments, argv, 1);
  for (int i = 5; i < argc; ++i)
    PetscOptionsInsertString(nullptr, argv[i]);
  const unsigned int cells = std::stoul(argv[2]), refinements = std::stoul(argv[3]);
  if (std::string(argv[1]) == "2")
    varfield::Benchmark<2>(cells, refinements, argv[4]).run();
  else
    varfield::Benchmark<3>(cells, refinements, argv[4]).run();
  return 0;
}
