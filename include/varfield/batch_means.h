#ifndef varfield_batch_means_h
#define varfield_batch_means_h

#include <varfield/parallel.h>

namespace varfield
{
  /// Means and variances of many numbers along a chain, of which only sums over batches of equal length are kept: at
  /// most `most`, neighbours being added together when there would be more.
  class BatchMeans
  {
  public:
    /// Sums are those of x − `centre`, which should be near the mean. `most` is even.
    explicit BatchMeans(Vector centre, Index most = 32);
    void add(const Vector &x);

    const Vector &centre() const { return centre_; }
    /// Draws in a batch, and batches that are full.
    Index length() const { return length_; }
    Index n_batches() const { return static_cast<Index>(sums_.size()); }
    /// Σ (x − centre) and Σ (x − centre)² of a full batch.
    const Vector &sum(Index batch) const { return sums_[static_cast<std::size_t>(batch)]; }
    const Vector &squares(Index batch) const { return squares_[static_cast<std::size_t>(batch)]; }
    /// The same of all draws.
    const Vector &total() const { return total_; }
    const Vector &total_squares() const { return total_squares_; }
    double n_draws() const { return n_draws_; }

    /// All that is held, as columns, and back from them and the number of draws.
    MultiVector columns() const;
    static BatchMeans from_columns(const MultiVector &columns, Index n_draws, Index most = 32);

  private:
    void merge();

    Vector centre_, total_, total_squares_;
    Vector sum_, square_; ///< of the batch that is being filled
    double n_draws_ = 0.;
    Index most_, length_ = 1, filled_ = 0;
    std::vector<Vector> sums_, squares_;
  };

  /// What several chains say about many numbers.
  struct ChainMoments
  {
    Vector mean, deviation;
    Vector mean_error, deviation_error; ///< standard errors, from the scatter of the batch means
    Vector ess;                         ///< variance/mean_error², at most the number of draws
    Vector rhat;                        ///< split R-hat of the plain numbers
  };

  /// Averages over all draws of all chains, of which each group has its own (`n_chains` in all, of equal length), with
  /// errors from the full batches. A number that never changes has errors 0, R-hat 1 and the full sample size.
  /// Collective over the groups.
  ChainMoments combine(const SampleGroups &groups, const std::vector<const BatchMeans *> &own, unsigned int n_chains);
} // namespace varfield

#endif
