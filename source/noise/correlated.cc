#include <cmath>
#include <map>
#include <sstream>
#include <varfield/noise.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// Errors N(0, Σ): Σ from a file, or σᵢσⱼ((1 − f) k(|xᵢ − xⱼ|) + f δᵢⱼ) with a kernel k between measurements of one
    /// experiment and one component of the state.
    class Correlated : public ScaledNoise
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        ScaledNoise::add_parameters(prm);
        prm.add_parameter("Covariance file", file_,
                          "Comma-separated numbers, as many rows and columns as the file of measurements has rows, no "
                          "header: the covariance of the errors. Empty: standard deviations and a kernel.",
                          dealii::Patterns::FileName());
        prm.add_parameter("Kernel", kernel_,
                          "Correlation of the errors at a distance d, l the correlation length: exp(−d/l), (1+√3 d/l) "
                          "exp(−√3 d/l), or exp(−d²/(2l²)).",
                          dealii::Patterns::Selection("exponential|matern 3/2|squared exponential"));
        prm.add_parameter("Correlation length", length_, "of the kernel, in the unit of the coordinates.",
                          dealii::Patterns::Double(0.));
        prm.add_parameter("Independent share", nugget_,
                          "of the variance, which belongs to errors of each measurement alone.",
                          dealii::Patterns::Double(0., 1.));
      }

      void read(MPI_Comm comm, const std::string &section) override
      {
        if (file_.empty())
          return;
        const std::string origin = section + "/Covariance file: " + file_;
        std::istringstream text(read_text_file(file_, comm, "covariance of " + section));
        std::vector<std::vector<double>> rows;
        std::string line;
        for (unsigned int number = 1; std::getline(text, line); ++number)
          if (!trim(line).empty() && trim(line)[0] != '#')
          {
            rows.push_back(parse_numbers(line, origin + ", line " + std::to_string(number)));
            if (rows.back().size() != rows.front().size())
              throw UserError(origin + ", line " + std::to_string(number) + ": has " +
                              counted(rows.back().size(), "number") + ", but the first row has " +
                              std::to_string(rows.front().size()) + ".");
          }
        from_file_.resize(static_cast<Index>(rows.size()), static_cast<Index>(rows.empty() ? 0 : rows[0].size()));
        for (Index i = 0; i < from_file_.rows(); ++i)
          from_file_.row(i) =
              Eigen::Map<const Eigen::RowVectorXd>(rows[static_cast<std::size_t>(i)].data(), from_file_.cols());
      }

      void initialize(const Table &table, const Vector &values, const std::string &section) override
      {
        if (file_.empty())
        {
          ScaledNoise::initialize(table, values, section);
          covariance_ = by_kernel(table, section);
        }
        else
        {
          check_file(table, section);
          covariance_ = from_file_;
          deviations_ = covariance_.diagonal().cwiseSqrt();
        }
        factor_ = factorize(covariance_);
        if (factor_.size() == 0)
          throw UserError(section + (file_.empty() ? "/Independent share: " : "/Covariance file: ") +
                          "the covariance of the errors is not positive definite" +
                          (file_.empty() ? ": a small independent share makes it so." : "."));
      }

      void use(const std::vector<bool> &used) override
      {
        Noise::use(used);
        used_factor_ = factorize(covariance_(rows_, rows_));
        if (used_factor_.rows() != static_cast<Index>(rows_.size()))
          throw UserError("The covariance of the errors of the rows in use is not positive definite.");
        log_normaliser_ =
            used_factor_.diagonal().array().log().sum() + 0.5 * double(rows_.size()) * std::log(2. * M_PI);
        const auto n = static_cast<Index>(rows_.size());
        const Matrix transposed_inverse =
            used_factor_.triangularView<Eigen::Lower>().solve(Matrix::Identity(n, n)).transpose();
        std::vector<Eigen::Triplet<double>> entries;
        for (Index k = 0; k < n; ++k)
          for (Index i = 0; i <= k; ++i)
            if (transposed_inverse(i, k) != 0.)
              entries.emplace_back(rows_[static_cast<std::size_t>(i)], k, transposed_inverse(i, k));
        root_.resize(covariance_.rows(), n);
        root_.setFromTriplets(entries.begin(), entries.end());
      }

      bool is_independent() const override { return false; }
      double potential(const Vector &residuals) const override
      {
        return 0.5 * whitened(residuals).squaredNorm() + log_normaliser_;
      }

      /// With Σ = LLᵀ of the rows in use R = L⁻ᵀ, and y = L⁻¹r.
      NoiseRoot root(const Vector &residuals) const override { return {root_, whitened(residuals)}; }
      Vector sample(const Vector &standard_normal) const override
      {
        return factor_.triangularView<Eigen::Lower>() * standard_normal;
      }

    private:
      static Matrix factorize(const Matrix &covariance)
      {
        const Eigen::LLT<Matrix> factor(covariance);
        return factor.info() == Eigen::Success ? Matrix(factor.matrixL()) : Matrix();
      }

      Vector whitened(const Vector &residuals) const
      {
        return used_factor_.triangularView<Eigen::Lower>().solve(residuals(rows_));
      }

      double kernel(double distance) const
      {
        const double x = distance / length_;
        if (kernel_ == "exponential")
          return std::exp(-x);
        if (kernel_ == "matern 3/2")
          return (1. + std::sqrt(3.) * x) * std::exp(-std::sqrt(3.) * x);
        return std::exp(-0.5 * x * x);
      }

      Matrix by_kernel(const Table &table, const std::string &section) const
      {
        if (!(length_ > 0.))
          throw UserError(section + "/Correlation length: has to be positive, but is " + to_text(length_) + ".");
        const auto n = static_cast<Index>(table.n_rows());
        Matrix places(n, 0);
        for (const char *name : {"x", "y", "z"})
          if (table.has(name))
          {
            const auto column = table.numbers(name);
            places.conservativeResize(n, places.cols() + 1);
            places.rightCols(1) = Eigen::Map<const Vector>(column.data(), n);
          }
        if (places.cols() == 0)
          throw UserError(section + "/Kernel: the file " + table.path() +
                          " has no columns x, y, z to take distances from. Give a Covariance file instead.");
        const auto experiments =
            table.has("experiment") ? table.strings("experiment") : std::vector<std::string>(table.n_rows());
        const auto components =
            table.has("component") ? table.strings("component") : std::vector<std::string>(table.n_rows());
        Matrix result = Matrix::Zero(n, n);
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < n; ++j)
            if (experiments[static_cast<std::size_t>(i)] == experiments[static_cast<std::size_t>(j)] &&
                components[static_cast<std::size_t>(i)] == components[static_cast<std::size_t>(j)])
              result(i, j) =
                  deviations_(i) * deviations_(j) *
                  ((1. - nugget_) * kernel((places.row(i) - places.row(j)).norm()) + (i == j ? nugget_ : 0.));
        return result;
      }

      void check_file(const Table &table, const std::string &section) const
      {
        const std::string origin = section + "/Covariance file: " + file_;
        const auto n             = static_cast<Index>(table.n_rows());
        if (from_file_.rows() != n || from_file_.cols() != n)
          throw UserError(origin + ": has " + counted(from_file_.rows(), "row") + " of " +
                          counted(from_file_.cols(), "number") + ", but " + table.path() + " has " +
                          counted(table.n_rows(), "row") + ".");
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < i; ++j)
            if (!(std::abs(from_file_(i, j) - from_file_(j, i)) <=
                  1e-8 * std::sqrt(std::abs(from_file_(i, i) * from_file_(j, j)))))
              throw UserError(origin + ": is not symmetric: " + to_text(from_file_(i, j)) + " in row " +
                              std::to_string(i + 1) + ", column " + std::to_string(j + 1) + ", but " +
                              to_text(from_file_(j, i)) + " in row " + std::to_string(j + 1) + ", column " +
                              std::to_string(i + 1) + ".");
      }

      std::string file_, kernel_ = "exponential";
      double length_ = 0., nugget_ = 0.;
      Matrix from_file_, covariance_;
      Matrix factor_, used_factor_; ///< L of all rows, and of those in use
      double log_normaliser_ = 0.;
      Eigen::SparseMatrix<double> root_;
    };

    const Registration<Noise, Correlated> correlated("correlated",
                                                     "Normal errors with a covariance from a file, or with a kernel.");
  } // namespace
} // namespace varfield
