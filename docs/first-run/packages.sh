#!/bin/sh
# packages.sh NAME...: install the Debian packages that are missing, and say which.
set -eu
missing=""
for name in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing="$missing $name"
done
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null || { echo "packages.sh: please install:$missing" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "packages.sh: not root; please run: apt-get install$missing" >&2; exit 1; }
echo "==> installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1 ||
    { apt-get update -q >"$log" 2>&1 && apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1; } ||
    { tail -n 20 "$log" >&2; exit 1; }
