#!/usr/bin/env bash
# Installs what building the CUDA backend needs, and its libraries, into a folder; prints the folder. Does nothing where all of it is there.
#
#   scripts/cuda_toolkit.sh [FOLDER]
#
# FOLDER: cuda-toolkit in COOPFLOW_CACHE, else in the user's cache folder, where builds look for it; with another one, set COOPFLOW_CUDA_PATH to it.
# About 2.3 GB of NVIDIA's own packages, in versions that were tested together. Needs python3 with venv, and the network.
set -euo pipefail

PACKAGES=(
  nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.0.2.14 nvidia-cudnn-cu13==9.28.1.4
)

cache="${COOPFLOW_CACHE-${XDG_CACHE_HOME:-$HOME/.cache}/coopflow}"
folder="${1:-${cache:+$cache/cuda-toolkit}}"
if [ -z "$folder" ]; then
  echo "cuda_toolkit: COOPFLOW_CACHE is empty: expected a folder as argument" >&2
  exit 2
fi

stamp="$folder/packages.txt"
wanted="$(printf '%s\n' "${PACKAGES[@]}")"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  echo "$folder"
  exit 0
fi

mkdir -p "$(dirname "$folder")"
partial="$(mktemp -d "$folder.XXXXXX")"
trap 'rm -rf "$partial"' EXIT
echo "cuda_toolkit: installing 2.3 GB into $folder…" >&2
# An environment of its own: many systems' python3 has no pip, or one that refuses to install.
if ! python3 -m venv "$partial/venv" >&2; then
  echo "cuda_toolkit: python3 can't make a virtual environment; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2
  exit 1
fi
if ! "$partial/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-compile --target "$partial/toolkit" "${PACKAGES[@]}" >&2; then
  echo "cuda_toolkit: the packages could not be installed: is the network there?" >&2
  exit 1
fi
printf '%s\n' "$wanted" >"$partial/toolkit/packages.txt"
rm -rf "$folder"
mv "$partial/toolkit" "$folder"
echo "$folder"
