#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <varfield/curvature.h>
#include <varfield/exceptions.h>

namespace varfield
{
  SymmetricEigen symmetric_eigen(const SampleGroups &groups, const Layout &layout, const Matrix &a)
  {
    if (a.rows() == 0)
      return {Vector(0), Matrix(0, 0)};
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(0.5 * (a + a.transpose()));
    SymmetricEigen result{solver.eigenvalues(), solver.eigenvectors()};
    groups.broadcast(result.values);
    groups.broadcast(result.vectors);
    layout.broadcast(result.values.data(), static_cast<std::size_t>(result.values.size()));
    layout.broadcast(result.vectors.data(), static_cast<std::size_t>(result.vectors.size()));
    return result;
  }

  namespace
  {
    void append(MultiVector &to, const MultiVector &columns)
    {
      if (to.size() == 0 && to.cols() == 0)
        to.resize(columns.rows(), 0);
      to.conservativeResize(Eigen::NoChange, to.cols() + columns.cols());
      to.rightCols(columns.cols()) = columns;
    }

    /// x ← x − U (Vᵀx), twice, for primal and dual at once.
    void project_out(const Layout &layout, const OrthonormalBlock &basis, MultiVector &primal, MultiVector &dual)
    {
      if (basis.modes.cols() == 0 || primal.cols() == 0)
        return;
      for (unsigned int pass = 0; pass < 2; ++pass)
      {
        const Matrix coefficients = layout.gram(basis.dual, primal);
        primal -= basis.modes * coefficients;
        dual -= basis.dual * coefficients;
      }
    }

    void scale_columns(const Layout &layout, MultiVector &primal, MultiVector &dual)
    {
      Vector scale = layout.column_dots(primal, dual);
      scale        = scale.unaryExpr([](double x) { return x > 0. && std::isfinite(x) ? 1. / std::sqrt(x) : 0.; });
      primal *= scale.asDiagonal();
      dual *= scale.asDiagonal();
    }

    /// Rounding after one orthonormalisation by Gram matrices is removed by a second one.
    void polish(const SampleGroups &groups, const Layout &layout, MultiVector &primal, MultiVector &dual)
    {
      const SymmetricEigen gram = symmetric_eigen(groups, layout, layout.gram(primal, dual));
      const Matrix root =
          gram.vectors * gram.values.cwiseMax(0.1).cwiseSqrt().cwiseInverse().asDiagonal() * gram.vectors.transpose();
      primal = primal * root;
      dual   = dual * root;
    }
  } // namespace

  OrthonormalBlock orthonormalize(const SampleGroups &groups, const Layout &layout, MultiVector primal,
                                  MultiVector dual, double drop)
  {
    OrthonormalBlock basis{MultiVector(layout.n_local(), 0), MultiVector(layout.n_local(), 0)};
    scale_columns(layout, primal, dual);
    // A Gram matrix resolves lengths of a ratio up to 1e8 only. So take the long directions first, project them out of
    // the rest, and look at the rest again.
    constexpr double resolved = 1e-8;
    for (unsigned int level = 0; level < 8 && primal.cols() > 0; ++level)
    {
      const SymmetricEigen gram = symmetric_eigen(groups, layout, layout.gram(primal, dual));
      const Index n = gram.values.size(), n_rest = (gram.values.array() < resolved * gram.values[n - 1]).count();
      const double longest = std::sqrt(std::max(gram.values[n - 1], 0.));
      if (!(longest > drop))
        break;
      const Vector scale    = gram.values.tail(n - n_rest).cwiseMax(drop * drop).cwiseSqrt().cwiseInverse();
      const Matrix take     = gram.vectors.rightCols(n - n_rest) * scale.asDiagonal();
      MultiVector new_modes = primal * take, new_dual = dual * take;
      polish(groups, layout, new_modes, new_dual);
      project_out(layout, basis, new_modes, new_dual);
      polish(groups, layout, new_modes, new_dual);
      append(basis.modes, new_modes);
      append(basis.dual, new_dual);
      primal = MultiVector(primal * gram.vectors.leftCols(n_rest));
      dual   = MultiVector(dual * gram.vectors.leftCols(n_rest));
      project_out(layout, basis, primal, dual);
    }
    return basis;
  }

  OrthonormalBlock complete_basis(const GaussianPrior &prior)
  {
    const MultiVector unit = prior.layout().identity();
    OrthonormalBlock basis = orthonormalize(SampleGroups(), prior.layout(), prior.covariance(unit), unit, 0.);
    if (basis.modes.cols() != prior.layout().n_global())
      throw ComputationError("The prior covariance is singular to rounding.");
    return basis;
  }

  namespace
  {
    /// A subspace with what H does to it, H U held, and the Ritz values once they are computed.
    struct Subspace
    {
      OrthonormalBlock basis;
      MultiVector image; // H U, dual
      Vector values;
    };

    /// Rotates to Ritz pairs, by falling |λ|, and keeps at most n_keep of them.
    void rayleigh_ritz(const Curvature &curvature, Subspace &s, Index n_keep)
    {
      const SymmetricEigen ritz =
          symmetric_eigen(curvature.groups(), curvature.layout(), curvature.layout().gram(s.basis.modes, s.image));
      std::vector<Index> order(static_cast<std::size_t>(ritz.values.size()));
      std::iota(order.begin(), order.end(), Index(0));
      std::stable_sort(order.begin(), order.end(),
                       [&](Index a, Index b) { return std::abs(ritz.values[a]) > std::abs(ritz.values[b]); });
      order.resize(std::min(order.size(), static_cast<std::size_t>(n_keep)));
      const Matrix rotation = ritz.vectors(Eigen::all, order);
      s.values              = ritz.values(order);
      s.basis.modes         = MultiVector(s.basis.modes * rotation);
      s.basis.dual          = MultiVector(s.basis.dual * rotation);
      s.image               = MultiVector(s.image * rotation);
    }

    MultiVector covariance(const Curvature &curvature, const MultiVector &dual)
    {
      return covariance_over_groups(curvature.groups(), curvature.prior(), dual);
    }

    Eigenpairs selected(const Curvature &curvature, const Subspace &s, const EigenOptions &options, bool exact)
    {
      Index n = 0;
      while (n < s.values.size() && n < static_cast<Index>(options.rank) && s.values[n] != 0. &&
             std::abs(s.values[n]) >= options.cutoff)
        ++n;
      Eigenpairs result{s.values.head(n), s.basis.modes.leftCols(n), s.basis.dual.leftCols(n), 0., exact};
      // U and CV are the same combinations of what they were made from. Rounding lets them part by the machine's
      // precision times the largest length over the smallest one, and in an iteration with every pass.
      const double range = n > 0 ? std::abs(s.values[0] / s.values[n - 1]) : 1.;
      if (n > 0 && !(exact && range < 1e9))
      {
        result.modes = covariance(curvature, result.dual);
        polish(curvature.groups(), curvature.layout(), result.modes, result.dual);
      }
      if (n < s.values.size())
        result.first_dropped = std::abs(s.values[n]);
      return result;
    }

    /// Of H = FFᵀ from the Gram matrix FᵀCF = WΛWᵀ alone, U = CFWΛ^{-1/2}: two blocks as wide as F are held rather
    /// than seven. Nothing where eigenvalues that are wanted drown in the rounding of the largest.
    std::optional<Eigenpairs> from_gram_matrix(const Curvature &curvature, const EigenOptions &options,
                                               const MultiVector &factor)
    {
      const Layout &layout       = curvature.layout();
      const MultiVector image    = covariance(curvature, factor);
      const SymmetricEigen small = symmetric_eigen(curvature.groups(), layout, layout.gram(factor, image));
      const Index m              = small.values.size();
      const double resolved      = 1e-11 * small.values[m - 1];
      Index n                    = 0;
      while (n < std::min<Index>(m, options.rank) && small.values[m - 1 - n] > std::max(options.cutoff, resolved))
        ++n;
      if (n < std::min<Index>(m, options.rank) && options.cutoff < resolved)
        return {};
      const Matrix rotation = small.vectors.rightCols(n).rowwise().reverse() *
                              small.values.tail(n).reverse().cwiseSqrt().cwiseInverse().asDiagonal();
      Eigenpairs result{small.values.tail(n).reverse(), product(image, rotation), product(factor, rotation),
                        n < m ? std::abs(small.values[m - 1 - n]) : 0., true};
      if (n > 0)
        polish(curvature.groups(), layout, result.modes, result.dual);
      return result;
    }

    /// With a basis of a space that H does not leave: exact.
    Eigenpairs in_invariant_space(const Curvature &curvature, const EigenOptions &options, OrthonormalBlock basis,
                                  const MultiVector *factor)
    {
      Subspace s{std::move(basis), {}, {}};
      if (s.basis.modes.cols() == 0)
        return {Vector(0), s.basis.modes, s.basis.dual, 0., true};
      s.image = factor ? MultiVector(*factor * curvature.layout().gram(*factor, s.basis.modes))
                       : curvature.apply(s.basis.modes);
      rayleigh_ritz(curvature, s, s.basis.modes.cols());
      return selected(curvature, s, options, true);
    }

    /// The columns of `start`, then draws of the prior up to `n` columns.
    MultiVector start_block(const Curvature &curvature, Index n, Index n_random, std::uint64_t seed,
                            const MultiVector &start)
    {
      const Index n_start = std::min(start.cols(), n - n_random);
      std::vector<DrawKey> keys;
      for (Index j = 0; j < n - n_start; ++j)
        keys.push_back({seed, Stream::probing, static_cast<std::uint32_t>(j), 1.});
      MultiVector result(curvature.layout().n_local(), n);
      if (n_start > 0)
        result.leftCols(n_start) = start.leftCols(n_start);
      result.rightCols(n - n_start) = curvature.prior().draws(keys);
      curvature.groups().broadcast(result);
      return result;
    }

    /// Adds to the basis the residuals C H u − λ u that are longer than `tolerance` (1 + |λ|), with what H does to
    /// them. Returns whether there were any.
    bool expand(const Curvature &curvature, Subspace &s, double tolerance)
    {
      const MultiVector image = covariance(curvature, s.image);
      MultiVector primal      = image - s.basis.modes * s.values.asDiagonal();
      MultiVector dual        = s.image - s.basis.dual * s.values.asDiagonal();
      Vector lengths          = curvature.layout().column_dots(primal, dual).cwiseMax(0.).cwiseSqrt();
      curvature.density().agree(lengths);
      std::vector<Index> open;
      for (Index i = 0; i < lengths.size(); ++i)
        if (lengths[i] > tolerance * (1. + std::abs(s.values[i])))
          open.push_back(i);
      if (open.empty())
        return false;
      primal = MultiVector(primal(Eigen::all, open));
      dual   = MultiVector(dual(Eigen::all, open));
      scale_columns(curvature.layout(), primal, dual);
      project_out(curvature.layout(), s.basis, primal, dual);
      OrthonormalBlock more = orthonormalize(curvature.groups(), curvature.layout(), primal, dual, 1e-8);
      project_out(curvature.layout(), s.basis, more.modes, more.dual);
      if (more.modes.cols() == 0)
        return false;
      curvature.groups().broadcast(more.modes);
      curvature.groups().broadcast(more.dual);
      append(s.image, curvature.apply(more.modes));
      append(s.basis.modes, more.modes);
      append(s.basis.dual, more.dual);
      return true;
    }

    double largest_change(const Vector &values, const Vector &old_values, Index n)
    {
      double result = 0.;
      for (Index i = 0; i < std::min(n, values.size()); ++i)
        result = std::max(result, std::abs(values[i] - (i < old_values.size() ? old_values[i] : 0.)) /
                                      (1. + std::abs(values[i])));
      return result;
    }

    Eigenpairs iterate(const Curvature &curvature, const EigenOptions &options, const MultiVector &start)
    {
      const Index n_global = curvature.layout().n_global();
      const Index n        = std::min<Index>(n_global, options.rank + options.oversampling);
      const MultiVector y =
          curvature.apply(start_block(curvature, n, std::min<Index>(n, options.oversampling), options.seed, start));
      Subspace s;
      s.basis = orthonormalize(curvature.groups(), curvature.layout(), covariance(curvature, y), y);
      curvature.groups().broadcast(s.basis.modes);
      curvature.groups().broadcast(s.basis.dual);
      if (s.basis.modes.cols() == 0)
        return {Vector(0), s.basis.modes, s.basis.dual, 0., true};
      s.image = curvature.apply(s.basis.modes);
      rayleigh_ritz(curvature, s, n);
      for (unsigned int pass = 2; pass < options.passes; ++pass)
      {
        const Vector old_values = s.values;
        if (!expand(curvature, s, 0.1 * std::sqrt(options.tolerance)))
          break;
        rayleigh_ritz(curvature, s, n);
        if (largest_change(s.values, old_values, options.rank) <= options.tolerance)
          break;
      }
      return selected(curvature, s, options, false);
    }
  } // namespace

  Eigenpairs eigenpairs(const Curvature &curvature, const EigenOptions &options, const MultiVector &start)
  {
    const Layout &layout     = curvature.layout();
    const SharedBlock factor = curvature.factor(4 * (options.rank + options.oversampling));
    // Entries of a factor from which on memory counts more than the last digits.
    constexpr double large = 2e7;
    if (static_cast<double>(layout.n_global()) * static_cast<double>(factor.cols()) > large)
      if (auto pairs = from_gram_matrix(curvature, options, factor))
        return std::move(*pairs);
    if (factor.cols() > 0)
      return in_invariant_space(curvature, options,
                                orthonormalize(curvature.groups(), layout, covariance(curvature, factor), factor),
                                &*factor);
    if (layout.n_global() <= static_cast<Index>(options.dense_size))
    {
      OrthonormalBlock basis = complete_basis(curvature.prior());
      curvature.groups().broadcast(basis.modes);
      curvature.groups().broadcast(basis.dual);
      return in_invariant_space(curvature, options, std::move(basis), nullptr);
    }
    return iterate(curvature, options, start);
  }
} // namespace varfield
