#!/usr/bin/env bash
# Installs what is missing, builds varfield and runs all its tests. With CI=true warnings are errors.
#
# usage: scripts/test.sh [options for ctest, such as -R prior]
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${CI:-false} == true ]]; then
  scripts/install_dependencies.sh --with-fuzzing
else
  scripts/install_dependencies.sh
fi

format=0
scripts/check_format.sh || format=1

werror=OFF
if [[ ${CI:-false} == true ]]; then
  werror=ON
fi
scripts/build.sh release -DVARFIELD_TESTS=ON -DVARFIELD_WERROR=$werror

# Ranks of tests that run side by side must not be bound to the same core.
export OMP_NUM_THREADS=1 OMPI_MCA_hwloc_base_binding_policy=none
if ((EUID == 0)); then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

if ((format != 0)); then
  echo "The format check failed (see the top of this output); the tests run nevertheless." >&2
fi
tests=0
ctest --preset release --parallel "$(nproc)" "$@" || tests=1
exit $((format | tests))
