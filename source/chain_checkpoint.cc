#include <deal.II/base/mpi.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <varfield/chain_checkpoint.h>
#include <varfield/checkpoint.h>
#include <varfield/collective.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    Layout rows_alone(Index n)
    {
      std::vector<std::uint64_t> keys(static_cast<std::size_t>(n));
      for (Index i = 0; i < n; ++i)
        keys[static_cast<std::size_t>(i)] = static_cast<std::uint64_t>(i);
      return Layout(MPI_COMM_SELF, std::move(keys));
    }

    /// A matrix that all ranks hold: the first one writes, all of them read.
    void write_matrix(const std::string &path, const Layout &like, const Matrix &matrix)
    {
      int rank = 0;
      MPI_Comm_rank(like.comm(), &rank);
      std::string message;
      if (rank == 0)
        try
        {
          write_columns(path, rows_alone(matrix.rows()), matrix);
        }
        catch (const ComputationError &error)
        {
          message = error.what();
        }
      if (dealii::Utilities::MPI::max(message.empty() ? 0 : 1, like.comm()) > 0)
        throw ComputationError(path + ": cannot be written.");
    }

    struct Folder
    {
      std::string path;
      unsigned int generation = 0;
      std::string file(const std::string &name) const { return path + "/" + std::to_string(generation) + "_" + name; }
      std::string chain(unsigned int id, const std::string &name) const
      {
        return file("chain" + std::to_string(id) + "_" + name);
      }
      std::string state() const { return path + "/state.json"; }
    };

    /// The file that names the generation, which counts from then on; then the files of the one before go.
    void write_state(const Folder &folder, const SavedRun &run, const Matrix &numbers)
    {
      nlohmann::json chains = nlohmann::json::array();
      for (Index c = 0; c < numbers.rows(); ++c)
        chains.push_back({{"step", numbers(c, 0)},
                          {"accepted", numbers(c, 1)},
                          {"proposals", numbers(c, 2)},
                          {"failed", numbers(c, 3)},
                          {"potential", numbers(c, 4)},
                          {"log_ratio", numbers(c, 5)}});
      const nlohmann::json state{{"generation", folder.generation},
                                 {"seed", run.seed},
                                 {"sampler", run.sampler},
                                 {"draws", run.draws},
                                 {"iteration", run.iteration},
                                 {"thinning", run.thinning},
                                 {"next_look", run.next_look},
                                 {"numbers", run.names},
                                 {"chains", chains}};
      write_text_file(folder.state(), state.dump(1) + "\n");
      const std::string before = folder.generation > 0 ? std::to_string(folder.generation - 1) + "_" : "";
      for (const auto &entry : std::filesystem::directory_iterator(folder.path))
        if (!before.empty() && entry.path().filename().string().rfind(before, 0) == 0)
          std::filesystem::remove(entry.path());
    }

    nlohmann::json read_state(const std::string &path, MPI_Comm comm)
    {
      try
      {
        return nlohmann::json::parse(read_text_file(path, comm));
      }
      catch (const nlohmann::json::exception &error)
      {
        throw UserError(path + ": cannot be read: " + error.what());
      }
    }

    const std::string way_out = "Name another folder in Certification/Checkpoint, or remove this one.";

    unsigned int generation_of(const nlohmann::json &state, const Folder &folder)
    {
      try
      {
        return state.at("generation").get<unsigned int>();
      }
      catch (const nlohmann::json::exception &error)
      {
        throw UserError(folder.state() + ": cannot be read: " + error.what());
      }
    }

    bool exists_together(const std::string &path, const SampleGroups &groups)
    {
      int found = groups.is_root() && std::filesystem::exists(path) ? 1 : 0;
      MPI_Bcast(&found, 1, MPI_INT, 0, groups.world());
      return found != 0;
    }
  } // namespace

  void save_chains(const std::string &path, const SampleGroups &groups, const ChainLayouts &layouts,
                   const SavedRun &run)
  {
    Folder folder{path, 0};
    if (exists_together(folder.state(), groups))
      folder.generation = generation_of(read_state(folder.state(), groups.world()), folder) + 1;
    if (groups.is_root())
    {
      std::error_code error;
      std::filesystem::create_directories(path, error);
    }
    MPI_Barrier(groups.world());
    Matrix numbers = Matrix::Zero(run.chains, 6);
    groups.together(
        [&]
        {
          for (const SavedChain &chain : run.own)
          {
            write_columns(folder.chain(chain.id, "m"), layouts.parameters, chain.m);
            write_columns(folder.chain(chain.id, "moments"), layouts.values, chain.moments.columns());
            write_columns(folder.chain(chain.id, "kept"), layouts.judged, chain.kept);
            write_matrix(folder.chain(chain.id, "trace"), layouts.parameters, chain.trace);
            numbers.row(chain.id) << chain.step, chain.accepted, chain.proposals, chain.failed, chain.potential,
                chain.log_ratio;
          }
          if (groups.group() == 0)
          {
            write_columns(folder.file("reference"), layouts.parameters, run.reference);
            write_matrix(folder.file("factor"), layouts.parameters, run.factor);
          }
        });
    groups.sum(numbers);
    MPI_Barrier(groups.world());
    std::string message;
    if (groups.is_root())
      try
      {
        write_state(folder, run, numbers);
      }
      catch (const std::exception &error)
      {
        message = error.what();
      }
    if (dealii::Utilities::MPI::max(message.empty() ? 0 : 1, groups.world()) > 0)
      throw ComputationError(folder.state() + ": cannot be written. " + message);
  }

  namespace
  {
    /// What `state.json` says; a JSON exception where something is missing.
    SavedRun read_description(const nlohmann::json &state, const Folder &folder, const SavedRun &expected)
    {
      const auto refuse = [&](const std::string &what, const std::string &found, const std::string &wanted)
      {
        throw UserError(folder.state() + ": these chains have another " + what + " (" + found + ") than this run (" +
                        wanted + "). " + way_out);
      };
      SavedRun run = expected;
      if (state.at("seed").get<std::uint64_t>() != expected.seed)
        refuse("random seed", std::to_string(state.at("seed").get<std::uint64_t>()), std::to_string(expected.seed));
      if (state.at("sampler").get<std::string>() != expected.sampler)
        refuse("sampler", state.at("sampler"), expected.sampler);
      if (state.at("chains").size() != expected.chains)
        refuse("number of chains", std::to_string(state.at("chains").size()), std::to_string(expected.chains));
      const auto names = state.at("numbers").get<std::vector<std::string>>();
      if (names != expected.names)
        refuse("list of quantities", join(names), join(expected.names));
      run.draws     = state.at("draws");
      run.iteration = state.at("iteration");
      run.thinning  = state.at("thinning");
      run.next_look = state.at("next_look");
      return run;
    }

    SavedChain read_chain(const nlohmann::json &numbers, const Folder &folder, unsigned int id, unsigned int draws,
                          const ChainLayouts &layouts)
    {
      SavedChain chain{id,
                       numbers.at("step"),
                       numbers.at("accepted"),
                       numbers.at("proposals"),
                       numbers.at("failed"),
                       numbers.at("potential"),
                       numbers.at("log_ratio"),
                       {},
                       {},
                       {},
                       BatchMeans({})};
      chain.m       = read_columns(folder.chain(id, "m"), layouts.parameters);
      chain.kept    = read_columns(folder.chain(id, "kept"), layouts.judged);
      chain.moments = BatchMeans::from_columns(read_columns(folder.chain(id, "moments"), layouts.values), draws);
      chain.trace   = read_columns(folder.chain(id, "trace"), rows_alone(draws));
      return chain;
    }
  } // namespace

  std::optional<SavedRun> load_chains(const std::string &path, const SampleGroups &groups, const ChainLayouts &layouts,
                                      const SavedRun &expected)
  {
    Folder folder{path, 0};
    if (!exists_together(folder.state(), groups))
      return {};
    const nlohmann::json state = read_state(folder.state(), groups.world());
    folder.generation          = generation_of(state, folder);
    // Each group reads files of its own: what is wrong with one of them is said by all ranks together.
    SavedRun run;
    std::string message;
    try
    {
      run           = read_description(state, folder, expected);
      run.reference = read_columns(folder.file("reference"), layouts.parameters);
      run.factor    = read_columns(folder.file("factor"), rows_alone(run.reference.cols() - 1));
      for (unsigned int id = groups.group(); id < run.chains; id += groups.n_groups())
        run.own.push_back(read_chain(state.at("chains")[id], folder, id, run.draws, layouts));
    }
    catch (const UserError &error)
    {
      message = error.what();
    }
    catch (const nlohmann::json::exception &error)
    {
      message =
          folder.state() + ": is damaged, or from another version of the program (" + error.what() + "). " + way_out;
    }
    throw_together(message, groups.world());
    return run;
  }

  std::string other_density(const std::string &path, const SavedChain &saved, double potential, double log_ratio)
  {
    const auto differ = [](double a, double b) { return !(std::abs(a - b) <= 1e-6 * std::max(1., std::abs(b))); };
    const bool data = differ(potential, saved.potential), prior = differ(log_ratio, saved.log_ratio);
    if (!data && !prior)
      return "";
    const std::string id = std::to_string(saved.id);
    return path + ": these chains are of another posterior: at the last point of chain " + id + " " +
           (data ? "−log p(d|m) is " + to_text(potential) + ", but was " + to_text(saved.potential) +
                       " (other data, noise or physics?)"
                 : "log p(m) − log q(m) is " + to_text(log_ratio) + ", but was " + to_text(saved.log_ratio) +
                       " (another prior?)") +
           ". " + way_out;
  }
} // namespace varfield
