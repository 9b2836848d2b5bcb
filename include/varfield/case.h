#ifndef varfield_case_h
#define varfield_case_h

#include <varfield/certification_settings.h>
#include <varfield/checkpoints.h>
#include <varfield/elbo.h>
#include <varfield/faults.h>
#include <varfield/hyper_parameters.h>
#include <varfield/indicator.h>
#include <varfield/inverse_problem.h>
#include <varfield/map.h>
#include <varfield/memory.h>
#include <varfield/optimizer.h>
#include <varfield/parameters.h>
#include <varfield/quantity.h>
#include <varfield/shared_parts.h>

namespace varfield
{
  struct OutputSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    std::string directory             = "output";
    bool overwrite                    = false;
    unsigned int n_draws              = 3;
    unsigned int n_modes              = 4;
    unsigned int n_snapshots          = 50; ///< of the state in time
    unsigned int exact_variance_limit = 6000;
    unsigned int variance_probes      = 1000;
  };

  struct InferenceSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);
    /// UserError “`who` …” unless there will be a posterior whose covariance is a low-rank correction of the prior's.
    void require_low_rank(const std::string &who) const;

    std::string method = "variational"; ///< map, laplace or variational
    Choice<Family> family{"Family", "low rank"};
    Choice<Optimizer> optimizer{"Optimizer", "natural gradient"};
    MapSolver map;
    CurvatureSettings curvature;
    double elbo_error          = 0.05;
    unsigned int minimum_draws = 500, maximum_draws = 2000;
    double time_budget          = 0.;
    bool coarse_to_fine         = true;
    unsigned int coarsest_cells = 200;
    std::string start_from, state_mean_field;
    unsigned int prior_draws = 100, starts = 4;
    static constexpr unsigned int least_prior_draws = 10; ///< fewer say nothing
  };

  /// What synthetic data are made from.
  struct SynthesisSettings
  {
    std::map<std::string, std::string> truth, truth_file; ///< of every field: the coefficient k, or empty
    unsigned int draw = 0;
  };

  struct CrossValidationSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    std::string column;      ///< that names the fold of each row; empty: by lot
    unsigned int folds = 10; ///< by lot
    std::string exclude;     ///< conditions of rows that are in no fold
  };

  struct CalibrationSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    unsigned int truths = 200;
  };

  struct ScanSettings
  {
    void add_parameters(dealii::ParameterHandler &prm);

    std::string file; ///< of the variants
  };

  /// A problem as the parameter file describes it, from text to the posterior density.
  ///
  /// Cases made from each other, and those that share() the same parts, have their groups of ranks, meshes,
  /// fields with their priors, and models with their factorisations in common as far as their settings agree in all
  /// that these depend on.
  ///
  /// Three steps: the constructor declares and reads the parameters, check() refuses contradictions, build() allocates.
  /// What is built is destroyed in the opposite order, and before MPI ends.
  template <int dim>
  class Case
  {
  public:
    /// Collective over `world`. UserError.
    Case(MPI_Comm world, const std::vector<Assignment> &assignments);
    /// The case as the parameter file gives it, neither checked nor built: without what with_overrides() changes.
    std::unique_ptr<Case> as_given() const { return variant({}); }
    /// Before build(); only among cases over the same ranks.
    void share(std::shared_ptr<SharedParts> parts) { parts_ = std::move(parts); }
    /// What it has in common with others lives on after it.
    void hold_parts() const { parts_->hold({model_, fields_, mesh_, groups_}); }
    /// UserError for settings that contradict each other.
    void check();
    /// Mesh, spaces, priors, observation operator, density. `values_needed` as in Measurements::read. Collective.
    void build(bool values_needed = true);
    /// The same case, built on the ancestor of this mesh without cells beyond `max_level`; nullptr where there is none
    /// (a field on blocks may find no cells in some of them). Collective.
    std::unique_ptr<Case> coarser(unsigned int max_level) const;
    /// The same case with these entries of the parameter file changed (“Section/Name=value”), built; for one of many
    /// inferences: without the checks that a single one begins with. Collective; UserError.
    std::unique_ptr<Case> with_overrides(const std::vector<std::string> &overrides) const;
    /// The same without that exception: for the last of many inferences.
    std::unique_ptr<Case> in_full_with(const std::vector<std::string> &overrides) const;
    /// The case of the same parameter file and these assignments after it, as if it had been given so: neither checked
    /// nor built. UserError.
    std::unique_ptr<Case> variant(const std::vector<Assignment> &changes) const;
    /// The same case for the ranks of this sample group alone, one group, built on the same mesh. Collective over the
    /// world; its own members are over the group.
    std::unique_ptr<Case> for_one_group() const;
    /// Values take the place of those in the measurement files, here and in cases made from this one.
    void set_measured(const Vector &values);
    /// The cells that were refined in each cycle of adaptive refinement so far, a line for each.
    std::string refined_cells_as_text() const;
    /// The same case, built on this mesh with these cells (ascending ids, the same on all ranks) refined. Collective.
    std::unique_ptr<Case> refined(std::vector<dealii::CellId> cells) const;

    const dealii::ParameterHandler &parameters() const { return prm_; }
    /// From now on solves fail as the section Faults says.
    void begin_faults() const
    {
      varfield::begin_faults(faults_, seed_, dealii::Utilities::MPI::this_mpi_process(world_));
    }
    const std::string &title() const { return title_; }
    /// About entries whose names are old.
    const std::vector<std::string> &warnings() const { return warnings_; }
    std::uint64_t seed() const { return seed_; }
    const OutputSettings &output() const { return output_; }
    const InferenceSettings &inference() const { return inference_; }
    const CertificationSettings &certification() const { return certification_; }
    const CalibrationSettings &calibration() const { return calibration_; }
    const ScanSettings &scan() const { return scan_; }
    const CheckpointSettings &checkpoint() const { return checkpoint_; }
    const CrossValidationSettings &cross_validation() const { return cross_validation_; }
    const AdaptiveRefinement<dim> &adaptive_refinement() const { return adaptive_refinement_; }
    MPI_Comm world() const { return world_; }
    const SampleGroups &groups() const { return *groups_; }
    const Mesh<dim> &mesh() const { return *mesh_; }
    const FieldSet<dim> &fields() const { return *fields_; }
    const Measurements<dim> &measurements() const { return *measurements_; }
    void use_measurements(const std::vector<bool> &used) { measurements_->use(used); }
    const ForwardModel<dim> &model() const { return *model_; }
    const HyperParameters &hyper_parameters() const { return hyper_; }
    const Quantities<dim> &quantities() const { return quantities_; }
    const InverseProblem<dim> &density() const { return *density_; }
    /// What the run is predicted to take; known after build().
    const MemoryPlan &memory() const { return memory_; }
    /// Where the search for the MAP point begins.
    const Vector &start() const { return start_; }

    /// Owned degrees of freedom of the true field i where the parameter file gives it, else nothing. Collective.
    std::optional<Vector> truth(unsigned int i) const;
    /// A parameter vector from the truths that are given and, for the other fields, a draw of the prior. Collective.
    Vector truth_or_draw() const;
    /// Lines that describe the problem, for the terminal.
    std::vector<std::string> describe() const;

  private:
    void declare(const std::vector<Assignment> &assignments);
    void build_on(std::shared_ptr<const SampleGroups> groups, bool values_needed, unsigned int max_level);
    std::unique_ptr<Case> rebuilt_from(MPI_Comm comm, const std::vector<Assignment> &assignments,
                                       std::shared_ptr<const SampleGroups> groups) const;
    std::unique_ptr<Case> rebuilt(unsigned int max_level, std::vector<std::vector<dealii::CellId>> refined_cells) const;
    void declare_inference();
    void build_mesh(std::shared_ptr<const SampleGroups> groups, bool values_needed, unsigned int max_level);
    void build_model();
    std::vector<std::string> model_files() const;
    std::string settings_of(const std::vector<std::string> &sections) const;
    double growth_of_a_cycle() const;
    Split choose_split(double cells);
    /// From the parameters, the measurements and a number of cells, before anything large is built.
    ProblemSize problem_size(double cells);
    void plan_memory_for(double cells);
    Vector synthetic_draw() const;

    const MPI_Comm world_;
    const std::vector<Assignment> assignments_;
    std::vector<Assignment> given_; ///< those of them that are the user's
    std::vector<std::string> warnings_;
    std::string title_;
    unsigned int dimension_ = dim, n_groups_ = 0;
    double memory_limit_ = 0.; ///< GB
    std::uint64_t seed_  = 1;
    OutputSettings output_;
    InferenceSettings inference_;
    CertificationSettings certification_;
    CrossValidationSettings cross_validation_;
    CalibrationSettings calibration_;
    ScanSettings scan_;
    CheckpointSettings checkpoint_;
    AdaptiveRefinement<dim> adaptive_refinement_;
    SynthesisSettings synthesis_;
    SolverSettings solver_;
    FaultSettings faults_;
    std::string field_names_ = "m", experiment_names_, measurement_names_ = "data", quantity_names_, hyper_names_;
    HyperParameters hyper_;
    std::vector<Experiment> declared_experiments_;
    std::vector<std::unique_ptr<MeasurementSet<dim>>> declared_sets_;
    dealii::ParameterHandler prm_;

    // In the order in which they are built; destroyed the other way round.
    std::shared_ptr<SharedParts> parts_ = std::make_shared<SharedParts>();
    std::shared_ptr<const SampleGroups> groups_;
    std::vector<std::vector<dealii::CellId>> refined_cells_; ///< of each cycle of adaptive refinement so far
    std::shared_ptr<Mesh<dim>> mesh_ = std::make_shared<Mesh<dim>>();
    std::string mesh_key_;                                     ///< all that it depends on
    std::vector<std::unique_ptr<Field<dim>>> declared_fields_; ///< until all of them are set up
    std::shared_ptr<FieldSet<dim>> fields_;
    std::unique_ptr<Measurements<dim>> measurements_;
    std::shared_ptr<ForwardModel<dim>> model_ = std::make_shared<ForwardModel<dim>>();
    Quantities<dim> quantities_;
    std::unique_ptr<InverseProblem<dim>> density_;
    MemoryPlan memory_;
    Split split_;
    Vector start_;
    std::optional<Vector> measured_; ///< in place of the files' values
  };

  /// The value of `Dimension` in a parameter file, 2 where it is not given. UserError.
  unsigned int dimension_of(const std::vector<Assignment> &assignments);
} // namespace varfield

#endif
