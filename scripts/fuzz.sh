#!/usr/bin/env bash
# Gives random variations of small files to the readers of parameter files, JSON, tables and meshes (libFuzzer, with the address
# and undefined-behaviour sanitizers), and says how many were tried. Ends with 1 where one crashes, hangs or leaks; what did it is
# then in build/fuzz.
#
# usage: scripts/fuzz.sh [seconds for each reader, by itself 60] [reader ...]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
readers=("$@")
((${#readers[@]})) || readers=(parameters json table mesh)
clang=${CLANG:-clang++-14}
if ! command -v "$clang" >/dev/null; then
  echo "The compiler $clang is needed: scripts/install_dependencies.sh --with-fuzzing" >&2
  exit 2
fi

build=build/fuzz
mkdir -p "$build"
sources=(tests/fuzz/readers.cc)
for name in exceptions expression mesh_file parameter_file parameters pattern_words table text; do
  sources+=("source/$name.cc")
done
launcher=()
command -v ccache >/dev/null && launcher=(ccache)
flags=(-std=c++17 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined -Iinclude
       -isystem /usr/include/trilinos $(mpicxx --showme:compile) -DNDEBUG -w)

objects=()
for source in "${sources[@]}"; do
  object="$build/$(basename "$source" .cc).o"
  objects+=("$object")
  "${launcher[@]}" "$clang" "${flags[@]}" -c "$source" -o "$object" &
  while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n; done
done
for job in $(jobs -p); do wait "$job"; done
"$clang" -fsanitize=fuzzer,address,undefined -fno-sanitize=vptr "${objects[@]}" -o "$build/readers" -Wl,--copy-dt-needed-entries -ldeal.ii $(mpicxx --showme:link)

export ASAN_OPTIONS=detect_odr_violation=0 OMPI_MCA_ess_singleton_isolated=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
status=0
for reader in "${readers[@]}"; do
  corpus="$build/corpus/$reader"
  mkdir -p "$corpus"
  before=$(date +%s)
  if ! VARFIELD_READER=$reader "$build/readers" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
       -artifact_prefix="$build/$reader-" "$corpus" "tests/fuzz/corpus/$reader" >"$build/$reader.log" 2>&1; then
    tail -n 40 "$build/$reader.log" >&2
    echo "$reader: FAILED" >&2
    status=1
    continue
  fi
  executions=$(awk '/stat::number_of_executed_units/ {print $2}' "$build/$reader.log")
  echo "$reader: $executions executions in $(($(date +%s) - before)) s, $(find "$corpus" -type f | wc -l) files found interesting, no failure"
done
exit $status
