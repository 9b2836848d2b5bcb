#include <varfield/transfer.h>

namespace varfield
{
  template <int dim>
  FieldTransfer<dim>::FieldTransfer(const FieldSet<dim> &coarse, const FieldSet<dim> &fine)
      : Transfer(coarse.prior(), fine.prior()), coarse_(coarse), fine_(fine)
  {
    for (unsigned int f = 0; f < fine.size(); ++f)
      interpolations_.push_back(fine[f].space().is_nodal()
                                    ? std::make_unique<Interpolation<dim>>(coarse[f].space().dof_handler(),
                                                                           coarse[f].space().mesh(),
                                                                           fine[f].space().dof_handler())
                                    : nullptr);
  }

  template <int dim>
  MultiVector FieldTransfer<dim>::interpolate(const MultiVector &sources) const
  {
    MultiVector fine(fine_.prior().layout().n_local(), sources.cols());
    for (unsigned int f = 0; f < fine_.size(); ++f)
    {
      const MultiVector part = coarse_.part(sources, f);
      const Index n_coarse = coarse_[f].space().layout().n_local(), n_fine = fine_[f].space().layout().n_local();
      const Index n_trend     = fine_[f].n_local() - n_fine;
      const MultiVector inner = part.topRows(n_coarse);
      fine.middleRows(fine_.offset(f), n_fine) =
          interpolations_[f] ? fine_[f].space().extract(interpolations_[f]->apply(coarse_[f].space().expand(inner)))
                             : inner;
      fine.middleRows(fine_.offset(f) + n_fine, n_trend) = part.bottomRows(n_trend);
    }
    return fine;
  }

  template <int dim>
  MultiVector FieldTransfer<dim>::restrict_load(const MultiVector &fine_load) const
  {
    MultiVector coarse(coarse_.prior().layout().n_local(), fine_load.cols());
    for (unsigned int f = 0; f < fine_.size(); ++f)
    {
      const MultiVector part = fine_.part(fine_load, f);
      const auto &from = fine_[f].space(), &to = coarse_[f].space();
      const Index n_fine = from.layout().n_local(), n_coarse = to.layout().n_local(), n_trend = part.rows() - n_fine;
      const MultiVector inner = part.topRows(n_fine);
      coarse.middleRows(coarse_.offset(f), n_coarse) =
          interpolations_[f] ? to.restrict(interpolations_[f]->apply_transpose(from.embed(inner))) : inner;
      coarse.middleRows(coarse_.offset(f) + n_coarse, n_trend) = part.bottomRows(n_trend);
    }
    return coarse;
  }

  template class FieldTransfer<2>;
  template class FieldTransfer<3>;
} // namespace varfield
