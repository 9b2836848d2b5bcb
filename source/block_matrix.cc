#include <algorithm>
#include <cmath>
#include <varfield/block_matrix.h>
#include <varfield/exceptions.h>
#include <varfield/timing.h>

namespace varfield
{
  namespace
  {
    /// The arrays of a local matrix of PETSc, until they are given back.
    RowsView take(Mat a)
    {
      RowsView rows;
      PetscBool done = PETSC_FALSE;
      MatGetRowIJ(a, 0, PETSC_FALSE, PETSC_FALSE, &rows.n_rows, &rows.start, &rows.column, &done);
      MatSeqAIJGetArrayRead(a, &rows.value);
      return rows;
    }

    void give_back(Mat a, RowsView &rows)
    {
      PetscBool done = PETSC_FALSE;
      MatRestoreRowIJ(a, 0, PETSC_FALSE, PETSC_FALSE, &rows.n_rows, &rows.start, &rows.column, &done);
      MatSeqAIJRestoreArrayRead(a, &rows.value);
    }

    class LocalRows : public RowsView
    {
    public:
      explicit LocalRows(Mat a) : RowsView(take(a)), a_(a) {}
      ~LocalRows() { give_back(a_, *this); }
      LocalRows(const LocalRows &)            = delete;
      LocalRows &operator=(const LocalRows &) = delete;

    private:
      Mat a_;
    };

    /// Where each local number is in an order.
    Order places(const Order &order, int n)
    {
      Order result(static_cast<std::size_t>(n));
      for (int i = 0; i < n; ++i)
        result[order.empty() ? i : order[i]] = i;
      return result;
    }

    /// `columns`: new local numbers of columns, empty if they stay.
    CompressedRows copy_of(Mat a, const Order &order, const Order &columns = {})
    {
      const LocalRows rows(a);
      CompressedRows copy;
      copy.start.reserve(rows.n_rows + 1);
      copy.column.reserve(rows.start[rows.n_rows]);
      copy.value.reserve(rows.start[rows.n_rows]);
      for (int i = 0; i < rows.n_rows; ++i)
      {
        const int row = order.empty() ? i : order[i];
        for (int k = rows.start[row]; k < rows.start[row + 1]; ++k)
        {
          copy.column.push_back(columns.empty() ? rows.column[k] : columns[rows.column[k]]);
          copy.value.push_back(rows.value[k]);
        }
        copy.start.push_back(static_cast<int>(copy.column.size()));
      }
      return copy;
    }

    struct Parts
    {
      Mat diagonal = nullptr, off_diagonal = nullptr;
      const PetscInt *ghosts = nullptr;
      PetscInt n_ghosts      = 0;
    };

    Parts parts_of(Mat a)
    {
      Parts parts;
      MatMPIAIJGetSeqAIJ(a, &parts.diagonal, &parts.off_diagonal, &parts.ghosts);
      MatGetSize(parts.off_diagonal, nullptr, &parts.n_ghosts);
      return parts;
    }

    std::unique_ptr<Halo> halo_of(Mat a, const Parts &parts, const Order &order)
    {
      PetscLayout rows = nullptr, columns = nullptr;
      MatGetLayouts(a, &rows, &columns);
      return std::make_unique<Halo>(PetscObjectComm(reinterpret_cast<PetscObject>(a)), columns, parts.n_ghosts,
                                    parts.ghosts, order);
    }

    /// A multiplication and an addition for each entry of a matrix and each lane, for PETSc's log.
    template <class N>
    void log_products(std::size_t entries)
    {
      PetscLogFlops(2. * static_cast<double>(entries) * n_lanes<N>);
    }

    std::size_t n_entries(const SplitRows &rows)
    {
      return rows.lower.value.size() + rows.upper.value.size() + rows.ghost.value.size() + rows.diagonal.size();
    }

    std::size_t n_entries(const RowsView &rows)
    {
      return static_cast<std::size_t>(rows.start[rows.n_rows]);
    }
  } // namespace

  Halo::Halo(MPI_Comm comm, PetscLayout layout, PetscInt n_ghosts, const PetscInt *ghosts, const Order &order)
      : n_ghosts_(static_cast<std::size_t>(n_ghosts))
  {
    int n_ranks = 1;
    MPI_Comm_size(comm, &n_ranks);
    alone_ = n_ranks == 1;
    if (alone_)
      return;
    PetscSFCreate(comm, &sf_);
    PetscSFSetGraphLayout(sf_, layout, n_ghosts, nullptr, PETSC_COPY_VALUES, ghosts);
    reorder(order);
    MPI_Type_contiguous(Pack::size, MPI_DOUBLE, &pack_);
    MPI_Type_commit(&pack_);
  }

  /// Other ranks keep what is needed of them in orders of their own.
  void Halo::reorder(const Order &order)
  {
    PetscInt n_owned = 0, n_leaves = 0;
    const PetscInt *leaves    = nullptr;
    const PetscSFNode *remote = nullptr;
    PetscSFSetUp(sf_);
    PetscSFGetGraph(sf_, &n_owned, &n_leaves, &leaves, &remote);
    const Order owned = places(order, n_owned);
    Order ghosts(n_ghosts_);
    PetscSFBcastBegin(sf_, MPI_INT, owned.data(), ghosts.data(), MPI_REPLACE);
    PetscSFBcastEnd(sf_, MPI_INT, owned.data(), ghosts.data(), MPI_REPLACE);
    std::vector<PetscSFNode> nodes(remote, remote + n_leaves);
    for (std::size_t i = 0; i < nodes.size(); ++i)
      nodes[i].index = ghosts[i];
    PetscSFSetGraph(sf_, n_owned, n_leaves, nullptr, PETSC_COPY_VALUES, nodes.data(), PETSC_COPY_VALUES);
    PetscSFSetUp(sf_);
  }

  Halo::~Halo()
  {
    PetscSFDestroy(&sf_);
    if (pack_ != MPI_DATATYPE_NULL)
      MPI_Type_free(&pack_);
  }

  template <class N>
  void Halo::gather(const N *owned, std::vector<N> &ghosts) const
  {
    ghosts.resize(n_ghosts_);
    if (alone_)
      return;
    const LoggedEvent logged("ghost values");
    PetscSFBcastBegin(sf_, type(N()), owned, ghosts.data(), MPI_REPLACE);
    PetscSFBcastEnd(sf_, type(N()), owned, ghosts.data(), MPI_REPLACE);
  }

  template <class N>
  void Halo::add(const std::vector<N> &ghosts, N *owned) const
  {
    if (alone_)
      return;
    const LoggedEvent logged("ghost values");
    PetscSFReduceBegin(sf_, type(N()), ghosts.data(), owned, MPI_SUM);
    PetscSFReduceEnd(sf_, type(N()), ghosts.data(), owned, MPI_SUM);
  }

  void BlockMatrix::copy_pattern(Mat diagonal, Mat off_diagonal)
  {
    const LocalRows rows(diagonal);
    rows_.ghost = copy_of(off_diagonal, order_);
    rows_.diagonal.resize(rows.n_rows);
    rows_.inverse_diagonal.resize(rows.n_rows);
    from_.reserve(rows.start[rows.n_rows]);
    const Order place = places(order_, rows.n_rows);
    std::vector<std::pair<int, int>> entries; // column and where it is
    for (int i = 0; i < rows.n_rows; ++i)
    {
      const int row = order_.empty() ? i : order_[i];
      entries.clear();
      bool has_diagonal = false;
      for (int k = rows.start[row]; k < rows.start[row + 1]; ++k)
      {
        entries.emplace_back(place[rows.column[k]], k);
        has_diagonal = has_diagonal || rows.column[k] == row;
      }
      if (!has_diagonal)
        entries.emplace_back(i, -1);
      std::sort(entries.begin(), entries.end());
      const auto middle = std::find_if(entries.begin(), entries.end(), [i](const auto &e) { return e.first == i; });
      std::reverse(middle + 1, entries.end());
      for (auto entry = entries.begin(); entry != entries.end(); ++entry)
      {
        from_.push_back(entry->second);
        if (entry < middle)
          rows_.lower.column.push_back(entry->first);
        else if (entry > middle)
          rows_.upper.column.push_back(entry->first);
      }
      rows_.lower.start.push_back(static_cast<int>(rows_.lower.column.size()));
      rows_.upper.start.push_back(static_cast<int>(rows_.upper.column.size()));
    }
    for (auto *part : {&rows_.lower, &rows_.upper})
    {
      part->column.shrink_to_fit();
      part->value.resize(part->column.size());
    }
  }

  bool BlockMatrix::set(Mat a, bool positive)
  {
    const Parts parts = parts_of(a);
    if (!halo_)
    {
      halo_ = halo_of(a, parts, order_);
      copy_pattern(parts.diagonal, parts.off_diagonal);
    }
    const LocalRows rows(parts.diagonal), ghost(parts.off_diagonal);
    auto &lower = rows_.lower, &upper = rows_.upper;
    auto *to        = rows_.ghost.value.data();
    const int *from = from_.data();
    bool regular    = true;
    for (int i = 0; i < rows.n_rows; ++i)
    {
      const int row = order_.empty() ? i : order_[i];
      to            = std::copy(ghost.value + ghost.start[row], ghost.value + ghost.start[row + 1], to);
      for (int k = lower.start[i]; k < lower.start[i + 1]; ++k)
        lower.value[k] = rows.value[*from++];
      const double diagonal = *from >= 0 ? rows.value[*from] : 0.;
      ++from;
      for (int k = upper.start[i]; k < upper.start[i + 1]; ++k)
        upper.value[k] = rows.value[*from++];
      rows_.diagonal[i]         = diagonal;
      rows_.inverse_diagonal[i] = 1. / diagonal;
      regular                   = regular && std::isfinite(rows_.inverse_diagonal[i]) && std::isfinite(diagonal) &&
                (!positive || diagonal > 0.);
    }
    int all = regular ? 1 : 0;
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, PetscObjectComm(reinterpret_cast<PetscObject>(a)));
    return all == 1;
  }

  template <class N>
  void BlockMatrix::multiply(const N *x, N *y) const
  {
    std::vector<N> ghosts;
    halo_->gather(x, ghosts);
    varfield::multiply(rows_, x, ghosts.data(), y);
    log_products<N>(n_entries(rows_));
  }

  template <class N>
  void BlockMatrix::smooth_from_zero(const N *b, N *x, N *r) const
  {
    sweep_forward(rows_, b, x);
    std::vector<N> ghosts;
    halo_->gather(x, ghosts);
    residual_after_forward(rows_, x, ghosts.data(), r);
    log_products<N>(n_entries(rows_));
  }

  template <class N>
  void BlockMatrix::smooth_backward(const N *b, N *x) const
  {
    std::vector<N> ghosts;
    halo_->gather(x, ghosts);
    sweep_backward(rows_, b, ghosts.data(), x);
    log_products<N>(n_entries(rows_));
  }

  BlockProduct::BlockProduct(Mat a) : a_(a)
  {
    const Parts parts = parts_of(a);
    diagonal_         = take(parts.diagonal);
    off_diagonal_     = take(parts.off_diagonal);
    halo_             = halo_of(a, parts, {});
    PetscInt columns  = 0;
    MatGetLocalSize(a, nullptr, &columns);
    n_columns_ = static_cast<std::size_t>(columns);
  }

  BlockProduct::BlockProduct(Mat a, const Order &rows, const Order &columns) : a_(nullptr)
  {
    const Parts parts = parts_of(a);
    PetscInt n        = 0;
    MatGetLocalSize(a, nullptr, &n);
    n_columns_         = static_cast<std::size_t>(n);
    diagonal_copy_     = copy_of(parts.diagonal, rows, places(columns, n));
    off_diagonal_copy_ = copy_of(parts.off_diagonal, rows);
    diagonal_          = diagonal_copy_.view();
    off_diagonal_      = off_diagonal_copy_.view();
    halo_              = halo_of(a, parts, columns);
  }

  BlockProduct::~BlockProduct()
  {
    if (a_ == nullptr)
      return;
    const Parts parts = parts_of(a_);
    give_back(parts.diagonal, diagonal_);
    give_back(parts.off_diagonal, off_diagonal_);
  }

  template <class N>
  void BlockProduct::add(const N *x, N *y) const
  {
    std::vector<N> ghosts;
    halo_->gather(x, ghosts);
    add_product(diagonal_, x, y);
    add_product(off_diagonal_, ghosts.data(), y);
    log_products<N>(n_entries(diagonal_) + n_entries(off_diagonal_));
  }

  template <class N>
  void BlockProduct::transposed(const N *x, N *y) const
  {
    std::fill(y, y + n_columns_, N{});
    add_transposed_product(diagonal_, x, y);
    std::vector<N> ghosts(halo_->n_ghosts(), N{});
    add_transposed_product(off_diagonal_, x, ghosts.data());
    halo_->add(ghosts, y);
    log_products<N>(n_entries(diagonal_) + n_entries(off_diagonal_));
  }

  template <class N>
  void load(const MultiVector &block, Index first, std::vector<N> &x, const Order &order)
  {
    const Index count = std::min<Index>(n_lanes<N>, block.cols() - first);
    std::fill(x.begin(), x.end(), N{});
    for (Index i = 0; i < block.rows(); ++i)
      for (Index j = 0; j < count; ++j)
        lanes(x[static_cast<std::size_t>(i)])[j] = block(order.empty() ? i : order[i], first + j);
  }

  template <class N>
  void store(const std::vector<N> &x, MultiVector &block, Index first, const Order &order)
  {
    const Index count = std::min<Index>(n_lanes<N>, block.cols() - first);
    for (Index i = 0; i < block.rows(); ++i)
      for (Index j = 0; j < count; ++j)
        block(order.empty() ? i : order[i], first + j) = lane(x[static_cast<std::size_t>(i)], static_cast<int>(j));
  }

#define VARFIELD_INSTANTIATE(N)                                                                                        \
  template void Halo::gather(const N *, std::vector<N> &) const;                                                       \
  template void Halo::add(const std::vector<N> &, N *) const;                                                          \
  template void BlockMatrix::multiply(const N *, N *) const;                                                           \
  template void BlockMatrix::smooth_from_zero(const N *, N *, N *) const;                                              \
  template void BlockMatrix::smooth_backward(const N *, N *) const;                                                    \
  template void BlockProduct::add(const N *, N *) const;                                                               \
  template void BlockProduct::transposed(const N *, N *) const;                                                        \
  template void load(const MultiVector &, Index, std::vector<N> &, const Order &);                                     \
  template void store(const std::vector<N> &, MultiVector &, Index, const Order &);
  VARFIELD_INSTANTIATE(double)
  VARFIELD_INSTANTIATE(Pack)
#undef VARFIELD_INSTANTIATE
} // namespace varfield
