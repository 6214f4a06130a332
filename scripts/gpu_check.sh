#!/usr/bin/env bash
# Everything that only a GPU can tell: correctness, sanitizers, speed against PyTorch. One JSON at the end.
#
#   scripts/gpu_check.sh pack [FILE]             on a machine with the network: FILE (default .gpu/pack.tar.xz) gets all that the other command needs elsewhere
#   scripts/gpu_check.sh run [OPTIONS] [STEP…]   on a machine with a GPU; all steps, or these
#
# STEPs, in order: machine (compiler, products, convolutions and graphs against the host's), conformance (every op), parity (every golden case), digits (200
# iterations on both devices), sanitizer (memcheck, racecheck, initcheck), bench (against PyTorch: eager, compiled).
# OPTIONS: --pack FILE (default .gpu/pack.tar.xz where it is there; without one, this repository's own build, Deno and ../shared are used), --out FOLDER (default
# $OUT, else runs/gpu).
#
# The machine needs an NVIDIA driver, CUDA, cuDNN 9, python3 with torch, and nothing else: no network, no Deno, no oneDNN. The exit code says whether all steps
# passed; FOLDER/gpu.json and a log for each step say the rest.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="$PWD"
die() { echo "gpu_check: $1" >&2; exit "${2:-1}"; }

pack() {
  local file="${1:-.gpu/pack.tar.xz}" deno release="native/build/Release" stage
  deno="$(npx -y deno@2.9.6 eval 'console.log(Deno.execPath())')" || die "Deno is needed to pack"
  "$deno" run -A scripts/setup.ts --tests || die "the library does not build"
  [ -f "$release/libcoopflow_cuda.so" ] || die "the build has no CUDA backend: run scripts/cuda_toolkit.sh, then deno task build"
  stage="$(mktemp -d)"
  trap 'rm -rf "$stage"' RETURN
  mkdir -p "$stage/lib" "$stage/node_modules" "$(dirname "$file")"
  cp "$deno" "$stage/deno"
  cp "$release"/libcoopflow*.so native/build/tests/test_gpu native/build/tests/run_program "$stage/lib/"
  rm -f "$stage"/lib/*_emulated.so
  cp -L "$(ldd "$release/libcoopflow.so" | awk '/libdnnl/ { print $3 }')" "$stage/lib/"
  # Without what only builds need, and the libraries of other systems.
  tar c -C node_modules --exclude='*cmake-js*' --exclude='*node-addon-api*' --exclude='*node-api-headers*' --exclude='*linuxmusl*' --exclude='*@types+node*' . |
    tar x -C "$stage/node_modules"
  "$deno" run -A scripts/support/write_programs.ts "$stage/programs" >/dev/null || die "the programs can't be written"
  for part in golden peer; do
    [ -d "../shared/$part" ] || die "expected ../shared/$part: the golden tensors and the PyTorch program"
    mkdir -p "$stage/shared" && cp -RL "../shared/$part" "$stage/shared/" && chmod -R u+w "$stage/shared/$part"
  done
  git rev-parse HEAD >"$stage/commit"
  echo "gpu_check: compressing…" >&2
  tar c -C "$stage" . | xz -T0 -6 >"$file" || die "can't write $file"
  echo "$file: $(($(stat -c %s "$file") / 1048576)) MiB"
}

# step NAME SECONDS COMMAND…: runs it, keeps its output and how it went.
step() {
  local name="$1" limit="$2" begin code
  shift 2
  echo "gpu_check: $name…"
  begin=$(date +%s.%N)
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  code=$?
  printf '%s\t%s\t%s\n' "$name" "$code" "$(echo "$(date +%s.%N) $begin" | awk '{ print $1 - $2 }')" >>"$out/steps.tsv"
  [ "$code" -eq 0 ] || { failed=1; echo "gpu_check: $name FAILED (exit code $code):"; tail -n 15 "$out/$name.log"; }
}

# Ours and PyTorch's in turn on the same machine: CONFIG BATCH.
bench() {
  local label="$1-$2" peer="$home/shared/peer/torch_coopflow.py" sizes="--config $1 --batch $2 --steps 30"
  step "bench-$label" 300 "${coopflow[@]}" bench $sizes --device cuda --reps 5 --json "$out/bench-$label.json"
  step "peer-$label" 300 python3 "$peer" bench $sizes --device cuda --reps 5
  step "peer-compiled-$label" 400 python3 "$peer" bench $sizes --device cuda --reps 5 --compile
}

run() {
  local file="" steps=() all="machine conformance parity digits sanitizer bench"
  out="${OUT:-runs/gpu}"
  while [ $# -gt 0 ]; do
    case "$1" in
      --pack) file="${2:?expected a file after --pack}"; shift 2 ;;
      --out) out="${2:?expected a folder after --out}"; shift 2 ;;
      *) [[ " $all " == *" $1 "* ]] || die "expected some of $all, found $1" 2; steps+=("$1"); shift ;;
    esac
  done
  [ ${#steps[@]} -gt 0 ] || read -ra steps <<<"$all"
  command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null || die "no NVIDIA GPU: nvidia-smi finds none"
  mkdir -p "$out"
  out="$(cd "$out" && pwd)"
  [ -n "$file" ] || { [ -f .gpu/pack.tar.xz ] && file=.gpu/pack.tar.xz; }
  if [ -n "$file" ]; then
    home="$(mktemp -d)"
    trap 'rm -rf "$home"' EXIT
    tar xJf "$file" -C "$home" || die "can't unpack $file"
    [ -e node_modules ] || cp -R "$home/node_modules" node_modules
    deno="$home/deno"
    lib="$home/lib"
    tests="$home/lib"
    commit="$(cat "$home/commit")"
  else
    home="$root/.gpu"
    mkdir -p "$home"
    deno="$(npx -y deno@2.9.6 eval 'console.log(Deno.execPath())')" || die "Deno is needed: carry a pack (scripts/gpu_check.sh pack)"
    "$deno" install --quiet && "$deno" run -A scripts/setup.ts --tests || die "the library does not build"
    [ -f native/build/Release/libcoopflow_cuda.so ] || die "the build has no CUDA backend: is a toolkit there? (scripts/cuda_toolkit.sh)"
    ln -sfn "$root/../shared" "$home/shared"
    "$deno" run -A scripts/support/write_programs.ts "$home/programs" >/dev/null || die "the programs can't be written"
    lib="$root/native/build/Release"
    tests="$root/native/build/tests"
    commit="$(git rev-parse HEAD)"
  fi
  export DENO_DIR="$home/deno-dir" COOPFLOW_LIBRARY="$lib/libcoopflow.so" COOPFLOW_CUDA_PLUGIN="$lib/libcoopflow_cuda.so" LD_LIBRARY_PATH="$lib:${LD_LIBRARY_PATH:-}" COOPFLOW_CACHE="$home/cache" GOMP_SPINCOUNT=2000 NO_COLOR=1
  coopflow=("$deno" run -A --cached-only --node-modules-dir=manual --v8-flags=--max-semi-space-size=4 src/cli/main.ts)
  failed=0
  : >"$out/steps.tsv"
  for name in "${steps[@]}"; do
    case "$name" in
      machine) step machine 300 "$tests/test_gpu" ;;
      conformance)
        step conformance 500 "$deno" test -A --no-check --cached-only --node-modules-dir=manual tests/conformance
        grep -q "emulated GPU" "$out/conformance.log" && die "the tests did not find the GPU: see $out/machine.log"
        ;;
      parity) step parity 500 "${coopflow[@]}" parity "$home/shared/golden" --device cuda ;;
      digits)
        for device in cpu cuda; do
          rm -rf "$out/digits-$device"
          step "digits-$device" 300 "${coopflow[@]}" train --iterations 200 --seed 1 --device "$device" --out "$out/digits-$device" --json
        done
        step digits-compare 60 python3 scripts/support/gpu_report.py compare "$out/digits-cpu.log" "$out/digits-cuda.log"
        rm -rf "$out/digits-cpu" "$out/digits-cuda"
        ;;
      sanitizer)
        # Launch by launch, so that a finding names its kernel's. initcheck has to see what the libraries' kernels write.
        export COOPFLOW_CUDA_SYNC=1
        for tool in memcheck racecheck initcheck; do
          own=(--kernel-name kernel_substring=cf_kernel)
          [ "$tool" = initcheck ] && own=()
          for program in learn initialise sample density; do
            step "$tool-$program" 300 compute-sanitizer --tool "$tool" --error-exitcode 9 "${own[@]}" "$tests/run_program" "$home/programs/$program.cfp" --device cuda
          done
        done
        unset COOPFLOW_CUDA_SYNC
        ;;
      bench)
        step gemm 120 python3 "$home/shared/peer/torch_coopflow.py" gemm --device cuda
        bench digits 64
        bench paper 28
        bench paper 128
        ;;
    esac
  done
  python3 scripts/support/gpu_report.py report "$out" "$commit" || failed=1
  exit "$failed"
}

case "${1:-}" in
  pack) shift; pack "$@" ;;
  run) shift; run "$@" ;;
  *) sed -n '2,/^set -uo/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
esac
