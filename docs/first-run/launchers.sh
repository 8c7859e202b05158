#!/bin/sh
# launchers.sh BIN: put lean launchers in the place of pip's scripts BIN/corten and BIN/cortenctl.
#
# pip's load `re` and all of `site` before the first line of ours, which is a third of the time that `corten ps`
# takes. These look in the directories that `site` would have added, written down once (-S), and nowhere that the
# environment or the current directory says (-I). A path that cannot stand in a #! line keeps pip's scripts.
set -eu
bin=$1
case $bin in *[!A-Za-z0-9/._+-]*) exit 0 ;; esac
[ "${#bin}" -lt 100 ] || exit 0
paths='import sys; print([path for path in sys.path if path not in sys.argv])'
stdlib='import sys; print(*sys.path, sep="\n")'
IFS='
'
paths=$("$bin/python" -I -c "$paths" $("$bin/python" -IS -c "$stdlib"))
for command in corten:corten.__main__ cortenctl:corten.ctl.__main__; do
    launcher=$bin/${command%%:*}
    cat >"$launcher.new" <<END
#!$bin/python -IS
import sys
sys.path += $paths
from ${command##*:} import main
sys.exit(main())
END
    chmod 755 "$launcher.new"
    mv "$launcher.new" "$launcher"
done
