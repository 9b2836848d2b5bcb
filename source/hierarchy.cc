#include <deal.II/dofs/dof_renumbering.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_values.h>
#include <deal.II/lac/la_parallel_vector.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <varfield/hierarchy.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// What the levels above and below have to know of a level.
    template <int dim>
    struct GridLevel
    {
      const Mesh<dim> *mesh          = nullptr;
      const DoFHandler<dim> *handler = nullptr;
      std::vector<PetscInt> free, fixed; ///< owned degrees of freedom
      std::uint64_t n_free = 0;
      bool all_free        = false;
      BoundingBox<dim> box; ///< of the whole mesh
    };

    template <int dim>
    void classify(const AffineConstraints<double> &constraints, const std::vector<bool> &vanishing,
                  GridLevel<dim> &level)
    {
      std::size_t i = 0;
      for (const auto dof : level.handler->locally_owned_dofs())
      {
        const auto *entries = constraints.get_constraint_entries(dof);
        if ((entries != nullptr && entries->empty()) || (entries == nullptr && !vanishing.empty() && vanishing[i]))
          level.fixed.push_back(dof);
        else if (entries == nullptr)
          level.free.push_back(dof);
        ++i;
      }
      level.n_free   = Utilities::MPI::sum(static_cast<std::uint64_t>(level.free.size()), level.mesh->comm());
      level.all_free = level.n_free == level.handler->n_dofs();
    }

    /// Which owned coarse degrees of freedom have a weight at a fixed fine one.
    std::vector<bool> columns_at(Mat interpolation, const std::vector<PetscInt> &rows)
    {
      Vec marks = nullptr;
      MatCreateVecs(interpolation, &marks, nullptr);
      VecSet(marks, 0.);
      for (const PetscInt row : rows)
      {
        PetscInt n              = 0;
        const PetscInt *columns = nullptr;
        MatGetRow(interpolation, row, &n, &columns, nullptr);
        const std::vector<PetscScalar> ones(n, 1.);
        VecSetValues(marks, n, columns, ones.data(), ADD_VALUES);
        MatRestoreRow(interpolation, row, &n, &columns, nullptr);
      }
      VecAssemblyBegin(marks);
      VecAssemblyEnd(marks);
      PetscInt n = 0;
      VecGetLocalSize(marks, &n);
      const PetscScalar *values = nullptr;
      VecGetArrayRead(marks, &values);
      std::vector<bool> result(n);
      for (PetscInt i = 0; i < n; ++i)
        result[i] = values[i] != 0.;
      VecRestoreArrayRead(marks, &values);
      VecDestroy(&marks);
      return result;
    }

    /// Degrees of freedom × free ones, which are numbered without gaps: hanging nodes from their masters.
    template <int dim>
    Mat expansion(const GridLevel<dim> &level, const AffineConstraints<double> &constraints, const IndexSet &relevant)
    {
      const auto &owned   = level.handler->locally_owned_dofs();
      const MPI_Comm comm = level.mesh->comm();
      IndexSet needed     = relevant;
      for (const auto &line : constraints.get_lines())
        for (const auto &entry : line.entries)
          needed.add_index(entry.first);
      LinearAlgebra::distributed::Vector<double> numbers(owned, needed, comm);
      numbers          = -1.;
      const PetscInt n = level.free.size();
      PetscInt first   = 0;
      MPI_Exscan(&n, &first, 1, MPIU_INT, MPI_SUM, comm);
      for (PetscInt i = 0; i < n; ++i)
        numbers(level.free[i]) = first + i;
      numbers.update_ghost_values();

      Mat matrix = nullptr;
      MatCreate(comm, &matrix);
      MatSetSizes(matrix, owned.n_elements(), n, PETSC_DETERMINE, PETSC_DETERMINE);
      MatSetType(matrix, MATMPIAIJ);
      const PetscInt widest = level.handler->get_fe().dofs_per_cell;
      MatMPIAIJSetPreallocation(matrix, widest, nullptr, widest, nullptr);
      MatSetOption(matrix, MAT_NEW_NONZERO_ALLOCATION_ERR, PETSC_FALSE);
      const auto set = [&](PetscInt row, types::global_dof_index master, double weight)
      {
        if (const double number = numbers(master); number >= 0.)
          MatSetValue(matrix, row, static_cast<PetscInt>(number), weight, INSERT_VALUES);
      };
      for (const auto dof : owned)
        if (const auto *entries = constraints.get_constraint_entries(dof))
          for (const auto &[master, weight] : *entries)
            set(dof, master, weight);
        else
          set(dof, dof, 1.);
      MatAssemblyBegin(matrix, MAT_FINAL_ASSEMBLY);
      MatAssemblyEnd(matrix, MAT_FINAL_ASSEMBLY);
      return matrix;
    }

    /// Keeps the free rows: the others are zero on the finest level, and left out below.
    template <int dim>
    void keep_free_rows(Mat &matrix, const GridLevel<dim> &level, bool finest)
    {
      if (level.all_free)
        return;
      if (finest)
      {
        Vec keep = nullptr;
        MatCreateVecs(matrix, nullptr, &keep);
        VecSet(keep, 0.);
        for (const PetscInt dof : level.free)
          VecSetValue(keep, dof, 1., INSERT_VALUES);
        VecAssemblyBegin(keep);
        VecAssemblyEnd(keep);
        MatDiagonalScale(matrix, keep, nullptr);
        VecDestroy(&keep);
        return;
      }
      IS rows  = nullptr;
      Mat kept = nullptr;
      ISCreateGeneral(level.mesh->comm(), level.free.size(), level.free.data(), PETSC_COPY_VALUES, &rows);
      MatCreateSubMatrix(matrix, rows, nullptr, MAT_INITIAL_MATRIX, &kept);
      ISDestroy(&rows);
      MatDestroy(&matrix);
      matrix = kept;
    }
    /// The free (on the finest level: all) degrees of freedom by their places, in slices across the longest direction
    /// of the mesh. In the hierarchical numbering neighbours may be far apart: a sweep would wait for memory.
    template <int dim>
    Order slices(const GridLevel<dim> &level, bool finest)
    {
      const auto &owned = level.handler->locally_owned_dofs();
      std::vector<Point<dim>> points(owned.n_elements());
      BoundingBox<dim> box = level.box;
      const auto &fe       = level.handler->get_fe();
      FEValues<dim> support(level.mesh->mapping(), fe, Quadrature<dim>(fe.get_unit_support_points()),
                            update_quadrature_points);
      std::vector<types::global_dof_index> dofs(fe.dofs_per_cell);
      for (const auto &cell : level.handler->active_cell_iterators())
        if (cell->is_locally_owned())
        {
          cell->get_dof_indices(dofs);
          support.reinit(cell);
          for (unsigned int i = 0; i < dofs.size(); ++i)
            if (owned.is_element(dofs[i]))
              points[owned.index_within_set(dofs[i])] = support.quadrature_point(i);
        }
      std::array<unsigned int, dim> axes;
      std::iota(axes.begin(), axes.end(), 0u);
      std::sort(axes.begin(), axes.end(),
                [&box](unsigned int a, unsigned int b) { return box.side_length(a) > box.side_length(b); });
      // Rounded, so that nodes of one plane are in one slice.
      std::vector<std::pair<std::array<long, dim>, int>> keys;
      const auto add = [&](types::global_dof_index dof)
      {
        std::array<long, dim> key;
        const auto &point = points[owned.index_within_set(dof)];
        for (unsigned int d = 0; d < dim; ++d)
          key[d] = std::lround(1e8 * (point[axes[d]] - box.lower_bound(axes[d])) / box.side_length(axes[0]));
        keys.emplace_back(key, static_cast<int>(keys.size()));
      };
      if (finest)
        for (const auto dof : owned)
          add(dof);
      else
        for (const auto dof : level.free)
          add(dof);
      std::sort(keys.begin(), keys.end());
      Order order;
      order.reserve(keys.size());
      for (const auto &key : keys)
        order.push_back(key.second);
      return order;
    }
  } // namespace

  template <int dim>
  Hierarchy::Hierarchy(const Mesh<dim> &mesh, const DoFHandler<dim> &handler,
                       const AffineConstraints<double> &constraints, std::uint64_t enough)
  {
    GridLevel<dim> fine;
    fine.mesh    = &mesh;
    fine.handler = &handler;
    fine.box     = mesh.bounding_box();
    classify(constraints, {}, fine);
    std::unique_ptr<DoFHandler<dim>> fine_handler;
    while (fine.n_free > enough)
    {
      GridLevel<dim> coarse;
      coarse.mesh = fine.mesh->coarsened();
      if (coarse.mesh == nullptr)
        break;
      auto coarse_handler = std::make_unique<DoFHandler<dim>>(coarse.mesh->triangulation());
      coarse_handler->distribute_dofs(handler.get_fe());
      DoFRenumbering::hierarchical(*coarse_handler);
      coarse.handler = coarse_handler.get();
      if (coarse_handler->n_dofs() > 0.6 * fine.n_free)
        break;
      const IndexSet relevant = DoFTools::extract_locally_relevant_dofs(*coarse_handler);
      AffineConstraints<double> hanging(relevant);
      DoFTools::make_hanging_node_constraints(*coarse_handler, hanging);
      hanging.close();

      const Interpolation<dim> interpolation(*coarse_handler, *coarse.mesh, *fine.handler);
      classify(hanging, columns_at(interpolation.matrix(), fine.fixed), coarse);
      if (coarse.n_free == 0)
        break;
      Mat p = nullptr;
      if (coarse.all_free)
      {
        p = interpolation.matrix();
        PetscObjectReference(reinterpret_cast<PetscObject>(p));
      }
      else
      {
        Mat expand = expansion(coarse, hanging, relevant);
        MatMatMult(interpolation.matrix(), expand, MAT_INITIAL_MATRIX, PETSC_DEFAULT, &p);
        MatDestroy(&expand);
      }
      keep_free_rows(p, fine, matrices_.empty());
      orders_.push_back(slices(fine, matrices_.empty()));
      matrices_.push_back(p);
      coarse.box   = fine.box;
      fine         = coarse;
      fine_handler = std::move(coarse_handler);
    }
    n_coarsest_ = fine.n_free;
    orders_.emplace_back();
    for (std::size_t l = 0; l < matrices_.size(); ++l)
      blocks_.emplace_back(matrices_[l], orders_[l], orders_[l + 1]);
  }

  Hierarchy::~Hierarchy()
  {
    for (Mat &p : matrices_)
      MatDestroy(&p);
  }

  template Hierarchy::Hierarchy(const Mesh<2> &, const DoFHandler<2> &, const AffineConstraints<double> &,
                                std::uint64_t);
  template Hierarchy::Hierarchy(const Mesh<3> &, const DoFHandler<3> &, const AffineConstraints<double> &,
                                std::uint64_t);
} // namespace varfield
