#include <deal.II/dofs/dof_renumbering.h>
#include <deal.II/dofs/dof_tools.h>
#include <deal.II/fe/fe_dgq.h>
#include <deal.II/fe/fe_q.h>
#include <deal.II/numerics/vector_tools.h>

#include <algorithm>
#include <varfield/exceptions.h>
#include <varfield/field_space.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  Layout layout_of(const DoFHandler<dim> &handler)
  {
    std::vector<std::uint64_t> keys;
    for (const auto dof : handler.locally_owned_dofs())
      keys.push_back(dof);
    return {handler.get_communicator(), keys};
  }

  template <int dim>
  FieldSpace<dim>::FieldSpace(const Mesh<dim> &mesh, const FiniteElement<dim> &fe, bool zero_on_boundary)
      : mesh_(mesh), dof_handler_(mesh.triangulation())
  {
    dof_handler_.distribute_dofs(fe);
    DoFRenumbering::hierarchical(dof_handler_);
    relevant_ = DoFTools::extract_locally_relevant_dofs(dof_handler_);
    constraints_.reinit(relevant_);
    if (!fe.is_primitive() || fe.dofs_per_vertex > 0)
      DoFTools::make_hanging_node_constraints(dof_handler_, constraints_);
    if (zero_on_boundary)
      DoFTools::make_zero_boundary_constraints(dof_handler_, constraints_);
    constraints_.close();

    std::map<types::global_dof_index, Point<dim>> support;
    DoFTools::map_dofs_to_support_points(mesh.mapping(), dof_handler_, support);
    for (const auto dof : dof_handler_.locally_owned_dofs())
      points_.push_back(support.at(dof));
  }

  template <int dim>
  std::unique_ptr<FieldSpace<dim>> FieldSpace<dim>::nodal(const Mesh<dim> &mesh, unsigned int degree,
                                                          bool zero_on_boundary)
  {
    std::unique_ptr<FieldSpace> space(new FieldSpace(mesh, FE_Q<dim>(degree), zero_on_boundary));
    std::vector<std::uint64_t> keys;
    unsigned int local = 0;
    for (const auto dof : space->dof_handler_.locally_owned_dofs())
    {
      if (!space->constraints_.is_constrained(dof))
      {
        space->free_.push_back(local);
        keys.push_back(dof);
      }
      ++local;
    }
    space->layout_ = Layout(mesh.comm(), keys);
    return space;
  }

  template <int dim>
  std::unique_ptr<FieldSpace<dim>> FieldSpace<dim>::by_material(const Mesh<dim> &mesh)
  {
    std::unique_ptr<FieldSpace> space(new FieldSpace(mesh, FE_DGQ<dim>(0), false));
    const auto &ids = mesh.material_ids();
    space->make_zones([&ids](const auto &cell)
                      { return std::lower_bound(ids.begin(), ids.end(), cell->material_id()) - ids.begin(); },
                      ids.size(), "material");
    return space;
  }

  template <int dim>
  std::unique_ptr<FieldSpace<dim>> FieldSpace<dim>::by_block(const Mesh<dim> &mesh,
                                                             const std::vector<unsigned int> &blocks)
  {
    std::unique_ptr<FieldSpace> space(new FieldSpace(mesh, FE_DGQ<dim>(0), false));
    const auto corners = mesh.bounding_box().get_boundary_points();
    const auto zone    = [&](const auto &cell)
    {
      unsigned int index = 0;
      for (unsigned int d = dim; d-- > 0;)
      {
        const double x = (cell->center()[d] - corners.first[d]) / (corners.second[d] - corners.first[d]);
        index          = index * blocks[d] + std::min<unsigned int>(blocks[d] - 1, std::max(0., x * blocks[d]));
      }
      return index;
    };
    unsigned int n = 1;
    for (const auto b : blocks)
      n *= b;
    space->make_zones(zone, n, "block");
    return space;
  }

  template <int dim>
  std::unique_ptr<FieldSpace<dim>> FieldSpace<dim>::global(const Mesh<dim> &mesh)
  {
    std::unique_ptr<FieldSpace> space(new FieldSpace(mesh, FE_DGQ<dim>(0), false));
    space->make_zones([](const auto &) { return 0u; }, 1, "domain");
    return space;
  }

  template <int dim>
  std::unique_ptr<FieldSpace<dim>> FieldSpace<dim>::by_time(const Mesh<dim> &mesh, const std::vector<double> &times)
  {
    std::unique_ptr<FieldSpace> space(new FieldSpace(mesh, FE_DGQ<dim>(0), false));
    const unsigned int n = times.size() - 1;
    const auto &handler  = space->dof_handler_;
    std::vector<types::global_dof_index> dof(1);
    const auto take_turns = [&](const auto &cell)
    {
      cell->get_dof_indices(dof);
      return static_cast<unsigned int>(dof[0] % n);
    };
    if (handler.n_dofs() < n)
      throw UserError("there are " + std::to_string(n) + " intervals, but the mesh has " +
                      std::to_string(handler.n_dofs()) + " cells only; at least as many are needed.");
    space->make_zones(take_turns, n, "interval");
    space->times_ = times;
    for (unsigned int z = 0; z < n; ++z)
    {
      space->zone_centres_[z]    = Point<dim>();
      space->zone_centres_[z][0] = 0.5 * (times[z] + times[z + 1]);
    }
    for (unsigned int i = 0; i < space->points_.size(); ++i)
      space->points_[i] = space->zone_centres_[space->zone_[i]];
    return space;
  }

  template <int dim>
  unsigned int FieldSpace<dim>::interval(double time) const
  {
    const auto after = std::upper_bound(times_.begin() + 1, times_.end() - 1, time);
    return static_cast<unsigned int>(after - times_.begin() - 1);
  }

  template <int dim>
  void FieldSpace<dim>::make_zones(
      const std::function<unsigned int(const typename DoFHandler<dim>::active_cell_iterator &)> &zone,
      unsigned int n_zones, const std::string &what)
  {
    zone_.resize(n_owned());
    const auto first = n_owned() > 0 ? *dof_handler_.locally_owned_dofs().begin() : 0;
    std::vector<double> moments(n_zones * (dim + 1), 0.);
    dof_of_zone_.assign(n_zones, numbers::invalid_dof_index);
    std::vector<types::global_dof_index> dof(1);
    for (const auto &cell : dof_handler_.active_cell_iterators())
      if (cell->is_locally_owned())
      {
        cell->get_dof_indices(dof);
        const unsigned int z  = zone(cell);
        zone_[dof[0] - first] = z;
        dof_of_zone_[z]       = std::min(dof_of_zone_[z], dof[0]);
        const double measure  = cell->measure();
        moments[z * (dim + 1)] += measure;
        for (unsigned int d = 0; d < dim; ++d)
          moments[z * (dim + 1) + 1 + d] += measure * cell->center()[d];
      }
    Utilities::MPI::sum(moments, mesh_.comm(), moments);
    Utilities::MPI::min(dof_of_zone_, mesh_.comm(), dof_of_zone_);
    for (unsigned int z = 0; z < n_zones; ++z)
    {
      const double measure = moments[z * (dim + 1)];
      if (!(measure > 0.))
        throw UserError("Zone " + std::to_string(z) + " of " + std::to_string(n_zones) + " (" + what +
                        ") contains no cell of the mesh: use fewer blocks or a finer mesh.");
      Point<dim> centre;
      for (unsigned int d = 0; d < dim; ++d)
        centre[d] = moments[z * (dim + 1) + 1 + d] / measure;
      zone_centres_.push_back(centre);
    }
    std::vector<std::uint64_t> keys;
    if (Utilities::MPI::this_mpi_process(mesh_.comm()) == 0)
      for (unsigned int z = 0; z < n_zones; ++z)
        keys.push_back(z);
    layout_ = Layout(mesh_.comm(), keys);
  }

  template <int dim>
  MultiVector FieldSpace<dim>::embed(const MultiVector &coefficients) const
  {
    if (free_.size() == n_owned())
      return coefficients;
    MultiVector dofs = MultiVector::Zero(n_owned(), coefficients.cols());
    for (Index j = 0; j < dofs.cols(); ++j)
      for (std::size_t i = 0; i < free_.size(); ++i)
        dofs(free_[i], j) = coefficients(static_cast<Index>(i), j);
    return dofs;
  }

  template <int dim>
  MultiVector FieldSpace<dim>::extract(const MultiVector &dofs) const
  {
    if (free_.size() == n_owned())
      return dofs;
    MultiVector coefficients(free_.size(), dofs.cols());
    for (Index j = 0; j < dofs.cols(); ++j)
      for (std::size_t i = 0; i < free_.size(); ++i)
        coefficients(static_cast<Index>(i), j) = dofs(free_[i], j);
    return coefficients;
  }

  template <int dim>
  MultiVector FieldSpace<dim>::expand(const MultiVector &coefficients) const
  {
    if (!is_nodal())
    {
      MultiVector zones = MultiVector::Zero(zone_centres_.size(), coefficients.cols());
      if (coefficients.rows() > 0)
        zones = coefficients;
      broadcast_over(mesh_.comm(), zones.data(), static_cast<std::size_t>(zones.size()));
      MultiVector dofs(n_owned(), coefficients.cols());
      for (std::size_t i = 0; i < zone_.size(); ++i)
        dofs.row(i) = zones.row(zone_[i]);
      return dofs;
    }
    MultiVector dofs = embed(coefficients);
    if (!mesh_.triangulation().has_hanging_nodes())
      return dofs;
    GhostedVector column(dof_handler_.locally_owned_dofs(), relevant_, mesh_.comm());
    for (Index j = 0; j < dofs.cols(); ++j)
    {
      std::copy(dofs.col(j).begin(), dofs.col(j).end(), column.begin());
      constraints_.distribute(column);
      std::copy(column.begin(), column.begin() + dofs.rows(), dofs.col(j).begin());
      column.zero_out_ghost_values();
    }
    return dofs;
  }

  template <int dim>
  MultiVector FieldSpace<dim>::restrict(const MultiVector &dofs) const
  {
    if (!is_nodal())
    {
      MultiVector zones = MultiVector::Zero(zone_centres_.size(), dofs.cols());
      for (std::size_t i = 0; i < zone_.size(); ++i)
        zones.row(zone_[i]) += dofs.row(i);
      sum_over(mesh_.comm(), zones.data(), static_cast<std::size_t>(zones.size()));
      return zones.topRows(layout_.n_local());
    }
    if (!mesh_.triangulation().has_hanging_nodes())
      return extract(dofs);
    MultiVector result(n_owned(), dofs.cols());
    GhostedVector in(dof_handler_.locally_owned_dofs(), relevant_, mesh_.comm()), out(in);
    for (Index j = 0; j < dofs.cols(); ++j)
    {
      // Rows of E: a free node has itself, a hanging node its constraint entries.
      std::copy(dofs.col(j).begin(), dofs.col(j).end(), in.begin());
      out = 0.;
      for (const auto dof : dof_handler_.locally_owned_dofs())
        if (!constraints_.is_constrained(dof))
          out(dof) += in(dof);
        else if (const auto *entries = constraints_.get_constraint_entries(dof))
          for (const auto &[master, weight] : *entries)
            out(master) += weight * in(dof);
      out.compress(VectorOperation::add);
      std::copy(out.begin(), out.begin() + result.rows(), result.col(j).begin());
    }
    return extract(result);
  }

  template <int dim>
  GhostedVector FieldSpace<dim>::ghosted(const Vector &owned) const
  {
    GhostedVector vector(dof_handler_.locally_owned_dofs(), relevant_, mesh_.comm());
    std::copy(owned.begin(), owned.end(), vector.begin());
    vector.update_ghost_values();
    return vector;
  }

  template Layout layout_of(const DoFHandler<2> &);
  template Layout layout_of(const DoFHandler<3> &);
  template class FieldSpace<2>;
  template class FieldSpace<3>;
} // namespace varfield
