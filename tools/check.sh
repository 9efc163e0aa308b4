#!/usr/bin/env bash
# The rules that a tool can check: format, include direction, every source in a target, the protos' lint, shell scripts.
# usage: tools/check.sh [--tidy [BASE]]
#   --tidy   also runs clang-tidy on the C++ files changed since BASE (a commit; default HEAD), which needs a build folder
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  printf 'check.sh: %s\n' "$*" >&2
  exit 1
}

tidy=0 base=HEAD
if [[ ${1:-} == --tidy ]]; then
  tidy=1 base=${2:-HEAD}
  shift $(($# < 2 ? $# : 2))
fi
(($# == 0)) || fail "unknown argument '$1'; usage: tools/check.sh [--tidy [BASE]]"

# Tracked files, and new ones that git does not ignore.
files() { git ls-files -co --exclude-standard -- "$@" | while read -r file; do [[ ! -e $file ]] || echo "$file"; done; }
need() { command -v "$1" >/dev/null || fail "$1 is not installed: deploy/install_dependencies.sh check test"; }

failed=()
# step NAME COMMAND...: goes on after a failure, so that one run tells everything.
step() {
  local name=$1
  shift
  if "$@"; then printf 'ok      %s\n' "$name"; else
    printf 'FAILED  %s\n' "$name"
    failed+=("$name")
  fi
}

compile_commands=build/release/compile_commands.json

check_format() {
  local sources unformatted
  mapfile -t sources < <(files '*.h' '*.cc')
  mapfile -t unformatted < <(clang-format --dry-run "${sources[@]}" 2>&1 | sed -n 's/:[0-9]*:[0-9]*: warning:.*//p' | sort -u)
  ((${#unformatted[@]} == 0)) || {
    printf 'clang-format -i %s\n' "${unformatted[@]}"
    return 1
  }
}

check_includes() {
  local options=()
  [[ ! -f $compile_commands ]] || options=(--compile-commands "$compile_commands")
  python3 tools/check_includes.py "${options[@]}"
}

check_shell() {
  local scripts
  mapfile -t scripts < <(files '*.sh' '.ci/run')
  shellcheck "${scripts[@]}"
}

check_protos() {
  local buf=$PWD/.venv/bin/buf
  [[ -x $buf ]] || buf=$(command -v buf) || fail "buf is not installed: pip install -r tests/requirements.txt"
  (cd proto && "$buf" lint)
}

check_tidy() {
  [[ -f $compile_commands ]] || fail "clang-tidy needs $compile_commands: deploy/build.sh"
  local changed
  mapfile -t changed < <({
    git diff --name-only "$base" -- '*.cc'
    git ls-files -o --exclude-standard -- '*.cc'
  } | sort -u | while read -r file; do [[ ! -e $file ]] || echo "$file"; done)
  ((${#changed[@]})) || return 0
  printf '%s\n' "${changed[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy --quiet --extra-arg=-Wno-unknown-warning-option -p build/release
}

need clang-format
need shellcheck
step "format" check_format
step "include direction, targets" check_includes
step "shell scripts" check_shell
step "protos" check_protos
if ((tidy)); then
  need clang-tidy
  step "clang-tidy" check_tidy
fi
((${#failed[@]} == 0)) || fail "failed: ${failed[*]}"
