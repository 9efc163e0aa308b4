#!/usr/bin/env bash
# Runs many seeds of the simulation over all cores; fails when one breaks what must hold.
# usage: tests/simulation/many_seeds.sh [COUNT [FIRST]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

count=${1:-10000} first=${2:-0}
program=${OCTET_BIN:-build/release/bin}/octet-simulate
cores=$(nproc)
start=$SECONDS
pids=()
for ((i = 0; i < cores; i++)); do
  "$program" --all --seeds $((first + count * i / cores))..$((first + count * (i + 1) / cores - 1)) &
  pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
seconds=$((SECONDS - start))
echo "$count seeds from $first in $seconds s on $cores cores: $((count * 60 / (seconds > 0 ? seconds : 1))) a minute"
exit $failed
