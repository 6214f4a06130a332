#!/usr/bin/env bash
# Everything that only a GPU can tell: correctness, sanitizers, speed against PyTorch. One JSON, written again after each step.
#
#   scripts/gpu_check.sh pack [FILE]             on a machine with the network: FILE (default .gpu/pack.tar.xz) gets all that the other command needs elsewhere
#   scripts/gpu_check.sh run [OPTIONS] [STEP…]   on a machine with a GPU; all steps, or these
#
# STEPs, in order: machine (compiler, products, convolutions and graphs against the host's), parity (every golden case; networks in tf32 and bf16 too), conformance
# (every op), digits (200 iterations on both devices), sanitizer (memcheck, racecheck, initcheck), bench (float32 against PyTorch), bench-tf32, bench-bf16, compiled
# (PyTorch's compiled program).
# OPTIONS: --pack FILE (default .gpu/pack.tar.xz where it is there; without one, this repository's own build, Deno and ../shared are used), --out FOLDER (default
# $OUT, else runs/gpu), --budget SECONDS (default 570: steps that would begin later are skipped, and what runs then is stopped).
#
# The machine needs an NVIDIA driver, CUDA, cuDNN 9, python3 with torch, and nothing else: no network, no Deno, no oneDNN. FOLDER gets two files: gpu.json and log.txt. A
# step that fails doesn't keep the others from running; the exit code says whether all of ours passed.
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
  # Debian's oneDNN needs OpenCL's loader.
  for library in $(ldd "$release/libcoopflow.so" | awk '/libdnnl|libOpenCL|libgomp/ { print $3 }'); do cp -L "$library" "$stage/lib/"; done
  # Without what only builds, type checks and readers of pictures need, and the libraries of other systems.
  tar c -C node_modules --exclude='*cmake-js*' --exclude='*node-addon-api*' --exclude='*node-api-headers*' --exclude='*linuxmusl*' --exclude='*@types+node*' \
    --exclude='*sharp*' --exclude='*.d.ts' --exclude='*.d.cts' --exclude='*.d.mts' --exclude='*.map' --exclude='*.md' . |
    tar x -C "$stage/node_modules"
  "$deno" run -A scripts/support/write_programs.ts "$stage/programs" >/dev/null || die "the programs can't be written"
  for part in golden peer; do
    [ -d "../shared/$part" ] || die "expected ../shared/$part: the golden tensors and the PyTorch program"
    mkdir -p "$stage/shared" && cp -RL "../shared/$part" "$stage/shared/" && chmod -R u+w "$stage/shared/$part"
  done
  rm -f "$stage"/shared/golden/checkpoint*  # about files, not devices
  git rev-parse HEAD >"$stage/commit"
  echo "gpu_check: compressing…" >&2
  tar c -C "$stage" . | xz -T0 --x86 --lzma2=preset=6,dict=64MiB >"$file" || die "can't write $file"
  echo "$file: $(($(stat -c %s "$file") / 1048576)) MiB"
}

# begin NAME SECONDS COMMAND…: runs it, keeps its output, exit code and duration.
begin() {
  local name="$1" limit="$2" since code left=$((budget - SECONDS))
  shift 2
  since=$(date +%s.%N)
  if [ "$left" -lt 10 ]; then
    echo "no time is left (--budget $budget)" >"$work/$name.log"
    code=skipped
  else
    echo "gpu_check: $name…"
    timeout -k 5 "$((limit < left ? limit : left))" "$@" >"$work/$name.log" 2>&1
    code=$?
  fi
  printf '%s\t%s\t%s\n' "$name" "$code" "$(echo "$(date +%s.%N) $since" | awk '{ print $1 - $2 }')" >"$work/$name.step"
}

# end NAME: notes how it went, and writes the report again. What is theirs ("peer-…") may fail.
end() {
  local name="$1" code
  code="$(cut -f2 "$work/$name.step")"
  cat "$work/$name.step" >>"$work/steps.tsv"
  if [ "$code" != 0 ]; then
    [[ "$name" == peer-* ]] || failed=1
    echo "gpu_check: $name FAILED (exit code $code):"
    tail -n 8 "$work/$name.log"
  fi
  { echo "===== $name (exit code $code)"; tail -n 150 "$work/$name.log" | cut -c1-400; } >>"$out/log.txt"
  python3 "$root/scripts/support/gpu_report.py" report "$work" "$out/gpu.json" "$commit" >"$work/report.txt" 2>&1 || { failed=1; tail -n 3 "$work/report.txt"; }
}

step() {
  begin "$@"
  end "$1"
}

# Steps that measure no time run at once, because most of theirs goes into compiling and instrumenting kernels on the host; gather waits for them.
later() {
  begin "$@" &
  started+=("$1")
}
gather() {
  local name
  wait
  for name in ${started[@]+"${started[@]}"}; do end "$name"; done
  [[ " ${started[*]-} " != *" digits-cuda "* ]] || step digits-compare 60 python3 scripts/support/gpu_report.py compare "$work/digits-cpu.log" "$work/digits-cuda.log"
  started=()
}

# Ours and PyTorch's in turn on the same machine: CONFIG BATCH PRECISION. Again with independent launches at the same time, and the paper's networks with the insides
# of coupling layers made twice, which takes less memory.
bench() {
  local label="$1-$2-$3" peer="$home/shared/peer/torch_coopflow.py" sizes="--config $1 --batch $2 --steps 30 --reps 3" flag="" own
  [ "$3" = float32 ] || flag="--$3"
  own=("${coopflow[@]}" bench $sizes --device cuda --precision "$3" --json)
  step "bench-$label" 200 "${own[@]}" "$work/bench-$label.json"
  step "peer-$label" 150 python3 "$peer" bench $sizes --device cuda $flag
  step "bench-$label-concurrent" 100 env COOPFLOW_CUDA_CONCURRENT=1 "${own[@]}" "$work/bench-$label-concurrent.json"
  [ "$1" != paper ] || step "bench-$label-recompute" 100 "${own[@]}" "$work/bench-$label-recompute.json" --recompute
}

# PyTorch's compiled program, against what "bench" measured.
compiled() {
  local flag=""
  [ "$3" = float32 ] || flag="--$3"
  step "peer-compiled-$1-$2-$3" 150 python3 "$home/shared/peer/torch_coopflow.py" bench --config "$1" --batch "$2" --steps 30 --reps 3 --device cuda $flag --compile
}

# Our kernels of the programs under compute-sanitizer.
sanitizer() {
  local tool program own precision
  for tool in memcheck racecheck initcheck; do
    # Launch by launch, so that a finding names its kernel's. initcheck has to see what the libraries' kernels write. In bfloat16 it reported each read of a result of
    # cuDNN's, right as they were, and racecheck broke off by itself while libraries' algorithms were measured (H200, sanitizer of CUDA 13.0): there memcheck is all.
    own=(--kernel-name kernel_substring=cf_kernel)
    [ "$tool" = initcheck ] && own=()
    for program in learn sample initialise density learn-direct; do
      precision=()
      if [ "$program" = learn-direct ]; then
        [ "$tool" = memcheck ] || continue
        precision=(--precision bf16)
      fi
      later "$tool-$program" 200 "${ours[@]}" COOPFLOW_CUDA_SYNC=1 compute-sanitizer --tool "$tool" --error-exitcode 9 "${own[@]}" "$tests/run_program" "$home/programs/$program.cfp" --device cuda "${precision[@]}"
    done
  done
}

run() {
  local file="" steps=() all="machine parity conformance digits sanitizer bench bench-tf32 bench-bf16 compiled"
  out="${OUT:-runs/gpu}"
  budget=570
  SECONDS=0
  while [ $# -gt 0 ]; do
    case "$1" in
      --pack) file="${2:?expected a file after --pack}"; shift 2 ;;
      --out) out="${2:?expected a folder after --out}"; shift 2 ;;
      --budget) budget="${2:?expected seconds after --budget}"; shift 2 ;;
      *) [[ " $all " == *" $1 "* ]] || die "expected some of $all, found $1" 2; steps+=("$1"); shift ;;
    esac
  done
  [ ${#steps[@]} -gt 0 ] || read -ra steps <<<"$all"
  mkdir -p "$out" || die "can't make $out"
  out="$(cd "$out" && pwd)"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  failed=0
  commit=unknown
  : >"$work/steps.tsv"
  : >"$out/log.txt"
  [ -n "$file" ] || { [ -f .gpu/pack.tar.xz ] && file=.gpu/pack.tar.xz; }
  if [ -n "$file" ]; then
    home="$work/pack"
    mkdir "$home"
    tar xJf "$file" -C "$home" 2>/dev/null || python3 -m tarfile -e "$file" "$home" || die "can't unpack $file"
    [ -e node_modules ] || cp -R "$home/node_modules" node_modules
    chmod +x "$home/deno" "$home"/lib/test_gpu "$home"/lib/run_program
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
  export DENO_DIR="$work/deno-dir" COOPFLOW_LIBRARY="$lib/libcoopflow.so" COOPFLOW_CACHE="$work/cache" GOMP_SPINCOUNT=2000 NO_COLOR=1
  # Set from outside to try this script on the host's emulation.
  export COOPFLOW_CUDA_PLUGIN="${COOPFLOW_CUDA_PLUGIN:-$lib/libcoopflow_cuda.so}"
  # For our own programs only: others have libraries of their own.
  ours=(env "LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")
  coopflow=("${ours[@]}" "$deno" run -A --cached-only --node-modules-dir=manual --v8-flags=--max-semi-space-size=4 src/cli/main.ts)
  step gpu 30 nvidia-smi
  started=()
  for name in "${steps[@]}"; do
    case "$name" in
      machine)
        later machine 120 "${ours[@]}" "$tests/test_gpu" --expect-gpu
        later machine-concurrent 120 "${ours[@]}" COOPFLOW_CUDA_CONCURRENT=1 "$tests/test_gpu" --expect-gpu
        ;;
      parity)
        later parity 200 "${coopflow[@]}" parity "$home/shared/golden" --device cuda
        later parity-concurrent 200 env COOPFLOW_CUDA_CONCURRENT=1 "${coopflow[@]}" parity "$home/shared/golden" --device cuda
        for precision in tf32 bf16; do later "parity-$precision" 200 "${coopflow[@]}" parity "$home/shared/golden" --device cuda --precision "$precision"; done
        ;;
      conformance) later conformance 200 "${ours[@]}" COOPFLOW_TEST_DEVICE=cuda "$deno" test -A --no-check --cached-only --node-modules-dir=manual tests/conformance ;;
      digits)
        for device in cpu cuda; do
          later "digits-$device" 200 "${coopflow[@]}" train --iterations 200 --seed 1 --device "$device" --out "$work/digits-$device" --json
        done
        ;;
      sanitizer) sanitizer ;;
      bench)
        gather
        step gemm 60 python3 "$home/shared/peer/torch_coopflow.py" gemm --device cuda
        bench paper 28 float32
        bench digits 64 float32
        bench paper 128 float32
        ;;
      bench-tf32)
        gather
        bench paper 28 tf32
        ;;
      bench-bf16)
        gather
        step gemm-bf16 60 python3 "$home/shared/peer/torch_coopflow.py" gemm --device cuda --bf16
        bench paper 28 bf16
        ;;
      compiled)
        gather
        compiled digits 64 float32
        compiled paper 28 float32
        compiled paper 28 bf16
        ;;
    esac
  done
  gather
  cat "$work/report.txt"
  exit "$failed"
}

case "${1:-}" in
  pack) shift; pack "$@" ;;
  run) shift; run "$@" ;;
  *) sed -n '2,/^set -uo/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
esac
