#include <cmath>
#include <varfield/newton.h>

namespace varfield
{
  namespace
  {
    /// C − CG (I + GᵀCG)⁻¹ GᵀC in the directions that the data inform, eigenvectors of the matrix in the middle;
    /// `image` = CG and one column more.
    LowRankCorrection inverse_from(const Matrix &middle, const MultiVector &factor, const MultiVector &image)
    {
      constexpr double informed = 0.05; // what is left out makes steps wrong by no more than that
      const Eigen::SelfAdjointEigenSolver<Matrix> eigen(middle);
      const Vector lambda = eigen.eigenvalues().array() - 1.;
      const Index r       = (lambda.array() > informed).count();
      const Matrix root   = eigen.eigenvectors().rightCols(r) * lambda.tail(r).cwiseSqrt().cwiseInverse().asDiagonal();
      Matrix with_last    = Matrix::Zero(root.rows() + 1, r);
      with_last.topRows(root.rows()) = root;
      return {product(image, with_last), product(factor, root), lambda.tail(r).array() / (1. + lambda.tail(r).array())};
    }

    /// δ = −(Cg − CG y), (I + GᵀCG) y = GᵀCg.
    NewtonStep solve_by_woodbury(const Curvature &curvature, const MultiVector &factor, const Vector &gradient,
                                 bool keep_inverse)
    {
      const Layout &layout    = curvature.layout();
      const MultiVector image = covariance_over_groups(curvature.groups(), curvature.prior(), factor, &gradient);
      const Matrix gram       = layout.gram(factor, image);
      const Index n           = factor.cols();
      const Matrix small      = 0.5 * (gram.leftCols(n) + gram.leftCols(n).transpose()) + Matrix::Identity(n, n);
      Vector y(n + 1);
      y << small.llt().solve(gram.col(n)), -1.;
      NewtonStep step;
      if (keep_inverse)
        step.inverse = inverse_from(small, factor, image);
      step.primal = product(image, y);
      step.dual   = product(factor, y.head(n)) - gradient;
      return step;
    }

    struct Pair
    {
      Vector primal, dual;
    };

    Pair precondition(const GaussianPrior &prior, const Vector &dual, const LowRankCorrection *approximation)
    {
      Pair result{prior.covariance(dual), dual};
      if (approximation && approximation->modes.cols() > 0)
      {
        const Vector b = approximation->shrinkage.cwiseProduct(Vector(prior.layout().gram(approximation->modes, dual)));
        result.primal -= product(approximation->modes, b);
        result.dual -= product(approximation->dual, b);
      }
      return result;
    }

    NewtonStep solve_by_conjugate_gradients(const Curvature &curvature, const Vector &gradient,
                                            const NewtonOptions &options, const LowRankCorrection *approximation)
    {
      const Layout &layout = curvature.layout();
      const auto dot = [&](const Vector &x, const Vector &y) { return curvature.density().agreed(layout.dot(x, y)); };
      NewtonStep step;
      step.primal = step.dual = Vector::Zero(gradient.size());
      Vector residual         = -gradient;
      Pair z = precondition(curvature.prior(), residual, approximation), p = z;
      double rho         = dot(residual, z.primal);
      const double limit = options.tolerance * options.tolerance * rho;
      while (step.iterations < options.max_iterations && rho > limit)
      {
        const Vector image   = p.dual + curvature.apply(p.primal);
        const double bending = dot(image, p.primal);
        if (!(bending > 0.))
        {
          step.negative_curvature = true;
          break;
        }
        const double alpha = rho / bending;
        step.primal += alpha * p.primal;
        step.dual += alpha * p.dual;
        residual -= alpha * image;
        ++step.iterations;
        z                    = precondition(curvature.prior(), residual, approximation);
        const double new_rho = dot(residual, z.primal);
        p.primal             = z.primal + (new_rho / rho) * p.primal;
        p.dual               = z.dual + (new_rho / rho) * p.dual;
        rho                  = new_rho;
      }
      if (step.negative_curvature && step.iterations == 0)
      {
        step.primal = p.primal;
        step.dual   = p.dual;
      }
      return step;
    }
  } // namespace

  NewtonStep solve_newton(const Curvature &curvature, const Vector &gradient, const NewtonOptions &options,
                          const LowRankCorrection *approximation)
  {
    const SharedBlock factor = curvature.factor(options.max_data_columns);
    NewtonStep step          = factor.cols() > 0 ? solve_by_woodbury(curvature, factor, gradient, options.keep_inverse)
                                                 : solve_by_conjugate_gradients(curvature, gradient, options, approximation);
    curvature.groups().broadcast(step.primal);
    curvature.groups().broadcast(step.dual);
    return step;
  }

  NewtonStep approximate_step(const LogDensity &density, const Vector &gradient, const LowRankCorrection &inverse)
  {
    const Pair pair = precondition(density.prior(), -gradient, &inverse);
    NewtonStep step;
    step.primal = pair.primal;
    step.dual   = pair.dual;
    density.groups().broadcast(step.primal);
    density.groups().broadcast(step.dual);
    return step;
  }

  MultiVector apply_approximation(const GaussianPrior &prior, const MultiVector &dual,
                                  const LowRankCorrection *approximation)
  {
    MultiVector result = prior.covariance(dual);
    if (approximation && approximation->modes.cols() > 0)
      result -= product(approximation->modes,
                        approximation->shrinkage.asDiagonal() * prior.layout().gram(approximation->modes, dual));
    return result;
  }
} // namespace varfield
