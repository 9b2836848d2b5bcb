#ifndef varfield_tests_cases_h
#define varfield_tests_cases_h

#include "tests_config.h"

#include <deal.II/base/mpi.h>

#include <array>
#include <boost/serialization/array.hpp>
#include <boost/serialization/map.hpp>
#include <boost/serialization/vector.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <varfield/hyper_inference.h>

/// Cases built inside the tests, and their fields by coordinates.
namespace varfield::tests
{
  inline std::string source_folder()
  {
    return VARFIELD_SOURCE_DIR;
  }

  /// Whether tests that have a long form run it: with VARFIELD_LONG_TESTS in the environment.
  inline bool is_long()
  {
    return std::getenv("VARFIELD_LONG_TESTS") != nullptr;
  }

  /// A case, checked and built, from assignments, of which the overrides count last. All ranks share the mesh unless an
  /// override says otherwise.
  template <int dim>
  std::unique_ptr<Case<dim>> build_case(std::vector<Assignment> assignments, const std::vector<std::string> &overrides,
                                        MPI_Comm comm)
  {
    // What a run begins with to be trusted has tests of its own.
    for (const char *text :
         {"Parallel/Sample groups=1", "Inference/Prior draws=0", "Inference/Starts=0", "Inference/Minimum draws=200"})
      assignments.push_back(parse_override(text));
    for (const auto &text : overrides)
      assignments.push_back(parse_override(text));
    auto result = std::make_unique<Case<dim>>(comm, assignments);
    result->check();
    result->build();
    return result;
  }

  /// From a text; names of files in it are relative to the source folder.
  template <int dim>
  std::unique_ptr<Case<dim>> case_from_text(const std::string &text, const std::vector<std::string> &overrides = {},
                                            MPI_Comm comm = MPI_COMM_WORLD)
  {
    return build_case<dim>(read_parameter_text(text, source_folder() + "/test.prm", comm), overrides, comm);
  }

  /// From parameter_files/`name`.prm.
  template <int dim>
  std::unique_ptr<Case<dim>> shipped_case(const std::string &name, const std::vector<std::string> &overrides = {},
                                          MPI_Comm comm = MPI_COMM_WORLD)
  {
    return build_case<dim>(read_parameter_file(source_folder() + "/parameter_files/" + name + ".prm", comm), overrides,
                           comm);
  }

  /// Keeps what is printed from the terminal while it lives.
  class Silence
  {
  public:
    Silence() : before(std::cout.rdbuf(nullptr)) {}
    ~Silence()
    {
      std::cout.rdbuf(before);
      std::cout.clear();
    }
    Silence(const Silence &)            = delete;
    Silence &operator=(const Silence &) = delete;

  private:
    std::streambuf *before;
  };

  template <int dim>
  Results<dim> infer_silently(std::unique_ptr<Case<dim>> &problem, const Extras &extras = {})
  {
    const Silence silence;
    Report report(problem->groups(), 0.);
    return infer_all(problem, report, extras);
  }

  /// Values of a field at its nodes, found by their coordinates: all nodes on every rank.
  template <int dim>
  class NodalValues
  {
  public:
    NodalValues() = default;
    /// Collective.
    NodalValues(const FieldSpace<dim> &space, const Vector &owned)
    {
      std::vector<std::pair<Key, double>> local;
      for (Index i = 0; i < owned.size(); ++i)
        local.emplace_back(key(space.points()[static_cast<std::size_t>(i)]), owned[i]);
      for (const auto &part : dealii::Utilities::MPI::all_gather(space.mesh().comm(), local))
        values.insert(part.begin(), part.end());
    }

    template <class Archive>
    void serialize(Archive &archive, const unsigned int)
    {
      archive &values;
    }

    std::size_t size() const { return values.size(); }
    double at(const dealii::Point<dim> &point) const { return values.at(key(point)); }

    /// max |a − b| and max |b| over the nodes of b, which all have to be nodes of a.
    friend std::pair<double, double> largest_difference(const NodalValues &a, const NodalValues &b)
    {
      std::pair<double, double> result{0., 0.};
      for (const auto &[where, value] : b.values)
      {
        result.first  = std::max(result.first, std::abs(a.values.at(where) - value));
        result.second = std::max(result.second, std::abs(value));
      }
      return result;
    }

  private:
    using Key = std::array<long, 3>;
    static Key key(const dealii::Point<dim> &point)
    {
      Key result{{0, 0, 0}};
      for (unsigned int d = 0; d < dim; ++d)
        result[d] = std::lround(point[d] * 1e7);
      return result;
    }
    std::map<Key, double> values;
  };

  /// Owned degrees of freedom × points: the weights that interpolate a Q1 field on a uniform mesh of width h.
  template <int dim>
  MultiVector interpolation_weights(const FieldSpace<dim> &space, const std::vector<dealii::Point<dim>> &points,
                                    double h)
  {
    MultiVector weights(space.n_owned(), points.size());
    for (Index i = 0; i < weights.rows(); ++i)
      for (Index k = 0; k < weights.cols(); ++k)
      {
        const auto distance = points[static_cast<std::size_t>(k)] - space.points()[static_cast<std::size_t>(i)];
        weights(i, k)       = 1.;
        for (unsigned int d = 0; d < dim; ++d)
          weights(i, k) *= std::max(0., 1. - std::abs(distance[d]) / h);
      }
    return weights;
  }

  /// Sums over the ranks of a communicator.
  inline Vector sum(Vector local, MPI_Comm comm)
  {
    MPI_Allreduce(MPI_IN_PLACE, local.data(), static_cast<int>(local.size()), MPI_DOUBLE, MPI_SUM, comm);
    return local;
  }

  /// The constants in Φ = ½|r/σ|² + Σ log(σ √2π).
  template <int dim>
  double noise_constants(const Case<dim> &problem)
  {
    const Vector deviations = problem.measurements().standard_deviations();
    return deviations.array().log().sum() + 0.5 * static_cast<double>(deviations.size()) * std::log(2. * M_PI);
  }
} // namespace varfield::tests

#endif
