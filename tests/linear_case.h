#ifndef varfield_tests_linear_case_h
#define varfield_tests_linear_case_h

#include "cases.h"

/// −Laplace u = f with 36 measurements of u: linear and Gaussian, so that everything is known in closed form.
namespace varfield::tests
{
  inline std::unique_ptr<Case<2>> linear_case(const std::vector<std::string> &overrides)
  {
    std::vector<std::string> all{"Mesh/Subdivisions=16, 16",
                                 "Fields/f/spde/Gamma=0",
                                 "Fields/f/spde/Delta=0",
                                 "Fields/f/spde/Standard deviation=4",
                                 "Fields/f/spde/Correlation length=0.5",
                                 "Fields/f/Truth=",
                                 "Measurements/u/gaussian/Standard deviation=0.01"};
    all.insert(all.end(), overrides.begin(), overrides.end());
    return shipped_case<2>("linear_gaussian/A", all);
  }

  /// Of the measurements before they are made: d − F(0) is N(0, J C Jᵀ + Γ), all in units of the noise.
  struct DataDistribution
  {
    Matrix k; ///< J C Jᵀ
    Vector residuals, sigma;
  };

  inline DataDistribution data_distribution(const Case<2> &problem)
  {
    const auto &density = problem.density();
    const auto &layout  = density.prior().layout();
    const auto at       = density.linearize(Vector::Zero(layout.n_local()));
    const MultiVector g = *at->curvature_factor(); // Jᵀ/σ
    DataDistribution result;
    result.k         = layout.gram(g, density.prior().covariance(g));
    result.sigma     = problem.measurements().standard_deviations();
    result.residuals = (problem.measurements().values() - density.last()->predictions).cwiseQuotient(result.sigma);
    return result;
  }

  /// log N(d; F(0), J C Jᵀ + Γ).
  inline double exact_log_evidence(const Case<2> &problem)
  {
    const DataDistribution d = data_distribution(problem);
    const Index n            = d.residuals.size();
    const Eigen::LLT<Matrix> llt(Matrix::Identity(n, n) + d.k);
    return -0.5 * d.residuals.dot(llt.solve(d.residuals)) - llt.matrixLLT().diagonal().array().log().sum() -
           d.sigma.array().log().sum() - 0.5 * static_cast<double>(n) * std::log(2. * M_PI);
  }
} // namespace varfield::tests

#endif
