#include <deal.II/base/mpi.h>

#include <cmath>
#include <filesystem>
#include <varfield/archive.h>
#include <varfield/chain_checkpoint.h>
#include <varfield/collective.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    struct Folder
    {
      std::string path;
      unsigned int generation = 0;
      std::string file(const std::string &name) const { return path + "/" + std::to_string(generation) + "_" + name; }
      std::string chain(unsigned int id) const { return file("chain" + std::to_string(id)); }
      std::string state() const { return path + "/state"; }
    };

    const std::string way_out = "Name another folder in Certification/Checkpoint, or remove this one.";

    bool exists_together(const std::string &path, const SampleGroups &groups)
    {
      int found = groups.is_root() && std::filesystem::exists(path) ? 1 : 0;
      MPI_Bcast(&found, 1, MPI_INT, 0, groups.world());
      return found != 0;
    }

    /// What is not of one chain, but for the reference.
    void keep_state(Archive &archive, unsigned int &generation, SavedRun &run)
    {
      std::string seed = std::to_string(run.seed), names = join(run.names, "\n");
      archive.number("generation", generation);
      archive.text("seed", seed);
      archive.text("sampler", run.sampler);
      archive.text("names", names);
      archive.number("chains", run.chains);
      archive.number("draws", run.draws);
      archive.number("iteration", run.iteration);
      archive.number("thinning", run.thinning);
      archive.number("next look", run.next_look);
      run.seed  = std::stoull(seed);
      run.names = split(names, '\n');
    }

    void keep_reference(Archive &archive, const ChainLayouts &layouts, SavedRun &run)
    {
      archive.columns("mean and modes", layouts.parameters, run.reference);
      archive.numbers("factor", run.factor);
    }

    void keep_chain(Archive &archive, const ChainLayouts &layouts, unsigned int draws, SavedChain &chain)
    {
      for (const auto &[name, value] :
           {std::pair("step", &chain.step), std::pair("accepted", &chain.accepted),
            std::pair("proposals", &chain.proposals), std::pair("failed", &chain.failed),
            std::pair("potential", &chain.potential), std::pair("log ratio", &chain.log_ratio)})
        archive.number(name, *value);
      MultiVector moments = chain.moments.columns();
      archive.columns("m", layouts.parameters, chain.m);
      archive.columns("moments", layouts.values, moments);
      archive.columns("kept", layouts.judged, chain.kept);
      archive.numbers("trace", chain.trace);
      if (archive.is_reading())
        chain.moments = BatchMeans::from_columns(moments, draws);
    }

    /// With the files of the group alone: what is written appears as a whole.
    void write_file(const std::string &path, const SampleGroups &alone, const std::function<void(Archive &)> &keep)
    {
      Archive archive = Archive::to(path, alone);
      keep(archive);
      archive.commit();
    }

    /// The files of the generation before, once the state names a new one.
    void remove_generation_before(const Folder &folder)
    {
      if (folder.generation == 0)
        return;
      const std::string before = std::to_string(folder.generation - 1) + "_";
      std::error_code ignored;
      for (const auto &entry : std::filesystem::directory_iterator(folder.path, ignored))
        if (entry.path().filename().string().rfind(before, 0) == 0)
          std::filesystem::remove(entry.path(), ignored);
    }
  } // namespace

  void save_chains(const std::string &path, const SampleGroups &groups, const ChainLayouts &layouts, SavedRun &run)
  {
    Folder folder{path, 0};
    if (exists_together(folder.state(), groups))
    {
      SavedRun before;
      Archive state = Archive::from(folder.state(), groups);
      keep_state(state, folder.generation, before);
      ++folder.generation;
    }
    if (groups.is_root())
    {
      std::error_code error;
      std::filesystem::create_directories(path, error);
    }
    MPI_Barrier(groups.world());
    const SampleGroups alone(groups.space(), 1);
    groups.together(
        [&]
        {
          for (SavedChain &chain : run.own)
            write_file(folder.chain(chain.id), alone,
                       [&](Archive &archive) { keep_chain(archive, layouts, run.draws, chain); });
          if (groups.group() == 0)
            write_file(folder.file("reference"), alone,
                       [&](Archive &archive) { keep_reference(archive, layouts, run); });
        });
    MPI_Barrier(groups.world());
    write_file(folder.state(), groups, [&](Archive &archive) { keep_state(archive, folder.generation, run); });
    if (groups.is_root())
      remove_generation_before(folder);
  }

  namespace
  {
    /// UserError where chains are not those that this run would make.
    void compare(const std::string &path, const SavedRun &found, const SavedRun &expected)
    {
      const auto refuse = [&](const std::string &what, const std::string &there, const std::string &here)
      {
        if (there != here)
          throw UserError(path + ": these chains have another " + what + " (" + there + ") than this run (" + here +
                          "). " + way_out);
      };
      refuse("random seed", std::to_string(found.seed), std::to_string(expected.seed));
      refuse("sampler", found.sampler, expected.sampler);
      refuse("number of chains", std::to_string(found.chains), std::to_string(expected.chains));
      refuse("list of quantities", join(found.names), join(expected.names));
    }
  } // namespace

  std::optional<SavedRun> load_chains(const std::string &path, const SampleGroups &groups, const ChainLayouts &layouts,
                                      const SavedRun &expected)
  {
    Folder folder{path, 0};
    if (!exists_together(folder.state(), groups))
      return {};
    SavedRun run;
    {
      Archive state = Archive::from(folder.state(), groups);
      keep_state(state, folder.generation, run);
    }
    compare(path, run, expected);
    // Each group reads files of its own: what is wrong with one of them is said by all ranks together.
    const SampleGroups alone(groups.space(), 1);
    std::string message;
    try
    {
      Archive reference = Archive::from(folder.file("reference"), alone);
      keep_reference(reference, layouts, run);
      for (unsigned int id = groups.group(); id < run.chains; id += groups.n_groups())
      {
        run.own.push_back({id, 0, 0, 0, 0, 0, 0, {}, {}, {}, BatchMeans(Vector::Zero(layouts.values.n_local()))});
        Archive chain = Archive::from(folder.chain(id), alone);
        keep_chain(chain, layouts, run.draws, run.own.back());
      }
    }
    catch (const UserError &error)
    {
      message = error.what();
    }
    throw_together(message.empty() ? "" : message + " " + way_out, groups.world());
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
