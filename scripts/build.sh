#!/usr/bin/env bash
# Configures and builds varfield in build/<preset>, with one job a core and at most one for each 3 GB of free memory.
#
# usage: scripts/build.sh [release|debug|sanitize] [options for cmake, such as -DVARFIELD_TESTS=OFF]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release
case "${1:-}" in
  release | debug | sanitize) preset=$1; shift ;;
  -D* | "") ;;
  *) echo "usage: $0 [release|debug|sanitize] [-D...]" >&2; exit 2 ;;
esac

cores=$(nproc)
memory=$(awk '/MemAvailable/ {print int($2 / 3e6)}' /proc/meminfo)
jobs=$((memory < cores ? memory : cores))
jobs=$((jobs < 1 ? 1 : jobs))

cmake --preset "$preset" "$@"
cmake --build --preset "$preset" --parallel "$jobs"
