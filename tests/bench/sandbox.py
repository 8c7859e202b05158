"""A world of the benchmark's own: network, mount and process namespaces.

All engines run inside it, beside each other and beside nothing else: their bridges and firewall rules are in a
network namespace with a loopback alone, their mounts in a mount namespace with an empty /run, and the kernel ends
every process of theirs with the first one of the process namespace. So whatever ends the benchmark, the machine's own
engines, bridges and rules have not been touched. A directory and control groups are left; `leave` removes them, and
the next run those of one that was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

INSIDE = "CORTEN_BENCH_BASE"
PREFIX = "corten-bench-"
KEPT = "kept"
PLACE = Path("/var/tmp")
HIDDEN = ("/run", "/dev/shm", "/var/lib/cni", "/var/lib/containers", "/var/lib/docker", "/var/lib/containerd")


def inside() -> Path | None:
    """The sandbox's directory when this process runs in one."""
    base = os.environ.get(INSIDE)
    return Path(base) if base else None


def enter(script: Path, arguments: list[str], *, keep: bool) -> int:
    """Run `script` again inside a new sandbox; returns its exit code, with everything taken away.

    `keep` leaves the directory, with every engine's log, and says where.
    """
    # /var/tmp and not /tmp: on many machines /tmp is in memory, and an engine's disk is not.
    base = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=PLACE))
    sweep()
    child = subprocess.Popen(
        [
            "setpriv", "--pdeathsig", "KILL", "--",  # whatever ends this process ends them all
            "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            # a first process that reaps: shims and conmons are orphans by design
            "catatonit", "--", sys.executable, str(script), *arguments,
        ],
        env=_environment(base),
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _wait(child)
    finally:
        child.kill()
        child.wait()
        leave(base, keep=keep)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches the inner process too: it tidies up, and this one waits for it."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


def _environment(base: Path) -> dict[str, str]:
    """No proxies between an engine and the loopback, no configuration of the user's."""
    home = base / "home"
    home.mkdir()
    (home / "config.json").write_text("{}")  # podman wants it where DOCKER_CONFIG says
    theirs = ("DOCKER_", "XDG_", "CONTAINER", "CORTEN")
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith(theirs)}
    return {**kept, INSIDE: str(base), "HOME": str(home), "DOCKER_CONFIG": str(home), "DOCKER_BUILDKIT": "0"}


def prepare(base: Path) -> None:
    """The first thing inside: the loopback up, and empty directories over what engines share by default."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    resolver = Path("/etc/resolv.conf")
    servers = resolver.read_bytes() if resolver.exists() else b""
    for name in HIDDEN:
        if Path(name).is_dir():
            cover = base / "hidden" / name.lstrip("/")
            cover.mkdir(parents=True)
            kind = ["-t", "tmpfs", "tmpfs"] if name in ("/run", "/dev/shm") else ["--bind", str(cover)]
            subprocess.run(["mount", *kind, name], check=True)
    if not resolver.exists():  # a link into /run
        target = resolver.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(servers)


def cgroup(base: Path) -> str:
    """The parent of all control groups of this sandbox: `/corten-bench-…`."""
    return "/" + base.name


def sweep() -> None:
    """Remove what benchmarks left that were killed: their names hold their process ids. What `--keep` kept stays."""
    for old in PLACE.glob(f"{PREFIX}[0-9]*"):
        pid = old.name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists() and not (old / KEPT).exists():
            leave(old, keep=False)


def leave(base: Path, *, keep: bool) -> None:
    """Remove what a sandbox that has ended left: control groups and its directory."""
    top = Path("/sys/fs/cgroup")
    for parent in (top / base.name, *top.glob(f"*/{base.name}")):
        for folder, _, _ in os.walk(parent, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    if keep:
        (base / KEPT).touch()
        print(f"kept {base}", file=sys.stderr)
    else:
        shutil.rmtree(base, ignore_errors=True)
