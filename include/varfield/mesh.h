#ifndef varfield_mesh_h
#define varfield_mesh_h

#include <deal.II/base/parameter_handler.h>
#include <deal.II/distributed/tria.h>
#include <deal.II/fe/mapping_q.h>

#include <memory>
#include <varfield/vectors.h>

namespace varfield
{
  /// The distributed mesh: a generated box or a file of quadrilaterals or hexahedra, refined as asked. The same
  /// parameters give the same mesh on every number of ranks.
  template <int dim>
  class Mesh
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm);
    /// Throws UserError on contradictions.
    void check() const;
    /// Reads the mesh file, if there is one, on every rank; one that `is_new` on the first rank in a child process
    /// before that. Collective over `comm`, where a mistake is thrown on all ranks; UserError.
    void load(MPI_Comm comm, bool is_new = true);
    /// After load(): builds and refines the mesh over `comm`. `sensors` are the points towards which the mesh is
    /// refined, if asked. After that the cells of each list in `cycles`, ascending ids, are refined, one list after the
    /// other. No cell is refined beyond `max_level`: such a mesh is an ancestor of the one without limit.
    void create(MPI_Comm comm, const std::vector<dealii::Point<dim>> &sensors, unsigned int max_level = no_limit,
                const std::vector<std::vector<dealii::CellId>> &cycles = {});
    static constexpr unsigned int no_limit = 1000;

    const dealii::parallel::distributed::Triangulation<dim> &triangulation() const { return *triangulation_; }
    /// The mesh in which every family of active cells of this one is joined, as far as neighbours may differ by one
    /// refinement only: geometry and partition, without boundary and material ids. nullptr where no cell was refined.
    /// Made when first asked for, and kept. Collective.
    const Mesh *coarsened() const;
    /// The ranks whose cells contain these points of the mesh.
    std::vector<dealii::types::subdomain_id> owners_of(const std::vector<dealii::Point<dim>> &points) const
    {
      return triangulation_->find_point_owner_rank(points);
    }
    const dealii::Mapping<dim> &mapping() const { return mapping_; }
    MPI_Comm comm() const { return triangulation_->get_communicator(); }
    /// The smallest box around the mesh.
    const dealii::BoundingBox<dim> &bounding_box() const { return bounding_box_; }

    /// Boundary ids from a name: "left", "right", "bottom", "top", "front", "back" of a generated box, "bottom" and
    /// "top" of layers, a number, or "all". UserError that begins with `origin` if the mesh has no such boundary.
    std::vector<dealii::types::boundary_id> boundary_ids(const std::string &name, const std::string &origin) const;
    /// Material ids in use, ascending.
    const std::vector<dealii::types::material_id> &material_ids() const { return material_ids_; }
    /// Cells before local refinement, known after load(): for decisions that come before create().
    std::uint64_t estimated_cells() const { return estimated_cells_; }
    /// Whether the mesh depends on where the sensors are.
    bool follows_sensors() const { return sensor_refinements_ > 0; }
    /// Unit of length, for axes.
    const std::string &unit() const { return unit_; }
    /// One line in words.
    std::string describe() const;

  private:
    std::uint64_t estimate_cells() const;
    void read_file(dealii::Triangulation<dim> &mesh) const;
    void make_triangulation(MPI_Comm comm);
    void refine_like(const Mesh &fine);
    unsigned int create_box();
    void refine_towards(const std::vector<dealii::Point<dim>> &points, unsigned int max_level);
    void refine_towards_boundaries(unsigned int max_level);
    void refine_in_boxes(unsigned int max_level);
    void refine_cells(const std::vector<dealii::CellId> &ids, unsigned int max_level);
    void collect();
    std::vector<std::string> known_ids() const;

    std::string type_          = "box";
    std::vector<double> lower_ = std::vector<double>(dim, 0.), upper_ = std::vector<double>(dim, 1.);
    std::vector<unsigned int> subdivisions_ = std::vector<unsigned int>(dim, 32);
    std::string side_ids_, file_, layers_, unit_;
    bool several_parts_              = false;
    unsigned int global_refinements_ = 0, sensor_refinements_ = 0;
    static constexpr unsigned int most_seconds = 1800; ///< for reading a file
    std::string boundary_refinements_, box_refinements_;

    std::uint64_t estimated_cells_ = 0;
    std::unique_ptr<dealii::Triangulation<dim>> from_file_; ///< between load() and create()
    std::unique_ptr<dealii::parallel::distributed::Triangulation<dim>> triangulation_;
    mutable std::unique_ptr<Mesh> coarsened_;
    dealii::types::boundary_id below_layers_ = 0; ///< the boundary above them is the next one
    dealii::MappingQ<dim> mapping_{1};
    dealii::BoundingBox<dim> bounding_box_;
    std::vector<dealii::types::boundary_id> boundary_ids_;
    std::vector<dealii::types::material_id> material_ids_;
  };
} // namespace varfield

#endif
