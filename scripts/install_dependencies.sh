#!/usr/bin/env bash
# Installs the Debian packages that varfield is built from and run with; does nothing when all of them are there.
#
# usage: scripts/install_dependencies.sh [--with-paraview] [--with-docs] [--with-fuzzing]
set -euo pipefail

packages=(g++ cmake make ccache git clang-format python3
          libdeal.ii-dev openmpi-bin libopenblas0-serial
          libmumps-dev libsuitesparse-dev libeigen3-dev librandom123-dev libcli11-dev nlohmann-json3-dev libcpp-httplib-dev
          libboost-test-dev)

for option in "$@"; do
  case "$option" in
    --with-paraview) packages+=(paraview python3-paraview python3-matplotlib xvfb xauth) ;;
    --with-docs) packages+=(doxygen graphviz) ;;
    --with-fuzzing) packages+=(clang-14 libclang-rt-14-dev) ;;
    *) echo "usage: $0 [--with-paraview] [--with-docs] [--with-fuzzing]" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "This is not a Debian system: nothing is installed. varfield needs what these Debian 12 packages contain:" >&2
  echo "  ${packages[*]}" >&2
  echo "deal.II must be configured with MPI, p4est, PETSc (with MUMPS and hypre), SLEPc, Trilinos and muParser." >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "These packages are missing, and installing them needs root rights (or sudo):" >&2
    echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "Installing Debian packages: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }
if ! { apt update && apt install --yes --no-install-recommends "${missing[@]}"; }; then
  echo "apt-get failed (see its message above). These packages are still needed: ${missing[*]}" >&2
  exit 1
fi
