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
    Vector mean, deviation;                 ///< of the predictions, noise included
    std::vector<NormalMixture> spreads;     ///< of the same
    std::vector<std::string> not_converged; ///< names of folds
    std::vector<std::string> failed;        ///< of folds whose inference failed: without predictions
    std::vector<Scores> of_folds;           ///< n = 0 where it failed
    Scores all;
    bool interrupted = false; ///< before the last fold; `all` is over the folds that there are

    std::vector<std::string> lines() const;
  };

  /// Which measurement belongs to which fold: by the column of the settings, or by lot. Rows that are not in use and
  /// those that are excluded are in none. UserError.
  template <int dim>
  CrossValidation assign_folds(const Case<dim> &problem);

  /// What an inference from some of the measurements says about all of them.
  struct FoldFit
  {
    Termination end;
    Vector mean, deviation; ///< of the predictions
    Vector noise;           ///< standard deviation of every measurement

    void keep(Archive &archive)
    {
      archive.in("end ", [&] { end.keep(archive); });
      archive.numbers("mean", mean);
      archive.numbers("deviation", deviation);
      archive.numbers("noise", noise);
    }
  };

  /// Infers again with some of the measurements in use.
  template <int dim>
  using Refit = std::function<FoldFit(Case<dim> &problem, const std::vector<bool> &used, Report &report)>;

  /// Infers without each fold and scores the predictions. Each sample group has folds of its own, for which `refit`
  /// gets a case and a report of the group alone; where there is one group, `problem` itself, whose measurements in use
  /// are as before in the end. `parts`: the folds that are done; nullptr: none are kept. Collective over the world.
  template <int dim>
  CrossValidation cross_validate(Case<dim> &problem, const Refit<dim> &refit, Report &report,
                                 const FinishedParts *parts = nullptr);

  /// The inference on the mesh of `problem` with these measurements, from the MAP point `map` and with what is set up
  /// for it: the symbolic part of factorisations, prior, observation operator. Changes the measurements in use and the
  /// family of the case. Collective over the world.
  template <int dim>
  FoldFit infer_again(Case<dim> &problem, const Vector &map, const std::vector<bool> &used, Report &report);
} // namespace varfield

#endif
