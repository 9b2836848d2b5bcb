#include <cmath>
#include <varfield/prior.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// What the priors of zonal fields share: each says how its covariance matrix is made.
    template <int dim>
    class ZonalPrior : public Prior<dim>
    {
    public:
      bool is_nodal() const override { return false; }

      std::shared_ptr<const GaussianPrior> build(const FieldSpace<dim> &space, const SolverSettings &,
                                                 const std::string &section) const override
      {
        return std::make_shared<DensePrior>(space.mesh().comm(), covariance(space, section), origin(section));
      }

    protected:
      virtual Matrix covariance(const FieldSpace<dim> &space, const std::string &section) const = 0;
      /// Where the covariance is from, to begin a message with.
      virtual std::string origin(const std::string &section) const { return section; }

      void add_standard_deviation(ParameterHandler &prm)
      {
        prm.add_parameter("Standard deviation", standard_deviation_,
                          "of every zone's value, in the unit of the field m.", Patterns::Double(0));
      }

      void check_standard_deviation(const std::string &section) const
      {
        if (!(standard_deviation_ > 0.))
          throw UserError(section + "/Standard deviation: has to be positive, but is " + to_text(standard_deviation_) +
                          ".");
      }

      double standard_deviation_ = 1.;
    };

    template <int dim>
    class Independent : public ZonalPrior<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override { this->add_standard_deviation(prm); }
      void check(const std::string &section) const override { this->check_standard_deviation(section); }
      std::string describe() const override
      {
        return "independent zones, standard deviation " + to_text(this->standard_deviation_);
      }

    protected:
      Matrix covariance(const FieldSpace<dim> &space, const std::string &) const override
      {
        const Index n = space.zone_centres().size();
        return this->standard_deviation_ * this->standard_deviation_ * Matrix::Identity(n, n);
      }
    };

    /// σ² k(|x − y|/ℓ) between the centres of the zones.
    template <int dim>
    class Kernel : public ZonalPrior<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override
      {
        this->add_standard_deviation(prm);
        prm.add_parameter("Kernel", kernel_,
                          "Correlation at distance r of the zones' centres, s = r/length: “exponential”: exp(−s); "
                          "“matern 3/2”: (1+√3 s) exp(−√3 s); “matern 5/2”: (1+√5 s+5s²/3) exp(−√5 s); “squared "
                          "exponential”: exp(−s²/2).",
                          Patterns::Selection("exponential|matern 3/2|matern 5/2|squared exponential"));
        prm.add_parameter("Length", length_, "of the kernel, in the unit of the mesh.", Patterns::Double(0));
      }

      void check(const std::string &section) const override
      {
        this->check_standard_deviation(section);
        if (!(length_ > 0.))
          throw UserError(section + "/Length: has to be positive, but is " + to_text(length_) + ".");
      }

      std::string describe() const override
      {
        return "zones correlated by a kernel (" + kernel_ + ", length " + to_text(length_) + "), standard deviation " +
               to_text(this->standard_deviation_);
      }

    protected:
      double correlation(double s) const
      {
        if (kernel_ == "exponential")
          return std::exp(-s);
        if (kernel_ == "matern 3/2")
          return (1. + std::sqrt(3.) * s) * std::exp(-std::sqrt(3.) * s);
        if (kernel_ == "matern 5/2")
          return (1. + std::sqrt(5.) * s + 5. * s * s / 3.) * std::exp(-std::sqrt(5.) * s);
        return std::exp(-s * s / 2.);
      }

      Matrix covariance(const FieldSpace<dim> &space, const std::string &) const override
      {
        const auto &centres = space.zone_centres();
        const Index n       = centres.size();
        Matrix c(n, n);
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < n; ++j)
            c(i, j) = this->standard_deviation_ * this->standard_deviation_ *
                      correlation(centres[i].distance(centres[j]) / length_);
        return c;
      }

    private:
      std::string kernel_ = "exponential";
      double length_      = 1.;
    };

    template <int dim>
    class MatrixFile : public ZonalPrior<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override
      {
        prm.add_parameter(
            "File", file_,
            "Covariance matrix of the zones' values: one row a line, numbers separated by commas, zones in the "
            "order of their ids (blocks: x fastest).",
            Patterns::FileName());
      }

      void check(const std::string &section) const override
      {
        if (file_.empty())
          throw UserError(section + "/File: has to name a file with the covariance matrix.");
      }

      std::string describe() const override { return "zones with the covariance matrix in " + file_; }

    protected:
      Matrix covariance(const FieldSpace<dim> &space, const std::string &section) const override
      {
        const Index n   = space.zone_centres().size();
        const auto text = read_text_file(file_, space.mesh().comm(), section + "/File");
        const auto rows = split(text, '\n');
        Matrix c(n, n);
        Index i             = 0;
        unsigned int number = 0;
        for (const auto &row : rows)
        {
          ++number;
          if (trim(row).empty() || trim(row)[0] == '#')
            continue;
          const auto where  = file_ + ", line " + std::to_string(number);
          const auto values = parse_numbers(row, where);
          if (static_cast<Index>(values.size()) != n || i >= n)
            throw UserError(where + ": the field has " + std::to_string(n) + " zones, so the file has to have " +
                            std::to_string(n) + " rows of " + std::to_string(n) + " numbers, but row " +
                            std::to_string(i + 1) + " has " + std::to_string(values.size()) + ".");
          c.row(i++) = Eigen::Map<const Vector>(values.data(), n).transpose();
        }
        if (i != n)
          throw UserError(file_ + ": the field has " + std::to_string(n) + " zones, but the file has " +
                          std::to_string(i) + " rows.");
        return c;
      }

      std::string origin(const std::string &section) const override { return section + "/File, “" + file_ + "”"; }

    private:
      std::string file_;
    };

    const char *const independent_text = "Independent values with one standard deviation, for zonal fields.";
    const char *const kernel_text      = "Values correlated by a kernel on the zones' centres, for zonal fields.";
    const char *const matrix_text      = "Values with a covariance matrix from a file, for zonal fields.";
    const Registration<Prior<2>, Independent<2>> independent_2("independent", independent_text);
    const Registration<Prior<3>, Independent<3>> independent_3("independent", independent_text);
    const Registration<Prior<2>, Kernel<2>> kernel_2("kernel", kernel_text);
    const Registration<Prior<3>, Kernel<3>> kernel_3("kernel", kernel_text);
    const Registration<Prior<2>, MatrixFile<2>> matrix_2("matrix", matrix_text);
    const Registration<Prior<3>, MatrixFile<3>> matrix_3("matrix", matrix_text);
  } // namespace
} // namespace varfield
