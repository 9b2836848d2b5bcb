#ifndef varfield_quantity_h
#define varfield_quantity_h

#include <varfield/forward_model.h>

namespace varfield
{
  /// One number or several that the user wants to know: functions of the fields and the states. A plugin.
  template <int dim>
  class Quantity
  {
  public:
    virtual ~Quantity()                                        = default;
    virtual void add_parameters(dealii::ParameterHandler &prm) = 0;
    /// References must outlive the object. Collective; UserError that begins with `section`.
    virtual void initialize(const ForwardModel<dim> &model, const FieldSet<dim> &fields,
                            const std::string &section) = 0;
    /// What is added to the name of the quantity for each of its numbers.
    virtual std::vector<std::string> labels() const { return {""}; }
    /// This rank's part of each number at solved states: the value is the sum over the ranks of the mesh. Collective
    /// over them.
    virtual Vector part(const ModelState<dim> &state) const = 0;
  };

  /// The quantities of interest of a case, by name.
  template <int dim>
  class Quantities
  {
  public:
    /// Declares a subsection for each name.
    void add_parameters(dealii::ParameterHandler &prm, const std::vector<std::string> &names);
    void initialize(const ForwardModel<dim> &model, const FieldSet<dim> &fields);

    /// Numbers; known after initialize(), as are their names and units.
    Index size() const { return static_cast<Index>(names_.size()); }
    const std::vector<std::string> &names() const { return names_; }
    const std::vector<std::string> &units() const { return units_; }
    /// All of them, the same on all ranks of the mesh. Collective over them.
    Vector evaluate(const ModelState<dim> &state) const;

  private:
    struct Member
    {
      std::string name, unit;
      Choice<Quantity<dim>> choice{"Type", "average"};
    };

    std::deque<Member> members_;
    std::vector<std::string> names_, units_;
    MPI_Comm comm_ = MPI_COMM_SELF;
  };

  /// Of what quantities are made: a field's coefficient k = T(m), the field m itself, or a component of the state of
  /// one experiment at one time.
  template <int dim>
  class QuantitySource
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm);
    void initialize(const ForwardModel<dim> &model, const FieldSet<dim> &fields, const std::string &section);

    const dealii::DoFHandler<dim> &dof_handler() const;
    const dealii::AffineConstraints<double> &constraints() const;
    const Mesh<dim> &mesh() const { return model_->space().mesh(); }
    unsigned int component() const { return component_; }
    /// Whether the mesh has each of these points. Collective.
    std::vector<bool> contains(const std::vector<dealii::Point<dim>> &points) const;
    /// The finite-element function, its ghosts ready to be read. Collective.
    GhostedVector values(const ModelState<dim> &state) const;
    /// What is made of its value at a point.
    double transformed(double value) const;

  private:
    bool is_state() const { return field_ < 0; }

    std::string of_                 = "state", experiment_name_, component_name_, time_;
    bool transform_                 = true;
    const ForwardModel<dim> *model_ = nullptr;
    const FieldSet<dim> *fields_    = nullptr;
    int field_                      = -1; ///< −1: the state
    unsigned int experiment_ = 0, component_ = 0, snapshot_ = 0;
    dealii::AffineConstraints<double> none_; ///< values of a field at constrained nodes are known as well
  };

  /// Index of an experiment by name; the only one where the name is empty. UserError.
  template <int dim>
  unsigned int experiment_of(const ForwardModel<dim> &model, const std::string &name, const std::string &section);
  /// The snapshot nearest to a time; the last one where `text` is empty. UserError.
  template <int dim>
  unsigned int snapshot_of(const ForwardModel<dim> &model, const std::string &text, const std::string &section);
  /// The same of a component of the state.
  template <int dim>
  unsigned int component_of(const ForwardModel<dim> &model, const std::string &name, const std::string &section);
} // namespace varfield

#endif
