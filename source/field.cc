#include <algorithm>
#include <cmath>
#include <functional>
#include <varfield/collective.h>
#include <varfield/field.h>
#include <varfield/grid_function.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  std::vector<double> parse_times(const std::string &text, const std::string &origin)
  {
    std::vector<double> times;
    if (const auto parts = split(text, ':'); parts.size() == 3)
    {
      const double first = parse_number(parts[0], origin), last = parse_number(parts[1], origin),
                   n = parse_number(parts[2], origin);
      if (n >= 1. && n == std::floor(n) && n <= 1e6)
        for (unsigned int i = 0; i <= n; ++i)
          times.push_back(i == n ? last : first + (last - first) * i / n);
    }
    else
      times = parse_numbers(text, origin);
    if (times.size() < 2 || std::adjacent_find(times.begin(), times.end(), std::greater_equal<double>()) != times.end())
      throw UserError(origin +
                      ": needs “first time: last time: number of intervals”, or at least two ascending times, but "
                      "found “" +
                      text + "”.");
    return times;
  }

  template <int dim>
  Field<dim>::Field(const std::string &name) : name_(name)
  {
  }

  template <int dim>
  void Field<dim>::add_parameters(ParameterHandler &prm)
  {
    using namespace Patterns;
    prm.add_parameter(
        "Space", space_kind_,
        "“nodal”: continuous finite elements. Zonal: one value for every material id of the mesh, every block of "
        "a structured grid, or the whole mesh. In time: one value for every interval of time, for sources and boundary "
        "conditions.",
        Selection("nodal|material ids|blocks|global|intervals of time"));
    prm.add_parameter("Degree", degree_, "of a nodal field's finite elements.", Integer(1, 2));
    prm.add_parameter("Blocks", blocks_,
                      "Number of blocks in each direction of a field on blocks, for example “8, 8”.");
    prm.add_parameter("Intervals", intervals_,
                      "Of a field on intervals of time: “first time: last time: number” for equal ones, or all their "
                      "ends, separated by commas.");
    prm.add_parameter("Unit", unit_, "of the coefficient k = T(m), for legends.");
    prm.add_parameter("Thresholds", thresholds_,
                      "Values c of the coefficient k; the probability of k > c is written as a field for each.");
    prm.add_parameter("Mean", mean_text_, "Prior mean of the field m, an expression in x, y, z.");
    prm.add_parameter(
        "Mean file", mean_file_,
        "Prior mean of the field m as a CSV table x,y[,z],value on the nodes of a tensor grid; in place of Mean.",
        FileName());
    prm.add_parameter(
        "Trend", trend_,
        "Functions with uncertain coefficients added to the field: a constant, or a constant and the coordinates "
        "(measured from the middle of the mesh, in units of its extent).",
        Selection("none|constant|linear"));
    prm.add_parameter(
        "Trend standard deviations", trend_deviations_,
        "Prior standard deviation of the constant and of the slopes: one number for all, two (constant, slopes), "
        "or one for each.");
    transform_.add_parameters(prm);
    prior_choice_.add_parameters(prm);
  }

  template <int dim>
  void Field<dim>::check() const
  {
    const std::string section = "Fields/" + name_;
    transform_->check(section + "/" + transform_.name());
    const bool nodal = space_kind_ == "nodal";
    if (nodal != prior_choice_->is_nodal())
      throw UserError(section + "/Prior: “" + prior_choice_.name() + "” is for " +
                      (nodal ? "zonal fields; a nodal field takes “spde” or “white noise”."
                             : "nodal fields; a zonal field takes “independent”, “kernel” or “matrix”."));
    prior_choice_->check(section + "/" + prior_choice_.name());
    if (space_kind_ == "blocks")
    {
      const auto numbers = parse_numbers(blocks_, section + "/Blocks");
      bool good          = numbers.size() == dim;
      for (const double n : numbers)
        good = good && n >= 1 && n == std::floor(n);
      if (!good)
        throw UserError(section + "/Blocks: needs " + std::to_string(dim) +
                        " whole numbers of at least 1, but found “" + blocks_ + "”.");
    }
    if (space_kind_ == "intervals of time")
    {
      parse_times(intervals_, section + "/Intervals");
      if (trend_ != "none")
        throw UserError(section + "/Trend: a field on intervals of time has none.");
    }
    const auto deviations = parse_numbers(trend_deviations_, section + "/Trend standard deviations");
    if (deviations.empty() || (deviations.size() > 2 && deviations.size() != dim + 1))
      throw UserError(section + "/Trend standard deviations: needs one, two or " + std::to_string(dim + 1) +
                      " numbers, but found “" + trend_deviations_ + "”.");
    for (const double s : deviations)
      if (!(s > 0.))
        throw UserError(section + "/Trend standard deviations: have to be positive, but found “" + trend_deviations_ +
                        "”.");
    for (const double threshold : thresholds_)
      if (!std::isfinite(transform_->inverse(threshold)))
        throw UserError(section + "/Thresholds: the coefficient never takes the value " + to_text(threshold) +
                        ", which is out of the range of the transform “" + transform_.name() + "”.");
    Expression<dim>(mean_text_, section + "/Mean");
  }

  template <int dim>
  void Field<dim>::make_space(const Mesh<dim> &mesh)
  {
    if (space_kind_ == "nodal")
      space_ = FieldSpace<dim>::nodal(mesh, degree_, prior_choice_->zero_on_boundary());
    else if (space_kind_ == "material ids")
      space_ = FieldSpace<dim>::by_material(mesh);
    else if (space_kind_ == "global")
      space_ = FieldSpace<dim>::global(mesh);
    else if (space_kind_ == "intervals of time")
    {
      const std::string origin = "Fields/" + name_ + "/Intervals";
      try
      {
        space_ = FieldSpace<dim>::by_time(mesh, parse_times(intervals_, origin));
      }
      catch (const UserError &error)
      {
        throw UserError(origin + ": " + error.what());
      }
    }
    else
    {
      const std::string origin = "Fields/" + name_ + "/Blocks";
      const auto numbers       = parse_numbers(blocks_, origin);
      double n_blocks          = 1.;
      for (const double n : numbers)
        n_blocks *= n;
      if (n_blocks > mesh.triangulation().n_global_active_cells())
        throw UserError(origin + ": makes " + to_text(n_blocks) + " blocks, but the mesh has " +
                        std::to_string(mesh.triangulation().n_global_active_cells()) +
                        " cells: use fewer blocks or a finer mesh.");
      try
      {
        space_ = FieldSpace<dim>::by_block(mesh, std::vector<unsigned int>(numbers.begin(), numbers.end()));
      }
      catch (const UserError &error)
      {
        throw UserError(origin + ": " + error.what());
      }
    }
  }

  template <int dim>
  void Field<dim>::make_trend(const Mesh<dim> &mesh, std::vector<std::shared_ptr<const GaussianPrior>> &blocks)
  {
    const unsigned int n = trend_ == "none" ? 0 : trend_ == "constant" ? 1 : dim + 1;
    trend_basis_.resize(space_->n_owned(), n);
    if (n == 0)
      return;
    const auto corners = mesh.bounding_box().get_boundary_points();
    for (Index i = 0; i < trend_basis_.rows(); ++i)
    {
      trend_basis_(i, 0) = 1.;
      for (unsigned int d = 0; d + 1 < n; ++d)
      {
        const double low = corners.first[d], high = corners.second[d];
        trend_basis_(i, d + 1) = (space_->points()[i][d] - 0.5 * (low + high)) / (high - low);
      }
    }
    const std::string origin = "Fields/" + name_ + "/Trend standard deviations";
    const auto given         = parse_numbers(trend_deviations_, origin);
    Matrix covariance        = Matrix::Zero(n, n);
    for (unsigned int i = 0; i < n; ++i)
      covariance(i, i) = std::pow(given[std::min<std::size_t>(i, given.size() - 1)], 2);
    blocks.push_back(std::make_shared<DensePrior>(mesh.comm(), covariance, origin));
  }

  template <int dim>
  void Field<dim>::initialize(const Mesh<dim> &mesh, const SolverSettings &settings)
  {
    make_space(mesh);
    std::vector<std::shared_ptr<const GaussianPrior>> blocks{
        prior_choice_->build(*space_, settings, "Fields/" + name_ + "/" + prior_choice_.name())};
    make_trend(mesh, blocks);
    prior_ = blocks.size() == 1 ? blocks[0] : std::make_shared<BlockPrior>(mesh.comm(), blocks);
    mean_  = interpolate(mean_text_, mean_file_, false, "Fields/" + name_ + "/Mean");
  }

  template <int dim>
  MultiVector Field<dim>::expand(const MultiVector &coefficients) const
  {
    const Index n_space = space_->layout().n_local();
    MultiVector dofs    = space_->expand(coefficients.topRows(n_space));
    if (trend_basis_.cols() == 0)
      return dofs;
    // The first rank owns the trend coefficients.
    MultiVector trend = MultiVector::Zero(trend_basis_.cols(), coefficients.cols());
    if (coefficients.rows() > n_space)
      trend = coefficients.bottomRows(coefficients.rows() - n_space);
    broadcast_over(space_->mesh().comm(), trend.data(), static_cast<std::size_t>(trend.size()));
    dofs += trend_basis_ * trend;
    return dofs;
  }

  template <int dim>
  MultiVector Field<dim>::restrict(const MultiVector &dofs) const
  {
    MultiVector coefficients(n_local(), dofs.cols());
    const Index n_space           = space_->layout().n_local();
    coefficients.topRows(n_space) = space_->restrict(dofs);
    if (trend_basis_.cols() == 0)
      return coefficients;
    MultiVector trend = trend_basis_.transpose() * dofs;
    sum_over(space_->mesh().comm(), trend.data(), static_cast<std::size_t>(trend.size()));
    coefficients.bottomRows(n_local() - n_space) = trend.topRows(n_local() - n_space);
    return coefficients;
  }

  template <int dim>
  Vector Field<dim>::interpolate(const std::string &expression, const std::string &file, bool physical,
                                 const std::string &origin) const
  {
    const MPI_Comm comm = space_->mesh().comm();
    std::unique_ptr<Function<dim>> function;
    if (!file.empty())
      try
      {
        function = read_grid_function<dim>(file, comm);
      }
      catch (const UserError &error)
      {
        throw UserError(origin + " file: " + error.what());
      }
    const Expression<dim> formula(expression, origin);
    Vector values = evaluate_together<dim>(
        [&](const Point<dim> &x) { return function ? function->value(x) : formula.value(x); }, space_->points(), comm);
    if (!physical)
      return values;
    std::string message;
    for (auto &value : values)
    {
      const double k = value;
      value          = transform_->inverse(k);
      if (!std::isfinite(value))
        message =
            origin + ": the value " + to_text(k) + " is out of the range of the transform of field “" + name_ + "”.";
    }
    throw_together(message, comm);
    return values;
  }

  template <int dim>
  Vector Field<dim>::coefficients(const Vector &dofs) const
  {
    Vector result       = Vector::Zero(n_local());
    const Index n_space = space_->layout().n_local();
    if (space_->is_nodal())
      result.head(n_space) = space_->extract(dofs - mean_);
    else
    {
      // Each zone's value is the mean over its cells.
      const MultiVector sums = space_->restrict(dofs - mean_), counts = space_->restrict(Vector::Ones(dofs.size()));
      result.head(n_space) = sums.cwiseQuotient(counts);
    }
    return result;
  }

  template <int dim>
  std::string Field<dim>::describe() const
  {
    return (space_kind_ == "nodal" ? "nodal Q" + std::to_string(degree_)
            : space_->is_in_time() ? space_kind_
                                   : "zonal (" + space_kind_ + ")") +
           ", " + std::to_string(prior_->layout().n_global()) + " unknowns, " + prior_choice_->describe() +
           (trend_ == "none" ? "" : ", " + trend_ + " trend");
  }

  template <int dim>
  FieldSet<dim>::FieldSet(MPI_Comm comm, std::vector<std::unique_ptr<Field<dim>>> fields) : fields_(std::move(fields))
  {
    std::vector<std::shared_ptr<const GaussianPrior>> blocks;
    offsets_.assign(1, 0);
    for (const auto &field : fields_)
    {
      blocks.push_back(field->prior());
      offsets_.push_back(offsets_.back() + field->n_local());
    }
    prior_ = std::make_unique<BlockPrior>(comm, blocks);
  }

  template <int dim>
  unsigned int FieldSet<dim>::find(const std::string &name) const
  {
    unsigned int i = 0;
    while (i < size() && fields_[i]->name() != name)
      ++i;
    return i;
  }

  template <int dim>
  std::vector<std::string> FieldSet<dim>::names() const
  {
    std::vector<std::string> result;
    for (const auto &field : fields_)
      result.push_back(field->name());
    return result;
  }

  template class Field<2>;
  template class Field<3>;
  template class FieldSet<2>;
  template class FieldSet<3>;
} // namespace varfield
