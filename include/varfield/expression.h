#ifndef varfield_expression_h
#define varfield_expression_h

#include <deal.II/base/point.h>

#include <memory>
#include <utility>
#include <varfield/exceptions.h>

namespace dealii
{
  template <int dim>
  class FunctionParser;
}

namespace varfield
{
  /// A scalar function of the coordinates x, y (and z in 3D), and of the time t where that is allowed, given as a text
  /// in the language of muParser with the constant pi. Copies are cheap: they share the parsed expression.
  template <int dim>
  class Expression
  {
  public:
    /// The constant 0.
    Expression();
    /// `origin` is the parameter that the text is from, "Physics/Source" say. UserError, the same on all ranks, if the
    /// text cannot be parsed.
    Expression(const std::string &text, const std::string &origin, bool in_time = false);

    /// Local. UserError if the result is not a finite number. Points differ between ranks, so this may happen on one
    /// rank alone: whoever evaluates inside a collective computation has to catch it and tell the other ranks before
    /// going on.
    double value(const dealii::Point<dim> &point, double time = 0.) const;

    const std::string &text() const { return text_; }
    const std::string &origin() const { return origin_; }
    /// Whether no coordinate appears in the text.
    bool is_constant() const { return is_constant_; }
    /// Whether the time appears in it.
    bool uses_time() const { return uses_time_; }

  private:
    std::string text_, origin_;
    bool is_constant_, uses_time_;
    std::shared_ptr<dealii::FunctionParser<dim>> parser_;
  };

  /// "left: 0; 2: sin(pi*x)" gives {{"left", "0"}, {"2", "sin(pi*x)"}}. Each entry is split at its first colon (another
  /// one may belong to muParser's "a ? b : c"). UserError, naming `origin`, for an entry that has no colon or an empty
  /// side and for an id given twice; a blank text gives an empty map. `what` the ids are, in these messages.
  std::vector<std::pair<std::string, std::string>>
  parse_boundary_map(const std::string &text, const std::string &origin, const std::string &what = "boundary");
} // namespace varfield

#endif
