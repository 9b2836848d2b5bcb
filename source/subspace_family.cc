#include <cmath>
#include <varfield/subspace_family.h>

namespace varfield
{
  Draw SubspaceGaussian::draw(const Layout &layout, const Vector &z) const
  {
    const Vector a = layout.gram(dual, z), b = product(factor, shape != nullptr ? shape->apply(a) : a);
    const Vector delta  = z + product(modes, b - a);
    const double linear = layout.dot(mean_dual, delta + 0.5 * mean);
    // T⁻¹Vᵀ(m − mean) = u(a), whatever the condition of T.
    return {mean + delta, -linear + 0.5 * (a.squaredNorm() - b.squaredNorm()) + log_det +
                              (shape != nullptr ? shape->log_det(a) : 0.)};
  }

  FrozenGaussian::FrozenGaussian(const GaussianPrior &prior, Vector mean, LowRankCorrection correction)
      : prior_(&prior),
        mean_(std::move(mean)),
        mean_dual_(prior.precision(mean_)),
        modes_(std::move(correction.modes)),
        dual_(std::move(correction.dual))
  {
    set_factor((1. - correction.shrinkage.array()).sqrt().matrix().asDiagonal());
  }

  void FrozenGaussian::set_factor(const Matrix &factor)
  {
    const Index r = factor.rows();
    factor_       = factor;
    added_        = Matrix(r, r);
    log_det_      = 0.;
    if (r == 0)
      return;
    const Eigen::PartialPivLU<Matrix> lu(factor_);
    const Matrix inverse = lu.inverse();
    added_               = inverse.transpose() * inverse - Matrix::Identity(r, r);
    log_det_             = lu.matrixLU().diagonal().array().abs().log().sum();
  }

  FrozenGaussian FrozenGaussian::with(Vector mean, const Matrix &factor) const
  {
    FrozenGaussian result = *this;
    result.mean_          = std::move(mean);
    result.mean_dual_     = prior().precision(result.mean_);
    result.set_factor(factor);
    return result;
  }

  FrozenGaussian FrozenGaussian::restricted(const Transfer &transfer) const
  {
    const Index r = modes_.cols();
    MultiVector primal(mean_.size(), r + 1);
    primal << *modes_, mean_;
    primal                 = transfer.restrict_primal(primal);
    FrozenGaussian coarse  = *this;
    coarse.prior_          = &transfer.coarse();
    coarse.mean_           = primal.col(r);
    coarse.modes_          = MultiVector(primal.leftCols(r));
    const MultiVector dual = transfer.coarse().precision(primal);
    coarse.mean_dual_      = dual.col(r);
    coarse.dual_           = MultiVector(dual.leftCols(r));
    return coarse;
  }

  Draw FrozenGaussian::draw(const Vector &load) const
  {
    return SubspaceGaussian{mean_, mean_dual_, modes_, dual_, factor_, log_det_, shape_.get()}.draw(
        prior().layout(), prior().from_load(load));
  }

  Vector FrozenGaussian::deviation(const DrawKey &key) const
  {
    const Vector z = prior().draw(key);
    if (rank() == 0)
      return z;
    const Vector a = coordinates(z);
    return z + product(modes_, factor_ * a - a);
  }

  Vector FrozenGaussian::coordinates(const Vector &m) const
  {
    return prior().layout().gram(dual_, m);
  }

  double FrozenGaussian::log_ratio(const Vector &m) const
  {
    const Vector b = coordinates(m - mean_);
    return -prior().layout().dot(mean_dual_, m - 0.5 * mean_) + 0.5 * b.dot(added_ * b) + log_det_;
  }

  Vector FrozenGaussian::log_ratio_gradient(const Vector &m) const
  {
    return Vector(added_precision(m - mean_)) - mean_dual_;
  }

  Vector FrozenGaussian::covariance(const Vector &dual) const
  {
    const Vector result = prior().covariance(dual);
    if (rank() == 0)
      return result;
    const Vector b = prior().layout().gram(modes_, dual);
    return result + product(modes_, factor_ * (factor_.transpose() * b) - b);
  }

  MultiVector FrozenGaussian::added_precision(const MultiVector &primal) const
  {
    if (rank() == 0)
      return MultiVector::Zero(primal.rows(), primal.cols());
    return product(dual_, added_ * prior().layout().gram(dual_, primal));
  }

  void LowRankCorrection::keep(Archive &archive, const Layout &layout)
  {
    archive.columns("U", layout, modes);
    archive.columns("V", layout, dual);
    archive.numbers("shrinkage", shrinkage);
  }

  void keep(Archive &archive, const std::string &name, const Layout &layout,
            std::optional<LowRankCorrection> &correction)
  {
    bool is_there = correction.has_value();
    archive.number(name, is_there);
    if (!is_there)
      return correction.reset();
    if (!correction)
      correction.emplace();
    archive.in(name + " ", [&] { correction->keep(archive, layout); });
  }

  std::unique_ptr<FrozenGaussian> Family::frozen() const
  {
    auto correction = low_rank_correction();
    return correction ? std::make_unique<FrozenGaussian>(prior(), mean(), std::move(*correction)) : nullptr;
  }

  void SubspaceFamily::set_mean(const Vector &mean)
  {
    mean_        = mean;
    mean_dual_   = prior().precision(mean);
    origin_mean_ = mean;
    parameters_.head(prior().noise_layout().n_local()).setZero();
  }

  void SubspaceFamily::start_from_prior(const GaussianPrior &prior)
  {
    prior_        = &prior;
    const Index n = prior.layout().n_local();
    parameters_   = Vector::Zero(prior.noise_layout().n_local());
    mean_         = Vector::Zero(n);
    mean_dual_    = Vector::Zero(n);
    origin_mean_  = Vector::Zero(n);
    set_covariance(MultiVector(n, 0), MultiVector(n, 0), Matrix(0, 0));
  }

  /// With the columns P, D that U, V become, G = PᵀD = I but for the error of the interpolation: S = C + P(TTᵀ − I)Pᵀ
  /// is written in the basis PG^{-1/2}.
  void SubspaceFamily::prolongate_all(const SubspaceFamily &coarse, const Transfer &transfer)
  {
    const Index r = coarse.modes_.cols();
    MultiVector dual(coarse.dual_->rows(), r + 1);
    dual << *coarse.dual_, coarse.mean_dual_;
    const PrimalDual fine = transfer.prolongate(dual);
    mean_                 = fine.primal.col(r);
    mean_dual_            = fine.dual.col(r);
    if (r == 0)
      return set_covariance(MultiVector(mean_.size(), 0), MultiVector(mean_.size(), 0), Matrix(0, 0));
    const Matrix gram = prior().layout().gram(fine.primal.leftCols(r), fine.dual.leftCols(r));
    const Eigen::SelfAdjointEigenSolver<Matrix> eigen(0.5 * (gram + gram.transpose()));
    const Vector roots        = eigen.eigenvalues().cwiseMax(1e-8).cwiseSqrt();
    const Matrix &q           = eigen.eigenvectors();
    const Matrix root         = q * roots.asDiagonal() * q.transpose();
    const Matrix inverse_root = q * roots.cwiseInverse().asDiagonal() * q.transpose();
    const Matrix change       = root * (coarse.factor_ * coarse.factor_.transpose() - Matrix::Identity(r, r)) * root;
    // Diagonal again: T² are the eigenvalues of I + change, those of the narrowest direction first.
    const Eigen::SelfAdjointEigenSolver<Matrix> narrowed(0.5 * (change + change.transpose()));
    const Matrix rotation = inverse_root * narrowed.eigenvectors();
    const Vector factor   = (1. + narrowed.eigenvalues().array()).max(1e-14).sqrt();
    set_covariance(product(fine.primal.leftCols(r), rotation), product(fine.dual.leftCols(r), rotation),
                   Matrix(factor.asDiagonal()));
  }

  void SubspaceFamily::set_covariance(SharedBlock modes, SharedBlock dual, Matrix factor)
  {
    modes_ = std::move(modes);
    dual_  = std::move(dual);
    set_factor(std::move(factor));
    origin_factor_ = factor_;
    origin_mean_   = mean_;
    parameters_    = Vector::Zero(prior().noise_layout().n_local() + n_factor_parameters());
  }

  void SubspaceFamily::set_factor(Matrix factor)
  {
    const Index r = factor.rows();
    factor_       = std::move(factor);
    if (r == 0)
    {
      inverse_.resize(0, 0);
      log_det_ = 0.;
      return;
    }
    if (factor_.isLowerTriangular(0.))
    {
      inverse_ = factor_.triangularView<Eigen::Lower>().solve(Matrix::Identity(r, r));
      log_det_ = factor_.diagonal().array().abs().log().sum();
      return;
    }
    const Eigen::PartialPivLU<Matrix> lu(factor_);
    inverse_ = lu.inverse();
    log_det_ = lu.matrixLU().diagonal().array().abs().log().sum();
  }

  Vector SubspaceFamily::root(const Vector &xi, const Matrix &factor) const
  {
    const Vector z = prior().apply_factor(xi);
    if (rank() == 0)
      return z;
    const Vector a = prior().layout().gram(dual_, z);
    return z + product(modes_, factor * a - a);
  }

  Vector SubspaceFamily::root_transpose(const Vector &dual, const Matrix &factor) const
  {
    if (rank() == 0)
      return prior().apply_factor_transpose(dual);
    const Vector b = prior().layout().gram(modes_, dual);
    return prior().apply_factor_transpose(dual + product(dual_, factor.transpose() * b - b));
  }

  Draw SubspaceFamily::sample(const DrawKey &key) const
  {
    return SubspaceGaussian{mean_, mean_dual_, modes_, dual_, factor_, log_det_}.draw(prior().layout(),
                                                                                      prior().draw(key));
  }

  double SubspaceFamily::log_ratio(const Vector &m) const
  {
    const Vector b      = prior().layout().gram(dual_, m - mean_);
    const double linear = prior().layout().dot(mean_dual_, m - 0.5 * mean_);
    return -linear + 0.5 * (product(inverse_, b).squaredNorm() - b.squaredNorm()) + log_det_;
  }

  double SubspaceFamily::kl() const
  {
    return 0.5 * (prior().layout().dot(mean_, mean_dual_) + factor_.squaredNorm() - rank()) - log_det_;
  }

  MultiVector SubspaceFamily::covariance(const MultiVector &dual) const
  {
    MultiVector result = prior().covariance(dual);
    if (rank() == 0)
      return result;
    const Matrix b = prior().layout().gram(modes_, dual);
    result += product(modes_, factor_ * (factor_.transpose() * b) - b);
    return result;
  }

  std::optional<LowRankCorrection> SubspaceFamily::low_rank_correction() const
  {
    if (factor_.isDiagonal(0.))
      return LowRankCorrection{modes_, dual_, 1. - factor_.diagonal().array().square()};
    const Eigen::SelfAdjointEigenSolver<Matrix> eigen(factor_ * factor_.transpose());
    return LowRankCorrection{product(modes_, eigen.eigenvectors()), product(dual_, eigen.eigenvectors()),
                             1. - eigen.eigenvalues().array()};
  }

  Index SubspaceFamily::n_factor_parameters() const
  {
    int rank_in_group = 0;
    MPI_Comm_rank(prior().layout().comm(), &rank_in_group);
    const Index r = modes_.cols();
    return rank_in_group > 0 ? 0 : diagonal_factor() ? r : r * (r + 1) / 2;
  }

  double SubspaceFamily::off_diagonal_scale() const
  {
    return 1. / std::sqrt(std::max(1., double(rank())));
  }

  void SubspaceFamily::set_parameters(const Vector &parameters)
  {
    const Index n = prior().noise_layout().n_local(), r = modes_.cols();
    parameters_ = parameters;
    // Lower triangle column by column; the diagonal holds logarithms.
    Matrix delta = Matrix::Zero(r, r);
    if (n_factor_parameters() > 0)
      for (Index j = 0, k = n; j < r; ++j)
        for (Index i = j; i < (diagonal_factor() ? j + 1 : r); ++i, ++k)
          delta(i, j) = i == j ? std::exp(parameters[k]) : off_diagonal_scale() * parameters[k];
    prior().layout().broadcast(delta.data(), static_cast<std::size_t>(delta.size()));
    mean_      = origin_mean_ + root(parameters.head(n), origin_factor_);
    mean_dual_ = prior().precision(mean_);
    set_factor(origin_factor_ * delta);
  }

  Vector SubspaceFamily::path_gradient(const DrawKey &key, const Vector &potential_gradient) const
  {
    const Layout &layout = prior().layout();
    const Index n = prior().noise_layout().n_local(), r = modes_.cols();
    const Vector z = prior().draw(key), a = layout.gram(dual_, z), b = product(factor_, a);
    // ∇ₘ[−Φ + log p − log q] = −∇Φ − C⁻¹mean + V (T⁻ᵀT⁻¹ − I) Vᵀ(m − mean), and Vᵀ(m − mean) = TVᵀz.
    Vector gradient = -potential_gradient - mean_dual_;
    if (r > 0)
      gradient += product(dual_, inverse_.transpose() * a - b);
    Vector result(parameters_.size());
    result.head(n) = root_transpose(gradient, origin_factor_);
    if (r > 0)
    {
      // ∂m = U T₀ ∂Δ Vᵀz.
      const Vector left = origin_factor_.transpose() * layout.gram(modes_, gradient);
      if (n_factor_parameters() > 0)
        for (Index j = 0, k = n; j < r; ++j)
          for (Index i = j; i < (diagonal_factor() ? j + 1 : r); ++i, ++k)
            result[k] = left[i] * a[j] * (i == j ? std::exp(parameters_[k]) : off_diagonal_scale());
    }
    return result;
  }

  void SubspaceFamily::keep(Archive &archive)
  {
    const Layout &layout = prior().layout();
    archive.columns("mean", layout, mean_);
    archive.columns("C⁻¹mean", layout, mean_dual_);
    archive.columns("mean₀", layout, origin_mean_);
    archive.columns("U", layout, modes_);
    archive.columns("V", layout, dual_);
    archive.numbers("T", factor_);
    archive.numbers("T₀", origin_factor_);
    if (archive.is_reading())
      set_factor(Matrix(factor_));
    keep_parameters(archive, "η", parameters_);
  }

  void SubspaceFamily::keep_parameters(Archive &archive, const std::string &name, Vector &parameters) const
  {
    const Layout &noise = prior().noise_layout();
    const Index n = noise.n_local(), n_factor = n_factor_parameters();
    Vector of_mean = Vector::Zero(n), of_factor = Vector::Zero(n_factor);
    if (!archive.is_reading())
    {
      of_mean   = parameters.head(n);
      of_factor = parameters.tail(n_factor);
    }
    archive.columns(name, noise, of_mean);
    archive.numbers(name + " of T", of_factor);
    parameters.resize(n + n_factor);
    parameters << of_mean, of_factor.head(n_factor);
  }

  CovarianceResidual SubspaceFamily::matrix_residual(const Spread &fresh, const Matrix &old_curvature)
  {
    CovarianceResidual result;
    for (Index i = 0; i < old_curvature.rows(); ++i)
    {
      const double difference = std::abs(fresh.mean(i, i) - old_curvature(i, i)), scale = 1. + old_curvature(i, i);
      result.value = std::max(result.value, difference / scale);
      result.loss += 0.25 * difference * difference / (scale * scale);
      result.noise += 0.25 * fresh.variance(i, i) / (scale * scale);
      for (Index j = 0; j < old_curvature.cols(); ++j)
        result.sampling_loss += 0.25 * fresh.variance(i, j) / (scale * (1. + old_curvature(j, j)));
    }
    return result;
  }
} // namespace varfield
