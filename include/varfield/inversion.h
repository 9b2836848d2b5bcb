#ifndef varfield_inversion_h
#define varfield_inversion_h

#include <varfield/report.h>
#include <varfield/run.h>

namespace varfield
{
  /// The main job: everything from the settings of a case to its folder of results. Returns the exit code. `problem` is
  /// in the end the case on the last mesh. Collective over its world; UserError, ComputationError.
  template <int dim>
  int run_inversion(std::unique_ptr<Case<dim>> &problem, Extras extras, const Surroundings &surroundings = {});

  /// Title, version and description of a case.
  template <int dim>
  void print_header(const Case<dim> &problem, const Report &report);

  /// UserError for a case that cannot be solved where all fields have their prior mean. Collective over the world.
  template <int dim>
  void refuse_unsolvable(const Case<dim> &problem);

  /// UserError for truths that are wrong: they are needed at the end of a run only. Collective over the world.
  template <int dim>
  void refuse_bad_truths(const Case<dim> &problem);

  /// UserError for what would only be found out after the inference.
  template <int dim>
  void refuse_impossible(const Case<dim> &problem, const Extras &extras);
} // namespace varfield

#endif
