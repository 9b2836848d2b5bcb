#ifndef varfield_cross_validation_h
#define varfield_cross_validation_h

#include <varfield/posterior_averages.h>
#include <varfield/scores.h>

namespace varfield
{
  /// Measurements predicted without their own fold.
  struct CrossValidation
  {
    std::vector<std::string> folds;         ///< names
    std::vector<int> fold_of;               ///< of every measurement; −1: in none
    Vector mean, deviation;                 ///< of the predictions, without noise
    std::vector<std::string> not_converged; ///< names of folds
    std::vector<Scores> of_folds;
    Scores all;
    bool interrupted = false; ///< before the last fold; `all` is over the folds that there are

    std::vector<std::string> lines() const;
  };

  /// Which measurement belongs to which fold: by the column of the settings, or by lot. Rows that are not in use and
  /// those that are excluded are in none. UserError.
  template <int dim>
  CrossValidation assign_folds(const Case<dim> &problem);

  /// Repeats the inference without each fold, on the mesh of `problem`, from the MAP point `map` and with what is set
  /// up for it: factorisations' symbolic part, prior, observation operator. The measurements in use and the family of
  /// the case are as before in the end. Collective over the world.
  template <int dim>
  CrossValidation cross_validate(Case<dim> &problem, const Vector &map, Report &report);
} // namespace varfield

#endif
