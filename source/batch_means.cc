#include <cmath>
#include <limits>
#include <varfield/batch_means.h>

namespace varfield
{
  BatchMeans::BatchMeans(Vector centre, Index most)
      : centre_(std::move(centre)),
        total_(Vector::Zero(centre_.size())),
        total_squares_(total_),
        sum_(total_),
        square_(total_),
        most_(most)
  {
  }

  void BatchMeans::add(const Vector &x)
  {
    const Vector shifted = x - centre_;
    const Vector squared = shifted.cwiseAbs2();
    total_ += shifted;
    total_squares_ += squared;
    sum_ += shifted;
    square_ += squared;
    n_draws_ += 1.;
    if (++filled_ < length_)
      return;
    sums_.push_back(sum_);
    squares_.push_back(square_);
    sum_.setZero();
    square_.setZero();
    filled_ = 0;
    if (n_batches() == most_)
      merge();
  }

  void BatchMeans::merge()
  {
    for (std::size_t b = 0; b < sums_.size() / 2; ++b)
    {
      sums_[b]    = sums_[2 * b] + sums_[2 * b + 1];
      squares_[b] = squares_[2 * b] + squares_[2 * b + 1];
    }
    sums_.resize(sums_.size() / 2);
    squares_.resize(sums_.size());
    length_ *= 2;
  }

  MultiVector BatchMeans::columns() const
  {
    MultiVector result(centre_.size(), 5 + 2 * n_batches());
    result.leftCols(5) << centre_, total_, total_squares_, sum_, square_;
    for (Index b = 0; b < n_batches(); ++b)
    {
      result.col(5 + 2 * b) = sum(b);
      result.col(6 + 2 * b) = squares(b);
    }
    return result;
  }

  BatchMeans BatchMeans::from_columns(const MultiVector &columns, Index n_draws, Index most)
  {
    BatchMeans result(columns.col(0), most);
    result.total_         = columns.col(1);
    result.total_squares_ = columns.col(2);
    result.sum_           = columns.col(3);
    result.square_        = columns.col(4);
    result.n_draws_       = static_cast<double>(n_draws);
    const Index n_batches = (columns.cols() - 5) / 2;
    for (Index b = 0; b < n_batches; ++b)
    {
      result.sums_.push_back(columns.col(5 + 2 * b));
      result.squares_.push_back(columns.col(6 + 2 * b));
    }
    // Lengths double when there are too many batches.
    while (n_draws / result.length_ > n_batches)
      result.length_ *= 2;
    result.filled_ = n_draws - n_batches * result.length_;
    return result;
  }

  namespace
  {
    /// Sums over the halves of chains.
    struct HalfChains
    {
      Vector within, means, square_means;
      explicit HalfChains(Index n) : within(Vector::Zero(n)), means(within), square_means(within) {}
    };
  } // namespace

  ChainMoments combine(const SampleGroups &groups, const std::vector<const BatchMeans *> &own, unsigned int n_chains)
  {
    const BatchMeans &first = *own.front();
    const Index n = first.centre().size(), n_batches = first.n_batches() - first.n_batches() % 2, half = n_batches / 2;
    const double length    = static_cast<double>(first.length());
    const double total     = first.n_draws() * n_chains;
    const double n_halves  = 2. * n_chains;
    const double half_size = length * static_cast<double>(half);

    Vector sum = Vector::Zero(n), square = sum;
    HalfChains halves(n);
    for (const BatchMeans *chain : own)
    {
      sum += chain->total();
      square += chain->total_squares();
      for (Index h = 0; h < 2; ++h)
      {
        Vector s = Vector::Zero(n), q = s;
        for (Index b = h * half; b < (h + 1) * half; ++b)
        {
          s += chain->sum(b);
          q += chain->squares(b);
        }
        halves.within += (q - s.cwiseAbs2() / half_size) / (half_size - 1.);
        halves.means += s / half_size;
        halves.square_means += (s / half_size).cwiseAbs2();
      }
    }
    for (Vector *x : {&sum, &square, &halves.within, &halves.means, &halves.square_means})
      groups.sum(*x);

    ChainMoments result;
    const Vector shift    = sum / total;
    const Vector variance = (square / total - shift.cwiseAbs2()).cwiseMax(0.) * (total / (total - 1.));
    result.mean           = first.centre() + shift;
    result.deviation      = variance.cwiseSqrt();

    // Scatter of the batches' means, and of their means of (x − mean)².
    Vector of_mean = Vector::Zero(n), of_variance = of_mean;
    for (const BatchMeans *chain : own)
      for (Index b = 0; b < n_batches; ++b)
      {
        const Vector mean = chain->sum(b) / length;
        of_mean += (mean - shift).cwiseAbs2();
        of_variance +=
            (chain->squares(b) / length - 2. * shift.cwiseProduct(mean) + shift.cwiseAbs2() - variance).cwiseAbs2();
      }
    groups.sum(of_mean);
    groups.sum(of_variance);
    const double n_all     = static_cast<double>(n_batches) * n_chains;
    const double share     = n_all * length / total;
    result.mean_error      = (share * of_mean / (n_all * (n_all - 1.))).cwiseSqrt();
    const Vector error     = (share * of_variance / (n_all * (n_all - 1.))).cwiseSqrt();
    result.deviation_error = Vector::Zero(n);
    result.ess             = Vector::Constant(n, total);
    result.rhat            = Vector::Ones(n);
    for (Index i = 0; i < n; ++i)
    {
      // Rounding only.
      if (variance[i] <= 1e-20 * (result.mean[i] * result.mean[i] + shift[i] * shift[i]))
        continue;
      result.deviation_error[i] = error[i] / (2. * result.deviation[i]);
      if (result.mean_error[i] > 0.)
        result.ess[i] = std::min(total, variance[i] / (result.mean_error[i] * result.mean_error[i]));
      const double within  = halves.within[i] / n_halves;
      const double mean    = halves.means[i] / n_halves;
      const double between = (halves.square_means[i] - n_halves * mean * mean) / (n_halves - 1.);
      result.rhat[i]       = within > 0. ? std::sqrt((half_size - 1.) / half_size + std::max(0., between) / within)
                                         : std::numeric_limits<double>::infinity();
    }
    return result;
  }
} // namespace varfield
