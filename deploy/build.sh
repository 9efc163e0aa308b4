#!/usr/bin/env bash
# Configures and builds the release preset into build/release, showing progress on stderr.
# usage: build.sh [TARGET...]      default: everything
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Paths relative to the source tree, so that ccache serves every clone of it on this machine.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=true

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Configuring build/release" >&2
if ! cmake --preset release >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
NINJA_STATUS='[%f/%t %es] ' ninja -C build/release "$@" >&2
