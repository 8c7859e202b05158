#!/bin/sh
# hello.sh: make the image `busybox` from this machine's own busybox, unless it is there, and run a container from it.
set -eu
here=$(dirname "$0")
if ! corten image inspect busybox >/dev/null 2>&1; then
    echo "==> making the image busybox from this machine's own $(command -v busybox)"
    "$here/image.sh" | corten import --change 'CMD ["/bin/sh"]' - busybox >/dev/null
fi
echo "==> corten run --rm --memory 64m --cpus 0.5 --pids-limit 64 busybox hello"
corten run --rm --memory 64m --cpus 0.5 --pids-limit 64 busybox hello
cat <<'NEXT'

It works. Three commands to try next:
  corten run --rm -it busybox sh                                    a shell in a container of its own
  corten run -d --name web -p 8080:80 busybox httpd -f -h /etc      then: wget -qO- http://127.0.0.1:8080/passwd
  cortenctl content ls                                              what the engine stores, blob by blob
NEXT
