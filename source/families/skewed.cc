#include <deal.II/lac/vector.h>
#include <deal.II/optimization/solver_bfgs.h>

#include <cmath>
#include <limits>
#include <varfield/elbo.h>
#include <varfield/low_rank_family.h>
#include <varfield/text.h>

namespace varfield
{
  namespace
  {
    /// `low rank`, skewed: m = mean + z + U(T u − Vᵀz) with u = Shape(Vᵀz), which has the mean and the covariance of
    /// Vᵀz.
    ///
    /// The directions Q are local: each is as near as can be to the value of the field at one place. Mean, scale and
    /// both numbers of the shape along each are where the ELBO of draws that stay the same is largest, by BFGS.
    class Skewed : public CopyableFamily<Skewed, LowRankFamily>
    {
    public:
      void add_parameters(dealii::ParameterHandler &prm) override
      {
        LowRankFamily::add_parameters(prm);
        prm.add_parameter("Skewed directions", most_directions_, "At most so many.", dealii::Patterns::Integer(1));
        prm.add_parameter("Skew draws", n_draws_,
                          "Draws from which the shape is found; each takes a gradient in each of some ten "
                          "iterations.",
                          dealii::Patterns::Integer(100));
      }

      void initialize(const GaussianPrior &prior, std::uint64_t seed) override
      {
        shape_.reset();
        LowRankFamily::initialize(prior, seed);
      }
      void natural_step(const Curvature &curvature, double rho) override
      {
        shape_.reset();
        LowRankFamily::natural_step(curvature, rho);
      }
      void prolongate(const Family &coarse, const Transfer &transfer) override
      {
        shape_.reset();
        LowRankFamily::prolongate(coarse, transfer);
      }
      void set_parameters(const Vector &parameters) override
      {
        shape_.reset();
        LowRankFamily::set_parameters(parameters);
      }

      Draw sample(const DrawKey &key) const override
      {
        return view(shape_.get()).draw(prior().layout(), prior().draw(key));
      }

      double log_ratio(const Vector &m) const override
      {
        if (!shape_)
          return LowRankFamily::log_ratio(m);
        const Vector c = prior().layout().gram(dual_, m - mean_), w = shape_->inverse(inverse_ * c);
        return -prior().layout().dot(mean_dual_, m - 0.5 * mean_) + 0.5 * (w.squaredNorm() - c.squaredNorm()) +
               log_det_ + shape_->log_det(w);
      }

      double kl() const override
      {
        // The prior sees mean and covariance only.
        return LowRankFamily::kl() - (shape_ ? shape_->mean_log_det() : 0.);
      }

      std::unique_ptr<FrozenGaussian> frozen() const override
      {
        // In the coordinates of the shape, which a low-rank correction may have turned.
        auto result = std::make_unique<FrozenGaussian>(
            FrozenGaussian(prior(), mean_, {modes_, dual_, Vector::Zero(rank())}).with(mean_, factor_));
        result->set_shape(shape_);
        return result;
      }

      bool is_normal() const override { return shape_ == nullptr; }

      void keep(Archive &archive) override
      {
        LowRankFamily::keep(archive);
        Matrix directions, marginals;
        if (shape_)
        {
          directions = shape_->directions;
          marginals.resize(directions.cols(), 2);
          for (Index k = 0; k < marginals.rows(); ++k)
            marginals.row(k) = shape_->marginals[static_cast<std::size_t>(k)].parameters().transpose();
        }
        archive.numbers("directions of the shape", directions);
        archive.numbers("shape", marginals);
        shape_ = marginals.rows() > 0 ? make_shape(directions, marginals) : nullptr;
      }

      std::string refine(const LogDensity &density, std::uint64_t seed, const StopCheck &stop) override
      {
        shape_.reset();
        if (rank() == 0 || density.is_quadratic())
          return "";
        DrawRange draws;
        draws.seed              = seed;
        draws.stream            = Stream::optimization;
        draws.first             = 0x40000000u;
        draws.count             = n_draws_ + n_draws_ % 2;
        const Matrix directions = local_directions(density);
        const Skewed gaussian   = *this;
        Search search{density, gaussian, directions, draws, stop};
        // What was fitted to some draws is judged on others.
        DrawRange fresh = draws;
        fresh.first += draws.count;
        Estimate gained;
        try
        {
          const Vector best         = search.maximize();
          const ElboEstimate before = estimate_elbo(density, gaussian, fresh);
          move(gaussian, directions, best);
          gained = gain(before, estimate_elbo(density, *this, fresh), true);
        }
        catch (const ComputationError &error)
        {
          *this = gaussian;
          return std::string("no shape was found: ") + error.what();
        }
        const std::string effort = " on " + std::to_string(draws.count) + " draws, " +
                                   counted(std::uint64_t(draws.count) * search.n_evaluations, "gradient");
        if (!(gained.value > 2. * gained.error))
        {
          *this = gaussian;
          return "no skewness found" + effort;
        }
        return "skewed in " + counted(static_cast<std::uint64_t>(directions.cols()), "direction") +
               ": ELBO higher by " + with_digits(gained.value, 3) + " ± " + with_digits(gained.error, 2) + " nat" +
               effort;
      }

    private:
      SubspaceGaussian view(const Shape *shape) const
      {
        return {mean_, mean_dual_, modes_, dual_, factor_, log_det_, shape};
      }

      /// Of coordinates in the span of U: those of the values at places, one after the other where these vary most a
      /// priori, each orthogonal to those before (a QR decomposition of Uᵀ with column pivoting). Where U is square, T
      /// in these coordinates is the symmetric root of the covariance, which leaves values as near to themselves as can
      /// be; rows of UT, a triangular root, gain less on aristoff_bangerth.
      Matrix local_directions(const LogDensity &density) const
      {
        const Layout &layout = prior().layout();
        const Index r = rank(), n = std::min<Index>(r, most_directions_);
        Matrix found = Matrix::Zero(r, n);
        Matrix rest  = *modes_;
        for (Index k = 0; k < n; ++k)
        {
          const Vector sizes = rest.rowwise().squaredNorm();
          double largest     = sizes.size() > 0 ? sizes.maxCoeff() : 0.;
          MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_DOUBLE, MPI_MAX, layout.comm());
          // Of places that are alike the one with the smallest number, on any number of ranks.
          std::uint64_t key = std::numeric_limits<std::uint64_t>::max();
          Index row         = -1;
          for (Index i = 0; i < sizes.size(); ++i)
            if (sizes[i] > (1. - 1e-6) * largest && layout.keys()[static_cast<std::size_t>(i)] < key)
            {
              row = i;
              key = layout.keys()[static_cast<std::size_t>(i)];
            }
          std::uint64_t smallest = key;
          MPI_Allreduce(MPI_IN_PLACE, &smallest, 1, MPI_UINT64_T, MPI_MIN, layout.comm());
          Vector q = Vector::Zero(r);
          if (row >= 0 && key == smallest)
            q = rest.row(row);
          sum_over(layout.comm(), q.data(), static_cast<std::size_t>(r));
          q -= found.leftCols(k) * (found.leftCols(k).transpose() * q);
          found.col(k) = q.normalized();
          rest -= (rest * found.col(k)) * found.col(k).transpose();
        }
        Vector agreed = found.reshaped();
        density.agree(agreed);
        return agreed.reshaped(r, n);
      }

      /// This family from the Gaussian one and four numbers for each direction: shift, log of the scale, ε, η.
      void move(const Skewed &gaussian, const Matrix &directions, const Vector &x)
      {
        const Index n   = directions.cols();
        const auto part = x.reshaped(n, 4);
        const Matrix step =
            directions * (part.col(1).array().exp() - 1.).matrix().asDiagonal() * directions.transpose();
        set_mean(gaussian.mean_ + product(modes_, gaussian.factor_ * (directions * part.col(0))));
        set_covariance(modes_, dual_, gaussian.factor_ + gaussian.factor_ * step);
        shape_ = make_shape(directions, part.rightCols(2));
      }

      /// `marginals`: ε and η, one row for each direction.
      static std::shared_ptr<const Shape> make_shape(const Matrix &directions, const Matrix &marginals)
      {
        auto shape        = std::make_shared<Shape>();
        shape->directions = directions;
        for (Index k = 0; k < marginals.rows(); ++k)
          shape->marginals.emplace_back(marginals(k, 0), marginals(k, 1));
        return shape;
      }

      /// The search for these numbers.
      struct Search
      {
        const LogDensity &density;
        const Skewed &gaussian;
        const Matrix &directions;
        const DrawRange &draws;
        const StopCheck &stop;
        unsigned int n_evaluations = 0;

        /// −ELBO on the draws and its gradient; infinite where the model fails too often, in all groups together.
        double evaluate(const Vector &x, Vector &gradient)
        {
          Skewed family = gaussian;
          family.move(gaussian, directions, x);
          const Layout &layout = family.prior().layout();
          const Index n        = directions.cols();
          const auto part      = x.reshaped(n, 4);
          const Vector linear  = layout.gram(family.dual_, family.mean_);
          Matrix gradients     = Matrix::Zero(draws.count, 4 * n);
          ++n_evaluations;
          ElboEstimate elbo;
          const SampleGroups alone(density.groups().space(), 1);
          bool stopped = false;
          try
          {
            elbo = average_over_draws(
                density.groups(), family, draws,
                [&](unsigned int k, const DrawKey &key) -> std::optional<DrawValue>
                {
                  const Vector z = family.prior().draw(key), w = layout.gram(family.dual_, z);
                  const Draw draw   = family.view(family.shape_.get()).draw(layout, z);
                  stopped           = stopped || (stop && stop(alone));
                  const auto solved = stopped ? std::nullopt : density.potential_and_gradient(draw.m);
                  if (!solved)
                    return {};
                  const Vector u = family.shape_->apply(w), along = directions.transpose() * w,
                               of_posterior =
                                   directions.transpose() *
                                   (gaussian.factor_.transpose() *
                                    (-layout.gram(family.modes_, solved->second) - linear - family.factor_ * u));
                  for (Index j = 0; j < n; ++j)
                  {
                    const SinhArcsinh &marginal = family.shape_->marginals[static_cast<std::size_t>(j)];
                    const double scaled         = std::exp(part(j, 1)) * of_posterior[j];
                    const Eigen::Vector2d shape =
                        scaled * marginal.derivatives(along[j]) + marginal.log_slope_derivatives(along[j]);
                    gradients(k, j)         = of_posterior[j];
                    gradients(k, n + j)     = scaled * marginal(along[j]) + 1.;
                    gradients(k, 2 * n + j) = shape[0];
                    gradients(k, 3 * n + j) = shape[1];
                  }
                  return DrawValue{draw.log_ratio, solved->first};
                });
          }
          catch (const ComputationError &)
          {
            if (density.groups().sum(stopped ? 1. : 0.) > 0.)
              throw ComputationError("stopped from outside");
            if (n_evaluations == 1)
              throw;
            return std::numeric_limits<double>::infinity();
          }
          agreed_sum(density.groups(), layout, gradients);
          gradient = -gradients.colwise().mean();
          return -elbo.elbo.value;
        }

        /// In units in which the Fisher information at the Gaussian is about one.
        Vector maximize()
        {
          const Index n = directions.cols();
          Vector units  = Vector::Ones(4 * n);
          units.segment(n, n).setConstant(std::sqrt(0.5));
          const dealii::Vector<double> zero(static_cast<unsigned int>(4 * n));
          dealii::Vector<double> x = zero;
          const auto compute       = [&](const dealii::Vector<double> &at, dealii::Vector<double> &gradient)
          {
            Vector g           = Vector::Zero(4 * n);
            const double value = evaluate(units.cwiseProduct(Eigen::Map<const Vector>(at.begin(), 4 * n)), g);
            Eigen::Map<Vector>(gradient.begin(), 4 * n) = units.cwiseProduct(g);
            return value;
          };
          dealii::SolverControl control(most_iterations, gradient_tolerance, false, false);
          dealii::SolverBFGS<dealii::Vector<double>> solver(
              control, dealii::SolverBFGS<dealii::Vector<double>>::AdditionalData(20));
          dealii::Vector<double> start = zero;
          solver.connect_line_search_slot(
              [&](double &f, dealii::Vector<double> &x, dealii::Vector<double> &g, const dealii::Vector<double> &p)
              {
                // Far steps first of all: a shape has only so much room.
                const double f0 = f, slope = g * p;
                double length = std::min(1., 1. / p.l2_norm());
                start         = x;
                for (unsigned int attempt = 0; attempt < 12; ++attempt, length *= 0.4)
                {
                  x = start;
                  x.add(length, p);
                  f = compute(x, g);
                  if (f <= f0 + 1e-3 * length * slope)
                    return length;
                }
                throw dealii::SolverControl::NoConvergence(control.last_step(), control.last_value());
              });
          try
          {
            solver.solve(compute, x);
          }
          catch (const dealii::SolverControl::NoConvergence &)
          {
            // What was gained so far counts.
            if (control.last_step() < most_iterations)
              x = start;
          }
          return units.cwiseProduct(Eigen::Map<const Vector>(x.begin(), 4 * n));
        }
      };

      static constexpr unsigned int most_iterations = 40;
      static constexpr double gradient_tolerance    = 0.2; ///< a Newton step gains about half its square [nat]

      unsigned int most_directions_ = 100, n_draws_ = 2000;
      std::shared_ptr<const Shape> shape_; ///< nullptr: the Gaussian
    };

    const Registration<Family, Skewed> skewed("skewed", "As low rank, then skewed along local directions.");
  } // namespace
} // namespace varfield
