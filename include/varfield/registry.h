#ifndef varfield_registry_h
#define varfield_registry_h

#include <deal.II/base/parameter_handler.h>

#include <functional>
#include <map>
#include <memory>
#include <varfield/exceptions.h>

namespace varfield
{
  /// The members of one kind of plugin (priors, PDEs, families, …), each known by its name. A member registers itself
  /// by a static `Registration` in the last line of its file and from then on shows up in `varfield --help`, in the
  /// parameter template and in the tests that run over all members.
  template <typename Base>
  class Registry
  {
  public:
    struct Member
    {
      std::string documentation;
      std::function<std::unique_ptr<Base>()> create;
    };

    static std::map<std::string, Member> &members()
    {
      static std::map<std::string, Member> the_members;
      return the_members;
    }

    static std::vector<std::string> names()
    {
      std::vector<std::string> result;
      for (const auto &[name, member] : members())
        result.push_back(name);
      return result;
    }
  };

  /// `static const Registration<Base, Derived> name("low rank", "One sentence for the manual.");`
  template <typename Base, typename Derived>
  struct Registration
  {
    Registration(const std::string &name, const std::string &documentation)
    {
      Registry<Base>::members()[name] = {documentation, [] { return std::make_unique<Derived>(); }};
    }
  };

  /// A choice of one member in a parameter file: the key `<key>` selects, and every member reads its own subsection of
  /// the same name. `Base` has to have `void add_parameters(dealii::ParameterHandler &)`.
  template <typename Base>
  class Choice
  {
  public:
    Choice(std::string key, std::string default_name) : key_(std::move(key)), name_(std::move(default_name)) {}

    void add_parameters(dealii::ParameterHandler &prm)
    {
      std::string selection, documentation = "One of";
      for (const auto &[name, member] : Registry<Base>::members())
      {
        selection += (selection.empty() ? "" : "|") + name;
        documentation += "\n“" + name + "”: " + member.documentation;
      }
      prm.add_parameter(key_, name_, documentation, dealii::Patterns::Selection(selection));
      for (const auto &[name, member] : Registry<Base>::members())
      {
        candidates_[name] = member.create();
        prm.enter_subsection(name);
        candidates_[name]->add_parameters(prm);
        prm.leave_subsection();
      }
    }

    const std::string &name() const { return name_; }
    Base &operator*() const { return *candidates_.at(name_); }
    Base *operator->() const { return candidates_.at(name_).get(); }
    /// Hands the chosen member over.
    std::unique_ptr<Base> release() { return std::move(candidates_.at(name_)); }

  private:
    std::string key_, name_;
    std::map<std::string, std::unique_ptr<Base>> candidates_;
  };
} // namespace varfield

#endif
