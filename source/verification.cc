#include <cmath>
#include <limits>
#include <varfield/text.h>
#include <varfield/verification.h>

namespace varfield
{
  double observed_order(const std::function<double(double)> &error, double h, double floor, double wanted)
  {
    std::vector<double> errors{error(h)};
    for (unsigned int k = 0; k < 12 && errors.back() > floor; ++k)
      errors.push_back(error(h *= 0.5));
    for (const double e : errors)
      if (!std::isfinite(e))
        return std::numeric_limits<double>::quiet_NaN();
    if (!(errors.back() > floor))
      errors.pop_back(); // rounding rules
    const std::size_t n = errors.size();
    return n < 2 ? wanted : n == 2 ? std::log2(errors[0] / errors[1]) : 0.5 * std::log2(errors[n - 3] / errors[n - 1]);
  }

  namespace
  {
    Verification order_check(const std::string &name, double observed, double wanted)
    {
      return {name, observed, "order " + to_text(wanted) + " (at least " + to_text(wanted - 0.1) + ")",
              observed >= wanted - 0.1};
    }

    Verification error_check(const std::string &name, double observed, double limit)
    {
      return {name, observed, "at most " + to_text(limit), observed <= limit};
    }

    template <int dim>
    class Verifier
    {
    public:
      explicit Verifier(const Case<dim> &problem)
          : problem_(problem), density_(problem.density()), prior_(density_.prior()), layout_(prior_.layout())
      {
      }

      std::vector<Verification> run()
      {
        m_ = 0.5 * draw(0);
        v_ = draw(1);
        w_ = draw(2);
        check_prior();
        check_derivatives();
        return std::move(checks_);
      }

    private:
      Vector draw(unsigned int k) const
      {
        DrawKey key;
        key.seed   = problem_.seed();
        key.stream = Stream::verification;
        key.draw   = k;
        return prior_.draw(key);
      }

      double relative(double a, double b) const
      {
        return std::abs(a - b) / std::max({std::abs(a), std::abs(b), 1e-300});
      }

      void check_prior()
      {
        const Vector a = prior_.precision(v_), b = prior_.precision(w_);
        const Vector back = prior_.covariance(a);
        checks_.push_back(
            error_check("prior: C C⁻¹v = v", std::sqrt(layout_.dot(back - v_, back - v_) / layout_.dot(v_, v_)), 1e-8));
        checks_.push_back(
            error_check("prior: C is symmetric",
                        relative(layout_.dot(a, prior_.covariance(b)), layout_.dot(b, prior_.covariance(a))), 1e-9));
        const Vector factored = prior_.apply_factor(prior_.apply_factor_transpose(a));
        checks_.push_back(error_check(
            "prior: L Lᵀ = C", std::sqrt(layout_.dot(factored - v_, factored - v_) / layout_.dot(v_, v_)), 1e-8));
      }

      void check_derivatives()
      {
        const auto &model = problem_.model();
        auto state        = model.solve(m_);
        if (!state)
          throw ComputationError("The model cannot be solved at the draw of the prior where derivatives are checked.");
        model.linearize(*state);
        Matrix jv, jw;
        MultiVector jt;
        bool solved = model.tangent(*state, v_, jv) && model.tangent(*state, w_, jw);

        // The adjoint identity with weights that have nothing to do with the model.
        Vector weights(jv.rows());
        for (Index i = 0; i < weights.size(); ++i)
          weights(i) = std::cos(1. + 3. * i);
        solved = solved && model.adjoint(*state, weights, jt);
        if (!solved)
          throw ComputationError("A tangent or adjoint solve failed at the draw of the prior where derivatives are "
                                 "checked.");
        checks_.push_back(error_check("adjoint identity: (Jv)·w = v·(Jᵀw)",
                                      relative(weights.dot(jv.col(0)), layout_.dot(v_, jt.col(0))), 1e-10));

        const double scale     = state->predictions.norm();
        const auto predictions = [&](double h) -> Vector
        {
          const auto there = model.solve(m_ + h * v_);
          return there ? there->predictions : Vector::Constant(scale > 0. ? weights.size() : 0, NAN);
        };
        checks_.push_back(order_check(
            "Jacobian: |F(m+hv) − F(m) − hJv|",
            observed_order([&](double h) { return (predictions(h) - state->predictions - h * jv.col(0)).norm(); }, 0.25,
                           1e-11 * scale, 2.),
            2.));
        state.reset();
        check_potential(jv, jw);
      }

      void check_potential(const Matrix &jv, const Matrix &jw)
      {
        const auto at = density_.linearize(m_);
        if (!at)
          throw ComputationError(
              "The model cannot be linearised at the draw of the prior where derivatives are checked.");
        const double phi   = at->potential;
        const double slope = layout_.dot(at->gradient, v_);
        const Vector hv = at->apply_curvature(v_).col(0), hw = at->apply_curvature(w_).col(0);
        const auto potential = [&](double h) { return density_.potential(m_ + h * v_).value_or(NAN); };
        // Rounding in Φ itself, and that of the predictions on the way to it.
        const Vector predictions = predictions_at_m();
        const double floor =
            1e-12 * std::abs(phi) + 1e-13 * predictions.norm() * problem_.measurements().gradient(predictions).norm();
        checks_.push_back(order_check(
            "gradient: |Φ(m+hv) − Φ(m) − h∇Φ·v|",
            observed_order([&](double h) { return std::abs(potential(h) - phi - h * slope); }, 0.25, floor, 2.), 2.));
        // The Gauss–Newton form is the Hessian of Φ with the model replaced by its tangent, which predictions alone can
        // tell.
        const auto root   = problem_.measurements().root(predictions_at_m()).root;
        const double form = (root.transpose() * jv).col(0).dot((root.transpose() * jw).col(0));
        checks_.push_back(error_check("Gauss–Newton: w·(Hv) = (Jw)·W(Jv)", relative(layout_.dot(w_, hv), form), 1e-9));
        checks_.push_back(
            error_check("Gauss–Newton: H is symmetric", relative(layout_.dot(w_, hv), layout_.dot(v_, hw)), 1e-9));
        check_curvature(hv);
      }

      Vector predictions_at_m() const
      {
        density_.potential(m_);
        return density_.last()->predictions;
      }

      /// With the predictions at m for data, the residual there is zero and the Hessian of Φ is H exactly.
      void check_curvature(const Vector &hv)
      {
        const Vector data    = predictions_at_m();
        const auto potential = [&](double h)
        {
          const auto state = problem_.model().solve(m_ + h * v_);
          if (!state)
            return double(NAN);
          const Vector residuals = state->predictions - data;
          return 0.5 * (problem_.measurements().root(state->predictions).root.transpose() * residuals).squaredNorm();
        };
        const double form = 0.5 * layout_.dot(v_, hv);
        checks_.push_back(order_check("curvature: |½(F(m+hv)−F(m))ᵀW(…) − ½h²v·Hv|",
                                      observed_order([&](double h) { return std::abs(potential(h) - h * h * form); },
                                                     0.25, 1e-13 * std::abs(form), 3.),
                                      3.));
      }

      const Case<dim> &problem_;
      const InverseProblem<dim> &density_;
      const GaussianPrior &prior_;
      const Layout &layout_;
      Vector m_, v_, w_;
      std::vector<Verification> checks_;
    };
  } // namespace

  template <int dim>
  std::vector<Verification> verify(const Case<dim> &problem)
  {
    return Verifier<dim>(problem).run();
  }

  template std::vector<Verification> verify(const Case<2> &);
  template std::vector<Verification> verify(const Case<3> &);
} // namespace varfield
