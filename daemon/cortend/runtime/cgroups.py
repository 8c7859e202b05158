"""Control groups of containers: who is in them, what they use, and their removal, on v1, hybrid and v2 hosts.

A container's group is named by `linux.cgroupsPath` of its configuration, an absolute path below each
hierarchy: on v2 one directory, on v1 one per controller.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from corten_shared import times
from corten_shared.models.task import Metrics, Process
from cortend.core.hostfacts import CgroupLayout
from cortend.linux import mountinfo, process

UNLIMITED = 1 << 60
"""What v1 shows for no limit is some huge number; everything above this is one."""

_NOT_CONTROLLERS = frozenset({"rw", "ro", "clone_children", "xattr", "noprefix", "cpuset_v2_mode"})


class Cgroups:
    """The host's hierarchies. `roots` maps a v1 controller, or `` for the v2 tree, to its mount point."""

    def __init__(self, layout: CgroupLayout, roots: Mapping[str, Path]) -> None:
        self.layout = layout
        self.roots = roots

    @classmethod
    def detect(cls) -> Cgroups:
        """What /proc/self/mountinfo shows."""
        roots: dict[str, Path] = {}
        for point in mountinfo.read_mounts():
            if point.fstype == "cgroup2":
                roots.setdefault("", Path(point.target))
            elif point.fstype == "cgroup":
                for option in point.super_options:
                    if option not in _NOT_CONTROLLERS and not option.startswith("release_agent="):
                        roots.setdefault(option, Path(point.target))
        controllers = [name for name in roots if name and not name.startswith("name=")]
        if controllers:
            return cls("hybrid" if "" in roots else "v1", roots)
        return cls("v2", {"": roots.get("", Path("/sys/fs/cgroup"))})

    def fingerprint(self) -> str:
        """Which controllers are where: what runtimes look at, so that a remount is seen as another host."""
        places = [f"{name}={root}" for name, root in sorted(self.roots.items())]
        unified = self.roots.get("")
        try:
            on_v2 = (unified / "cgroup.controllers").read_text().split() if unified else []
        except OSError:
            on_v2 = []
        return ",".join([self.layout, *places, *on_v2])

    def directories(self, group: str) -> list[Path]:
        """The group's existing directories, one of each hierarchy."""
        relative = _relative(group)
        found = {root / relative for root in self.roots.values()} if relative else set()
        return sorted(path for path in found if path.is_dir())

    def pids(self, group: str) -> list[int]:
        """Every process in the group and the groups below it, sorted."""
        found: set[int] = set()
        for top in self.directories(group):
            for directory, _, _ in os.walk(top):
                with contextlib.suppress(OSError, ValueError):
                    found.update(map(int, (Path(directory) / "cgroup.procs").read_text().split()))
        found.discard(0)
        return sorted(found)

    def processes(self, group: str) -> list[Process]:
        """Every process of the group with its command line."""
        return [Process(pid=pid, command=command) for pid in self.pids(group) if (command := _command(pid))]

    def signal(self, group: str, number: int) -> int:
        """Signal every process of the group; how many there were."""
        count = 0
        for pid in self.pids(group):
            started = process.start_time(pid)
            fd = process.open_same(pid, started) if started is not None else None
            if fd is not None:
                try:
                    with contextlib.suppress(ProcessLookupError):
                        process.pidfd_send_signal(fd, number)
                        count += 1
                finally:
                    os.close(fd)
        return count

    def frozen(self, group: str) -> bool:
        """Whether the group is (being) frozen."""
        if self.layout == "v2":
            return _read(self.roots[""] / _relative(group) / "cgroup.freeze").strip() == "1"
        path = self._file("freezer", group, "freezer.state")
        return _read(path).strip() in ("FROZEN", "FREEZING")

    def thaw(self, group: str) -> None:
        """Let a frozen group run: a frozen process does not even die of SIGKILL on v1."""
        with contextlib.suppress(OSError):
            if self.layout == "v2":
                (self.roots[""] / _relative(group) / "cgroup.freeze").write_text("0")
            else:
                self._file("freezer", group, "freezer.state").write_text("THAWED")

    def kill(self, group: str, *, timeout: float = 10.0) -> bool:
        """Kill every process of the group, those they fork meanwhile too; whether it is empty now. Blocks."""
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError):
                (self.roots.get("", Path("/nonexistent")) / _relative(group) / "cgroup.kill").write_text("1")
            count = self.signal(group, signal.SIGKILL)
            self.thaw(group)
            if not count:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)

    def remove(self, group: str) -> None:
        """Remove the group's directories (processes in them: they stay). Idempotent."""
        for top in self.directories(group):
            for directory, _, _ in os.walk(top, topdown=False):
                _rmdir(Path(directory))

    def oom_kills(self, group: str) -> int:
        """How often the OOM killer came; 0 where the group is gone."""
        if self.layout == "v2":
            return _keyed(self.roots[""] / _relative(group) / "memory.events").get("oom_kill", 0)
        return _keyed(self._file("memory", group, "memory.oom_control")).get("oom_kill", 0)

    def metrics(self, group: str) -> Metrics:
        """What the group uses now; zeros for what is not there."""
        return self._metrics_v2(group) if self.layout == "v2" else self._metrics_v1(group)

    def _metrics_v2(self, group: str) -> Metrics:
        top = self.roots[""] / _relative(group)
        cpu, memory = _keyed(top / "cpu.stat"), _keyed(top / "memory.stat")
        return Metrics(
            read_at=times.now(),
            cpu_total_ns=cpu.get("usage_usec", 0) * 1000,
            cpu_user_ns=cpu.get("user_usec", 0) * 1000,
            cpu_system_ns=cpu.get("system_usec", 0) * 1000,
            memory_usage=_number(top / "memory.current"),
            memory_limit=_number(top / "memory.max"),
            memory_inactive_file=memory.get("inactive_file", 0),
            pids=_number(top / "pids.current"),
            pids_limit=_number(top / "pids.max"),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_ns=cpu.get("throttled_usec", 0) * 1000,
            oom_kills=self.oom_kills(group),
        )

    def _metrics_v1(self, group: str) -> Metrics:
        tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        usage, throttled = (
            _keyed(self._file("cpuacct", group, "cpuacct.stat")),
            _keyed(self._file("cpu", group, "cpu.stat")),
        )
        memory = _keyed(self._file("memory", group, "memory.stat"))
        limit = _number(self._file("memory", group, "memory.limit_in_bytes"))
        return Metrics(
            read_at=times.now(),
            cpu_total_ns=_number(self._file("cpuacct", group, "cpuacct.usage")),
            cpu_user_ns=usage.get("user", 0) * tick,
            cpu_system_ns=usage.get("system", 0) * tick,
            memory_usage=_number(self._file("memory", group, "memory.usage_in_bytes")),
            memory_limit=limit if limit < UNLIMITED else 0,
            memory_inactive_file=memory.get("total_inactive_file", 0),
            pids=_number(self._file("pids", group, "pids.current")),
            pids_limit=_number(self._file("pids", group, "pids.max")),
            throttled_periods=throttled.get("nr_throttled", 0),
            throttled_ns=throttled.get("throttled_time", 0),
            oom_kills=self.oom_kills(group),
        )

    def _file(self, controller: str, group: str, name: str) -> Path:
        return self.roots.get(controller, Path("/nonexistent")) / _relative(group) / name


def _relative(group: str) -> str:
    """The group's path without its leading slash; `..` would leave the hierarchy."""
    if ".." in group.split("/"):
        raise ValueError(f"a control group's path is clean, not {group!r}")
    return group.strip("/")


def _rmdir(path: Path) -> None:
    for _ in range(50):
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.002)  # the last process is dead but not yet gone from the group


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    """A file's number; 0 for `max` and for no file."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _keyed(path: Path) -> dict[str, int]:
    return dict(_pairs(_read(path)))


def _pairs(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            yield key, int(value)


def _command(pid: int) -> str:
    """A process's command line as ps shows it; its name in brackets if it has none; empty when it is gone."""
    line = _read(Path(f"/proc/{pid}/cmdline"))[:4096].rstrip("\0").replace("\0", " ")
    if line:
        return line
    name = _read(Path(f"/proc/{pid}/comm")).strip()
    return f"[{name}]" if name else ""
