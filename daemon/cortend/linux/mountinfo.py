"""What is mounted where: /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple


class MountPoint(NamedTuple):
    """One line of mountinfo; `optional` are propagation tags such as `shared:7`."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    target: str
    options: list[str]
    optional: list[str]
    fstype: str
    source: str
    super_options: list[str]


def read_mounts(pid: int | str = "self") -> list[MountPoint]:
    """Every mount that `pid` sees, in mount order."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        lines = file.read().splitlines()
    return [parse_line(os.fsdecode(line)) for line in lines]


def parse_line(line: str) -> MountPoint:
    """One line of mountinfo; raises ValueError for another shape."""
    left, separator, right = line.partition(" - ")
    fields, tail = left.split(" "), right.split(" ")
    if not separator or len(fields) < 6 or len(tail) < 3:
        raise ValueError(f"not a line of mountinfo: {line!r}")
    return MountPoint(
        int(fields[0]),
        int(fields[1]),
        fields[2],
        _unescape(fields[3]),
        _unescape(fields[4]),
        fields[5].split(","),
        fields[6:],
        tail[0],
        _unescape(tail[1]),
        tail[2].split(","),
    )


def mounts_below(path: str | os.PathLike[str], pid: int | str = "self") -> Iterator[MountPoint]:
    """Mounts at `path` and below it, last mounted first: the order in which to unmount them."""
    base = os.path.realpath(path)
    for entry in reversed(read_mounts(pid)):
        if entry.target == base or entry.target.startswith(base.rstrip("/") + "/"):
            yield entry


def _unescape(text: str) -> str:
    """The kernel writes space, tab, newline, backslash and `#` as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
