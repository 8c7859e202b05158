#!/bin/sh
# image.sh: write the tar of a root file system made from this machine's busybox to standard output.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/tmp" "$root/var/www"
chmod 1777 "$root/tmp"
busybox=$(command -v busybox)
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
cat >"$root/bin/hello" <<'HELLO'
#!/bin/sh
limit() { for file in "$@"; do [ -r "$file" ] && { cat "$file"; return; }; done; echo unknown; }
memory=$(limit /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes)
pids=$(limit /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max)
if [ -r /sys/fs/cgroup/cpu.max ]; then
    cpus=$(awk '{ if ($1 == "max") print "all"; else printf "%.2f", $1 / $2 }' /sys/fs/cgroup/cpu.max)
else
    cpus=$(awk '{ getline period < "/sys/fs/cgroup/cpu/cpu.cfs_period_us"; if ($1 < 0) print "all"; else printf "%.2f", $1 / period }' \
        /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || echo unknown)
fi
echo "Hello from inside a container!"
echo "  hostname   $(hostname)"
echo "  pid        $$"
echo "  address    $(ip -4 -o addr show eth0 2>/dev/null | awk '{ print $4 }')"
echo "  memory     $((memory / 1048576)) MiB"
echo "  cpus       $cpus"
echo "  processes  at most $pids"
HELLO
chmod 755 "$root/bin/hello"
tar --numeric-owner --owner=0 --group=0 -C "$root" -cf - .
