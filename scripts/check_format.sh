#!/usr/bin/env bash
# Checks that the C++ files are formatted as .clang-format says; with --fix, formats them.
#
# usage: scripts/check_format.sh [--fix]
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "") action=(--dry-run -Werror) ;;
  --fix) action=(-i) ;;
  *) echo "usage: $0 [--fix]" >&2; exit 2 ;;
esac

if ! find include source tests benchmarks -type f \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 --no-run-if-empty clang-format "${action[@]}"; then
  echo "Some files are not formatted as .clang-format says. scripts/check_format.sh --fix formats them." >&2
  exit 1
fi
