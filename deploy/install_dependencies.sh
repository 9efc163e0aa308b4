#!/usr/bin/env bash
# Installs what is missing from sections of deploy/dependencies.txt, and starts no service.
# usage: install_dependencies.sh SECTION...      sections: build run test check fuzz tidy
set -euo pipefail

list=$(dirname "${BASH_SOURCE[0]}")/dependencies.txt

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "install_dependencies.sh: $*"
  exit 1
}

packages_of() {
  awk -v section="$1" '/^# -- /{ name = $3; sub(":", "", name); next } /^[^#]/ && name == section' "$list"
}

missing=()
for section in "$@"; do
  mapfile -t packages < <(packages_of "$section")
  ((${#packages[@]})) || fail "deploy/dependencies.txt has no section '$section'"
  for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=missing
    [[ $status == installed ]] || missing+=("$package")
  done
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || fail "needs root or sudo to install: ${missing[*]}"
  as_root=(sudo)
fi

# Where Debian asks whether a package may start its service, the answer is no: promtool is wanted, not a running
# Prometheus.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
made_policy=0
clean() {
  rm -f "$log"
  ((!made_policy)) || "${as_root[@]}" rm -f "$policy"
}
trap clean EXIT
if [[ ! -e $policy ]]; then
  made_policy=1
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" \
    </dev/null >>"$log" 2>&1
}
say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
if ! { apt update && apt install --yes --no-install-recommends "${missing[@]}"; }; then
  tail -n 20 "$log" >&2
  fail "apt-get failed"
fi
