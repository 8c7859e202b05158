#!/bin/sh
# stop.sh: end the cortend that uses /run/corten; its containers go on.
set -eu
pid=$(cat /run/corten/lock 2>/dev/null) || { echo "cortend does not run"; exit 0; }
kill -TERM "$pid"
echo "==> cortend ($pid) was told to stop; containers go on"
