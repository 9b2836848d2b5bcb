#include <deal.II/grid/grid_generator.h>
#include <deal.II/grid/grid_tools.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <varfield/collective.h>
#include <varfield/expression.h>
#include <varfield/mesh.h>
#include <varfield/mesh_file.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// Unknowns are numbered with 32 bits.
    constexpr double most_cells = 2e8;

    const std::vector<std::string> &side_names(unsigned int dim)
    {
      static const std::vector<std::string> two{"left", "right", "bottom", "top"};
      static const std::vector<std::string> three{"left", "right", "front", "back", "bottom", "top"};
      return dim == 2 ? two : three;
    }

    unsigned int to_id(const std::string &text, const std::string &origin, const std::string &what = "a boundary id")
    {
      std::size_t end      = 0;
      unsigned long the_id = 0;
      try
      {
        the_id = std::stoul(text, &end);
      }
      catch (const std::exception &)
      {
        end = 0;
      }
      if (end == 0 || end != text.size() || the_id >= numbers::internal_face_boundary_id)
        throw UserError(origin + ": " + what + " is a whole number of at least 0, but found “" + text + "”.");
      return the_id;
    }

    /// The union over all ranks, ascending.
    template <typename Id>
    std::vector<Id> global_union(const std::set<Id> &local, MPI_Comm comm)
    {
      std::set<Id> all;
      for (const auto &ids : Utilities::MPI::all_gather(comm, std::vector<Id>(local.begin(), local.end())))
        all.insert(ids.begin(), ids.end());
      return {all.begin(), all.end()};
    }
  } // namespace

  template <int dim>
  void Mesh<dim>::add_parameters(ParameterHandler &prm)
  {
    using namespace Patterns;
    prm.add_parameter("Type", type_, "“box”: a generated box. “file”: read from a file.", Selection("box|file"));
    prm.add_parameter("Unit", unit_, "of length, for axes.");
    prm.add_parameter("Lower corner", lower_, "of the box: one number for each direction.");
    prm.add_parameter("Upper corner", upper_, "of the box: one number for each direction.");
    prm.add_parameter("Subdivisions", subdivisions_, "Number of cells of the box in each direction.",
                      List(Integer(1), dim, dim));
    prm.add_parameter("Boundary ids", side_ids_,
                      "Numbers for the sides of the box, for example “left: 0; right: 0; top: 1”. The sides are " +
                          join(side_names(dim)) + ", in 3D with z upwards; without an entry a side has its place in " +
                          "this list, from 0.");
    prm.add_parameter(
        "File", file_,
        "A mesh of quadrilaterals or hexahedra: gmsh (.msh, version 2 or 4), VTK (.vtk, .vtu), UCD (.ucd, "
        ".inp) or .unv; relative to the parameter file. Boundary and material ids are kept.",
        FileName());
    prm.add_parameter(
        "Layers", layers_,
        "In 3D: the file has a mesh in the plane, of which layers are made between these heights, "
        "ascending, for example “0, 20, 60”. Boundaries keep their ids; those below and above are “bottom” "
        "and “top”. Where the plane has one material, the layers have the materials 0, 1, … from below.");
    prm.add_parameter("Several parts", several_parts_,
                      "Whether a mesh file may consist of parts that share no face. (Mostly they were meant to, and "
                      "nodes are doubled where they meet.)");
    prm.add_parameter("Global refinements", global_refinements_, "How often every cell is halved in every direction.",
                      Integer(0, 12));
    prm.add_parameter("Refinements towards sensors", sensor_refinements_,
                      "How often the cells around each measurement point are refined.", Integer(0, 12));
    prm.add_parameter("Refinements towards boundaries", boundary_refinements_,
                      "How often the cells at a boundary are refined, for example “left: 2; 7: 1”.");
    prm.add_parameter("Refinements in boxes", box_refinements_,
                      "How often the cells with their centre in a box, given by two corners, are refined: “-1,-1, 1,1: "
                      "2; 0,0, 0.5,0.5: 4”.");
  }

  template <int dim>
  void Mesh<dim>::check() const
  {
    if (type_ == "file" && file_.empty())
      throw UserError("Mesh/File: has to name a mesh file where Mesh/Type is “file”.");
    if (type_ == "box" && !file_.empty())
      throw UserError("Mesh/File: is “" + file_ +
                      "”, but Mesh/Type is “box”. Set the type to “file”, or take the file out.");
    if (lower_.size() != dim || upper_.size() != dim)
      throw UserError("Mesh/Lower corner, Mesh/Upper corner: need " + std::to_string(dim) +
                      " numbers each, one for each direction, but have " + std::to_string(lower_.size()) + " and " +
                      std::to_string(upper_.size()) + ".");
    const auto heights = parse_numbers(layers_, "Mesh/Layers");
    if (!heights.empty() && (dim == 2 || type_ == "box"))
      throw UserError("Mesh/Layers: layers are made of a mesh file, in 3D; take them out.");
    if (heights.size() == 1 ||
        std::adjacent_find(heights.begin(), heights.end(), std::greater_equal<>()) != heights.end())
      throw UserError("Mesh/Layers: needs two heights or more, ascending, but found “" + layers_ + "”.");
    for (unsigned int d = 0; d < dim; ++d)
      if (!(lower_[d] < upper_[d]))
        throw UserError("Mesh/Upper corner: has to be above the lower corner in every direction, but in direction " +
                        std::string(1, "xyz"[d]) + " it is " + to_text(upper_[d]) + ", and the lower corner " +
                        to_text(lower_[d]) + ".");
    double cells = std::pow(2., dim * global_refinements_);
    for (const unsigned int n : subdivisions_)
      cells *= n;
    if (type_ == "box" && cells > most_cells)
      throw UserError("Mesh/Subdivisions, Mesh/Global refinements: these make " + to_text(cells) +
                      " cells; at most 200 million are possible.");
    for (const auto &[side, id] : parse_boundary_map(side_ids_, "Mesh/Boundary ids"))
    {
      const auto &sides = side_names(dim);
      if (std::find(sides.begin(), sides.end(), side) == sides.end())
        throw UserError("Mesh/Boundary ids: the sides are " + join(sides) + ", but found “" + side + "”" +
                        did_you_mean(side, sides) + ".");
      to_id(id, "Mesh/Boundary ids");
    }
  }

  template <int dim>
  void Mesh<dim>::load(MPI_Comm comm, bool is_new)
  {
    if (type_ != "box")
    {
      from_file_ = std::make_unique<Triangulation<dim>>();
      // A bad file can make a reader do anything.
      std::string message;
      if (is_new && Utilities::MPI::this_mpi_process(comm) == 0)
        message = try_in_child(
            [this]
            {
              Triangulation<dim> mesh;
              read_file(mesh);
            },
            most_seconds);
      if (message.rfind("the reader", 0) == 0)
        message = "Mesh/File: “" + file_ + "” cannot be read: " + message;
      throw_together(message, comm);
      try
      {
        read_file(*from_file_);
      }
      catch (const UserError &error)
      {
        message = error.what();
      }
      throw_together(message, comm);
    }
    estimated_cells_ = estimate_cells();
  }

  template <int dim>
  void Mesh<dim>::read_file(Triangulation<dim> &mesh) const
  {
    if constexpr (dim == 3)
      if (const auto heights = parse_numbers(layers_, "Mesh/Layers"); !heights.empty())
      {
        Triangulation<2> plane;
        read_mesh_file(file_, several_parts_, plane);
        std::set<types::material_id> materials;
        for (const auto &cell : plane.active_cell_iterators())
          materials.insert(cell->material_id());
        GridGenerator::extrude_triangulation(plane, heights, mesh);
        for (const auto &cell : mesh.active_cell_iterators())
          if (materials.size() == 1)
            cell->set_material_id(std::upper_bound(heights.begin(), heights.end(), cell->center()[2]) -
                                  heights.begin() - 1);
        return;
      }
    read_mesh_file(file_, several_parts_, mesh);
  }

  template <int dim>
  void Mesh<dim>::create(MPI_Comm comm, const std::vector<Point<dim>> &sensors, unsigned int max_level,
                         const std::vector<std::vector<CellId>> &cycles)
  {
    make_triangulation(comm);
    unsigned int halvings = 0;
    if (type_ == "box")
      halvings = create_box();
    else
    {
      triangulation_->copy_triangulation(*from_file_);
      // extrude_triangulation() gives the faces below and above the two ids behind all others.
      if (!layers_.empty())
        below_layers_ = from_file_->get_boundary_ids().back() - 1;
      from_file_.reset();
    }
    triangulation_->refine_global(std::min(halvings + global_refinements_, max_level));
    collect();
    refine_towards(sensors, max_level);
    refine_in_boxes(max_level);
    refine_towards_boundaries(max_level);
    for (const auto &ids : cycles)
      refine_cells(ids, max_level);
  }

  template <int dim>
  void Mesh<dim>::make_triangulation(MPI_Comm comm)
  {
    triangulation_ = std::make_unique<parallel::distributed::Triangulation<dim>>(
        comm, typename Triangulation<dim>::MeshSmoothing(Triangulation<dim>::limit_level_difference_at_vertices),
        parallel::distributed::Triangulation<dim>::communicate_vertices_to_p4est);
  }

  template <int dim>
  const Mesh<dim> *Mesh<dim>::coarsened() const
  {
    if (!coarsened_ && triangulation_->n_global_levels() > 1)
    {
      coarsened_ = std::make_unique<Mesh>();
      coarsened_->make_triangulation(comm());
      const auto [vertices, cells, sub_cells] = GridTools::get_coarse_mesh_description(*triangulation_);
      coarsened_->triangulation_->create_triangulation(vertices, cells, sub_cells);
      coarsened_->refine_like(*this);
    }
    return coarsened_.get();
  }

  /// A cell is refined if a child of it is in the fine mesh. The owners of the fine cells know that, and tell the
  /// owners of the coarse ones, level by level.
  template <int dim>
  void Mesh<dim>::refine_like(const Mesh<dim> &fine)
  {
    std::vector<std::pair<CellId, Point<dim>>> cells;
    unsigned int lowest = std::numeric_limits<int>::max();
    for (const auto &cell : fine.triangulation().active_cell_iterators())
      if (cell->is_locally_owned())
      {
        cells.emplace_back(cell->id(), cell->center());
        lowest = std::min<unsigned int>(lowest, cell->level());
      }
    lowest = Utilities::MPI::min(lowest, fine.comm());
    if (lowest > 1)
      triangulation_->refine_global(lowest - 1);
    for (unsigned int level = lowest > 0 ? lowest - 1 : 0; level + 2 < fine.triangulation().n_global_levels(); ++level)
    {
      std::map<CellId, Point<dim>> refined;
      for (const auto &[id, center] : cells)
        if (const auto children = id.get_child_indices(); children.size() >= level + 2)
          refined.emplace(CellId(id.get_coarse_cell_id(), level, children.data()), center);
      std::vector<Point<dim>> points;
      for (const auto &entry : refined)
        points.push_back(entry.second);
      const auto owners = owners_of(points);
      std::map<unsigned int, std::vector<std::string>> messages;
      std::size_t i = 0;
      for (const auto &entry : refined)
        messages[owners[i++]].push_back(entry.first.to_string());
      std::set<CellId> mine;
      for (const auto &[rank, names] : Utilities::MPI::some_to_some(comm(), messages))
        for (const auto &name : names)
          mine.insert(CellId(name));
      for (const auto &cell : triangulation_->active_cell_iterators())
        if (cell->is_locally_owned() && cell->level() == static_cast<int>(level) && mine.count(cell->id()) > 0)
          cell->set_refine_flag();
      triangulation_->execute_coarsening_and_refinement();
    }
  }

  /// The coarse mesh is as coarse as the subdivisions allow, so that the hierarchy below is deep. Returns how often it
  /// is to be refined to have these subdivisions.
  template <int dim>
  unsigned int Mesh<dim>::create_box()
  {
    std::vector<unsigned int> coarse = subdivisions_;
    unsigned int halvings            = 0;
    while (std::all_of(coarse.begin(), coarse.end(), [](unsigned int n) { return n % 2 == 0; }))
    {
      for (auto &n : coarse)
        n /= 2;
      ++halvings;
    }
    Point<dim> lower, upper;
    for (unsigned int d = 0; d < dim; ++d)
    {
      lower[d] = lower_[d];
      upper[d] = upper_[d];
    }
    Triangulation<dim> serial;
    GridGenerator::subdivided_hyper_rectangle(serial, coarse, lower, upper, /* colorize */ true);
    std::map<types::boundary_id, types::boundary_id> new_ids;
    const auto &sides = side_names(dim);
    for (const auto &[side, id] : parse_boundary_map(side_ids_, "Mesh/Boundary ids"))
      new_ids[std::find(sides.begin(), sides.end(), side) - sides.begin()] = to_id(id, "Mesh/Boundary ids");
    for (const auto &cell : serial.active_cell_iterators())
      for (const auto &face : cell->face_iterators())
        if (face->at_boundary() && new_ids.count(face->boundary_id()) > 0)
          face->set_all_boundary_ids(new_ids.at(face->boundary_id()));
    triangulation_->copy_triangulation(serial);
    return halvings;
  }

  /// A file is read into a serial mesh first: a distributed one would crash on triangles.
  template <int dim>
  std::uint64_t Mesh<dim>::estimate_cells() const
  {
    std::uint64_t cells = type_ == "box" ? 1 : from_file_->n_active_cells();
    if (type_ == "box")
      for (const unsigned int n : subdivisions_)
        cells *= n;
    return cells << (dim * global_refinements_);
  }

  template <int dim>
  void Mesh<dim>::refine_towards(const std::vector<Point<dim>> &points, unsigned int max_level)
  {
    for (unsigned int cycle = 0; cycle < sensor_refinements_; ++cycle)
    {
      for (const auto &cell : triangulation_->active_cell_iterators())
        if (cell->is_locally_owned() && cell->level() < static_cast<int>(max_level))
        {
          auto box = cell->bounding_box();
          box.extend(0.25 * cell->minimum_vertex_distance());
          if (std::any_of(points.begin(), points.end(),
                          [&box](const auto &p) { return std::isfinite(p[0]) && box.point_inside(p); }))
            cell->set_refine_flag();
        }
      triangulation_->execute_coarsening_and_refinement();
    }
  }

  template <int dim>
  void Mesh<dim>::refine_towards_boundaries(unsigned int max_level)
  {
    const std::string origin = "Mesh/Refinements towards boundaries";
    std::map<types::boundary_id, unsigned int> times;
    for (const auto &[name, count] : parse_boundary_map(boundary_refinements_, origin))
      for (const auto id : boundary_ids(name, origin))
        times[id] = to_id(count, origin, "the number of refinements");
    unsigned int cycles = 0;
    for (const auto &[id, count] : times)
      cycles = std::max(cycles, count);
    if (cycles > 12)
      throw UserError(origin + ": at most 12 refinements are allowed, but found " + std::to_string(cycles) + ".");
    for (unsigned int cycle = 0; cycle < cycles; ++cycle)
    {
      for (const auto &cell : triangulation_->active_cell_iterators())
        if (cell->is_locally_owned() && cell->level() < static_cast<int>(max_level))
          for (const auto &face : cell->face_iterators())
            if (face->at_boundary() && times.count(face->boundary_id()) > 0 && cycle < times.at(face->boundary_id()))
              cell->set_refine_flag();
      triangulation_->execute_coarsening_and_refinement();
    }
  }

  template <int dim>
  void Mesh<dim>::refine_in_boxes(unsigned int max_level)
  {
    const std::string origin = "Mesh/Refinements in boxes";
    std::vector<std::pair<BoundingBox<dim>, unsigned int>> boxes;
    unsigned int cycles = 0;
    for (const auto &[corners, count] : parse_boundary_map(box_refinements_, origin, "box"))
    {
      const auto numbers = parse_numbers(corners, origin);
      if (numbers.size() != 2 * dim)
        throw UserError(origin + ": a box is given by the " + std::to_string(2 * dim) +
                        " coordinates of two corners, but found “" + corners + "”.");
      std::pair<Point<dim>, Point<dim>> ends;
      for (unsigned int d = 0; d < dim; ++d)
        std::tie(ends.first[d], ends.second[d]) = std::minmax({numbers[d], numbers[dim + d]});
      boxes.emplace_back(BoundingBox<dim>(ends), to_id(count, origin, "the number of refinements"));
      cycles = std::max(cycles, boxes.back().second);
    }
    if (cycles > 12)
      throw UserError(origin + ": at most 12 refinements are allowed, but found " + std::to_string(cycles) + ".");
    for (unsigned int cycle = 0; cycle < cycles; ++cycle)
    {
      for (const auto &cell : triangulation_->active_cell_iterators())
        if (cell->is_locally_owned() && cell->level() < static_cast<int>(max_level))
          for (const auto &[box, count] : boxes)
            if (cycle < count && box.point_inside(cell->center()))
              cell->set_refine_flag();
      triangulation_->execute_coarsening_and_refinement();
    }
  }

  template <int dim>
  void Mesh<dim>::refine_cells(const std::vector<CellId> &ids, unsigned int max_level)
  {
    for (const auto &cell : triangulation_->active_cell_iterators())
      if (cell->is_locally_owned() && cell->level() < static_cast<int>(max_level) &&
          std::binary_search(ids.begin(), ids.end(), cell->id()))
        cell->set_refine_flag();
    triangulation_->execute_coarsening_and_refinement();
  }

  template <int dim>
  void Mesh<dim>::collect()
  {
    std::set<types::boundary_id> boundaries;
    std::set<types::material_id> materials;
    std::vector<double> low(dim, std::numeric_limits<double>::max()), high(dim, std::numeric_limits<double>::lowest());
    for (const auto &cell : triangulation_->active_cell_iterators())
      if (cell->is_locally_owned())
      {
        materials.insert(cell->material_id());
        for (const auto &face : cell->face_iterators())
          if (face->at_boundary())
            boundaries.insert(face->boundary_id());
        for (const auto v : cell->vertex_indices())
          for (unsigned int d = 0; d < dim; ++d)
          {
            low[d]  = std::min(low[d], cell->vertex(v)[d]);
            high[d] = std::max(high[d], cell->vertex(v)[d]);
          }
      }
    boundary_ids_ = global_union(boundaries, comm());
    material_ids_ = global_union(materials, comm());
    Point<dim> lower, upper;
    for (unsigned int d = 0; d < dim; ++d)
    {
      lower[d] = Utilities::MPI::min(low[d], comm());
      upper[d] = Utilities::MPI::max(high[d], comm());
    }
    bounding_box_ = BoundingBox<dim>({lower, upper});
  }

  template <int dim>
  std::vector<std::string> Mesh<dim>::known_ids() const
  {
    std::vector<std::string> known;
    for (const auto id : boundary_ids_)
      known.push_back(std::to_string(id));
    return known;
  }

  template <int dim>
  std::vector<types::boundary_id> Mesh<dim>::boundary_ids(const std::string &name, const std::string &origin) const
  {
    if (name == "all")
      return boundary_ids_;
    const auto &sides = side_names(dim);
    const auto side   = std::find(sides.begin(), sides.end(), name);
    types::boundary_id id;
    if (side != sides.end())
    {
      if (type_ != "box" && (layers_.empty() || (name != "bottom" && name != "top")))
        throw UserError(
            origin + ": the side “" + name +
            "” is known for a generated box only (“bottom” and “top” for Mesh/Layers too); the boundaries of "
            "a mesh from a file have numbers, here " +
            join(known_ids()) + ".");
      id = type_ == "box" ? side - sides.begin() : name == "bottom" ? below_layers_ : below_layers_ + 1;
      for (const auto &[other, number] : parse_boundary_map(side_ids_, "Mesh/Boundary ids"))
        if (other == name && type_ == "box")
          id = to_id(number, "Mesh/Boundary ids");
    }
    else if (!name.empty() && std::isdigit(static_cast<unsigned char>(name[0])))
      id = to_id(name, origin);
    else
      throw UserError(origin + ": a boundary is a number, “all”" + (type_ == "box" ? " or one of " + join(sides) : "") +
                      ", but found “" + name + "”" + did_you_mean(name, sides) + ".");
    if (std::find(boundary_ids_.begin(), boundary_ids_.end(), id) == boundary_ids_.end())
    {
      throw UserError(origin + ": the mesh has no boundary “" + name + "”; its boundary ids are " + join(known_ids()) +
                      ".");
    }
    return {id};
  }

  template <int dim>
  std::string Mesh<dim>::describe() const
  {
    return std::to_string(triangulation_->n_global_active_cells()) + " cells" +
           (triangulation_->has_hanging_nodes() ? ", locally refined" : "") + ", " +
           (type_ == "box" ? "generated box" : "from " + file_);
  }

  template class Mesh<2>;
  template class Mesh<3>;
} // namespace varfield
