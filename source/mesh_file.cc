#include <deal.II/grid/grid_in.h>

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <varfield/exceptions.h>
#include <varfield/mesh_file.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  template <int dim>
  std::string in_words(const Point<dim> &point)
  {
    std::vector<std::string> numbers;
    for (unsigned int d = 0; d < dim; ++d)
      numbers.push_back(with_digits(point[d], 10));
    return "(" + join(numbers) + ")";
  }

  namespace
  {
    /// What the reader has to say, without the place in its source and the calls that led there.
    std::string words_of(const std::exception &error)
    {
      const auto *of_dealii = dynamic_cast<const ExceptionBase *>(&error);
      if (of_dealii == nullptr)
        return error.what();
      std::ostringstream text;
      of_dealii->print_info(text);
      return normalize(text.str());
    }

    template <int dim>
    void read(GridIn<dim> &reader, const std::string &name)
    {
      const std::string ending = std::filesystem::path(name).extension().string();
      std::ifstream file(name);
      if (ending == ".msh")
        reader.read_msh(file);
      else if (ending == ".vtk")
        reader.read_vtk(file);
      else if (ending == ".vtu")
        reader.read_vtu(file);
      else if (ending == ".ucd" || ending == ".inp")
        reader.read_ucd(file);
      else if (ending == ".unv")
        reader.read_unv(file);
      else
        throw UserError(
            "Mesh/File: the format is taken from the ending of the file's name, which is one of .msh (gmsh), "
            ".vtk, .vtu, .ucd, .inp (UCD) and .unv, but the file is “" +
            name + "”.");
    }

    /// At every vertex the edges along the axes of the reference cell span a positive volume.
    template <int dim>
    bool is_turned_right(const typename Triangulation<dim>::active_cell_iterator &cell)
    {
      for (const unsigned int v : cell->vertex_indices())
      {
        Tensor<2, dim> edges;
        for (unsigned int d = 0; d < dim; ++d)
          edges[d] = cell->vertex(v | (1u << d)) - cell->vertex(v & ~(1u << d));
        if (!(determinant(edges) > 0.))
          return false;
      }
      return true;
    }

    /// Of this process, to what the computer has: counts in a bad file may be anything.
    void limit_memory()
    {
#ifndef __SANITIZE_ADDRESS__
      std::ifstream sizes("/proc/self/statm");
      rlim_t pages = 0;
      if (!(sizes >> pages))
        return;
      const rlim_t most =
          (pages + static_cast<rlim_t>(sysconf(_SC_PHYS_PAGES))) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
      const rlimit limit{most, most};
      setrlimit(RLIMIT_AS, &limit);
#endif
    }

    /// Cells that can be reached from the first one through faces.
    template <int dim>
    unsigned int n_connected(const Triangulation<dim> &mesh)
    {
      std::vector<bool> reached(mesh.n_active_cells(), false);
      std::vector<typename Triangulation<dim>::active_cell_iterator> next{mesh.begin_active()};
      reached[next[0]->active_cell_index()] = true;
      unsigned int n                        = 0;
      while (!next.empty())
      {
        const auto cell = next.back();
        next.pop_back();
        ++n;
        for (const unsigned int f : cell->face_indices())
          if (!cell->at_boundary(f) && !reached[cell->neighbor(f)->active_cell_index()])
          {
            reached[cell->neighbor(f)->active_cell_index()] = true;
            next.push_back(cell->neighbor(f));
          }
      }
      return n;
    }
  } // namespace

  template <int dim>
  void read_mesh_file(const std::string &path, bool several_parts, Triangulation<dim> &mesh)
  {
    const std::string begin = "Mesh/File: “" + path + "” ";
    if (std::filesystem::is_directory(path))
      throw UserError(begin + "is a directory; a mesh file is needed.");
    if (!std::filesystem::exists(path))
      throw UserError("Mesh/File: the mesh file “" + path + "” does not exist (looked for in " +
                      std::filesystem::current_path().string() + ").");
    if (!std::ifstream(path))
      throw UserError("Mesh/File: the mesh file “" + path + "” cannot be read; is there a permission to?");
    GridIn<dim> reader;
    reader.attach_triangulation(mesh);
    try
    {
      read(reader, path);
    }
    catch (const UserError &)
    {
      throw;
    }
    catch (const std::exception &error)
    {
      throw UserError(begin + "could not be read as a " + std::to_string(dim) +
                      "-dimensional mesh (is it whole, in the format of its ending, and does Dimension fit?). The "
                      "reader says: " +
                      words_of(error).substr(0, 400));
    }
    if (mesh.n_active_cells() == 0)
      throw UserError(begin + "has no cells of dimension " + std::to_string(dim) + ".");
    if (!mesh.all_reference_cells_are_hyper_cube())
      throw UserError(begin +
                      "has triangles, tetrahedra, prisms or pyramids; only quadrilaterals (2D) and hexahedra (3D) can "
                      "be used. In gmsh, “Mesh.RecombineAll = 1” makes quadrilaterals.");
    for (const auto &cell : mesh.active_cell_iterators())
      if (!is_turned_right<dim>(cell))
        throw UserError(begin +
                        "has a cell that is not convex, without volume or turned inside out; it has a corner at " +
                        in_words(cell->vertex(0)) + " and its centre at " + in_words(cell->center()) + ".");
    const unsigned int n = n_connected(mesh);
    if (n < mesh.n_active_cells() && !several_parts)
      throw UserError(begin + "falls into parts that share no face: from the cell at " +
                      in_words(mesh.begin_active()->center()) + " only " + std::to_string(n) + " of " +
                      std::to_string(mesh.n_active_cells()) +
                      " cells can be reached. Are nodes doubled where parts meet? If the parts are meant, set "
                      "Mesh/Several parts to true.");
  }

  std::string try_in_child(const std::function<void()> &action, unsigned int seconds)
  {
    int ends[2];
    if (pipe(ends) != 0)
      return "";
    const pid_t child = fork();
    if (child < 0)
    {
      close(ends[0]);
      close(ends[1]);
      return "";
    }
    if (child == 0)
    {
      // A wish to stop is for the parent, after whose end the child has nothing to do.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (const int signal : {SIGINT, SIGTERM, SIGUSR1})
        std::signal(signal, SIG_IGN);
      for (const int signal : {SIGALRM, SIGSEGV, SIGABRT, SIGFPE, SIGBUS})
        std::signal(signal, SIG_DFL);
      // What libraries say as they crash is for nobody.
      const int nowhere = open("/dev/null", O_WRONLY);
      dup2(nowhere, STDERR_FILENO);
      const rlimit no_core{0, 0};
      setrlimit(RLIMIT_CORE, &no_core);
      alarm(seconds);
      limit_memory();
      std::string message;
      try
      {
        action();
      }
      catch (const std::exception &error)
      {
        message = error.what();
      }
      std::size_t done = 0;
      while (done < message.size())
      {
        const ssize_t n = write(ends[1], message.data() + done, message.size() - done);
        if (n <= 0)
          break;
        done += static_cast<std::size_t>(n);
      }
      _exit(0);
    }
    close(ends[1]);
    std::string message;
    char block[4096];
    for (ssize_t n = 0; (n = ::read(ends[0], block, sizeof(block))) > 0;)
      message.append(block, static_cast<std::size_t>(n));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
      return "the reader did not come to an end within " + std::to_string(seconds) + " seconds.";
    if (WIFSIGNALED(status))
      return "the reader crashed (" + std::string(strsignal(WTERMSIG(status))) + ").";
    return message;
  }

  template void read_mesh_file(const std::string &, bool, Triangulation<2> &);
  template void read_mesh_file(const std::string &, bool, Triangulation<3> &);
  template std::string in_words(const Point<2> &);
  template std::string in_words(const Point<3> &);
} // namespace varfield
