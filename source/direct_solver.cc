#include <deal.II/base/mpi.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <dmumps_c.h>
#include <numeric>
#include <petscmat.h>
#include <type_traits>
#include <varfield/direct_solver.h>
#include <varfield/timing.h>

namespace varfield
{
  namespace
  {
    // Jobs of MUMPS, and the entries of its control and information arrays by the numbers of its manual.
    constexpr MUMPS_INT job_begin = -1, job_end = -2, job_analyse = 1, job_factorise = 2, job_solve = 3;
    // Errors that a larger workspace cures: its integers, its numbers, buffers for sending and receiving.
    constexpr std::array<MUMPS_INT, 4> workspace_errors{{-8, -9, -17, -20}};
    static_assert(std::is_same<MUMPS_INT, int>::value, "Messages are sent as MPI_INT.");
    constexpr int columns_at_a_time = 64, columns_sent_at_a_time = 8;
    /// Share of entries up to which a block of right-hand sides is given as a sparse one.
    constexpr double sparse_share = 0.01;

    /// Rows of the solution go from where the tree of MUMPS has them to the ranks that own them.
    class WayHome
    {
    public:
      /// `held`: the global rows, from 1, that this rank has; `ends`: the first row after those of each rank.
      /// Collective.
      WayHome(MPI_Comm comm, const std::vector<MUMPS_INT> &held, const std::vector<PetscInt> &ends)
          : comm_(comm), to_send_(ends.size(), 0), to_receive_(ends.size(), 0), order_(held.size())
      {
        std::iota(order_.begin(), order_.end(), 0);
        std::sort(order_.begin(), order_.end(), [&](int a, int b) { return held[a] < held[b]; });
        std::vector<MUMPS_INT> rows;
        std::size_t owner = 0;
        for (const int i : order_)
        {
          while (held[i] - 1 >= ends[owner])
            ++owner;
          ++to_send_[owner];
          rows.push_back(held[i]);
        }
        MPI_Alltoall(to_send_.data(), 1, MPI_INT, to_receive_.data(), 1, MPI_INT, comm_);
        rows_.resize(std::accumulate(to_receive_.begin(), to_receive_.end(), std::size_t(0)));
        const auto from = offsets(to_send_), to = offsets(to_receive_);
        MPI_Alltoallv(rows.data(), to_send_.data(), from.data(), MPI_INT, rows_.data(), to_receive_.data(), to.data(),
                      MPI_INT, comm_);
        const int me      = static_cast<int>(dealii::Utilities::MPI::this_mpi_process(comm_));
        const auto before = me == 0 ? 0 : ends[me - 1];
        for (MUMPS_INT &row : rows_)
          row -= static_cast<MUMPS_INT>(before) + 1;
      }

      /// Rows of `solution` as `held`, rows of x as owned. Collective.
      void bring(const MultiVector &solution, MultiVector &x) const
      {
        const LoggedEvent logged("solution home");
        const auto from = offsets(to_send_), to = offsets(to_receive_);
        for (Index first = 0; first < x.cols(); first += columns_sent_at_a_time)
        {
          const Index n = std::min<Index>(columns_sent_at_a_time, x.cols() - first);
          sent_.resize(static_cast<Index>(order_.size()), n);
          received_.resize(static_cast<Index>(rows_.size()), n);
          MPI_Datatype row;
          MPI_Type_contiguous(static_cast<int>(n), MPI_DOUBLE, &row);
          MPI_Type_commit(&row);
          // What goes to a rank is a block of columns of its own, so that both sides read and write along columns.
          for_blocks(to_send_, n,
                     [&](Index place, int i, Index j) { sent_.data()[place] = solution(order_[i], first + j); });
          MPI_Alltoallv(sent_.data(), to_send_.data(), from.data(), row, received_.data(), to_receive_.data(),
                        to.data(), row, comm_);
          for_blocks(to_receive_, n,
                     [&](Index place, int i, Index j) { x(rows_[i], first + j) = received_.data()[place]; });
          MPI_Type_free(&row);
        }
      }

    private:
      static std::vector<int> offsets(const std::vector<int> &counts)
      {
        std::vector<int> result(counts.size(), 0);
        std::partial_sum(counts.begin(), counts.end() - 1, result.begin() + 1);
        return result;
      }

      /// work(place, row, column) for blocks with these numbers of rows and n columns, one after the other.
      template <class Work>
      static void for_blocks(const std::vector<int> &rows, Index n, const Work &work)
      {
        int first   = 0;
        Index place = 0;
        for (const int count : rows)
        {
          for (Index j = 0; j < n; ++j)
            for (int i = first; i < first + count; ++i)
              work(place++, i, j);
          first += count;
        }
      }

      MPI_Comm comm_;
      std::vector<int> to_send_, to_receive_; ///< rows for and from every rank
      std::vector<int> order_;                ///< places in MUMPS's solution, in the order of the global rows
      std::vector<MUMPS_INT> rows_;           ///< local rows of what comes in
      mutable MultiVector sent_, received_;
    };

    /// The entries of a block that are not zero, on the first rank, by columns.
    struct SparseBlock
    {
      std::vector<double> values;
      std::vector<MUMPS_INT> rows, starts;
    };

    /// Where MUMPS has the rows of solutions, and their way home, made with the first solution after a factorisation.
    struct Home
    {
      std::vector<MUMPS_INT> rows; ///< from 1
      std::unique_ptr<WayHome> way;
    };

    class DirectSolver : public LinearSolver
    {
    public:
      DirectSolver(MatrixKind kind, bool quick_ordering)
          : symmetric_(kind != MatrixKind::general), quick_ordering_(quick_ordering)
      {
      }
      ~DirectSolver() override
      {
        if (comm_ == MPI_COMM_NULL)
          return;
        call(job_end);
        MPI_Comm_free(&comm_);
      }

      bool set_matrix(Mat a) override
      {
        for (Home &home : homes_)
          home.way.reset();
        if (comm_ == MPI_COMM_NULL)
        {
          begin(a);
          read_pattern(a);
        }
        read_values(a);
        if (!is_analysed_)
        {
          call(job_analyse);
          is_analysed_ = mumps_.infog[0] >= 0;
          if (!is_analysed_)
            return false;
        }
        call(job_factorise);
        for (int attempt = 0; attempt < 3 && too_little_workspace(); ++attempt)
        {
          icntl(14) *= 2;
          call(job_factorise);
        }
        // MUMPS fails silently: its own error code, the number of negative pivots and the determinant tell.
        log_determinant_ = std::log(std::abs(mumps_.rinfog[11])) + mumps_.infog[33] * std::log(2.);
        return mumps_.infog[0] >= 0 && std::isfinite(log_determinant_) && !(symmetric_ && mumps_.infog[11] > 0);
      }

      bool is_iterative() const override { return false; }

      bool solve(MultiVector &x, bool transpose, double) const override
      {
        if (x.cols() == 0)
          return true;
        icntl(9)    = transpose && !symmetric_ ? 0 : 1;
        mumps_.nrhs = static_cast<MUMPS_INT>(x.cols());
        mumps_.lrhs = mumps_.n;
        // Every rank has the same numbers of entries before it decides.
        const auto entries = dealii::Utilities::MPI::sum(static_cast<double>((x.array() != 0.).count()), comm_);
        if (entries == 0.)
          return true;
        const bool sparse = entries <= sparse_share * mumps_.n * static_cast<double>(x.cols());
        SparseBlock block;
        if (sparse)
          give_sparse(x, block);
        n_ranks_ == 1 ? solve_here(x, sparse) : solve_spread(x, homes_[mumps_.icntl[8]], sparse);
        return mumps_.infog[0] >= 0;
      }

      double log_determinant() const override { return log_determinant_; }

    private:
      MUMPS_INT &icntl(int number) const { return mumps_.icntl[number - 1]; }
      void call(MUMPS_INT job) const
      {
        const LoggedEvent logged(job == job_solve ? "MUMPS solve"
                                 : job == job_end ? "MUMPS end"
                                                  : "MUMPS factorisation");
        mumps_.job = job;
        dmumps_c(&mumps_);
      }
      bool too_little_workspace() const
      {
        return std::count(workspace_errors.begin(), workspace_errors.end(), mumps_.infog[0]) > 0;
      }

      void begin(Mat a)
      {
        MPI_Comm_dup(PetscObjectComm(reinterpret_cast<PetscObject>(a)), &comm_);
        n_ranks_               = static_cast<int>(dealii::Utilities::MPI::n_mpi_processes(comm_));
        first_rank_            = dealii::Utilities::MPI::this_mpi_process(comm_) == 0;
        const PetscInt *ranges = nullptr;
        MatGetOwnershipRanges(a, &ranges);
        first_row_ = ranges[dealii::Utilities::MPI::this_mpi_process(comm_)];
        ends_.assign(ranges + 1, ranges + n_ranks_ + 1);
        mumps_.comm_fortran = MPI_Comm_c2f(comm_);
        mumps_.par          = 1;
        mumps_.sym          = symmetric_ ? 1 : 0;
        call(job_begin);
        for (const int stream : {1, 2, 3, 4})
          icntl(stream) = stream == 4 ? 0 : -1; // no messages
        icntl(7)  = quick_ordering_ ? 6 : 7;
        icntl(13) = 1; // no ScaLAPACK on the root front: faster on few ranks
        icntl(18) = 3; // entries of the matrix stay on the rank of their row
        icntl(27) = columns_at_a_time;
        icntl(33) = 1; // compute the determinant
      }

      template <class Take>
      void for_entries(Mat a, const Take &take) const
      {
        PetscInt first = 0, end = 0;
        MatGetOwnershipRange(a, &first, &end);
        for (PetscInt row = first; row < end; ++row)
        {
          PetscInt n               = 0;
          const PetscInt *columns  = nullptr;
          const PetscScalar *value = nullptr;
          MatGetRow(a, row, &n, &columns, &value);
          for (PetscInt k = 0; k < n; ++k)
            if (!symmetric_ || columns[k] >= row)
              take(row, columns[k], value[k]);
          MatRestoreRow(a, row, &n, &columns, &value);
        }
      }

      void read_pattern(Mat a)
      {
        PetscInt n = 0;
        MatGetSize(a, &n, nullptr);
        for_entries(a,
                    [this](PetscInt row, PetscInt column, double)
                    {
                      rows_.push_back(static_cast<MUMPS_INT>(row) + 1);
                      columns_.push_back(static_cast<MUMPS_INT>(column) + 1);
                    });
        values_.resize(rows_.size());
        mumps_.n       = static_cast<MUMPS_INT>(n);
        mumps_.nnz_loc = static_cast<MUMPS_INT8>(rows_.size());
        mumps_.irn_loc = rows_.data();
        mumps_.jcn_loc = columns_.data();
        mumps_.a_loc   = values_.data();
        for (PetscInt row = first_row_; row < ends_[dealii::Utilities::MPI::this_mpi_process(comm_)]; ++row)
          own_rows_.push_back(static_cast<MUMPS_INT>(row) + 1);
      }

      void read_values(Mat a)
      {
        std::size_t next = 0;
        for_entries(a, [this, &next](PetscInt, PetscInt, double value) { values_.at(next++) = value; });
        Assert(next == values_.size(), dealii::ExcMessage("The sparsity pattern of a factorised matrix changed."));
      }

      /// A single rank: the solution takes the place of the right-hand sides.
      void solve_here(MultiVector &x, bool sparse) const
      {
        icntl(20)  = sparse ? 3 : 0;
        icntl(21)  = 0;
        mumps_.rhs = x.data();
        call(job_solve);
      }

      void solve_spread(MultiVector &x, Home &home, bool sparse) const
      {
        static double nothing = 0.; // for a rank without rows
        icntl(20)             = sparse ? 3 : 10;
        icntl(21)             = 1;
        mumps_.rhs            = nullptr;
        mumps_.rhs_loc        = x.size() > 0 ? x.data() : &nothing;
        mumps_.irhs_loc       = const_cast<MUMPS_INT *>(own_rows_.data());
        mumps_.nloc_rhs       = static_cast<MUMPS_INT>(own_rows_.size());
        mumps_.lrhs_loc       = std::max<MUMPS_INT>(1, mumps_.nloc_rhs);
        const auto held       = static_cast<std::size_t>(mumps_.info[22]);
        home.rows.resize(std::max<std::size_t>(1, held));
        MultiVector solution(static_cast<Index>(home.rows.size()), x.cols());
        mumps_.sol_loc  = solution.data();
        mumps_.isol_loc = home.rows.data();
        mumps_.lsol_loc = static_cast<MUMPS_INT>(home.rows.size());
        call(job_solve);
        if (mumps_.infog[0] < 0)
          return;
        if (!home.way)
        {
          home.rows.resize(held);
          home.way = std::make_unique<WayHome>(comm_, home.rows, ends_);
        }
        home.way->bring(solution, x);
      }

      /// Gathers the entries on the first rank. Collective.
      void give_sparse(const MultiVector &x, SparseBlock &block) const
      {
        std::vector<MUMPS_INT> places; // column, row, column, row …
        std::vector<double> values;
        for (Index j = 0; j < x.cols(); ++j)
          for (Index i = 0; i < x.rows(); ++i)
            if (x(i, j) != 0.)
            {
              places.push_back(static_cast<MUMPS_INT>(j));
              places.push_back(static_cast<MUMPS_INT>(first_row_ + i) + 1);
              values.push_back(x(i, j));
            }
        const auto all_places = dealii::Utilities::MPI::gather(comm_, places, 0);
        const auto all_values = dealii::Utilities::MPI::gather(comm_, values, 0);
        if (!first_rank_)
          return;
        std::vector<MUMPS_INT> &starts = block.starts;
        starts.assign(static_cast<std::size_t>(x.cols()) + 1, 0);
        for (const auto &part : all_places)
          for (std::size_t k = 0; k < part.size(); k += 2)
            ++starts[part[k] + 1];
        std::partial_sum(starts.begin(), starts.end(), starts.begin());
        std::vector<MUMPS_INT> next(starts.begin(), starts.end() - 1);
        block.values.resize(static_cast<std::size_t>(starts.back()));
        block.rows.resize(block.values.size());
        for (std::size_t rank = 0; rank < all_places.size(); ++rank)
          for (std::size_t k = 0; k < all_values[rank].size(); ++k)
          {
            const MUMPS_INT place = next[all_places[rank][2 * k]]++;
            block.rows[place]     = all_places[rank][2 * k + 1];
            block.values[place]   = all_values[rank][k];
          }
        for (MUMPS_INT &start : starts)
          ++start;
        mumps_.nz_rhs      = static_cast<MUMPS_INT>(block.values.size());
        mumps_.rhs_sparse  = block.values.data();
        mumps_.irhs_sparse = block.rows.data();
        mumps_.irhs_ptr    = starts.data();
      }

      const bool symmetric_, quick_ordering_;
      mutable DMUMPS_STRUC_C mumps_ = {};
      MPI_Comm comm_                = MPI_COMM_NULL; ///< like that of the matrix
      int n_ranks_                  = 1;
      bool first_rank_              = true;
      PetscInt first_row_           = 0;
      std::vector<PetscInt> ends_;            ///< the first row after those of each rank
      std::vector<MUMPS_INT> rows_, columns_; ///< of the entries of this rank, from 1
      std::vector<double> values_;            ///< of them
      std::vector<MUMPS_INT> own_rows_;       ///< from 1
      mutable std::array<Home, 2> homes_;     ///< of transposed solves, whose rows may be elsewhere, and of others
      bool is_analysed_       = false;
      double log_determinant_ = 0.;
    };
  } // namespace

  std::unique_ptr<LinearSolver> make_direct(MatrixKind kind, bool quick_ordering)
  {
    return std::make_unique<DirectSolver>(kind, quick_ordering);
  }
} // namespace varfield
