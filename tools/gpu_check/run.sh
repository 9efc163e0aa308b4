#!/usr/bin/env bash
# Builds octet-gpu-check on a machine with a GPU, checks every op under compute-sanitizer where that works, and then checks and
# times without it. Needs a CUDA toolkit, NCCL (of the toolkit or of a Python package) and CMake; no network.
# usage: tools/gpu_check/run.sh [--json FILE] [octet-gpu-check's other flags]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build/gpu_check

generator=()
if command -v ninja >/dev/null; then generator=(-G Ninja); fi
cmake -S "$root/tools/gpu_check" -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_ARCHITECTURES=native >&2
cmake --build "$build" --parallel "$(nproc)" >&2

program=$build/bin/octet-gpu-check
if command -v compute-sanitizer >/dev/null; then
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if timeout 180 compute-sanitizer --error-exitcode 99 "$program" --checks-only >"$log" 2>&1; then
    echo "compute-sanitizer: no errors" >&2
  else
    code=$?
    tail -n 20 "$log" >&2
    ((code != 99)) || exit 1
    echo "compute-sanitizer does not work here (exit code $code)" >&2
  fi
fi
"$program" "$@"
