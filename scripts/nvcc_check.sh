#!/usr/bin/env bash
# nvcc compiles each hand-written kernel for sm_80, sm_90 and PTX, warnings as errors. Kernels are texts that are made when a program is loaded: one of each that
# the tests' emulated GPU was given is taken, so the tests run first. (NVRTC, which compiles them in the end, is tried on all kernels by tests/native/cuda_test.ts.)
#
#   scripts/nvcc_check.sh [FOLDER of texts: native/build/emulation]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:-native/build/emulation}"
nvcc="$(command -v nvcc || true)"
[ -n "$nvcc" ] || nvcc="$(scripts/cuda_toolkit.sh)/nvidia/cu13/bin/nvcc"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

declare -A seen
for text in "$folder"/*.cu; do
  [ -f "$text" ] || { echo "nvcc_check: expected kernels in $folder, found none: run the tests first" >&2; exit 1; }
  # A kernel is known by the headers that it includes; device.h alone is a generated one.
  headers="$(grep -o '"cuda/kernels/[a-z_]*\.h"' "$text" | sort -u | tr '\n' ' ')"
  [ -z "${seen[$headers]:-}" ] || continue
  seen[$headers]="$text"
done
for headers in "${!seen[@]}"; do
  echo "$headers" | tr -d '"'
  "$nvcc" -std=c++17 -Werror all-warnings -I native/src -gencode arch=compute_80,code=sm_80 \
    -gencode "arch=compute_90,code=[sm_90,compute_90]" -fatbin -o "$work/kernel.fatbin" "${seen[$headers]}"
done
echo "nvcc_check: ${#seen[@]} kinds of kernels compile"
