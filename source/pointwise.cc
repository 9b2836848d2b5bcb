#include <deal.II/base/mpi.h>

#include <varfield/pointwise.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    constexpr Index most_columns = 64;

    template <int dim>
    Index block_size_of(const FieldSet<dim> &fields)
    {
      return std::min(most_columns, fields.prior().layout().block_columns());
    }

    /// Calls `variance(E, block)` for unit vectors in blocks: the block's columns are Eᵀeᵢ, the result eᵢᵀE S Eᵀeᵢ.
    template <int dim>
    Vector by_unit_vectors(const FieldSet<dim> &fields, unsigned int f,
                           const std::function<Vector(const MultiVector &dual)> &variance_of)
    {
      const auto &field   = fields[f];
      const MPI_Comm comm = field.space().mesh().comm();
      const int n_ranks = Utilities::MPI::n_mpi_processes(comm), rank = Utilities::MPI::this_mpi_process(comm);
      const Index n_owned = field.space().n_owned(), block_size = block_size_of(fields);
      Vector result(n_owned);
      for (int owner = 0; owner < n_ranks; ++owner)
      {
        const Index n = Utilities::MPI::broadcast(comm, n_owned, owner);
        for (Index first = 0; first < n; first += block_size)
        {
          const Index count = std::min(block_size, n - first);
          MultiVector dofs  = MultiVector::Zero(n_owned, count);
          if (rank == owner)
            dofs.middleRows(first, count).setIdentity();
          MultiVector dual = MultiVector::Zero(fields.prior().layout().n_local(), count);
          dual.middleRows(fields.offset(f), field.n_local()) = field.restrict(dofs);
          const Vector values                                = variance_of(dual);
          if (rank == owner)
            result.segment(first, count) = values;
        }
      }
      return result;
    }

    template <int dim>
    Vector by_draws(const FieldSet<dim> &fields, unsigned int f, unsigned int n_draws,
                    const std::function<MultiVector(const std::vector<DrawKey> &)> &deviations, std::uint64_t seed)
    {
      const unsigned int block_size = static_cast<unsigned int>(block_size_of(fields));
      Vector sum                    = Vector::Zero(fields[f].space().n_owned());
      for (unsigned int first = 0; first < n_draws; first += block_size)
      {
        std::vector<DrawKey> keys;
        for (unsigned int k = first; k < std::min(n_draws, first + block_size); ++k)
          keys.push_back({seed, Stream::probing, k, 1.});
        sum += fields[f].expand(fields.part(deviations(keys), f)).cwiseAbs2().rowwise().sum();
      }
      return sum / n_draws;
    }

    /// Σᵢ weightᵢ uᵢ² at the degrees of freedom of a field, a few columns uᵢ at a time.
    template <int dim>
    Vector weighted_squares(const FieldSet<dim> &fields, unsigned int f, const MultiVector &columns,
                            const Vector &weights)
    {
      const Index width = block_size_of(fields);
      Vector sum        = Vector::Zero(fields[f].space().n_owned());
      for (Index first = 0; first < columns.cols(); first += width)
      {
        const Index count = std::min(width, columns.cols() - first);
        sum += fields[f].expand(fields.part(columns.middleCols(first, count), f)).cwiseAbs2() *
               weights.segment(first, count);
      }
      return sum;
    }
  } // namespace

  template <int dim>
  PointwiseVariance prior_variance(const FieldSet<dim> &fields, unsigned int field, unsigned int exact_limit,
                                   unsigned int n_draws, std::uint64_t seed)
  {
    const auto &prior = fields.prior();
    if (fields[field].space().dof_handler().n_dofs() <= exact_limit)
      return {by_unit_vectors<dim>(fields, field,
                                   [&](const MultiVector &dual)
                                   {
                                     const MultiVector noise = prior.apply_factor_transpose(dual);
                                     return prior.noise_layout().column_dots(noise, noise);
                                   }),
              0.};
    return {by_draws<dim>(
                fields, field, n_draws, [&](const auto &keys) { return prior.draws(keys); }, seed),
            std::sqrt(2. / n_draws)};
  }

  template <int dim>
  PointwiseVariance posterior_variance(const FieldSet<dim> &fields, unsigned int field, const Family &family,
                                       const PointwiseVariance &prior, unsigned int exact_limit, unsigned int n_draws,
                                       std::uint64_t seed)
  {
    if (const auto correction = family.low_rank_correction())
    {
      const auto squares = [&](const Vector &weights)
      { return weighted_squares(fields, field, correction->modes, weights); };
      if (prior.relative_error == 0.)
        return {(prior.values - squares(correction->shrinkage)).cwiseMax(0.), 0.};
      // The prior's estimate less the correction would be noise where the posterior is narrow. Draws of the prior's
      // complement z − U(Vᵀz) see only what the correction leaves alone.
      const Layout &layout    = fields.prior().layout();
      const Vector complement = by_draws<dim>(
          fields, field, n_draws,
          [&](const auto &keys)
          {
            const MultiVector z = fields.prior().draws(keys);
            return MultiVector(z - product(correction->modes, layout.gram(correction->dual, z)));
          },
          seed);
      return {complement + squares((1. - correction->shrinkage.array()).matrix()), std::sqrt(2. / n_draws)};
    }
    if (fields[field].space().dof_handler().n_dofs() <= exact_limit)
      return {by_unit_vectors<dim>(fields, field,
                                   [&](const MultiVector &dual)
                                   { return fields.prior().layout().column_dots(dual, family.covariance(dual)); }),
              0.};
    return {by_draws<dim>(
                fields, field, n_draws,
                [&](const auto &keys)
                {
                  MultiVector result(family.mean().size(), keys.size());
                  for (std::size_t k = 0; k < keys.size(); ++k)
                    result.col(static_cast<Index>(k)) = family.sample(keys[k]).m - family.mean();
                  return result;
                },
                seed),
            std::sqrt(2. / n_draws)};
  }

  template PointwiseVariance prior_variance<2>(const FieldSet<2> &, unsigned int, unsigned int, unsigned int,
                                               std::uint64_t);
  template PointwiseVariance prior_variance<3>(const FieldSet<3> &, unsigned int, unsigned int, unsigned int,
                                               std::uint64_t);
  template PointwiseVariance posterior_variance<2>(const FieldSet<2> &, unsigned int, const Family &,
                                                   const PointwiseVariance &, unsigned int, unsigned int,
                                                   std::uint64_t);
  template PointwiseVariance posterior_variance<3>(const FieldSet<3> &, unsigned int, const Family &,
                                                   const PointwiseVariance &, unsigned int, unsigned int,
                                                   std::uint64_t);
} // namespace varfield
