#ifndef varfield_unfinished_run_h
#define varfield_unfinished_run_h

#include <map>
#include <varfield/run.h>

namespace varfield
{
  /// How settings differ from those of an earlier run: sentences such as “Mesh/Degree = 2 (was 1)”.
  struct SettingsChange
  {
    std::vector<std::string> without_effect; ///< no number depends on them
    std::vector<std::string> harmless;       ///< what an unfinished run has found so far is as good with them
    std::vector<std::string> others;
  };

  /// `before` and `now`: as parameters_as_json() gives them, as texts.
  SettingsChange compare_settings(const std::string &before, const std::string &now);

  /// What a run that did not come to its end has left, in the folder beside its results. Members are collective over
  /// the world.
  template <int dim>
  class UnfinishedRun
  {
  public:
    /// `command` as on the command line: one does not go on with another. `has_parts`: whether the run consists of
    /// parts, inferences that are kept one by one. `content`: of files that have to be the same. UserError where
    /// something was left that the settings do not say to go on with, or cannot go on with.
    UnfinishedRun(const Case<dim> &problem, const std::string &command, bool has_parts,
                  const std::string &content = "");
    /// The results of a run that was stopped give way to those of the whole: such a folder, or one beside a state, may
    /// be replaced when the run is gone on with.
    static OutputSettings output(const Case<dim> &problem);

    /// For infer(). `report` outlives the parts.
    void add_to(Extras &extras, const Report &report);
    /// The same parts, for other runs that consist of them.
    const FinishedParts &parts(const Report &report);
    /// Lines about it, for the terminal.
    std::vector<std::string> lines() const;
    const std::string &folder() const { return states_.folder(); }
    bool has_states() const { return states_.has_states(); }
    /// The run has come to its end.
    void finish() { states_.remove(); }

  private:
    void compare(const std::string &settings, const Matrix &data);

    const bool resumes_;
    Checkpoints states_;
    std::string settings_;
    Matrix data_;
    FinishedParts parts_;
    std::optional<Archive> found_;
    bool anything_ = false; ///< to go on with
    std::vector<std::string> changes_;
  };
} // namespace varfield

#endif
