#ifndef varfield_output_h
#define varfield_output_h

#include <varfield/calibration.h>
#include <varfield/scan.h>
#include <varfield/trust.h>

namespace varfield
{
  /// The output folder. It is made under a name of this run alone, `<directory>.tmp-<number>`, and gets its own name
  /// when everything in it is whole.
  class OutputFolder
  {
  public:
    /// ComputationError if the folder aside cannot be made. Collective over the world; only the root rank touches the
    /// file system.
    OutputFolder(const OutputSettings &settings, const SampleGroups &groups);
    /// Where to write, with a slash at the end.
    std::string path() const { return aside_ + "/"; }
    const std::string &final_path() const { return directory_; }
    /// Moves everything to its place: that of check(), or `<directory>-2`, … where a folder has appeared there since,
    /// and must not be overwritten. Collective; ComputationError.
    void finish();
    /// Throws UserError if the folder exists and must not be overwritten, or could not be made; changes nothing. Only a
    /// folder that looks like the results of a run is ever overwritten. Collective.
    static void check(const OutputSettings &settings, MPI_Comm comm);
    /// Removes folders aside of runs that were killed. Local.
    static void remove_leftovers(const OutputSettings &settings);
    /// As the settings have it, without a slash at its end.
    static std::string name(const OutputSettings &settings);

  private:
    std::string directory_; ///< the final name; on the root rank after finish()
    std::string aside_;     ///< the name until then
    const bool overwrite_;
    const SampleGroups &groups_;
  };

  /// Writes posterior.pvd, state.pvd, observations.csv and .vtp, convergence.csv, spectrum.csv, chains.csv (where
  /// there are chains), summary.json and parameters.prm. `exit_code` goes into the summary. Collective over the world.
  template <int dim>
  void write_results(const Case<dim> &problem, const Results<dim> &results, const TrustReport &trust,
                     const Report &report, const std::string &path, int exit_code);

  /// Writes calibration.csv (rank and truth of every quantity, a row for each truth), summary.json and parameters.prm.
  /// Collective over the world; ComputationError on all ranks.
  template <int dim>
  void write_calibration(const Case<dim> &problem, const Calibration &found, const std::string &path);

  /// Writes scan.csv (a row for each variant), summary.json and parameters.prm. Collective over the world;
  /// ComputationError on all ranks.
  template <int dim>
  void write_scan(const Case<dim> &problem, const ModelScan &found, const std::string &path);

  /// The final report for a person.
  template <int dim>
  std::vector<std::string> summary_lines(const Case<dim> &problem, const Results<dim> &results);
} // namespace varfield

#endif
