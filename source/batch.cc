#include <deal.II/base/mpi.h>

#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <thread>
#include <varfield/batch.h>
#include <varfield/batch_members.h>
#include <varfield/batch_queue.h>
#include <varfield/collective.h>
#include <varfield/exit_code.h>
#include <varfield/file_lock.h>
#include <varfield/inversion.h>
#include <varfield/output.h>
#include <varfield/parameters.h>
#include <varfield/petsc_options.h>
#include <varfield/timing.h>
#include <varfield/unfinished_run.h>

namespace varfield
{
  namespace fs = std::filesystem;

  namespace
  {
    constexpr unsigned int most_crashes = 3;

    class Batch
    {
    public:
      Batch(const BatchCommand &command, MPI_Comm world)
          : command_(command),
            world_(world),
            members_(read_members(command.list, world)),
            folder_(command.folder.empty() ? fs::path(command.list).stem().string() : command.folder),
            rank_(dealii::Utilities::MPI::this_mpi_process(world)),
            n_ranks_(dealii::Utilities::MPI::n_mpi_processes(world))
      {
        if (command.part < 1 || command.part > command.parts)
          throw UserError("--part: " + std::to_string(command.part) + " of " + std::to_string(command.parts) +
                          " is no part. Allowed are 1/" + std::to_string(command.parts) + " to " +
                          std::to_string(command.parts) + "/" + std::to_string(command.parts) + ".");
        if (command.ranks_per_member == 0 || n_ranks_ % command.ranks_per_member != 0)
          throw UserError("--ranks-per-member: has to divide the number of ranks, but there are " +
                          counted(n_ranks_, "rank") + " and " + std::to_string(command.ranks_per_member) +
                          " for each member.");
        for (std::size_t i = command.part - 1; i < members_.size(); i += command.parts)
          own_.push_back(i);
        // Those of one case one after the other.
        std::stable_sort(own_.begin(), own_.end(),
                         [this](std::size_t a, std::size_t b) { return members_[a].file < members_[b].file; });
      }

      int run()
      {
        if (command_.dry_run)
          return in_groups([this](MPI_Comm comm) { return estimate_members(comm); });
        prepare_folder();
        refuse_other_settings();
        BatchQueue queue(folder_, part_ending(), own_.size(), world_);
        const int stopped = in_groups([&](MPI_Comm comm) { return run_members(queue, comm); });
        MPI_Barrier(world_);
        if (rank_ == 0)
          queue.remove();
        return finish(stopped > 0);
      }

    private:
      /// Of files of this part of a job array alone.
      std::string part_ending() const
      {
        return command_.parts > 1 ? "-" + std::to_string(command_.part) + "-of-" + std::to_string(command_.parts) : "";
      }

      std::string path(const BatchMember &member, const std::string &ending = "") const
      {
        return folder_ + "/" + member.name + ending;
      }

      void say(const std::string &text) const
      {
        // In one piece: several groups may speak.
        std::cout << text + "\n" << std::flush;
      }

      /// The largest of what the groups return.
      template <typename Action>
      int in_groups(const Action &action)
      {
        MPI_Comm comm = MPI_COMM_NULL;
        MPI_Comm_split(world_, static_cast<int>(rank_ / command_.ranks_per_member), static_cast<int>(rank_), &comm);
        const int result = action(comm);
        parts_->hold({});
        MPI_Comm_free(&comm);
        return dealii::Utilities::MPI::max(result, world_);
      }

      void prepare_folder()
      {
        std::string message;
        if (rank_ == 0)
        {
          std::error_code error;
          const bool is_new = !fs::exists(folder_) || fs::is_empty(folder_, error);
          if (!is_new && !command_.resume && command_.parts == 1)
            message = "--output: the folder “" + folder_ +
                      "” exists already and is not empty. Go on with what is in it (--resume), or choose another name.";
          else if (!fs::create_directories(folder_, error) && error)
            message = "--output: the folder “" + folder_ + "” cannot be made: " + error.message() + ".";
          else if (!lock_.take(folder_ + "/.lock" + part_ending()))
            message = "--output: another process works on the batch in “" + folder_ + "”.";
          else
            message = other_division();
        }
        throw_together(message, world_);
        if (rank_ == 0)
          say("varfield batch: " + counted(own_.size(), "member") +
              (command_.parts > 1 ? " of " + std::to_string(members_.size()) + " (part " +
                                        std::to_string(command_.part) + " of " + std::to_string(command_.parts) + ")"
                                  : "") +
              " in " + command_.list + ", " + counted(n_ranks_ / command_.ranks_per_member, "group") + " of " +
              counted(command_.ranks_per_member, "rank"));
      }

      /// Who works on other parts is to have divided the batch in as many.
      std::string other_division() const
      {
        const std::string same = "-of-" + std::to_string(command_.parts);
        std::error_code ignored;
        for (const auto &entry : fs::directory_iterator(folder_, ignored))
        {
          const std::string name = entry.path().filename().string();
          const bool is_same     = command_.parts > 1
                                       ? name.size() > same.size() && name.substr(name.size() - same.size()) == same
                                       : name == ".lock";
          if (name.rfind(".lock", 0) == 0 && !is_same && !FileLock().take(entry.path().string()))
            return "--part: another process works on the batch in “" + folder_ + "” in another number of parts (" +
                   name + ").";
        }
        return "";
      }

      /// Assignments of a member: those of all, its file, its changes, and what the batch says.
      std::vector<Assignment> assignments_of(const BatchMember &member, MPI_Comm comm) const
      {
        auto assignments = read_parameter_file(member.file, comm);
        if (n_ranks_ > command_.ranks_per_member)
          // All groups may be on one computer. What the file says counts.
          assignments.insert(assignments.begin(), parse_override("Parallel/Memory limit=" + to_text(share_of_memory_)));
        for (const std::string &text : command_.overrides)
          assignments.push_back(parse_override(text));
        assignments.insert(assignments.end(), member.changes.begin(), member.changes.end());
        for (const std::string &text : {"Output/Directory=" + path(member), std::string("Output/Overwrite=true"),
                                        std::string("Checkpoint/Folder="), std::string("Checkpoint/Resume=true")})
          assignments.push_back(parse_override(text));
        return assignments;
      }

      void remove_error(const BatchMember &member) const
      {
        std::error_code ignored;
        fs::remove(path(member, ".error"), ignored);
        fs::remove(path(member, ".started"), ignored);
      }

      /// What earlier runs have left. Local.
      BatchOutcome outcome_of(const BatchMember &member) const
      {
        return BatchOutcome::read(path(member), path(member, ".error"));
      }

      bool is_done(const BatchOutcome &outcome) const
      {
        const bool is_good = !outcome.has_failed() && outcome.code != not_converged;
        return outcome.code >= 0 && outcome.code != stopped_early && (is_good || !command_.retry_failed);
      }

      /// What has ended must be of the settings as they are now. Each rank looks at some of the members.
      void refuse_other_settings() const
      {
        std::vector<std::string> mistakes;
        for (std::size_t k = rank_; k < own_.size(); k += n_ranks_)
        {
          const BatchMember &member  = members_[own_[k]];
          const BatchOutcome outcome = outcome_of(member);
          if (!is_done(outcome) || !outcome.summary.contains("parameters"))
            continue;
          try
          {
            const auto assignments = assignments_of(member, MPI_COMM_SELF);
            const std::string now =
                dimension_of(assignments) == 2 ? settings_of<2>(assignments) : settings_of<3>(assignments);
            auto before = outcome.summary["parameters"];
            before.merge_patch(outcome.summary.value("files", nlohmann::ordered_json::object()));
            const SettingsChange change = compare_settings(before.dump(), now);
            auto others                 = change.others;
            others.insert(others.end(), change.harmless.begin(), change.harmless.end());
            if (!others.empty())
              mistakes.push_back(member.where + ": the results in “" + path(member) + "” are of other settings: " +
                                 join(others, "; ") + ". Give the member another name, or remove the folder.");
          }
          catch (const UserError &error)
          {
            mistakes.push_back(member.where + ": " + error.what());
          }
        }
        throw_together(join(mistakes, "\n\n"), world_);
      }

      template <int dim>
      static std::string settings_of(const std::vector<Assignment> &assignments)
      {
        const Case<dim> problem(MPI_COMM_SELF, assignments);
        auto settings = parameters_as_json(problem.parameters());
        settings.merge_patch(contents_of_files(problem.parameters()));
        return settings.dump();
      }

      /// Builds every member and says what it would take; members that are not in order are named.
      int estimate_members(MPI_Comm comm)
      {
        const bool leads     = dealii::Utilities::MPI::this_mpi_process(comm) == 0;
        const auto n_groups  = n_ranks_ / command_.ranks_per_member;
        const auto own_group = rank_ / command_.ranks_per_member;
        if (rank_ == 0)
          say("name                  cells   unknowns       data    memory   seconds a solve");
        MPI_Barrier(world_);
        bool all_good  = true;
        double seconds = 0.;
        for (std::size_t k = own_group; k < own_.size(); k += n_groups)
        {
          const BatchMember &member = members_[own_[k]];
          const OwnPetscOptions petsc_options;
          std::string text;
          try
          {
            const auto assignments = assignments_of(member, comm);
            text                   = dimension_of(assignments) == 2 ? estimate<2>(assignments, comm, seconds)
                                                                    : estimate<3>(assignments, comm, seconds);
          }
          catch (const std::runtime_error &error)
          {
            all_good = false;
            text     = "  " + std::string(error.what());
          }
          if (leads)
            say(padded(member.name, 16) + text);
        }
        seconds = dealii::Utilities::MPI::max(seconds, world_);
        if (rank_ == 0)
          say("\nNothing was run. A run takes a few hundred to a few thousand times the seconds of its solve: all " +
              counted(own_.size(), "member") + " about " + duration_in_words(300. * seconds) + " to " +
              duration_in_words(3000. * seconds) + " on these ranks.");
        return all_good ? converged : bad_input;
      }

      template <int dim>
      std::string estimate(const std::vector<Assignment> &assignments, MPI_Comm comm, double &sum)
      {
        Case<dim> problem(comm, assignments);
        problem.check();
        problem.build();
        refuse_unsolvable(problem);
        const auto before = Report::Clock::now();
        problem.model().solve(Vector::Zero(problem.fields().prior().layout().n_local()));
        const double seconds = std::chrono::duration<double>(Report::Clock::now() - before).count();
        sum += seconds;
        std::ostringstream text;
        text << std::setw(11) << problem.mesh().triangulation().n_global_active_cells() << std::setw(11)
             << problem.model().space().dof_handler().n_dofs() << std::setw(11) << problem.measurements().n_used()
             << std::setw(10) << in_bytes(problem.memory().predicted.all) << std::setw(18) << with_digits(seconds, 2);
        return text.str();
      }

      /// Takes members until none is left; whether the batch is to stop.
      int run_members(BatchQueue &queue, MPI_Comm comm)
      {
        const bool leads = dealii::Utilities::MPI::this_mpi_process(comm) == 0;
        const SampleGroups group(comm, 1);
        Surroundings surroundings;
        surroundings.should_stop = [&]
        { return queue.is_stopped() || (command_.time_budget > 0. && elapsed() > command_.time_budget); };
        const Report report(group, command_.time_budget, start_, surroundings);
        for (;;)
        {
          const bool stop = report.should_stop();
          if (stop && leads)
            queue.stop();
          if (stop)
          {
            wait_for_others(queue);
            return 1;
          }
          auto k = static_cast<unsigned long>(leads ? queue.next() : 0);
          k      = dealii::Utilities::MPI::broadcast(comm, k, 0);
          if (k >= own_.size())
          {
            say_problem(queue, leads);
            wait_for_others(queue);
            return report.should_stop() || !queue.problem().empty() ? 1 : 0;
          }
          const BatchMember &member = members_[own_[k]];
          const double began        = report.seconds();
          const bool ran            = run_or_skip(member, comm, leads, surroundings);
          if (leads)
            queue.note_end(k);
          if (leads && ran)
            report_end(member, report.seconds() - began, queue);
          say_problem(queue, leads);
        }
      }

      void say_problem(const BatchQueue &queue, bool leads) const
      {
        if (leads && !queue.problem().empty())
          say("  the batch cannot go on: " + queue.problem());
      }

      /// Until all groups are done. Who gets a signal meanwhile tells those that work.
      void wait_for_others(BatchQueue &queue) const
      {
        MPI_Request request = MPI_REQUEST_NULL;
        MPI_Ibarrier(world_, &request);
        for (int done = 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0;)
        {
          if (stop_was_asked_for() && !queue.is_stopped())
            queue.stop();
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      }

      /// The member's state so far decides; whether it was run.
      bool run_or_skip(const BatchMember &member, MPI_Comm comm, bool leads, const Surroundings &surroundings)
      {
        std::string message;
        int skip = 0;
        if (leads)
        {
          BatchOutcome outcome;
          try
          {
            outcome = outcome_of(member);
          }
          catch (const std::exception &error)
          {
            message = error.what();
          }
          skip = is_done(outcome) ? 1 : 0;
          if (skip == 0 && message.empty())
          {
            if (outcome.has_failed())
              remove_error(member);
            const unsigned int crashes = count_start(member);
            if (crashes >= most_crashes)
              message = "the program ended without a word, " + std::to_string(crashes) +
                        " times, while it was at this member (see its .log); it is left out";
          }
        }
        skip    = dealii::Utilities::MPI::broadcast(comm, skip, 0);
        message = dealii::Utilities::MPI::broadcast(comm, message, 0);
        if (skip > 0)
          return false;
        int code = failure;
        if (message.empty())
          code = run_member(member, comm, leads, surroundings, message);
        if (leads)
          try
          {
            note_outcome(member, code, message);
          }
          catch (const ComputationError &error)
          {
            // A full disk, most likely: the member is not noted as failed, and is run again.
            say("  " + member.name + ": " + message + " " + error.what());
          }
        return true;
      }

      /// How often the member was started before without having ended since; then notes another start.
      unsigned int count_start(const BatchMember &member) const
      {
        unsigned int n = 0, state_then = 0;
        const unsigned int state = Checkpoints::newest_in(path(member, ".checkpoint"));
        std::ifstream(path(member, ".started")) >> n >> state_then;
        // Whoever gets on is no trouble, however often the program is killed.
        if (state > state_then)
          n = 0;
        std::ofstream(path(member, ".started")) << n + 1 << " " << state << "\n";
        return n;
      }

      int run_member(const BatchMember &member, MPI_Comm comm, bool leads, Surroundings surroundings,
                     std::string &message)
      {
        std::ofstream log;
        if (leads)
          log.open(path(member, ".log"), std::ios::app);
        surroundings.out = &log;
        const OwnPetscOptions petsc_options;
        forget_stages();
        try
        {
          return or_abort(
              [&]
              {
                const auto assignments = assignments_of(member, comm);
                return dimension_of(assignments) == 2 ? run_in<2>(assignments, comm, surroundings)
                                                      : run_in<3>(assignments, comm, surroundings);
              },
              comm);
        }
        catch (const UserError &error)
        {
          message = error.what();
          return bad_input;
        }
        catch (const StoppedEarly &)
        {
          return stopped_early;
        }
        catch (const ComputationError &error)
        {
          message = error.what();
          return failure;
        }
      }

      template <int dim>
      int run_in(const std::vector<Assignment> &assignments, MPI_Comm comm, const Surroundings &surroundings)
      {
        auto problem = std::make_unique<Case<dim>>(comm, assignments);
        problem->share(parts_);
        const int code = run_inversion(problem, {}, surroundings);
        problem->hold_parts();
        return code;
      }

      void note_outcome(const BatchMember &member, int code, const std::string &message) const
      {
        std::error_code ignored;
        fs::remove(path(member, ".started"), ignored);
        if (code == failure || code == bad_input)
          write_text_file(path(member, ".error"), std::to_string(code) + "\n" + message + "\n");
      }

      void report_end(const BatchMember &member, double seconds, const BatchQueue &queue) const
      {
        const BatchOutcome outcome = outcome_of(member);
        const std::size_t ended    = queue.n_ended();
        const double left          = elapsed() / double(std::max<std::size_t>(1, ended)) * double(own_.size() - ended);
        const std::string counts   = std::to_string(ended) + "/" + std::to_string(own_.size());
        std::string text = "  " + std::string(9 - std::min<std::size_t>(9, counts.size()), ' ') + counts + "  " +
                           padded(member.name, 16) + "  " + padded(outcome.status(), 13) + "  " +
                           with_decimals(seconds, 1) + " s";
        if (outcome.summary.contains("elbo"))
          text += "  ELBO " + with_decimals(outcome.summary["elbo"].value("value", 0.), 2);
        else if (!outcome.message.empty())
          text += "  " + first_line(outcome.message);
        say(text + (ended < own_.size() ? "  (" + duration_in_words(left) + " left)" : ""));
      }

      static std::string first_line(const std::string &text) { return text.substr(0, text.find('\n')); }
      double elapsed() const { return std::chrono::duration<double>(Report::Clock::now() - start_).count(); }

      /// The table of all members, and how the batch ends.
      int finish(bool stopped)
      {
        int code = stopped ? stopped_early : converged;
        std::string message;
        if (rank_ == 0)
        {
          std::vector<BatchOutcome> outcomes;
          for (const BatchMember &member : members_)
            outcomes.push_back(outcome_of(member));
          std::map<std::string, unsigned int> counts;
          for (const std::size_t i : own_)
          {
            ++counts[outcomes[i].status()];
            if (!stopped && outcomes[i].code != converged && outcomes[i].code != untrusted)
              code = not_converged;
          }
          try
          {
            write_batch_table(folder_ + "/batch.csv", members_, outcomes);
          }
          catch (const ComputationError &error)
          {
            message = error.what();
          }
          std::vector<std::string> words;
          for (const auto &[status, n] : counts)
            words.push_back(std::to_string(n) + " " + status);
          say("\n" + join(words) + " in " + duration_in_words(elapsed()) + "\ntable         " + folder_ + "/batch.csv");
          if (stopped)
            say("\nSTOPPED EARLY: the same command with --resume goes on from here.");
        }
        throw_together<ComputationError>(message, world_);
        return dealii::Utilities::MPI::broadcast(world_, code, 0);
      }

      const BatchCommand &command_;
      const MPI_Comm world_;
      const std::vector<BatchMember> members_;
      const std::string folder_;
      const unsigned int rank_, n_ranks_;
      std::shared_ptr<SharedParts> parts_ = std::make_shared<SharedParts>(); ///< of one member and the next
      /// What a group may take, in GB, of what was free at the beginning.
      const double share_of_memory_ = available_memory() / 1e9 * command_.ranks_per_member / n_ranks_;
      std::vector<std::size_t> own_; ///< of this part, in the order of the work
      FileLock lock_;                ///< on the root rank
      const Report::Clock::time_point start_ = Report::Clock::now();
    };
  } // namespace

  int run_batch(const BatchCommand &command, MPI_Comm world)
  {
    return Batch(command, world).run();
  }
} // namespace varfield
