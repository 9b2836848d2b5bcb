#include <cmath>
#include <varfield/curvature_sketch.h>

namespace varfield
{
  CurvatureSketch::CurvatureSketch(const LogDensity &density, const OrthonormalBlock &known, const DrawKey &key)
      : density_(density), n_known_(known.modes.cols()), fingerprint_(known.modes.rowwise().sum())
  {
    constexpr Index least_columns = 80, least_random = 20;
    const Layout &layout = density.prior().layout();
    const Index n_random =
        std::min(std::max(least_random, least_columns - n_known_), std::max<Index>(0, layout.n_global() - n_known_));
    omega_.resize(layout.n_local(), n_known_ + n_random);
    omega_.leftCols(n_known_) = known.modes;
    const double unit         = 1. / std::sqrt(static_cast<double>(layout.n_global()));
    for (Index first = 0; first < n_random; first += layout.block_columns())
    {
      std::vector<DrawKey> keys;
      for (Index j = first; j < std::min(n_random, first + layout.block_columns()); ++j)
        keys.push_back({key.seed, key.stream, key.draw + static_cast<std::uint32_t>(j), 1.});
      const MultiVector z                           = density.prior().draws(keys);
      omega_.middleCols(n_known_ + first, z.cols()) = unit * (z - product(known.modes, layout.gram(known.dual, z)));
    }
    density.groups().broadcast(omega_);
    image_ = MultiVector::Zero(omega_.rows(), omega_.cols());
    sum_ = squares_ = Matrix::Zero(n_known_, n_known_);
  }

  void CurvatureSketch::add(const Linearization &at)
  {
    MultiVector image(omega_.rows(), omega_.cols());
    const Index width = density_.prior().layout().block_columns();
    for (Index first = 0; first < image.cols(); first += width)
    {
      const Index count              = std::min(width, image.cols() - first);
      image.middleCols(first, count) = at.apply_curvature(omega_.middleCols(first, count));
    }
    Matrix form = density_.prior().layout().gram(omega_.leftCols(n_known_), image.leftCols(n_known_));
    form        = 0.5 * (form + Matrix(form.transpose()));
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

    const SymmetricEigen middle = symmetric_eigen(groups, layout, layout.gram(omega_, image_));
    omega_.resize(0, 0);
    const double largest = middle.values.size() > 0 ? middle.values[middle.values.size() - 1] : 0.;
    const Index n        = (middle.values.array() > 1e-13 * std::max(largest, 0.)).count();
    factor_ =
        product(image_, middle.vectors.rightCols(n) * middle.values.tail(n).cwiseSqrt().cwiseInverse().asDiagonal());
    image_.resize(0, 0);
    groups.broadcast(factor_);
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
