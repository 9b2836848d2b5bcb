// What users write by hand, given to the readers: none of it may crash them, hang them, or leak. A mistake is a
// UserError. VARFIELD_READER says which: parameters, json, table or mesh; see scripts/fuzz.sh.
#include <mpi.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <sanitizer/lsan_interface.h>
#include <varfield/expression.h>
#include <varfield/mesh_file.h>
#include <varfield/parameters.h>
#include <varfield/table.h>

using namespace varfield;

namespace
{
  /// In memory; one for each process.
  std::string scratch(const std::string &ending)
  {
    return "/dev/shm/varfield_fuzz_" + std::to_string(getpid()) + ending;
  }

  void write(const std::string &path, const std::uint8_t *data, std::size_t size)
  {
    std::FILE *file = std::fopen(path.c_str(), "wb");
    std::fwrite(data, 1, size, file);
    std::fclose(file);
  }

  /// A parameter of every kind of pattern.
  void declare(dealii::ParameterHandler &prm)
  {
    using namespace dealii::Patterns;
    prm.declare_entry("Title", "");
    prm.declare_entry("Dimension", "2", Integer(2, 3));
    prm.enter_subsection("Mesh");
    prm.declare_entry("Subdivisions", "4, 4", List(Integer(1), 2, 2));
    prm.declare_entry("File", "", FileName());
    prm.declare_entry("Several parts", "false", Bool());
    prm.leave_subsection();
    prm.enter_subsection("Fields");
    prm.declare_entry("Names", "m");
    prm.enter_subsection("m");
    prm.declare_entry("Correlation length", "1", Double(0.));
    prm.declare_entry("Transform", "exp", Selection("exp|identity|logit"));
    prm.declare_entry("Anisotropy", "", Map(Anything(), Double()));
    prm.leave_subsection();
    prm.leave_subsection();
  }

  void use(const std::vector<Assignment> &assignments)
  {
    dealii::ParameterHandler prm;
    declare(prm);
    for (const Assignment &assignment : assignments)
      if (assignment.name == "Mean")
        try
        {
          Expression<2>(assignment.value, assignment.path()).value({0.25, 0.5});
        }
        catch (const UserError &)
        {
        }
    apply_assignments(assignments, prm);
    const auto again = read_parameter_text(parameters_as_used(prm), "used.prm", MPI_COMM_SELF);
    apply_assignments(again, prm);
  }

  void parameters(const std::uint8_t *data, std::size_t size)
  {
    const std::string path = scratch(".prm");
    write(path, data, size);
    use(read_parameter_file(path, MPI_COMM_SELF));
  }

  void json(const std::uint8_t *data, std::size_t size)
  {
    const std::string path = scratch(".json");
    write(path, data, size);
    use(read_parameter_file(path, MPI_COMM_SELF));
  }

  void table(const std::uint8_t *data, std::size_t size)
  {
    const std::string path = scratch(".csv");
    write(path, data, size);
    const Table table = Table::read(path, MPI_COMM_SELF);
    for (const std::string &name : table.names())
    {
      table.text_without(name);
      table.numbers(name);
    }
  }

  /// The first byte says which format the others are in. The readers are those of deal.II, which trust their files:
  /// they run in a child, as in the program.
  void mesh(const std::uint8_t *data, std::size_t size)
  {
    static const char *const endings[] = {".msh", ".vtk", ".vtu", ".inp", ".unv"};
    if (size == 0)
      return;
    const std::string path = scratch(endings[data[0] % 5]);
    write(path, data + 1, size - 1);
    const std::string message = try_in_child(
        [&]
        {
          dealii::Triangulation<2> triangulation;
          read_mesh_file(path, false, triangulation);
        },
        2);
    // What a child has read the program reads again.
    if (message.empty())
    {
      dealii::Triangulation<2> triangulation;
      read_mesh_file(path, false, triangulation);
    }
    std::filesystem::remove(path);
  }
} // namespace

namespace
{
  void (*reader)(const std::uint8_t *, std::size_t) = nullptr;
}

extern "C" int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  const std::map<std::string, void (*)(const std::uint8_t *, std::size_t)> readers{
      {"parameters", parameters}, {"json", json}, {"table", table}, {"mesh", mesh}};
  const char *name = std::getenv("VARFIELD_READER");
  reader           = readers.at(name != nullptr ? name : "parameters");
  // What MPI leaves behind is its own affair.
  __lsan_disable();
  MPI_Init(argc, argv);
  __lsan_enable();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
  try
  {
    reader(data, size);
  }
  catch (const UserError &)
  {
    // That is how mistakes are reported.
  }
  return 0;
}
