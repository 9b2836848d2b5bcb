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

    /// Calls `variance_of(block)` for unit vectors in blocks, which the groups share: the block's columns are Eᵀeᵢ, the
    /// result eᵢᵀE S Eᵀeᵢ.
    template <int dim>
    Vector by_unit_vectors(const FieldSet<dim> &fields, unsigned int f, const SampleGroups &groups,
                           const std::function<Vector(const MultiVector &dual)> &variance_of)
    {
      const auto &field   = fields[f];
      const MPI_Comm comm = field.space().mesh().comm();
      const int n_ranks = Utilities::MPI::n_mpi_processes(comm), rank = Utilities::MPI::this_mpi_process(comm);
      const Index n_owned = field.space().n_owned(), block_size = block_size_of(fields);
      Vector result       = Vector::Zero(n_owned);
      unsigned int number = 0; // of the block
      groups.together(
          [&]
          {
            for (int owner = 0; owner < n_ranks; ++owner)
            {
              const Index n = Utilities::MPI::broadcast(comm, n_owned, owner);
              for (Index first = 0; first < n; first += block_size)
              {
                if (number++ % groups.n_groups() != groups.group())
                  continue;
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
          });
      groups.sum(result);
      return result;
    }

    /// Mean squares of draws, which the groups share by blocks, and their relative standard error.
    template <int dim>
    PointwiseVariance by_draws(const FieldSet<dim> &fields, unsigned int f, const SampleGroups &groups,
                               const VarianceSettings &settings,
                               const std::function<MultiVector(const std::vector<DrawKey> &)> &deviations)
    {
      const auto width = static_cast<unsigned int>(block_size_of(fields)), n = settings.n_draws;
      Vector sum    = Vector::Zero(fields[f].space().n_owned());
      double n_done = 0.;
      const SampleGroups alone(groups.space(), 1);
      bool stopped = false;
      groups.together(
          [&]
          {
            for (unsigned int first = groups.group() * width; first < n && !stopped; first += groups.n_groups() * width)
            {
              std::vector<DrawKey> keys;
              for (unsigned int k = first; k < std::min(n, first + width); ++k)
                keys.push_back({settings.seed, Stream::variances, k, 1.});
              sum += fields[f].expand(fields.part(deviations(keys), f)).cwiseAbs2().rowwise().sum();
              n_done += double(keys.size());
              stopped = settings.stop && settings.stop(alone);
            }
          });
      groups.sum(sum);
      n_done = groups.sum(n_done);
      return {sum / n_done, std::sqrt(2. / n_done)};
    }

    /// Σᵢ weightᵢ uᵢ² at the degrees of freedom of a field, a few columns uᵢ at a time.
    template <int dim>
    Vector weighted_squares(const FieldSet<dim> &fields, unsigned int f, const MultiVector &columns,
                            const Vector &weights)
    {
      const Index width = block_size_of(fields);
      Vector sum        = Vector::Zero(fields[f].space().n_owned());
      by_blocks(0, columns.cols(), width,
                [&](Index first, Index count)
                {
                  sum += fields[f].expand(fields.part(columns.middleCols(first, count), f)).cwiseAbs2() *
                         weights.segment(first, count);
                });
      return sum;
    }
  } // namespace

  template <int dim>
  FieldVariances pointwise_variances(const FieldSet<dim> &fields, unsigned int field, const SampleGroups &groups,
                                     const Family *family, const VarianceSettings &settings)
  {
    const auto &prior     = fields.prior();
    const bool exact      = fields[field].space().dof_handler().n_dofs() <= settings.exact_limit;
    const auto correction = family != nullptr ? family->low_rank_correction() : std::nullopt;
    const auto squares    = [&](const Vector &weights)
    { return weighted_squares(fields, field, correction->modes, weights); };
    if (!exact && correction)
    {
      // z − U(Vᵀz) sees only what the correction leaves alone. (The prior's estimate less the correction would be noise
      // where the posterior is narrow.)
      const PointwiseVariance complement =
          by_draws<dim>(fields, field, groups, settings,
                        [&](const auto &keys)
                        {
                          const MultiVector z = prior.draws(keys, tolerance_for_averages);
                          return MultiVector(z - product(correction->modes, prior.layout().gram(correction->dual, z)));
                        });
      const Vector ones = Vector::Ones(correction->shrinkage.size());
      return {{complement.values + squares(ones), complement.relative_error},
              {complement.values + squares(ones - correction->shrinkage), complement.relative_error}};
    }
    FieldVariances result;
    if (exact)
      result.prior.values = by_unit_vectors<dim>(fields, field, groups,
                                                 [&](const MultiVector &dual)
                                                 {
                                                   const MultiVector noise = prior.apply_factor_transpose(dual);
                                                   return prior.noise_layout().column_dots(noise, noise);
                                                 });
    else
      result.prior = by_draws<dim>(fields, field, groups, settings,
                                   [&](const auto &keys) { return prior.draws(keys, tolerance_for_averages); });
    if (family == nullptr)
      result.posterior = result.prior;
    else if (correction)
      result.posterior.values = (result.prior.values - squares(correction->shrinkage)).cwiseMax(0.);
    else if (exact)
      result.posterior.values = by_unit_vectors<dim>(
          fields, field, groups,
          [&](const MultiVector &dual) { return prior.layout().column_dots(dual, family->covariance(dual)); });
    else
      result.posterior = by_draws<dim>(fields, field, groups, settings,
                                       [&](const auto &keys)
                                       {
                                         MultiVector deviations(family->mean().size(), keys.size());
                                         for (std::size_t k = 0; k < keys.size(); ++k)
                                           deviations.col(static_cast<Index>(k)) =
                                               family->sample(keys[k]).m - family->mean();
                                         return deviations;
                                       });
    return result;
  }

  template FieldVariances pointwise_variances<2>(const FieldSet<2> &, unsigned int, const SampleGroups &,
                                                 const Family *, const VarianceSettings &);
  template FieldVariances pointwise_variances<3>(const FieldSet<3> &, unsigned int, const SampleGroups &,
                                                 const Family *, const VarianceSettings &);
} // namespace varfield
