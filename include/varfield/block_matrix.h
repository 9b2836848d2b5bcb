#ifndef varfield_block_matrix_h
#define varfield_block_matrix_h

#include <memory>
#include <petscmat.h>
#include <petscsf.h>
#include <varfield/sparse_kernels.h>
#include <varfield/vectors.h>

namespace varfield
{
  /// The order in which a rank keeps the entries that it owns of a vector: the local numbers of the first, the second,
  /// …; empty: as they are. Neighbours in space should be neighbours in memory.
  using Order = std::vector<int>;

  /// The values of distributed vectors that a matrix needs from other ranks, and sums in the opposite direction. N is
  /// double or Pack in all of this file.
  class Halo
  {
  public:
    /// `ghosts` are the global numbers, ascending, of what is needed of vectors with this layout and order. Collective.
    Halo(MPI_Comm comm, PetscLayout layout, PetscInt n_ghosts, const PetscInt *ghosts, const Order &order);
    ~Halo();
    Halo(const Halo &)            = delete;
    Halo &operator=(const Halo &) = delete;

    std::size_t n_ghosts() const { return n_ghosts_; }
    /// Collective.
    template <class N>
    void gather(const N *owned, std::vector<N> &ghosts) const;
    /// Adds ghosts to what owners have. Collective.
    template <class N>
    void add(const std::vector<N> &ghosts, N *owned) const;

  private:
    void reorder(const Order &order);
    MPI_Datatype type(double) const { return MPI_DOUBLE; }
    MPI_Datatype type(const Pack &) const { return pack_; }

    std::size_t n_ghosts_;
    bool alone_;
    PetscSF sf_        = nullptr;
    MPI_Datatype pack_ = MPI_DATATYPE_NULL;
  };

  /// A square distributed matrix (MATMPIAIJ), copied so that products and Gauss–Seidel sweeps read it in order. Sweeps
  /// are within a rank; between ranks they take the values from before. All products and sweeps are collective.
  class BlockMatrix
  {
  public:
    /// Of vectors in this order.
    explicit BlockMatrix(Order order) : order_(std::move(order)) {}
    /// Takes the values, and the first time the pattern. False if a diagonal entry is zero, not finite or, for
    /// `positive`, negative. Collective.
    bool set(Mat a, bool positive);
    std::size_t n_rows() const { return rows_.diagonal.size(); }
    const Order &order() const { return order_; }
    const SplitRows &rows() const { return rows_; }

    /// y = A x.
    template <class N>
    void multiply(const N *x, N *y) const;
    /// (L + D) x = b, then r = b − A x.
    template <class N>
    void smooth_from_zero(const N *b, N *x, N *r) const;
    /// (D + U) x_new = b − (A − D − U) x.
    template <class N>
    void smooth_backward(const N *b, N *x) const;

  private:
    void copy_pattern(Mat diagonal, Mat off_diagonal);

    const Order order_;
    SplitRows rows_;
    std::vector<int> from_; ///< where PETSc has the entries of the diagonal block, row by row
    std::unique_ptr<Halo> halo_;
  };

  /// Products of a distributed matrix (MATMPIAIJ) with vectors as they are, from the memory of the matrix, which must
  /// outlive the object; or with vectors in other orders, from a copy of it.
  class BlockProduct
  {
  public:
    /// Collective.
    explicit BlockProduct(Mat a);
    BlockProduct(Mat a, const Order &rows, const Order &columns);
    ~BlockProduct();
    BlockProduct(const BlockProduct &)            = delete;
    BlockProduct &operator=(const BlockProduct &) = delete;
    std::size_t n_rows() const { return static_cast<std::size_t>(diagonal_.n_rows); }
    std::size_t n_columns() const { return n_columns_; }

    /// y += A x. Collective.
    template <class N>
    void add(const N *x, N *y) const;
    /// y = Aᵀ x. Collective.
    template <class N>
    void transposed(const N *x, N *y) const;

  private:
    const Mat a_; ///< null for a copy
    RowsView diagonal_, off_diagonal_;
    CompressedRows diagonal_copy_, off_diagonal_copy_;
    std::size_t n_columns_ = 0;
    std::unique_ptr<Halo> halo_;
  };

  template <class N>
  constexpr int n_lanes = sizeof(N) / sizeof(double);

  inline double *lanes(double &x)
  {
    return &x;
  }
  inline double *lanes(Pack &x)
  {
    return x.lanes;
  }
  inline double lane(double x, int)
  {
    return x;
  }
  inline double lane(const Pack &x, int i)
  {
    return x.lanes[i];
  }

  /// The columns of a block from `first` on, side by side; zero where there are no more.
  template <class N>
  void load(const MultiVector &block, Index first, std::vector<N> &x, const Order &order = {});
  /// Back into the block.
  template <class N>
  void store(const std::vector<N> &x, MultiVector &block, Index first, const Order &order = {});
} // namespace varfield

#endif
