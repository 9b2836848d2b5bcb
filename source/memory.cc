#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <varfield/exceptions.h>
#include <varfield/memory.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// The whole text of a file, empty where it cannot be read.
    std::string text_of(const std::string &path)
    {
      std::ifstream file(path);
      std::ostringstream text;
      if (file)
        text << file.rdbuf();
      return text.str();
    }

    std::optional<double> number_in(const std::string &text)
    {
      std::istringstream stream(text);
      double value = 0;
      if (stream >> value)
        return value;
      return {};
    }
  } // namespace

  std::optional<double> bytes_in_table(const std::string &text, const std::string &key)
  {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      if (line.rfind(key + ":", 0) == 0)
        if (const auto kilobytes = number_in(line.substr(key.size() + 1)))
          return 1024. * *kilobytes;
    return {};
  }

  std::optional<double> room_in_control_group(const std::string &limit, const std::string &use,
                                              const std::string &statistics)
  {
    const auto most = number_in(limit), used = number_in(use);
    // Version 1 says “no limit” by a number near 2⁶³, version 2 by the word “max”.
    if (!most || !used || *most > 1e18)
      return {};
    double cache = 0;
    std::istringstream lines(statistics);
    for (std::string key, value; lines >> key >> value;)
      if (key == "inactive_file" || key == "total_inactive_file")
        cache = std::max(cache, number_in(value).value_or(0.));
    return std::max(0., *most - std::max(0., *used - cache));
  }

  std::vector<std::string> control_groups(const std::string &text)
  {
    std::vector<std::string> result;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
    {
      // “0::/path” of version 2, “4:memory:/path” of version 1.
      const auto first = line.find(':'), second = line.find(':', first + 1);
      if (first == std::string::npos || second == std::string::npos)
        continue;
      const std::string controllers = line.substr(first + 1, second - first - 1);
      if (!controllers.empty() && ("," + controllers + ",").find(",memory,") == std::string::npos)
        continue;
      const std::string root = controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
      std::string path       = line.substr(second + 1);
      while (true)
      {
        while (!path.empty() && path.back() == '/')
          path.pop_back();
        result.push_back(root + path);
        if (path.empty())
          break;
        path.erase(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
      }
    }
    return result;
  }

  double available_memory()
  {
    double room = bytes_in_table(text_of("/proc/meminfo"), "MemAvailable").value_or(1e18);
    for (const auto &folder : control_groups(text_of("/proc/self/cgroup")))
      for (const auto &[limit, use] :
           {std::pair("/memory.max", "/memory.current"), std::pair("/memory.limit_in_bytes", "/memory.usage_in_bytes")})
        if (const auto left =
                room_in_control_group(text_of(folder + limit), text_of(folder + use), text_of(folder + "/memory.stat")))
          room = std::min(room, *left);
    return room;
  }

  double resident_memory()
  {
    return bytes_in_table(text_of("/proc/self/status"), "VmRSS").value_or(0.);
  }

  double peak_memory()
  {
    return bytes_in_table(text_of("/proc/self/status"), "VmHWM").value_or(0.);
  }

  namespace
  {
    /// Sum over the ranks of this computer, and the least of their values of another number.
    std::pair<double, double> on_this_computer(double bytes, double least, MPI_Comm world)
    {
      MPI_Comm computer = MPI_COMM_NULL;
      MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &computer);
      MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_DOUBLE, MPI_SUM, computer);
      MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_DOUBLE, MPI_MIN, computer);
      MPI_Comm_free(&computer);
      return {bytes, least};
    }
  } // namespace

  MemoryFigures memory_figures(double bytes, MPI_Comm world)
  {
    MemoryFigures result;
    double largest[2] = {bytes, on_this_computer(bytes, 0., world).first};
    MPI_Allreduce(MPI_IN_PLACE, largest, 2, MPI_DOUBLE, MPI_MAX, world);
    MPI_Allreduce(&bytes, &result.all, 1, MPI_DOUBLE, MPI_SUM, world);
    result.rank     = largest[0];
    result.computer = largest[1];
    return result;
  }

  std::string in_bytes(double bytes)
  {
    std::ostringstream text;
    const double gigabytes = bytes / 1e9;
    text.precision(gigabytes >= 0.95 && gigabytes < 99.95 ? 1 : 0);
    text << std::fixed;
    if (gigabytes >= 0.95)
      text << gigabytes << " GB";
    else
      text << std::ceil(bytes / 1e6) << " MB";
    return text.str();
  }

  double entries_of_row(unsigned int dim, unsigned int degree, unsigned int components)
  {
    return std::pow(degree + 2., dim) * components;
  }

  double matrix_bytes(double rows, double entries_of_row)
  {
    return rows * (12. * entries_of_row + 16.);
  }

  double unknowns_of(double cells, unsigned int dim, unsigned int degree)
  {
    return std::pow(std::pow(cells, 1. / dim) * degree + 1., dim);
  }

  // The constants below were fitted to VmHWM: ld100 on 64² to 256² cells and box_3d on 16³ and 32³, one and two ranks
  // (“predicted_bytes” and “peak_bytes” in summary.json).
  namespace
  {
    /// Program and libraries, and buffers of MPI where there are others to talk to.
    double process_bytes(unsigned int ranks)
    {
      return ranks > 1 ? 2.8e8 : 2.2e8;
    }

    double mesh_bytes_of_cell(unsigned int dim)
    {
      return dim == 2 ? 1500. : 2500.;
    }

    /// Levels of multigrid and their transfer, in units of the matrix.
    constexpr double hierarchy = 2.5;
  } // namespace

  double factor_bytes(unsigned int dim, double rows, double entries_of_row, bool general)
  {
    // Nested dissection (George 1973): n log n entries in 2D, n^{4/3} in 3D.
    const double per_node = entries_of_row / std::pow(3., dim);
    const double entries  = dim == 2 ? 4.5 * rows * std::log2(std::max(2., rows)) : 14. * std::pow(rows, 4. / 3.);
    return (general ? 2. : 1.) * 8. * entries * std::sqrt(per_node) * 1.5;
  }

  double ProblemSize::field_unknowns() const
  {
    double result = 0.;
    for (const FieldSize &field : fields)
      result += field.nodal ? unknowns_of(cells, dim, field.degree) : 100.;
    return result;
  }

  double ProblemSize::workspace_bytes() const
  {
    const double n = state_unknowns(), row = entries_of_row(dim, state_degree, components);
    const double matrix = matrix_bytes(n, row);
    double nodal_fields = 0.;
    for (const FieldSize &field : fields)
      nodal_fields += field.nodal ? 1. : 0.1;
    const double copies = linear ? kinds_of_steps : 1. * experiments * steps;
    return copies * (2. * matrix + (direct ? factor_bytes(dim, n, row, !symmetric) : hierarchy * matrix)) +
           experiments * steps * nodal_fields * matrix + (steps > 1 ? matrix : 0.);
  }

  namespace
  {
    double prior_bytes(const ProblemSize &size)
    {
      double result = 0.;
      for (const auto &field : size.fields)
        if (field.nodal)
        {
          const double n   = unknowns_of(size.cells, size.dim, field.degree);
          const double row = entries_of_row(size.dim, field.degree, 1), matrix = matrix_bytes(n, row);
          result += 2. * matrix + (field.direct ? factor_bytes(size.dim, n, row, false) : hierarchy * matrix);
          if (field.consistent)
            result += 12. * size.cells * std::pow(field.degree + 1., 2. * size.dim) + 0.3 * matrix;
        }
      return result;
    }

    /// Columns of blocks of vectors, by phase.
    class Columns
    {
    public:
      explicit Columns(const ProblemSize &size)
          : size_(size), n_(size.field_unknowns()), jacobian_(size.data_space ? size.measurements : 0.)
      {
      }

      /// At the worst moment.
      double most() const
      {
        double result = newton();
        if (size_.has_posterior)
          result = std::max({result, jacobian_ + 2. * rank(1.) + eigenpairs(jacobian_, 1.), pointwise()});
        if (size_.is_variational)
          result = std::max(result, sweep());
        return result;
      }

    private:
      /// Directions that so many linearisations inform, at most.
      double rank(double draws) const
      {
        return std::min({static_cast<double>(size_.rank), draws * size_.measurements, n_});
      }
      /// Columns of a block where there are many, and what a solve for them holds.
      double block() const { return std::max(8., 1.6e7 / n_); }
      double temporary() const { return 6. * std::min(block(), std::max(1., jacobian_)); }
      /// The Jacobian and its image, the inverse curvature before and after.
      double newton() const { return 10. + 2. * jacobian_ + 4. * rank(1.) + temporary(); }
      double pointwise() const { return 4. * rank(size_.draws) + 8. * std::min(block(), 64.); }
      /// From a factor of so many columns, 0: none.
      double eigenpairs(double columns, double draws) const
      {
        if (columns == 0. || columns > 4. * (size_.rank + 20.))
          return std::min(13. * (size_.rank + 20.), 13. * n_); // subspaces of several passes
        return columns * n_ < 2e7 ? 7. * columns : 2. * columns + 3. * rank(draws);
      }
      /// The family's basis at the start, before and after a step, the curvature that it remembers, and a sweep, with
      /// its share of the coarser mesh.
      double sweep() const
      {
        const double draws = std::ceil(size_.draws / 2. / size_.groups) * 2., r = rank(size_.draws);
        const double kept = 2. * r * (size_.coarse_to_fine ? 1. : 2.);
        if (size_.keeps_linearizations)
          return kept + 2. * r + draws * (jacobian_ + 2.) + eigenpairs(size_.draws * jacobian_, size_.draws);
        const double probes = std::max(80., r + 20.);
        const double coarse = size_.coarse_to_fine ? std::pow(0.5, size_.dim) : 0.;
        return kept + 2. * draws +
               std::max((1. + coarse) * (jacobian_ + 3. * probes) + temporary(),
                        probes + eigenpairs(probes + r, size_.draws));
      }

      const ProblemSize &size_;
      const double n_, jacobian_;
    };

    double held_workspaces(const ProblemSize &size)
    {
      if (size.data_space)
        return 1.;
      if (size.is_variational && size.keeps_linearizations)
        return std::max(2., std::ceil(size.draws / 2. / size.groups) * 2. + 1.);
      return 2.;
    }
  } // namespace

  std::vector<MemoryPart> memory_parts(const ProblemSize &size)
  {
    const double coarse = size.ancestors;
    const double n = size.field_unknowns(), n_state = size.state_unknowns();
    const double pattern = 16. * n_state * entries_of_row(size.dim, size.state_degree, size.components);
    const double vectors =
        8. * (40. * n + (10. + 4. * size.experiments * (size.steps > 1 ? 2. * size.steps : 1.)) * n_state);
    const double written = size.cells * std::pow(2., size.dim) * 4. *
                           ((9. + size.written_draws + size.written_modes) * size.fields.size() +
                            2. * size.experiments * size.components + 12.);
    std::vector<MemoryPart> parts{{"mesh", size.cells * mesh_bytes_of_cell(size.dim) * (1. + coarse)},
                                  {"priors", prior_bytes(size) * (1. + coarse)},
                                  {"matrices and factors of states", held_workspaces(size) * size.workspace_bytes() +
                                                                         pattern + coarse * size.workspace_bytes()},
                                  {"Jacobians and bases", 8. * n * Columns(size).most() * (1. + 0.3 * coarse)},
                                  {"vectors and output", vectors + written}};
    std::stable_sort(parts.begin(), parts.end(),
                     [](const MemoryPart &a, const MemoryPart &b) { return a.bytes > b.bytes; });
    return parts;
  }

  MemoryPlan plan_memory(const ProblemSize &size, double limit, MPI_Comm world)
  {
    MemoryPlan plan;
    plan.parts                  = memory_parts(size);
    const double ranks_of_group = static_cast<double>(size.ranks) / size.groups;
    const double uneven         = ranks_of_group > 1. ? 1.1 : 1.;
    double bytes                = process_bytes(size.ranks);
    for (const MemoryPart &part : plan.parts)
      bytes += uneven * part.bytes / ranks_of_group;
    plan.predicted                 = memory_figures(bytes, world);
    plan.limited                   = limit > 0.;
    const double held              = plan.limited ? 0. : resident_memory();
    std::tie(plan.need, plan.room) = on_this_computer(bytes - held, plan.limited ? limit : available_memory(), world);
    // The tightest computer speaks for all.
    struct
    {
      double ratio;
      int rank;
    } tightest{plan.need / std::max(1., plan.room), 0};
    MPI_Comm_rank(world, &tightest.rank);
    MPI_Allreduce(MPI_IN_PLACE, &tightest, 1, MPI_DOUBLE_INT, MPI_MAXLOC, world);
    double numbers[2] = {plan.need, plan.room};
    MPI_Bcast(numbers, 2, MPI_DOUBLE, tightest.rank, world);
    plan.need = numbers[0];
    plan.room = numbers[1];
    return plan;
  }

  std::string MemoryPlan::describe() const
  {
    return "about " + in_bytes(predicted.rank) + " on each rank, " + in_bytes(predicted.all) + " in all; " +
           in_bytes(room) + (limited ? " allowed" : " free") + " on this computer";
  }

  void refuse_excess(const MemoryPlan &plan, const ProblemSize &size)
  {
    if (plan.fits())
      return;
    std::string largest;
    for (std::size_t i = 0; i < 3; ++i)
      largest += (i > 0 ? ", " : "") + plan.parts[i].name + " " + in_bytes(plan.parts[i].bytes);
    std::string advice = "a coarser mesh (Mesh/Subdivisions, Mesh/Global refinements)";
    if (size.groups > 1)
      advice += "; “Parallel/Sample groups = 1”, for each of the " + std::to_string(size.groups) +
                " groups holds the whole mesh";
    if (size.direct)
      advice += "; “Linear solver/Type = multigrid”, which needs no factors";
    if (size.is_variational && size.keeps_linearizations)
      advice += "; a smaller “Inference/Curvature/Memory”, with which the draws are averaged one by one";
    throw UserError("Parallel/Memory limit: the run is predicted to take " + in_bytes(plan.need) +
                    (plan.limited ? "" : " more") + " on one computer, but " +
                    (plan.limited ? "the limit is " + in_bytes(plan.room)
                                  : "only " + in_bytes(plan.room) + " are available there") +
                    ". The largest parts, for " + (size.groups > 1 ? "each group" : "all ranks together") + ": " +
                    largest + ". What helps: " + advice +
                    "; more computers. To run all the same, give a “Memory limit” that is large enough [GB].");
  }
} // namespace varfield
