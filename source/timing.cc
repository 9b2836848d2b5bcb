#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <petscsys.h>
#include <varfield/timing.h>

namespace varfield
{
  namespace
  {
    using WorkClock = std::chrono::steady_clock;

    /// One for the process: work is noted far below the objects that know of the run.
    struct Stopwatch
    {
      std::vector<StageRecord> records{{"set-up", {}, {}}};
      std::size_t stage             = 0;
      Work kind                     = Work::other;
      WorkClock::time_point started = WorkClock::now();

      /// Notes the time since the last call to the kind of work at hand.
      void stop()
      {
        const auto now = WorkClock::now();
        records[stage].seconds[static_cast<std::size_t>(kind)] += std::chrono::duration<double>(now - started).count();
        started = now;
      }
    };

    Stopwatch &stopwatch()
    {
      static Stopwatch the_stopwatch;
      return the_stopwatch;
    }

    std::size_t record_of(const std::string &name)
    {
      auto &records    = stopwatch().records;
      const auto found = std::find_if(records.begin(), records.end(), [&](const auto &r) { return r.name == name; });
      if (found != records.end())
        return static_cast<std::size_t>(found - records.begin());
      records.push_back({name, {}, {}});
      return records.size() - 1;
    }

    /// PETSc knows stages by numbers.
    PetscLogStage petsc_stage(const std::string &name)
    {
      static std::map<std::string, PetscLogStage> numbers;
      const auto [number, is_new] = numbers.emplace(name, 0);
      if (is_new)
        PetscLogStageRegister(name.c_str(), &number->second);
      return number->second;
    }

    /// And events.
    PetscLogEvent petsc_event(const char *name)
    {
      static std::map<std::string, PetscLogEvent> numbers;
      static const PetscClassId varfield = []
      {
        PetscClassId id = 0;
        PetscClassIdRegister("varfield", &id);
        return id;
      }();
      const auto [number, is_new] = numbers.emplace(name, 0);
      if (is_new)
        PetscLogEventRegister(name, varfield, &number->second);
      return number->second;
    }

    bool petsc_runs()
    {
      PetscBool initialized = PETSC_FALSE, finalized = PETSC_FALSE;
      PetscInitialized(&initialized);
      PetscFinalized(&finalized);
      return initialized && !finalized;
    }
  } // namespace

  const char *name_of(Work kind)
  {
    static const char *const names[n_work_kinds] = {"other",
                                                    "assembly",
                                                    "factorisations",
                                                    "state solves",
                                                    "tangents and adjoints",
                                                    "sparse products",
                                                    "prior",
                                                    "dense algebra",
                                                    "random numbers",
                                                    "communication",
                                                    "files"};
    return names[static_cast<std::size_t>(kind)];
  }

  double StageRecord::total() const
  {
    return std::accumulate(seconds.begin(), seconds.end(), 0.);
  }

  Stage::Stage(const std::string &name) : outer_(stopwatch().stage)
  {
    stopwatch().stop();
    stopwatch().stage = record_of(name);
    stopwatch().records[stopwatch().stage].counts[static_cast<std::size_t>(Work::other)] += 1.;
    if (petsc_runs())
      in_petsc_ = PetscLogStagePush(petsc_stage(name)) == 0;
  }

  Stage::~Stage()
  {
    stopwatch().stop();
    stopwatch().stage = outer_;
    if (in_petsc_ && petsc_runs())
      PetscLogStagePop();
  }

  Timed::Timed(Work kind, double count) : outer_(stopwatch().kind)
  {
    stopwatch().stop();
    stopwatch().kind = kind;
    stopwatch().records[stopwatch().stage].counts[static_cast<std::size_t>(kind)] += count;
  }

  Timed::~Timed()
  {
    stopwatch().stop();
    stopwatch().kind = outer_;
  }

  LoggedEvent::LoggedEvent(const char *name) : event_(petsc_event(name))
  {
    PetscLogEventBegin(event_, nullptr, nullptr, nullptr, nullptr);
  }

  LoggedEvent::~LoggedEvent()
  {
    PetscLogEventEnd(event_, nullptr, nullptr, nullptr, nullptr);
  }

  const std::vector<StageRecord> &stage_records()
  {
    stopwatch().stop();
    return stopwatch().records;
  }

  void forget_stages()
  {
    stopwatch() = Stopwatch();
  }
} // namespace varfield
