#!/usr/bin/env bash
# Builds the fuzz preset and runs each target for so many seconds, one after the other, from the corpus in the tree and what
# earlier runs found (build/fuzz/corpus). Prints a row a target; inputs that fail lie in build/fuzz/findings.
# usage: tests/fuzz/run.sh SECONDS [TARGET...]      default: all targets
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 2
}

seconds=${1:-}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "usage: tests/fuzz/run.sh SECONDS [TARGET...]"
shift
command -v clang++ >/dev/null || fail "clang is not installed: bash deploy/install_dependencies.sh build fuzz"

export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=true
cmake --preset fuzz >/dev/null
targets=("$@")
if ((${#targets[@]} == 0)); then
  mapfile -t targets < <(cd tests/fuzz/corpus && printf '%s\n' *)
fi
ninja -C build/fuzz "${targets[@]/#/fuzz_}" >&2

# What libFuzzer's final statistics say under this name.
statistic() { sed -n "s/^stat::$1: *//p" "$2"; }

failed=0
printf '| target | seconds | executions | a second | edges | findings |\n|---|---|---|---|---|---|\n'
for target in "${targets[@]}"; do
  found=build/fuzz/corpus/$target findings=build/fuzz/findings/$target log=build/fuzz/$target.log
  mkdir -p "$found" "$findings"
  options=(-max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
    -artifact_prefix="$findings/")
  [[ ! -f tests/fuzz/dictionaries/$target.dict ]] || options+=(-dict="tests/fuzz/dictionaries/$target.dict")
  status=0
  UBSAN_OPTIONS=print_stacktrace=1 nice "build/fuzz/bin/fuzz_$target" "$found" "tests/fuzz/corpus/$target" "${options[@]}" \
    >"$log" 2>&1 || status=$?
  edges=$(grep -oE ' cov: [0-9]+' "$log" | tail -1 | tr -dc 0-9) || edges=0
  number=0
  if ((status != 0)); then
    number=1 failed=1
    printf '%s: see %s\n' "$target" "$log" >&2
  fi
  printf '| %s | %s | %s | %s | %s | %s |\n' "$target" "$seconds" "$(statistic number_of_executed_units "$log")" \
    "$(statistic average_exec_per_sec "$log")" "$edges" "$number"
done
exit "$failed"
