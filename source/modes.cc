#include <algorithm>
#include <numeric>
#include <slepceps.h>
#include <varfield/exceptions.h>
#include <varfield/modes.h>
#include <varfield/random.h>

namespace varfield
{
  namespace
  {
    /// The start vector decides which basis of a multiple eigenvalue is found: take one that is the same on every
    /// number of ranks.
    void set_start_vector(EPS eps, Mat a, unsigned int draw)
    {
      PetscInt first = 0, last = 0;
      MatGetOwnershipRange(a, &first, &last);
      std::vector<std::uint64_t> keys;
      for (PetscInt i = first; i < last; ++i)
        keys.push_back(i);
      DrawKey key;
      key.stream         = Stream::probing;
      key.draw           = draw;
      const Vector start = standard_normal(Layout(PetscObjectComm(reinterpret_cast<PetscObject>(a)), keys), key);
      Vec vec            = nullptr;
      MatCreateVecs(a, &vec, nullptr);
      PetscScalar *values = nullptr;
      VecGetArray(vec, &values);
      std::copy(start.begin(), start.end(), values);
      VecRestoreArray(vec, &values);
      EPSSetInitialSpace(eps, 1, &vec);
      VecDestroy(&vec);
    }

    void use_cholesky(EPS eps)
    {
      ST st   = nullptr;
      KSP ksp = nullptr;
      PC pc   = nullptr;
      EPSGetST(eps, &st);
      STSetType(st, STSINVERT);
      STGetKSP(st, &ksp);
      KSPSetType(ksp, KSPPREONLY);
      KSPGetPC(ksp, &pc);
      PCSetType(pc, PCCHOLESKY);
      PCFactorSetMatSolverType(pc, MATSOLVERMUMPS);
    }

    GeneralizedModes read_modes(EPS eps, Mat a, Index n)
    {
      PetscInt rows = 0;
      MatGetLocalSize(a, &rows, nullptr);
      GeneralizedModes modes;
      modes.values.resize(n);
      modes.vectors.resize(rows, n);
      Vec vec = nullptr;
      MatCreateVecs(a, &vec, nullptr);
      for (Index i = 0; i < n; ++i)
      {
        PetscScalar value = 0;
        EPSGetEigenpair(eps, i, &value, nullptr, vec, nullptr);
        const PetscScalar *entries = nullptr;
        VecGetArrayRead(vec, &entries);
        modes.values(i)      = value;
        modes.vectors.col(i) = Eigen::Map<const Vector>(entries, rows);
        VecRestoreArrayRead(vec, &entries);
      }
      VecDestroy(&vec);
      return modes;
    }

    void set_deflation_space(EPS eps, Mat a, const MultiVector &vectors)
    {
      std::vector<Vec> vecs(vectors.cols(), nullptr);
      for (Index j = 0; j < vectors.cols(); ++j)
      {
        MatCreateVecs(a, &vecs[j], nullptr);
        PetscScalar *values = nullptr;
        VecGetArray(vecs[j], &values);
        std::copy(vectors.col(j).begin(), vectors.col(j).end(), values);
        VecRestoreArray(vecs[j], &values);
      }
      EPSSetDeflationSpace(eps, vecs.size(), vecs.data());
      for (auto &vec : vecs)
        VecDestroy(&vec);
    }

    /// The `n` smallest eigenpairs in the space orthogonal to `known`.
    GeneralizedModes solve(Mat a, Mat mass, Index n, const MultiVector *known)
    {
      EPS eps = nullptr;
      EPSCreate(PetscObjectComm(reinterpret_cast<PetscObject>(a)), &eps);
      EPSSetOperators(eps, a, mass);
      EPSSetProblemType(eps, EPS_GHEP);
      EPSSetWhichEigenpairs(eps, EPS_TARGET_MAGNITUDE);
      EPSSetTarget(eps, 0.);
      use_cholesky(eps);
      PetscInt n_global = 0;
      MatGetSize(a, &n_global, nullptr);
      EPSSetDimensions(eps, n, std::min<PetscInt>(n_global, 2 * n + 20), PETSC_DEFAULT);
      EPSSetTolerances(eps, 1e-12, PETSC_DEFAULT);
      // Another start vector each time: what was missed is orthogonal to the first one.
      set_start_vector(eps, a, known != nullptr ? known->cols() : 0);
      if (known != nullptr)
        set_deflation_space(eps, a, *known);
      EPSSolve(eps);
      PetscInt converged = 0;
      EPSGetConverged(eps, &converged);
      if (converged < n)
        throw ComputationError("Only " + std::to_string(converged) + " of " + std::to_string(n) +
                               " eigenvectors of a prior converged.");
      GeneralizedModes modes = read_modes(eps, a, n);
      EPSDestroy(&eps);
      return modes;
    }

    /// The n smallest of both.
    GeneralizedModes merge(const GeneralizedModes &first, const GeneralizedModes &second, Index n)
    {
      Vector values(first.values.size() + second.values.size());
      values << first.values, second.values;
      MultiVector vectors(first.vectors.rows(), values.size());
      vectors << first.vectors, second.vectors;
      std::vector<Index> order(values.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&values](Index i, Index j) { return values(i) < values(j); });
      order.resize(n);
      return {values(order), vectors(Eigen::all, order)};
    }
  } // namespace

  GeneralizedModes smallest_modes(Mat a, Mat mass, Index n, Index n_all)
  {
    PetscBool initialized = PETSC_FALSE;
    SlepcInitialized(&initialized);
    if (!initialized)
      SlepcInitializeNoArguments();
    GeneralizedModes modes = solve(a, mass, n, nullptr);
    // One Krylov sequence sees one vector of a multiple eigenvalue, the others by rounding only: ask what is left.
    while (n < n_all)
    {
      const Index n_more            = std::min(n_all - n, std::max<Index>(2, n / 16));
      const GeneralizedModes missed = solve(a, mass, n_more, &modes.vectors);
      if (!(missed.values(0) < modes.values(n - 1) * (1. - 1e-9)))
        break;
      modes = merge(modes, missed, n);
    }
    return modes;
  }
} // namespace varfield
