#ifndef varfield_field_h
#define varfield_field_h

#include <varfield/expression.h>
#include <varfield/prior.h>
#include <varfield/transform.h>

namespace varfield
{
  /// The ends of intervals of time: “0: 100: 4” is 0, 25, 50, 75, 100; so is “0, 25, 50, 75, 100”. UserError.
  std::vector<double> parse_times(const std::string &text, const std::string &origin);

  /// One unknown field: its space, prior, trend, mean and transform.
  ///
  /// m(x) = mean(x) + Σᵢ cᵢφᵢ(x) + Σⱼ tⱼbⱼ(x). The coefficients c of the space and t of the trend functions (1 and, for
  /// a linear trend, the coordinates measured from the middle of the mesh in units of its extent) are inferred
  /// together; both have zero prior mean. k = T(m) is what the PDE sees.
  template <int dim>
  class Field
  {
  public:
    explicit Field(const std::string &name);

    /// Inside the field's subsection.
    void add_parameters(dealii::ParameterHandler &prm);
    void check() const;
    /// Builds space and prior. Collective.
    void initialize(const Mesh<dim> &mesh, const SolverSettings &settings);

    const std::string &name() const { return name_; }
    const std::string &unit() const { return unit_; }
    const Transform &transform() const { return *transform_; }
    const std::string &transform_name() const { return transform_.name(); }
    /// Values of the coefficient whose probability of being exceeded is wanted as a field.
    const std::vector<double> &thresholds() const { return thresholds_; }
    const FieldSpace<dim> &space() const { return *space_; }
    /// Prior of the coefficients (c, t).
    const std::shared_ptr<const GaussianPrior> &prior() const { return prior_; }
    /// Local number of coefficients (c, t).
    Index n_local() const { return prior_->layout().n_local(); }
    std::string describe() const;

    /// Owned degrees of freedom of Σcᵢφᵢ + Σtⱼbⱼ, without the mean. Collective.
    MultiVector expand(const MultiVector &coefficients) const;
    /// Its transpose, from dual vectors on owned degrees of freedom to dual coefficients. Collective.
    MultiVector restrict(const MultiVector &dofs) const;
    /// Owned degrees of freedom of the prior mean.
    const Vector &mean() const { return mean_; }

    /// Owned degrees of freedom of the field whose m, or whose coefficient k if `physical`, is an expression or, where
    /// `file` is not empty, is interpolated from that table (see read_grid_function). Collective; UserError that begins
    /// with `origin`, also where a value is out of the range of the transform.
    Vector interpolate(const std::string &expression, const std::string &file, bool physical,
                       const std::string &origin) const;
    /// The coefficients, with zero trend, of the field with these owned degrees of freedom, its mean included.
    Vector coefficients(const Vector &dofs) const;

  private:
    void make_space(const Mesh<dim> &mesh);
    void make_trend(const Mesh<dim> &mesh, std::vector<std::shared_ptr<const GaussianPrior>> &blocks);

    const std::string name_;
    std::string space_kind_ = "nodal", unit_, mean_text_ = "0", mean_file_, trend_ = "none", trend_deviations_ = "1",
                blocks_, intervals_;
    std::vector<double> thresholds_;
    unsigned int degree_ = 1;
    Choice<Transform> transform_{"Transform", "exp"};
    Choice<Prior<dim>> prior_choice_{"Prior", "spde"};

    std::unique_ptr<FieldSpace<dim>> space_;
    std::shared_ptr<const GaussianPrior> prior_;
    Matrix trend_basis_; ///< owned degrees of freedom × trend functions
    Vector mean_;
  };

  /// All unknown fields of a problem and the parameter vector that they make up: the coefficients of the first field,
  /// then those of the second, and so on.
  template <int dim>
  class FieldSet
  {
  public:
    /// Collective, after each field was initialised.
    FieldSet(MPI_Comm comm, std::vector<std::unique_ptr<Field<dim>>> fields);

    unsigned int size() const { return fields_.size(); }
    const Field<dim> &operator[](unsigned int i) const { return *fields_[i]; }
    /// Index of the field of this name, or size().
    unsigned int find(const std::string &name) const;
    std::vector<std::string> names() const;
    const BlockPrior &prior() const { return *prior_; }
    /// First local row of field i in a parameter vector.
    Index offset(unsigned int i) const { return offsets_[i]; }
    /// Rows of field i.
    MultiVector part(const MultiVector &parameters, unsigned int i) const
    {
      return parameters.middleRows(offsets_[i], fields_[i]->n_local());
    }
    /// Owned degrees of freedom of field i, mean included. Collective.
    Vector values(const Vector &parameters, unsigned int i) const
    {
      return fields_[i]->mean() + fields_[i]->expand(part(parameters, i));
    }

  private:
    std::vector<std::unique_ptr<Field<dim>>> fields_;
    std::vector<Index> offsets_;
    std::unique_ptr<BlockPrior> prior_;
  };
} // namespace varfield

#endif
