#!/bin/sh
# start.sh SOCKET LOG: start cortend in the background unless it answers on SOCKET already.
set -eu
socket=$1 log=$2
if corten -H "unix://$socket" version >/dev/null 2>&1; then
    echo "==> cortend runs already"
    exit 0
fi
if [ -d /run/systemd/system ] && systemctl cat cortend.service >/dev/null 2>&1; then
    echo "==> starting cortend (systemd)"
    systemctl start cortend.service
    exit 0
fi
echo "==> starting cortend in the background (log: $log)"
setsid cortend --log-format json >>"$log" 2>&1 </dev/null &
daemon=$!
waited=0
until corten -H "unix://$socket" version >/dev/null 2>&1; do
    kill -0 "$daemon" 2>/dev/null || { echo "cortend did not start:" >&2; tail -n 5 "$log" >&2; exit 1; }
    [ "$waited" -lt 300 ] || { echo "cortend does not answer on $socket; see $log" >&2; exit 1; }
    waited=$((waited + 1))
    sleep 0.1
done
