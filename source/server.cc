#include <deal.II/base/mpi.h>

#include <array>
#include <cmath>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <varfield/collective.h>
#include <varfield/report.h>
#include <varfield/server.h>

// Behind Eigen, which has a variable of the name that a header of this one makes a macro.
#include <httplib.h>

namespace varfield
{
  namespace
  {
    using Json = nlohmann::json;

    /// What all ranks are asked to do; numbers, so that it can be broadcast.
    struct Task
    {
      enum Action : int
      {
        evaluate,
        gradient,
        apply_jacobian,
        apply_hessian,
        end
      };
      int action = end, posterior = 0, whitened = 0;
      std::vector<double> input, sensitivity, direction;
    };

    /// An answer that is an error of the protocol.
    struct ProtocolError
    {
      std::string type, message;
      int status = 400;
    };

    /// Vectors of a layout as clients see them: whole, in the order of the keys. Members are collective.
    class WholeVector
    {
    public:
      explicit WholeVector(const Layout &layout) : layout_(layout)
      {
        std::vector<std::uint64_t> keys;
        for (const auto &part : dealii::Utilities::MPI::all_gather(layout.comm(), layout.keys()))
          keys.insert(keys.end(), part.begin(), part.end());
        std::sort(keys.begin(), keys.end());
        for (const std::uint64_t key : layout.keys())
          places_.push_back(std::lower_bound(keys.begin(), keys.end(), key) - keys.begin());
      }

      Index size() const { return layout_.n_global(); }
      Vector local(const std::vector<double> &whole) const
      {
        Vector result(layout_.n_local());
        for (Index i = 0; i < result.size(); ++i)
          result[i] = whole[static_cast<std::size_t>(places_[static_cast<std::size_t>(i)])];
        return result;
      }
      std::vector<double> whole(const Vector &local) const
      {
        std::vector<double> result(static_cast<std::size_t>(size()), 0.);
        for (Index i = 0; i < local.size(); ++i)
          result[static_cast<std::size_t>(places_[static_cast<std::size_t>(i)])] = local[i];
        sum_over(layout_.comm(), result.data(), result.size());
        return result;
      }

    private:
      const Layout &layout_;
      std::vector<std::ptrdiff_t> places_;
    };

    /// The forward map and the log posterior, of whole vectors. Members are collective over the world; what cannot be
    /// solved is an empty vector on all ranks.
    template <int dim>
    class Models
    {
    public:
      explicit Models(const Case<dim> &problem)
          : problem_(problem),
            prior_(problem.density().prior()),
            coefficients_(prior_.layout()),
            noise_(prior_.noise_layout())
      {
      }

      bool can_be_whitened() const { return prior_.has_square_factor(); }
      std::size_t input_size(bool whitened) const
      {
        return static_cast<std::size_t>((whitened ? noise_ : coefficients_).size());
      }
      std::size_t output_size(bool posterior) const
      {
        return posterior ? 1 : static_cast<std::size_t>(problem_.measurements().size());
      }

      std::vector<double> run(const Task &task) const
      {
        const Vector at = (task.whitened != 0 ? noise_ : coefficients_).local(task.input);
        switch (task.action)
        {
        case Task::evaluate:
          return evaluate(task, at);
        case Task::gradient:
          return as_whole(task, gradient(task, at));
        case Task::apply_jacobian:
          return apply_jacobian(task, at);
        default:
          return apply_hessian(task, at);
        }
      }

    private:
      Vector parameters(const Task &task, const Vector &at) const
      {
        return task.whitened != 0 ? Vector(prior_.apply_factor(at)) : at;
      }

      std::vector<double> as_whole(const Task &task, const Vector &dual) const
      {
        return failed_ ? std::vector<double>() : (task.whitened != 0 ? noise_ : coefficients_).whole(dual);
      }

      /// −½mᵀC⁻¹m and, if asked for, its derivative as a dual vector.
      double log_prior(const Vector &m, Vector *derivative) const
      {
        const Vector dual = prior_.precision(m);
        if (derivative != nullptr)
          *derivative -= dual;
        return -0.5 * prior_.layout().dot(m, dual);
      }

      std::vector<double> evaluate(const Task &task, const Vector &at) const
      {
        const Vector m   = parameters(task, at);
        const auto state = problem_.model().solve(m);
        if (!state)
          return {};
        if (task.posterior == 0)
          return {state->predictions.begin(), state->predictions.end()};
        const double value = log_prior(m, nullptr) - problem_.measurements().potential(state->predictions);
        return std::isfinite(value) ? std::vector<double>{value} : std::vector<double>();
      }

      /// Jᵀs for the coordinates of the task, a dual vector; failed_ where the model cannot be solved.
      Vector gradient(const Task &task, const Vector &at) const
      {
        const Vector m = parameters(task, at);
        auto state     = problem_.model().solve(m);
        MultiVector dual;
        failed_ = !state;
        if (failed_)
          return {};
        problem_.model().linearize(*state);
        const Vector s = Eigen::Map<const Vector>(task.sensitivity.data(), static_cast<Index>(task.sensitivity.size()));
        const Vector weights =
            task.posterior != 0 ? Vector(-s[0] * problem_.measurements().gradient(state->predictions)) : s;
        failed_ = !problem_.model().adjoint(*state, weights, dual);
        if (failed_)
          return {};
        Vector result = dual.col(0);
        if (task.posterior != 0)
        {
          Vector of_prior = Vector::Zero(result.size());
          log_prior(m, &of_prior);
          result += s[0] * of_prior;
        }
        return task.whitened != 0 ? Vector(prior_.apply_factor_transpose(result)) : result;
      }

      std::vector<double> apply_jacobian(Task task, const Vector &at) const
      {
        const WholeVector &coordinates = task.whitened != 0 ? noise_ : coefficients_;
        const Vector v                 = coordinates.local(task.direction);
        if (task.posterior != 0)
        {
          task.sensitivity     = {1.};
          const Vector along   = gradient(task, at);
          const Layout &layout = task.whitened != 0 ? prior_.noise_layout() : prior_.layout();
          return failed_ ? std::vector<double>() : std::vector<double>{layout.dot(along, v)};
        }
        const Vector m = parameters(task, at);
        auto state     = problem_.model().solve(m);
        if (!state)
          return {};
        problem_.model().linearize(*state);
        Matrix result;
        if (!problem_.model().tangent(*state, parameters(task, v), result))
          return {};
        return {result.data(), result.data() + result.size()};
      }

      /// (g(m + hv) − g(m − hv)) / 2h with the h at which errors of the difference and of rounding are alike.
      std::vector<double> apply_hessian(const Task &task, const Vector &at) const
      {
        const WholeVector &coordinates = task.whitened != 0 ? noise_ : coefficients_;
        const Layout &layout           = task.whitened != 0 ? prior_.noise_layout() : prior_.layout();
        const Vector v                 = coordinates.local(task.direction);
        const double length = std::sqrt(layout.dot(v, v)), size = std::sqrt(layout.dot(at, at));
        if (length == 0.)
          return coordinates.whole(Vector::Zero(v.size()));
        const double h =
            1e-5 * (1. + size / std::sqrt(double(layout.n_global()))) / length * std::sqrt(double(layout.n_global()));
        const Vector above = gradient(task, at + h * v);
        if (failed_)
          return {};
        const Vector below = gradient(task, at - h * v);
        if (failed_)
          return {};
        return coordinates.whole((above - below) / (2. * h));
      }

      const Case<dim> &problem_;
      const GaussianPrior &prior_;
      const WholeVector coefficients_, noise_;
      mutable bool failed_ = false;
    };

    constexpr int stop_tag = 1;

    /// On the first rank.
    bool another_asked_to_stop(MPI_Comm comm)
    {
      int found = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, stop_tag, comm, &found, &status);
      if (found != 0)
        MPI_Recv(nullptr, 0, MPI_INT, status.MPI_SOURCE, stop_tag, comm, MPI_STATUS_IGNORE);
      return found != 0;
    }

    void broadcast(Task &task, MPI_Comm comm)
    {
      std::array<long, 6> head{{task.action, task.posterior, task.whitened, static_cast<long>(task.input.size()),
                                static_cast<long>(task.sensitivity.size()), static_cast<long>(task.direction.size())}};
      // Ranks that wait for the next request sleep; who gets a signal tells the first one.
      MPI_Request request = MPI_REQUEST_NULL;
      MPI_Ibcast(head.data(), head.size(), MPI_LONG, 0, comm, &request);
      static bool told = false;
      for (int done = 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0;)
      {
        if (stop_was_asked_for() && !told)
          MPI_Send(nullptr, 0, MPI_INT, 0, stop_tag, comm);
        told = told || stop_was_asked_for();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      task.action    = static_cast<int>(head[0]);
      task.posterior = static_cast<int>(head[1]);
      task.whitened  = static_cast<int>(head[2]);
      std::size_t k  = 3;
      for (std::vector<double> *values : {&task.input, &task.sensitivity, &task.direction})
      {
        values->resize(static_cast<std::size_t>(head[k++]));
        MPI_Bcast(values->data(), static_cast<int>(values->size()), MPI_DOUBLE, 0, comm);
      }
    }

    /// Tasks of the threads that speak HTTP, done one after the other by the thread that speaks MPI.
    class Desk
    {
    public:
      /// By a thread of the server: waits until the task is done.
      std::vector<double> ask(const Task &task)
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return state_ == free || closed_; });
        if (closed_)
          throw ProtocolError{"InvalidOutput", "The server is about to end.", 503};
        task_  = task;
        state_ = waiting;
        changed_.notify_all();
        changed_.wait(lock, [this] { return state_ == done || closed_; });
        if (state_ != done)
          throw ProtocolError{"InvalidOutput", "The server is about to end.", 503};
        state_                           = free;
        const std::vector<double> result = std::move(result_);
        changed_.notify_all();
        return result;
      }

      /// By the main thread: a task, or nothing within a tenth of a second.
      bool next(Task &task)
      {
        std::unique_lock<std::mutex> lock(mutex_);
        if (!changed_.wait_for(lock, std::chrono::milliseconds(100), [this] { return state_ == waiting; }))
          return false;
        task   = task_;
        state_ = worked_on;
        return true;
      }
      void finish(std::vector<double> result)
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        result_ = std::move(result);
        state_  = done;
        changed_.notify_all();
      }
      void close()
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        closed_ = true;
        changed_.notify_all();
      }

    private:
      enum State
      {
        free,
        waiting,
        worked_on,
        done
      };
      std::mutex mutex_;
      std::condition_variable changed_;
      State state_ = free;
      bool closed_ = false;
      Task task_;
      std::vector<double> result_;
    };

    std::vector<double> numbers_in(const Json &values, const std::string &what, std::size_t size)
    {
      if (!values.is_array() || values.size() != size ||
          !std::all_of(values.begin(), values.end(), [](const Json &x) { return x.is_number(); }))
        throw ProtocolError{"InvalidInput",
                            "“" + what + "” has to be an array of " + std::to_string(size) + " numbers" +
                                (values.is_array() ? ", but has " + std::to_string(values.size()) + " entries" : "") +
                                "."};
      return values.get<std::vector<double>>();
    }

    /// The protocol, on the first rank.
    template <int dim>
    class Endpoints
    {
    public:
      Endpoints(const Models<dim> &models, Desk &desk) : models_(models), desk_(desk) {}

      void add_to(httplib::Server &server) const
      {
        server.Get("/Info",
                   [](const httplib::Request &, httplib::Response &response)
                   {
                     response.set_content(Json{{"protocolVersion", 1.0}, {"models", {"forward", "posterior"}}}.dump(),
                                          "application/json");
                   });
        post(server, "/ModelInfo",
             [this](const Json &request)
             {
               is_posterior(request);
               return Json{{"support",
                            {{"Evaluate", true}, {"Gradient", true}, {"ApplyJacobian", true}, {"ApplyHessian", true}}}};
             });
        post(server, "/InputSizes",
             [this](const Json &request) {
               return Json{{"inputSizes", {models_.input_size(is_whitened(request))}}};
             });
        post(server, "/OutputSizes",
             [this](const Json &request) {
               return Json{{"outputSizes", {models_.output_size(is_posterior(request))}}};
             });
        post(server, "/Evaluate",
             [this](const Json &request) {
               return Json{{"output", {answer(task_for(request, Task::evaluate))}}};
             });
        post(server, "/Gradient",
             [this](const Json &request)
             {
               Task task        = task_for(request, Task::gradient);
               task.sensitivity = numbers_in(entry(request, "sens"), "sens", models_.output_size(task.posterior != 0));
               return Json{{"output", answer(task)}};
             });
        post(server, "/ApplyJacobian",
             [this](const Json &request)
             {
               Task task      = task_for(request, Task::apply_jacobian);
               task.direction = numbers_in(entry(request, "vec"), "vec", models_.input_size(task.whitened != 0));
               return Json{{"output", answer(task)}};
             });
        post(server, "/ApplyHessian",
             [this](const Json &request)
             {
               Task task        = task_for(request, Task::apply_hessian);
               task.sensitivity = numbers_in(entry(request, "sens"), "sens", models_.output_size(task.posterior != 0));
               task.direction   = numbers_in(entry(request, "vec"), "vec", models_.input_size(task.whitened != 0));
               return Json{{"output", answer(task)}};
             });
      }

    private:
      template <typename Action>
      static void post(httplib::Server &server, const char *path, const Action &action)
      {
        server.Post(path,
                    [action](const httplib::Request &request, httplib::Response &response)
                    {
                      Json answer;
                      try
                      {
                        const Json body = Json::parse(request.body, nullptr, false);
                        if (!body.is_object())
                          throw ProtocolError{"InvalidInput", "The request is no JSON object."};
                        answer = action(body);
                      }
                      catch (const ProtocolError &error)
                      {
                        answer          = {{"error", {{"type", error.type}, {"message", error.message}}}};
                        response.status = error.status;
                      }
                      response.set_content(answer.dump(), "application/json");
                    });
      }

      static const Json &entry(const Json &request, const char *name)
      {
        if (!request.contains(name))
          throw ProtocolError{"InvalidInput", "The request has no “" + std::string(name) + "”."};
        return request[name];
      }

      static bool is_posterior(const Json &request)
      {
        const Json &name = entry(request, "name");
        if (name != "forward" && name != "posterior")
          throw ProtocolError{"ModelNotFound", "There is no such model. The models are “forward” and “posterior”."};
        return name == "posterior";
      }

      bool is_whitened(const Json &request) const
      {
        is_posterior(request);
        // By reference: a copy of deeply nested JSON takes as deep a stack.
        static const Json nothing = Json::object(), by_itself = "coefficients";
        const Json &config = request.contains("config") ? request["config"] : nothing;
        if (!config.is_object())
          throw ProtocolError{"InvalidInput", "“config” has to be an object."};
        const Json &coordinates = config.contains("coordinates") ? config["coordinates"] : by_itself;
        if (coordinates != "coefficients" && coordinates != "whitened")
          throw ProtocolError{"InvalidInput", "“coordinates” are “coefficients” or “whitened”."};
        if (coordinates == "whitened" && !models_.can_be_whitened())
          throw ProtocolError{"UnsupportedFeature",
                              "Whitened coordinates need a prior with a square factor (Mass = lumped)."};
        return coordinates == "whitened";
      }

      Task task_for(const Json &request, Task::Action action) const
      {
        Task task;
        task.action     = action;
        task.posterior  = is_posterior(request) ? 1 : 0;
        task.whitened   = is_whitened(request) ? 1 : 0;
        const Json &all = entry(request, "input");
        for (const char *index : {"outWrt", "inWrt", "inWrt1", "inWrt2"})
          if (request.contains(index) && request[index] != 0)
            throw ProtocolError{"InvalidInput",
                                "“" + std::string(index) + "” has to be 0: there is one input and one output."};
        if (!all.is_array() || all.size() != 1)
          throw ProtocolError{"InvalidInput", "“input” has to be an array of one array of numbers."};
        task.input = numbers_in(all[0], "input[0]", models_.input_size(task.whitened != 0));
        return task;
      }

      std::vector<double> answer(const Task &task) const
      {
        const auto result = desk_.ask(task);
        if (result.empty() || !std::all_of(result.begin(), result.end(), [](double x) { return std::isfinite(x); }))
          throw ProtocolError{"InvalidOutput", "The model cannot be solved at this input.", 500};
        return result;
      }

      const Models<dim> &models_;
      Desk &desk_;
    };
  } // namespace

  template <int dim>
  void serve(const Case<dim> &problem, const ServerSettings &settings)
  {
    const MPI_Comm world = problem.groups().world();
    const bool is_root   = problem.groups().is_root();
    const Models<dim> models(problem);
    const Report report(problem.groups(), 0.);
    Desk desk;
    httplib::Server server;
    std::string message;
    int port = 0;
    const Endpoints<dim> endpoints(models, desk);
    if (is_root)
    {
      endpoints.add_to(server);
      // The library lets several servers have one port, of which the oldest would answer.
      server.set_socket_options(
          [](socket_t socket)
          {
            const int yes = 1;
            setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
          });
      server.set_payload_max_length(64u * (1u << 20) + 64u * models.input_size(false));
      if (settings.port == 0)
        port = server.bind_to_any_port(settings.host);
      else
        port =
            server.bind_to_port(settings.host, static_cast<int>(settings.port)) ? static_cast<int>(settings.port) : -1;
      if (port < 0)
        message = "--host, --port: cannot listen at " + settings.host + ":" + std::to_string(settings.port) +
                  ". Is the port taken by another program?";
    }
    throw_together(message, world);
    report.line("\nUM-Bridge     http://" + settings.host + ":" + std::to_string(port) + ", models “forward” (" +
                std::to_string(models.input_size(false)) + " to " + std::to_string(models.output_size(false)) +
                ") and “posterior” (to 1); a signal (Ctrl-C) ends it");
    std::thread listener;
    if (is_root)
      listener = std::thread([&server] { server.listen_after_bind(); });
    for (Task task;;)
    {
      task = Task();
      if (is_root)
        while (!stop_was_asked_for() && !another_asked_to_stop(world) && !desk.next(task))
          ;
      broadcast(task, world);
      if (task.action == Task::end)
        break;
      std::vector<double> result;
      try
      {
        result = models.run(task);
      }
      catch (const ComputationError &)
      {
        // A linear solve that failed: no result.
      }
      catch (const std::exception &error)
      {
        end_all_ranks(error);
      }
      if (is_root)
        desk.finish(std::move(result));
    }
    desk.close();
    if (is_root)
    {
      server.stop();
      listener.join();
    }
  }

  template void serve(const Case<2> &, const ServerSettings &);
  template void serve(const Case<3> &, const ServerSettings &);
} // namespace varfield
