#!/usr/bin/env bash
# Installs what is missing (Debian 12; root or sudo), builds, and runs every check and test that needs no GPU.
# usage: tests/run.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
(($# == 0)) || {
  echo "run.sh: takes no arguments; tests/README.md tells how to run a part" >&2
  exit 2
}

bash deploy/install_dependencies.sh build run test check

# The Python clients, pinned, in .venv; made again when the list changes.
if ! cmp -s tests/requirements.txt .venv/requirements.txt; then
  echo "Installing tests/requirements.txt into .venv" >&2
  rm -rf .venv
  python3 -m venv .venv
  .venv/bin/pip install -qq --disable-pip-version-check --requirement tests/requirements.txt
  cp tests/requirements.txt .venv/requirements.txt
fi

bash deploy/build.sh
bash tools/check.sh
ctest --preset release --parallel "$(nproc)"
.venv/bin/pytest tests
