#include <deal.II/base/quadrature_lib.h>
#include <deal.II/dofs/dof_renumbering.h>
#include <deal.II/fe/fe_dgq.h>
#include <deal.II/fe/fe_system.h>
#include <deal.II/fe/fe_values.h>

#include <cmath>
#include <varfield/assembly.h>
#include <varfield/hierarchy.h>
#include <varfield/modes.h>
#include <varfield/prior.h>
#include <varfield/text.h>
#include <varfield/timing.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// A = δM + γK(Θ) + βM_∂ in the numbers that the assembly needs.
    template <int dim>
    struct SpdeCoefficients
    {
      double gamma = 1., delta = 1.;
      SymmetricTensor<2, dim> theta;
      bool robin             = false;
      double robin_parameter = 0.; ///< β where the user gave it, else 0: sqrt(γδ nᵀΘn)/1.42
      bool lumped_mass       = true;
    };

    /// The Whittle–Matérn field N(0, A⁻¹MA⁻¹) of Lindgren, Rue, Lindström (2011) with ν = 2 − dim/2, as in Bui-Thanh,
    /// Ghattas, Martin, Stadler (2013). L = A⁻¹Q with QQᵀ = M: Q is diagonal for a lumped mass; for the consistent one
    /// it has a column sqrt(w_q) φ_i(x_q) for every quadrature point of every cell.
    template <int dim>
    class SpdePrior : public GaussianPrior
    {
    public:
      SpdePrior(const FieldSpace<dim> &space, const SpdeCoefficients<dim> &coefficients,
                const SolverSettings &settings);

      const Layout &layout() const override { return space_.layout(); }
      const Layout &noise_layout() const override { return lumped_ ? space_.layout() : noise_layout_; }
      bool has_square_factor() const override { return lumped_; }
      MultiVector apply_factor(const MultiVector &xi, double tolerance = 0.) const override;
      MultiVector apply_factor_transpose(const MultiVector &dual) const override;
      MultiVector covariance(const MultiVector &dual) const override;
      MultiVector precision(const MultiVector &primal) const override;
      MultiVector load(const MultiVector &primal) const override;
      MultiVector from_load(const MultiVector &load) const override;
      MultiVector random_load(const MultiVector &xi) const override;
      bool has_nested_loads() const override { return !lumped_; }
      PrimalDual from_source(const MultiVector &source) const override;
      double log_determinant() const override;
      Vector precision_diagonal() const override;
      MultiVector leading_modes(unsigned int n) const override;

    private:
      void assemble(const SpdeCoefficients<dim> &coefficients);
      void assemble_boundary(const SpdeCoefficients<dim> &coefficients);
      void assemble_noise_factor();
      MultiVector solve(MultiVector dofs, double tolerance = 0.) const;
      MultiVector apply_mass(const MultiVector &dofs) const;

      const FieldSpace<dim> &space_;
      const bool lumped_;
      DoFHandler<dim> noise_handler_;
      Layout noise_layout_;
      SparseMatrix operator_, mass_, noise_factor_;
      Vector lumped_mass_; ///< of owned degrees of freedom, 1 at constrained ones
      std::unique_ptr<LinearSolver> solver_, mass_solver_;
    };

    template <int dim>
    SpdePrior<dim>::SpdePrior(const FieldSpace<dim> &space, const SpdeCoefficients<dim> &coefficients,
                              const SolverSettings &settings)
        : space_(space), lumped_(coefficients.lumped_mass)
    {
      assemble(coefficients);
      if (!lumped_)
        assemble_noise_factor();
      const auto n = space.dof_handler().n_dofs();
      solver_      = LinearSolver::create(
               settings, MatrixKind::spd, n, dim,
               [&space] { return std::make_shared<Hierarchy>(space.mesh(), space.dof_handler(), space.constraints()); });
      if (!solver_->set_matrix(operator_))
        throw ComputationError("The matrix of a prior could not be factorised.");
      if (!lumped_)
      {
        mass_solver_ = LinearSolver::create(settings, MatrixKind::mass, n, dim);
        if (!mass_solver_->set_matrix(mass_))
          throw ComputationError("The mass matrix of a prior could not be factorised.");
      }
    }

    /// With a lumped mass all terms are integrated at the nodes: M alone would leave K too small for the shortest
    /// waves, and the variance in 3D at h = ρ/10 60 % too large.
    template <int dim>
    Quadrature<dim> prior_quadrature(unsigned int degree, bool lumped)
    {
      return lumped ? Quadrature<dim>(QGaussLobatto<dim>(degree + 1)) : Quadrature<dim>(QGauss<dim>(degree + 1));
    }

    template <int dim>
    void SpdePrior<dim>::assemble(const SpdeCoefficients<dim> &c)
    {
      const auto &handler = space_.dof_handler();
      reinit_matrix(operator_, handler, space_.constraints(), handler, space_.constraints());
      reinit_matrix(mass_, handler, space_.constraints(), handler, space_.constraints());
      const auto &fe                   = handler.get_fe();
      const Quadrature<dim> quadrature = prior_quadrature<dim>(fe.degree, lumped_);
      FEValues<dim> values(space_.mesh().mapping(), fe, quadrature,
                           update_values | update_gradients | update_JxW_values);
      const unsigned int n = fe.dofs_per_cell;
      FullMatrix<double> a(n, n), m(n, n);
      std::vector<types::global_dof_index> dofs(n);
      GhostedVector lumped(handler.locally_owned_dofs(), space_.relevant(), space_.mesh().comm());
      dealii::Vector<double> row_sums(n);
      for (const auto &cell : handler.active_cell_iterators())
        if (cell->is_locally_owned())
        {
          values.reinit(cell);
          a = 0.;
          m = 0.;
          for (unsigned int q = 0; q < quadrature.size(); ++q)
            for (unsigned int i = 0; i < n; ++i)
            {
              const Tensor<1, dim> flux = c.theta * values.shape_grad(i, q);
              for (unsigned int j = 0; j < n; ++j)
              {
                const double mass = values.shape_value(i, q) * values.shape_value(j, q) * values.JxW(q);
                m(i, j) += mass;
                a(i, j) += c.delta * mass + c.gamma * (flux * values.shape_grad(j, q)) * values.JxW(q);
              }
            }
          for (unsigned int i = 0; i < n; ++i)
          {
            row_sums(i) = 0.;
            for (unsigned int j = 0; j < n; ++j)
              row_sums(i) += m(i, j);
          }
          cell->get_dof_indices(dofs);
          space_.constraints().distribute_local_to_global(a, dofs, operator_);
          space_.constraints().distribute_local_to_global(m, dofs, mass_);
          space_.constraints().distribute_local_to_global(row_sums, dofs, lumped);
        }
      if (c.robin)
        assemble_boundary(c);
      finish_matrix(operator_, handler, space_.constraints());
      finish_matrix(mass_, handler, space_.constraints());
      lumped.compress(VectorOperation::add);
      lumped_mass_.resize(space_.n_owned());
      for (Index i = 0; i < lumped_mass_.size(); ++i)
        lumped_mass_(i) = lumped.local_element(i);
      const Vector free   = space_.extract(lumped_mass_);
      const bool positive = (free.array() > 0.).all();
      if (lumped_ && Utilities::MPI::min(positive ? 1 : 0, space_.mesh().comm()) == 0)
        throw UserError(
            "Fields: the lumped mass of a prior is not positive at some hanging nodes: set “Mass” of the prior "
            "to “consistent”.");
      lumped_mass_ = space_.embed(free);
      lumped_mass_ = (lumped_mass_.array() > 0.).select(lumped_mass_, 1.);
    }

    /// β nᵀΘn-weighted boundary mass: Daon, Stadler, Inverse Problems and Imaging 12 (2018); the 1.42 is hIPPYlib's.
    template <int dim>
    void SpdePrior<dim>::assemble_boundary(const SpdeCoefficients<dim> &c)
    {
      const auto &fe                       = space_.dof_handler().get_fe();
      const Quadrature<dim - 1> quadrature = prior_quadrature<dim - 1>(fe.degree, lumped_);
      FEFaceValues<dim> values(space_.mesh().mapping(), fe, quadrature,
                               update_values | update_normal_vectors | update_JxW_values);
      const unsigned int n = fe.dofs_per_cell;
      FullMatrix<double> a(n, n);
      std::vector<types::global_dof_index> dofs(n);
      for (const auto &cell : space_.dof_handler().active_cell_iterators())
        if (cell->is_locally_owned() && cell->at_boundary())
        {
          a = 0.;
          for (const auto f : cell->face_indices())
            if (cell->face(f)->at_boundary())
            {
              values.reinit(cell, f);
              for (unsigned int q = 0; q < quadrature.size(); ++q)
              {
                const auto normal = values.normal_vector(q);
                const double beta = c.robin_parameter > 0.
                                        ? c.robin_parameter
                                        : std::sqrt(c.gamma * c.delta * (normal * (c.theta * normal))) / 1.42;
                for (unsigned int i = 0; i < n; ++i)
                  for (unsigned int j = 0; j < n; ++j)
                    a(i, j) += beta * values.shape_value(i, q) * values.shape_value(j, q) * values.JxW(q);
              }
            }
          cell->get_dof_indices(dofs);
          space_.constraints().distribute_local_to_global(a, dofs, operator_);
        }
    }

    /// Q for the consistent mass. The noise lives on discontinuous functions, one for each quadrature point of a cell,
    /// so that hierarchical numbering gives it keys that do not depend on the partition.
    template <int dim>
    void SpdePrior<dim>::assemble_noise_factor()
    {
      const auto &handler = space_.dof_handler();
      const auto &fe      = handler.get_fe();
      const QGauss<dim> quadrature(fe.degree + 1);
      noise_handler_.reinit(handler.get_triangulation());
      noise_handler_.distribute_dofs(FESystem<dim>(FE_DGQ<dim>(0), quadrature.size()));
      DoFRenumbering::hierarchical(noise_handler_);
      const AffineConstraints<double> none;
      reinit_matrix(noise_factor_, handler, space_.constraints(), noise_handler_, none);

      FEValues<dim> values(space_.mesh().mapping(), fe, quadrature, update_values | update_JxW_values);
      const unsigned int n = fe.dofs_per_cell, n_q = quadrature.size();
      FullMatrix<double> local(n, n_q);
      std::vector<types::global_dof_index> dofs(n), noise_dofs(n_q);
      for (const auto &cell : handler.active_cell_iterators())
        if (cell->is_locally_owned())
        {
          values.reinit(cell);
          for (unsigned int i = 0; i < n; ++i)
            for (unsigned int q = 0; q < n_q; ++q)
              local(i, q) = std::sqrt(values.JxW(q)) * values.shape_value(i, q);
          cell->get_dof_indices(dofs);
          typename DoFHandler<dim>::active_cell_iterator(&handler.get_triangulation(), cell->level(), cell->index(),
                                                         &noise_handler_)
              ->get_dof_indices(noise_dofs);
          space_.constraints().distribute_local_to_global(local, dofs, none, noise_dofs, noise_factor_);
        }
      noise_factor_.compress(VectorOperation::add);
      std::vector<std::uint64_t> keys;
      for (const auto dof : noise_handler_.locally_owned_dofs())
        keys.push_back(dof);
      noise_layout_ = Layout(space_.mesh().comm(), keys);
    }

    template <int dim>
    MultiVector SpdePrior<dim>::solve(MultiVector dofs, double tolerance) const
    {
      const Timed timed(Work::prior, static_cast<double>(dofs.cols()));
      if (!solver_->solve(dofs, false, tolerance))
        throw ComputationError(
            "A linear solve of a prior did not converge: raise “Linear solver/Maximum iterations”, or "
            "set “Linear solver/Type” to “direct”.");
      return dofs;
    }

    template <int dim>
    MultiVector SpdePrior<dim>::apply_mass(const MultiVector &dofs) const
    {
      return lumped_ ? MultiVector(lumped_mass_.asDiagonal() * dofs) : multiply(mass_, dofs);
    }

    template <int dim>
    MultiVector SpdePrior<dim>::load(const MultiVector &primal) const
    {
      return space_.extract(multiply(operator_, space_.embed(primal)));
    }

    template <int dim>
    MultiVector SpdePrior<dim>::from_load(const MultiVector &load) const
    {
      return space_.extract(solve(space_.embed(load)));
    }

    template <int dim>
    MultiVector SpdePrior<dim>::random_load(const MultiVector &xi) const
    {
      return space_.extract(lumped_ ? MultiVector(lumped_mass_.cwiseSqrt().asDiagonal() * space_.embed(xi))
                                    : multiply(noise_factor_, xi));
    }

    template <int dim>
    MultiVector SpdePrior<dim>::apply_factor(const MultiVector &xi, double tolerance) const
    {
      return space_.extract(solve(space_.embed(random_load(xi)), tolerance));
    }

    template <int dim>
    MultiVector SpdePrior<dim>::apply_factor_transpose(const MultiVector &dual) const
    {
      const MultiVector solved = solve(space_.embed(dual));
      return lumped_ ? space_.extract(lumped_mass_.cwiseSqrt().asDiagonal() * solved)
                     : multiply_transpose(noise_factor_, solved);
    }

    template <int dim>
    MultiVector SpdePrior<dim>::covariance(const MultiVector &dual) const
    {
      // Constrained rows are the identity in A and in M, and zero in what is embedded: they stay zero.
      return space_.extract(solve(apply_mass(solve(space_.embed(dual)))));
    }

    template <int dim>
    MultiVector SpdePrior<dim>::precision(const MultiVector &primal) const
    {
      const Timed timed(Work::prior, lumped_ ? 0. : static_cast<double>(primal.cols()));
      MultiVector dofs = multiply(operator_, space_.embed(primal));
      if (lumped_)
        dofs = lumped_mass_.cwiseInverse().asDiagonal() * dofs;
      else if (!mass_solver_->solve(dofs))
        throw ComputationError("A solve with the mass matrix of a prior did not converge.");
      return space_.extract(multiply(operator_, dofs));
    }

    template <int dim>
    PrimalDual SpdePrior<dim>::from_source(const MultiVector &source) const
    {
      const MultiVector dofs = space_.embed(source);
      return {space_.extract(solve(apply_mass(dofs))), space_.extract(multiply(operator_, dofs))};
    }

    template <int dim>
    double SpdePrior<dim>::log_determinant() const
    {
      double log_mass = lumped_mass_.array().log().sum();
      sum_over(layout().comm(), &log_mass, 1);
      if (!lumped_)
        log_mass = mass_solver_->log_determinant();
      return log_mass - 2. * solver_->log_determinant();
    }

    /// diag(A M⁻¹ A), column by column in blocks: n solves with M for the consistent mass.
    template <int dim>
    Vector SpdePrior<dim>::precision_diagonal() const
    {
      Vector diagonal(layout().n_local());
      const int rank = Utilities::MPI::this_mpi_process(layout().comm());
      const int size = Utilities::MPI::n_mpi_processes(layout().comm());
      for (int owner = 0; owner < size; ++owner)
      {
        Index n_owner = layout().n_local();
        MPI_Bcast(&n_owner, sizeof(n_owner), MPI_BYTE, owner, layout().comm());
        for (Index first = 0; first < n_owner; first += 128)
        {
          const Index count = std::min<Index>(128, n_owner - first);
          MultiVector unit  = MultiVector::Zero(layout().n_local(), count);
          if (rank == owner)
            unit.middleRows(first, count).setIdentity();
          const MultiVector column = precision(unit);
          if (rank == owner)
            diagonal.segment(first, count) = column.middleRows(first, count).diagonal();
        }
      }
      return diagonal;
    }

    /// A e = αMe for the smallest α; u = e/α with eᵀMe = 1 has uᵀC⁻¹u = 1. Constrained rows get next to no mass, which
    /// puts their eigenvalues out of the way.
    template <int dim>
    MultiVector SpdePrior<dim>::leading_modes(unsigned int n) const
    {
      SparseMatrix mass;
      mass.reinit(mass_);
      mass.copy_from(mass_);
      if (lumped_)
        mass = 0.;
      const auto &owned = space_.dof_handler().locally_owned_dofs();
      Index local       = 0;
      for (const auto dof : owned)
      {
        if (space_.constraints().is_constrained(dof))
          mass.set(dof, dof, 1e-12);
        else if (lumped_)
          mass.set(dof, dof, lumped_mass_(local));
        ++local;
      }
      mass.compress(VectorOperation::insert);
      const auto modes = smallest_modes(operator_, mass, std::min<Index>(n, layout().n_global()), layout().n_global());
      return space_.extract(modes.vectors * modes.values.cwiseInverse().asDiagonal());
    }

    template <int dim>
    class Spde : public Prior<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override
      {
        using namespace Patterns;
        prm.add_parameter("Standard deviation", standard_deviation_,
                          "Marginal standard deviation far from the boundary, in the unit of the field m.", Double(0));
        prm.add_parameter("Correlation length", correlation_length_,
                          "Distance at which the correlation has fallen to about 0.14, in the unit of the mesh.",
                          Double(0));
        prm.add_parameter("Gamma", gamma_,
                          "Coefficient of the diffusion term of A = δM + γK; together with Delta it takes the place of "
                          "standard deviation and correlation length. 0: not given.",
                          Double(0));
        prm.add_parameter("Delta", delta_, "Coefficient of the mass term of A. 0: not given.", Double(0));
        prm.add_parameter(
            "Anisotropy", anisotropy_,
            "Symmetric tensor Θ of the diffusion term, rows separated by semicolons, for example “4, 0; 0, "
            "1”: correlation lengths are multiplied by the square roots of its eigenvalues. Empty: none.");
        prm.add_parameter(
            "Boundary condition", boundary_,
            "Of the operator A. “robin” evens the variance near the boundary; “neumann” doubles it there; "
            "“dirichlet” holds the field at its mean.",
            Selection("neumann|robin|dirichlet"));
        prm.add_parameter("Robin coefficient", robin_,
                          "β of the boundary term; 0: sqrt(γδ nᵀΘn)/1.42 (Daon, Stadler 2018).", Double(0));
        prm.add_parameter(
            "Mass", mass_,
            "“lumped”: the whitened coordinates are as many as the nodes, as the whitened diagonal families "
            "need. “consistent”: the finite-element mass matrix.",
            Selection("lumped|consistent"));
      }

      void check(const std::string &section) const override
      {
        if ((gamma_ > 0.) != (delta_ > 0.))
          throw UserError(section + "/Gamma, Delta: have to be given together, both positive, but are " +
                          to_text(gamma_) + " and " + to_text(delta_) + ".");
        if (gamma_ == 0. && standard_deviation_ <= 0.)
          throw UserError(section + "/Standard deviation: has to be positive, but is " + to_text(standard_deviation_) +
                          ".");
        if (gamma_ == 0. && correlation_length_ <= 0.)
          throw UserError(section + "/Correlation length: has to be positive, but is " + to_text(correlation_length_) +
                          ".");
        coefficients(section);
      }

      bool is_nodal() const override { return true; }
      bool zero_on_boundary() const override { return boundary_ == "dirichlet"; }

      std::shared_ptr<const GaussianPrior> build(const FieldSpace<dim> &space, const SolverSettings &settings,
                                                 const std::string &section) const override
      {
        return std::make_shared<SpdePrior<dim>>(space, coefficients(section), settings);
      }

      std::string describe() const override
      {
        const auto c = coefficients("");
        return "Whittle–Matérn (ν = " + to_text(2. - dim / 2.) + "), γ = " + to_text(c.gamma) +
               ", δ = " + to_text(c.delta) + ", " + boundary_ + " boundary, " + mass_ + " mass";
      }

    private:
      SpdeCoefficients<dim> coefficients(const std::string &section) const;

      double standard_deviation_ = 1., correlation_length_ = 0.25, gamma_ = 0., delta_ = 0., robin_ = 0.;
      std::string anisotropy_, boundary_ = "robin", mass_ = "lumped";
    };

    /// With κ² = δ/γ: σ² = Γ(ν) / (Γ(ν+d/2) (4π)^{d/2} κ^{2ν} γ² det(Θ)^{1/2}), ρ = sqrt(8ν)/κ (Lindgren, Rue,
    /// Lindström 2011).
    template <int dim>
    SpdeCoefficients<dim> Spde<dim>::coefficients(const std::string &section) const
    {
      SpdeCoefficients<dim> c;
      c.theta = unit_symmetric_tensor<dim>();
      if (!anisotropy_.empty())
      {
        const auto rows = split(anisotropy_, ';');
        if (rows.size() != dim)
          throw UserError(section + "/Anisotropy: needs " + std::to_string(dim) +
                          " rows separated by semicolons, but "
                          "found “" +
                          anisotropy_ + "”.");
        for (unsigned int i = 0; i < dim; ++i)
        {
          const auto row = parse_numbers(rows[i], section + "/Anisotropy");
          for (unsigned int j = 0; j < dim; ++j)
          {
            if (row.size() != dim || (j < i && c.theta[j][i] != row[j]))
              throw UserError(section + "/Anisotropy: has to be a symmetric matrix with " + std::to_string(dim) +
                              " numbers in each row, but found “" + anisotropy_ + "”.");
            c.theta[i][j] = row[j];
          }
        }
        const auto eigenvalues_of = eigenvalues(c.theta);
        if (!(eigenvalues_of[dim - 1] > 0.))
          throw UserError(section + "/Anisotropy: has to be positive definite, but its smallest eigenvalue is " +
                          to_text(eigenvalues_of[dim - 1]) + ".");
      }
      c.gamma = gamma_;
      c.delta = delta_;
      if (gamma_ == 0.)
      {
        const double nu = 2. - dim / 2., kappa = std::sqrt(8. * nu) / correlation_length_;
        const double unit_variance = std::tgamma(nu) / (std::tgamma(nu + dim / 2.) * std::pow(4. * M_PI, dim / 2.) *
                                                        std::pow(kappa, 2. * nu) * std::sqrt(determinant(c.theta)));
        c.gamma                    = std::sqrt(unit_variance) / standard_deviation_;
        c.delta                    = kappa * kappa * c.gamma;
      }
      c.robin           = boundary_ == "robin";
      c.robin_parameter = robin_;
      c.lumped_mass     = mass_ == "lumped";
      return c;
    }

    /// N(0, s²M⁻¹) with the lumped mass M: A = M/s.
    template <int dim>
    class WhiteNoise : public Prior<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override
      {
        prm.add_parameter("Standard deviation", standard_deviation_,
                          "s: the mean of the field over a volume V has the standard deviation s/√V.",
                          Patterns::Double(0));
      }

      void check(const std::string &section) const override
      {
        if (!(standard_deviation_ > 0.))
          throw UserError(section + "/Standard deviation: has to be positive, but is " + to_text(standard_deviation_) +
                          ".");
      }

      bool is_nodal() const override { return true; }

      std::shared_ptr<const GaussianPrior> build(const FieldSpace<dim> &space, const SolverSettings &settings,
                                                 const std::string &) const override
      {
        SpdeCoefficients<dim> c;
        c.gamma = 0.;
        c.delta = 1. / standard_deviation_;
        return std::make_shared<SpdePrior<dim>>(space, c, settings);
      }

      std::string describe() const override { return "white noise, s = " + to_text(standard_deviation_); }

    private:
      double standard_deviation_ = 1.;
    };

    const char *const white_noise_text =
        "White noise, for nodal fields: values at different places are independent. For the error of an equation.";
    const Registration<Prior<2>, WhiteNoise<2>> white_noise_2("white noise", white_noise_text);
    const Registration<Prior<3>, WhiteNoise<3>> white_noise_3("white noise", white_noise_text);
    const Registration<Prior<2>, Spde<2>> spde_2("spde", "Whittle–Matérn field of a stochastic PDE, for nodal fields.");
    const Registration<Prior<3>, Spde<3>> spde_3("spde", "Whittle–Matérn field of a stochastic PDE, for nodal fields.");
  } // namespace
} // namespace varfield
