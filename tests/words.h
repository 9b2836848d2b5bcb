#ifndef varfield_tests_words_h
#define varfield_tests_words_h

#include "cases.h"

#include <filesystem>
#include <varfield/text.h>

/// Small cases of any registered equation, made from the slots that it declares.
namespace varfield::tests
{
  /// Measurements in two experiments, the sensors not the same.
  inline std::string two_experiments_file()
  {
    const std::string file = std::filesystem::absolute("two_experiments.csv").string();
    if (dealii::Utilities::MPI::this_mpi_process(MPI_COMM_WORLD) == 0)
      std::ofstream(file) << "x,y,z,value,experiment\n0.2,0.3,0.5,1,first\n0.6,0.4,0.2,2,first\n"
                             "0.2,0.3,0.5,0.5,second\n0.9,0.7,0.6,1.5,second\n0.45,0.55,0.3,1,second\n";
    MPI_Barrier(MPI_COMM_WORLD);
    return file;
  }

  /// A small case in the words of the parameter file.
  template <int dim>
  struct Words
  {
    unsigned int n = dim == 2 ? 6 : 3, degree = 1;
    std::string mesh, space, transform = "exp", experiments, extra;
    std::string dirichlet = "left: 0; right: field(a)";

    /// A field for every slot of the PDE, and one more for a boundary value.
    std::string text(const std::string &equation) const
    {
      const auto physics = Registry<Physics<dim>>::members().at(equation).create();
      std::string names = "a", fields = field("a", "nodal", "identity", 0.3), slots;
      const auto all = physics->slots();
      for (std::size_t i = 0; i < all.size(); ++i)
      {
        const std::string name = "m" + std::to_string(i);
        names += ", " + name;
        fields += field(name, space, transform, all[i].typical);
        slots += "set " + all[i].name + " = " + name + "\n";
      }
      std::string size = std::to_string(n), source = "3+x";
      for (int d = 1; d < dim; ++d)
        size += ", " + std::to_string(n);
      for (std::size_t c = 1; c < physics->state_names().size(); ++c)
        source += "; 1";
      return "set Dimension = " + std::to_string(dim) + "\nsubsection Mesh\nset Subdivisions = " + size + "\n" + mesh +
             "\nend\nsubsection Fields\nset Names = " + names + "\n" + fields +
             "end\nsubsection Physics\nset Equation = " + equation + "\nset Degree = " + std::to_string(degree) +
             "\nset Source = " + source + "\nset Dirichlet = " + dirichlet + "\nset Neumann = top: 1\nsubsection " +
             equation + "\n" + slots + "end\nend\n" + experiments + measurements() + extra;
    }

  private:
    /// With a coefficient that is about `typical`, and half as much more or less at most.
    std::string field(const std::string &name, const std::string &kind, const std::string &map, double typical) const
    {
      const bool zonal            = !kind.empty() && kind != "nodal";
      const double mean           = map == "exp" ? std::log(typical) : map == "logit" ? 0.3 : typical;
      const std::string deviation = to_text(map == "exp" ? 0.1 : map == "logit" ? 0.3 : 0.1 * typical);
      return "subsection " + name + "\nset Transform = " + map + "\nset Mean = " + to_text(mean) +
             (map == "logit" ? "\nsubsection logit\nset Lower bound = " + to_text(0.5 * typical) +
                                   "\nset Upper bound = " + to_text(1.5 * typical) + "\nend"
                             : "") +
             (zonal ? "\nset Space = blocks\nset Blocks = 2, 3" + std::string(dim == 3 ? ", 3" : "") +
                          "\nset Prior = kernel\nsubsection kernel\nset Standard deviation = " + deviation + "\nend"
                    : "\nset Degree = " + std::to_string(degree) + "\nsubsection spde\nset Standard deviation = " +
                          deviation + "\nset Correlation length = 0.5\nend") +
             "\nend\n";
    }

    std::string measurements() const
    {
      const std::string file = dim == 2 ? "linear_gaussian/A_observations.csv" : "box_3d/measurements.csv";
      return "subsection Measurements\nset Names = u\nsubsection u\nset File = " +
             (experiments.empty() ? "parameter_files/" + file : two_experiments_file()) +
             "\nsubsection gaussian\nset Standard deviation = 0.1\nend\nend\nend\n";
    }
  };
} // namespace varfield::tests

#endif
