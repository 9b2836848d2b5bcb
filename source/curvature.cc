#include <cmath>
#include <varfield/curvature_sketch.h>

namespace varfield
{
  namespace
  {
    /// Vectors of at most so many entries have their diagonals computed by applying H to the identity.
    constexpr Index small_size = 400;

    MultiVector rademacher(const Layout &layout, unsigned int n, std::uint64_t seed)
    {
      MultiVector result(layout.n_local(), n);
      for (unsigned int j = 0; j < n; ++j)
        result.col(j) = standard_normal(layout, {seed, Stream::probing, j, 1.})
                            .unaryExpr([](double x) { return x < 0 ? -1. : 1.; });
      return result;
    }
  } // namespace

  Curvature::Curvature(const LogDensity &density, std::vector<const Linearization *> local, unsigned int n_total,
                       bool antithetic)
      : density_(&density),
        local_(std::move(local)),
        n_total_(n_total),
        antithetic_(antithetic && groups().sum(local_.size() % 2) == 0.)
  {
  }

  Curvature::Curvature(const LogDensity &density, const Linearization &shared)
      : density_(&density), local_{&shared}, n_total_(1), shared_(true)
  {
  }

  Curvature::Curvature(const LogDensity &density, const CurvatureSketch &sketch)
      : density_(&density), sketch_(&sketch), local_{&sketch}, n_total_(1), shared_(true)
  {
  }

  unsigned int Curvature::n_draws() const
  {
    return sketch_ != nullptr ? sketch_->n_draws() : n_total_;
  }

  Curvature Curvature::blended(double rho, const SharedBlock &dual, const Vector &lambda) const
  {
    Curvature result   = *this;
    result.rho_        = rho;
    result.old_dual_   = dual;
    result.old_values_ = lambda;
    return result;
  }

  MultiVector Curvature::average(const MultiVector &directions) const
  {
    MultiVector result = MultiVector::Zero(directions.rows(), directions.cols());
    // Every group takes its share: of the columns, or its own draws.
    const auto share  = groups().share(directions.cols());
    const Index first = share.first, count = share.second - first;
    groups().together(
        [&]
        {
          if (!shared_)
            for (const Linearization *at : local_)
              result += at->apply_curvature(directions);
          else if (count > 0)
            result.middleCols(first, count) = local_[0]->apply_curvature(directions.middleCols(first, count));
        });
    groups().sum(result);
    return result / n_total_;
  }

  MultiVector Curvature::apply(const MultiVector &directions) const
  {
    MultiVector result = average(directions);
    if (old_dual_.cols() > 0 && rho_ != 1.)
      result = rho_ * result +
               (1. - rho_) * product(old_dual_, old_values_.asDiagonal() * layout().gram(old_dual_, directions));
    return result;
  }

  SharedBlock Curvature::factor(unsigned int max_columns) const
  {
    // Columns of all groups side by side, those of the old average last.
    const bool has_old = old_dual_.cols() > 0 && rho_ != 1.;
    double n_missing   = has_old && old_values_.minCoeff() < 0. ? 1. : 0.;
    Vector columns     = Vector::Zero(groups().n_groups());
    for (const Linearization *at : local_)
      if (const SharedBlock *g = at->curvature_factor())
        columns[groups().group()] += static_cast<double>(g->cols());
      else
        n_missing += 1.;
    if (shared_)
      columns.tail(columns.size() - 1).setZero();
    groups().sum(columns);
    const Index n_new = static_cast<Index>(columns.sum()), n_old = has_old ? old_dual_.cols() : 0;
    if (groups().sum(n_missing) > 0. || n_new + n_old > static_cast<Index>(max_columns))
      return MultiVector(layout().n_local(), 0);

    // That of one linearisation as it is, rather than a copy.
    if (n_total_ == 1 && rho_ == 1. && groups().n_groups() == 1)
      return *local_[0]->curvature_factor();
    MultiVector result = MultiVector::Zero(layout().n_local(), n_new);
    Index column       = static_cast<Index>(columns.head(groups().group()).sum());
    if (!shared_ || groups().group() == 0)
      for (const Linearization *at : local_)
      {
        const MultiVector &g                = **at->curvature_factor();
        result.middleCols(column, g.cols()) = std::sqrt(rho_ / n_total_) * g;
        column += g.cols();
      }
    groups().sum(result);
    if (has_old)
    {
      result.conservativeResize(Eigen::NoChange, n_new + n_old);
      result.rightCols(n_old) = *old_dual_ * ((1. - rho_) * old_values_).cwiseSqrt().asDiagonal();
    }
    return result;
  }

  Spread Curvature::spread(const Action &action, Index rows, Index cols) const
  {
    // Σx, Σx² over the units, which are draws or antithetic pairs.
    Matrix sums                = Matrix::Zero(rows, 2 * cols);
    const std::size_t per_unit = antithetic_ ? 2 : 1;
    groups().together(
        [&]
        {
          for (std::size_t k = 0; k + per_unit <= local_.size(); k += per_unit)
          {
            Matrix x = action(*local_[k]);
            if (antithetic_)
              x = 0.5 * (x + action(*local_[k + 1]));
            sums.leftCols(cols) += x;
            sums.rightCols(cols) += x.cwiseAbs2();
          }
        });
    groups().sum(sums);
    const double n = shared_ ? groups().n_groups() : n_total_ / static_cast<double>(per_unit);
    Spread result{sums.leftCols(cols) / n, Matrix::Zero(rows, cols)};
    if (n > 1. && !density_->is_quadratic() && !shared_)
      result.variance = (sums.rightCols(cols) / n - result.mean.cwiseAbs2()).cwiseMax(0.) / (n - 1.);
    return result;
  }

  Spread Curvature::forms(const MultiVector &u) const
  {
    if (sketch_ != nullptr && sketch_->knows(u))
      return {sketch_->forms().mean.diagonal(), sketch_->forms().variance.diagonal()};
    return spread(
        [&](const Linearization &at) -> Matrix
        {
          if (const SharedBlock *g = at.curvature_factor())
            return layout().gram(*g, u).colwise().squaredNorm().transpose();
          return layout().column_dots(u, at.apply_curvature(u));
        },
        u.cols(), 1);
  }

  Spread Curvature::form_matrix(const MultiVector &u) const
  {
    if (sketch_ != nullptr && sketch_->knows(u))
      return sketch_->forms();
    return spread(
        [&](const Linearization &at) -> Matrix
        {
          if (const SharedBlock *g = at.curvature_factor())
          {
            const Matrix gu = layout().gram(*g, u);
            return gu.transpose() * gu;
          }
          const Matrix uhu = layout().gram(u, at.apply_curvature(u));
          return 0.5 * (uhu + uhu.transpose());
        },
        u.cols(), u.cols());
  }

  MultiVector covariance_over_groups(const SampleGroups &groups, const GaussianPrior &prior, const MultiVector &dual,
                                     const Vector *last)
  {
    const Index n = dual.cols(), n_all = last != nullptr ? n + 1 : n, width = prior.layout().block_columns();
    const auto share   = groups.share(n_all);
    MultiVector result = MultiVector::Zero(dual.rows(), n_all);
    groups.together(
        [&]
        {
          by_blocks(share.first, share.second, width,
                    [&](Index first, Index count)
                    {
                      const Index given = std::min(count, n - first);
                      MultiVector block(dual.rows(), count);
                      block.leftCols(given) = dual.middleCols(first, given);
                      if (given < count)
                        block.col(given) = *last;
                      result.middleCols(first, count) = prior.covariance(block);
                    });
        });
    groups.sum(result);
    return result;
  }

  Matrix Curvature::one_diagonal(const Linearization &at, bool whitened, const MultiVector &probes) const
  {
    const auto to_coordinates = [&](const MultiVector &dual)
    { return whitened ? prior().apply_factor_transpose(dual) : dual; };
    if (const SharedBlock *g = at.curvature_factor())
      return to_coordinates(*g).rowwise().squaredNorm();
    const MultiVector directions = whitened ? prior().apply_factor(probes) : probes;
    return probes.cwiseProduct(to_coordinates(at.apply_curvature(directions))).rowwise().sum();
  }

  Spread Curvature::diagonal(bool whitened, unsigned int n_probes, std::uint64_t seed) const
  {
    const Layout &rows = whitened ? prior().noise_layout() : layout();
    const bool small   = rows.n_global() <= small_size;
    // Σ of v ∘ Av over the unit vectors is the diagonal itself; random signs give it in the mean.
    const MultiVector probes =
        small ? rows.identity() : MultiVector(rademacher(rows, n_probes, seed) / std::sqrt(double(n_probes)));
    return spread([&](const Linearization &at) { return one_diagonal(at, whitened, probes); }, rows.n_local(), 1);
  }
} // namespace varfield
