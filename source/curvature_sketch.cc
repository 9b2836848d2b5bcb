#include <cmath>
#include <varfield/curvature_sketch.h>

namespace varfield
{
  namespace
  {
    /// `to` = `action` of a few columns of `from` at a time.
    void transform(Index width, const MultiVector &from, MultiVector &to,
                   const std::function<MultiVector(const MultiVector &)> &action)
    {
      by_blocks(0, from.cols(), width,
                [&](Index first, Index count) { to.middleCols(first, count) = action(from.middleCols(first, count)); });
    }

    Matrix symmetric(const Matrix &a)
    {
      return 0.5 * (a + a.transpose());
    }
  } // namespace

  CurvatureSketch::CurvatureSketch(const LogDensity &density, const LowRankCorrection &known, const DrawKey &key,
                                   const CoarsePosterior *coarse)
      : density_(density), coarse_(coarse), n_known_(known.modes.cols()), fingerprint_(known.modes->rowwise().sum())
  {
    constexpr Index least_columns = 80, least_random = 20;
    const Layout &layout = density.prior().layout();
    const Index n_random =
        std::min(std::max(least_random, least_columns - n_known_), std::max<Index>(0, layout.n_global() - n_known_));
    MultiVector random(layout.n_local(), n_random), random_dual(layout.n_local(), n_random);
    const double unit = 1. / std::sqrt(static_cast<double>(layout.n_global()));
    by_blocks(0, n_random, layout.block_columns(),
              [&](Index first, Index count)
              {
                std::vector<DrawKey> keys;
                for (Index j = first; j < first + count; ++j)
                  keys.push_back({key.seed, key.stream, key.draw + static_cast<std::uint32_t>(j), 1.});
                const MultiVector z             = density.prior().draws(keys);
                random.middleCols(first, count) = unit * (z - product(known.modes, layout.gram(known.dual, z)));
              });
    transform(layout.block_columns(), random, random_dual,
              [&](const MultiVector &x) { return density.prior().precision(x); });
    omega_.resize(layout.n_local(), n_known_ + n_random);
    omega_ << *known.modes, random;
    density.groups().broadcast(omega_);
    metric_                                       = Matrix::Identity(omega_.cols(), omega_.cols());
    metric_.bottomRightCorner(n_random, n_random) = symmetric(layout.gram(random, random_dual));
    image_                                        = MultiVector::Zero(omega_.rows(), omega_.cols());
    sum_ = squares_ = Matrix::Zero(n_known_, n_known_);
    if (coarse_ != nullptr)
    {
      const Layout &coarse_layout = coarse_->transfer().coarse().layout();
      coarse_omega_.resize(coarse_layout.n_local(), omega_.cols());
      transform(layout.block_columns(), omega_, coarse_omega_,
                [&](const MultiVector &x) { return coarse_->transfer().restrict_primal(x); });
      coarse_image_ = MultiVector::Zero(coarse_omega_.rows(), coarse_omega_.cols());
    }
  }

  void CurvatureSketch::add(const Linearization &at, const Linearization *on_coarse_mesh)
  {
    const Layout &layout = density_.prior().layout();
    MultiVector image(omega_.rows(), omega_.cols());
    transform(layout.block_columns(), omega_, image, [&](const MultiVector &x) { return at.apply_curvature(x); });
    Matrix form = symmetric(layout.gram(omega_.leftCols(n_known_), image.leftCols(n_known_)));
    if (coarse_ != nullptr)
    {
      MultiVector coarse_image(coarse_omega_.rows(), coarse_omega_.cols());
      transform(layout.block_columns(), coarse_omega_, coarse_image,
                [&](const MultiVector &x) { return on_coarse_mesh->apply_curvature(x); });
      form -= symmetric(coarse_->transfer().coarse().layout().gram(coarse_omega_.leftCols(n_known_),
                                                                   coarse_image.leftCols(n_known_)));
      coarse_image_ += coarse_image;
    }
    image_ += image;
    if (pending_.rows() != form.rows() || n_known_ == 0)
    {
      pending_ = form;
      return;
    }
    form = 0.5 * (form + pending_);
    sum_ += form;
    squares_ += form.cwiseAbs2();
    pending_.resize(0, 0);
  }

  void CurvatureSketch::finish(unsigned int n_draws)
  {
    const SampleGroups &groups = density_.groups();
    const Layout &layout       = density_.prior().layout();
    n_draws_                   = n_draws;
    groups.sum(image_);
    image_ /= n_draws;
    const double n_pairs = n_draws / 2.;
    groups.sum(sum_);
    groups.sum(squares_);
    forms_ = {sum_ / n_pairs, Matrix::Zero(n_known_, n_known_)};
    if (n_pairs > 1. && !density_.is_quadratic())
      forms_.variance = (squares_ / n_pairs - forms_.mean.cwiseAbs2()).cwiseMax(0.) / (n_pairs - 1.);

    if (coarse_ != nullptr)
      add_coarse_average();
    // In coordinates in which ΩᵀC⁻¹Ω is the identity.
    const Eigen::LLT<Matrix> metric(metric_);
    const Matrix gram = metric.matrixL().solve(metric.matrixL().solve(layout.gram(omega_, image_)).transpose());
    const SymmetricEigen middle = symmetric_eigen(groups, layout, gram);
    omega_.resize(0, 0);
    const double largest  = middle.values.size() > 0 ? middle.values[middle.values.size() - 1] : 0.;
    const double smallest = middle.values.size() > 0 ? middle.values[0] : 0.;
    unresolved_           = coarse_ != nullptr ? std::max(0., -2. * smallest) : 0.;
    const Index n         = (middle.values.array() > std::max(1e-13 * largest, std::max(0., -2. * smallest))).count();
    const Matrix root     = middle.vectors.rightCols(n) * middle.values.tail(n).cwiseSqrt().cwiseInverse().asDiagonal();
    MultiVector factor    = product(image_, metric.matrixU().solve(root));
    image_.resize(0, 0);
    groups.broadcast(factor);
    factor_ = std::move(factor);
  }

  /// E[H]Ω += D (E[H'] − Σ H'/n) DᵀΩ, and the same for UᵀE[H]U (where the mean of the draws has the latter already).
  void CurvatureSketch::add_coarse_average()
  {
    const SampleGroups &groups = density_.groups();
    const Layout &coarse       = coarse_->transfer().coarse().layout();
    groups.sum(coarse_image_);
    const MultiVector known = coarse_->curvature(coarse_omega_);
    forms_.mean += symmetric(coarse.gram(coarse_omega_.leftCols(n_known_), known.leftCols(n_known_)));
    coarse_image_ = known - coarse_image_ / n_draws_;
    MultiVector correction(image_.rows(), image_.cols());
    groups.together(
        [&]
        {
          transform(density_.prior().layout().block_columns(), coarse_image_, correction,
                    [&](const MultiVector &x) { return coarse_->transfer().prolongate_dual(x); });
        });
    image_ += correction;
    coarse_image_.resize(0, 0);
    coarse_omega_.resize(0, 0);
  }

  MultiVector CurvatureSketch::apply_curvature(const MultiVector &directions) const
  {
    return product(factor_, density_.prior().layout().gram(factor_, directions));
  }

  bool CurvatureSketch::knows(const MultiVector &directions) const
  {
    if (directions.cols() != n_known_)
      return false;
    const Vector difference = directions.rowwise().sum() - fingerprint_;
    return density_.agreed(density_.prior().layout().dot(difference, difference)) == 0.;
  }
} // namespace varfield
