"""What a cortend holds of the machine: counted before and after, to show that nothing stays behind.

    before = Holdings.of(cortend)
    …
    Holdings.settle(cortend, before)     waits until there is no more than that: tear-down goes on behind the answer
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from daemon import Cortend

_NOT_PER_CONTAINER = ("snapshots", "ingests", "descriptors")


@dataclass(frozen=True)
class Holdings:
    """Names of everything that belongs to one daemon's containers."""

    links: frozenset[str]
    namespaces: frozenset[str]
    published: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    conmons: frozenset[int]
    bundles: frozenset[str]
    runtime_state: frozenset[str]
    directories: frozenset[str]
    snapshots: frozenset[str]
    volumes: frozenset[str]
    endpoints: frozenset[str]
    leases: frozenset[str]
    ingests: frozenset[str]
    descriptors: int

    @classmethod
    def of(cls, daemon: Cortend) -> Holdings:
        """What it holds now."""
        return cls(
            links=_links(daemon),
            namespaces=_names(daemon.state, "netns/*"),
            published=_published(daemon),
            mounts=_mounts(daemon),
            cgroups=_cgroups(daemon),
            conmons=_conmons(daemon),
            bundles=_names(daemon.state, "bundles/*/*"),
            runtime_state=_names(daemon.state, "runtime/*/*/*"),
            directories=_names(daemon.root, "containers/*/*"),
            snapshots=_names(daemon.root, "snapshots/*/*/*"),
            volumes=_names(daemon.root, "volumes/*/*"),
            endpoints=_rows(daemon, "SELECT container_id FROM endpoints"),
            leases=_rows(daemon, "SELECT id FROM leases"),
            ingests=_names(daemon.root, "content/ingest/*"),
            descriptors=_descriptors(daemon),
        )

    @classmethod
    def when_idle(cls, daemon: Cortend) -> Holdings:
        """What it holds once everything of the containers that were is gone; there must be none now."""
        per_container = [name for name in cls.__dataclass_fields__ if name not in _NOT_PER_CONTAINER]

        def left() -> dict[str, object]:
            return {name: held for name in per_container if (held := getattr(cls.of(daemon), name))}

        deadline = time.monotonic() + 30
        while held := left():
            assert time.monotonic() < deadline, f"of containers that are gone the daemon still holds {held}"
            time.sleep(0.02)
        return cls.of(daemon)

    @classmethod
    def settle(cls, daemon: Cortend, before: Holdings, within: float = 30.0) -> None:
        """Wait until the daemon holds no more than it held `before`; fails with the difference."""
        deadline = time.monotonic() + within
        while difference := _difference(before, cls.of(daemon)):
            assert time.monotonic() < deadline, f"left behind: {difference}\n{daemon.log_text()[-3000:]}"
            time.sleep(0.02)  # tear-down of mounts and links is announced by nothing


def _difference(before: Holdings, after: Holdings) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, was in asdict(before).items():
        now = getattr(after, name)
        if name == "descriptors":
            if now > was:
                found[name] = f"{was} -> {now}"
        elif now - was:
            found[name] = sorted(now - was)
    return found


def _names(base: Path, pattern: str) -> frozenset[str]:
    return frozenset(str(path.relative_to(base)) for path in base.glob(pattern))


def _links(daemon: Cortend) -> frozenset[str]:
    done = subprocess.run(
        ["ip", "-json", "link", "show", "master", daemon.bridge], capture_output=True, check=False
    )
    return frozenset(link["ifname"] for link in json.loads(done.stdout or b"[]") if link)


def _published(daemon: Cortend) -> frozenset[str]:
    done = subprocess.run(["nft", "-j", "list", "table", "inet", daemon.table], capture_output=True, check=False)
    items = json.loads(done.stdout)["nftables"] if done.returncode == 0 else []
    return frozenset(
        json.dumps(element) for item in items if "map" in item for element in item["map"].get("elem", ())
    )


def _mounts(daemon: Cortend) -> frozenset[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return frozenset(point for point in points if point.startswith(f"{daemon.base}/"))


def _cgroups(daemon: Cortend) -> frozenset[str]:
    return frozenset(
        str(path) for top in Path("/sys/fs/cgroup").glob("*") for path in (top / daemon.cgroup[1:]).glob("*/")
    )


def _conmons(daemon: Cortend) -> frozenset[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"conmon") and any(str(daemon.state).encode() in word for word in words):
            found.add(int(path.parent.name))
    return frozenset(found)


def _descriptors(daemon: Cortend) -> int:
    """How many the daemon has open. The database's are left out: how many of its bounded pool are open is chance."""
    found = 0
    for path in Path(f"/proc/{daemon.pid}/fd").iterdir():
        with suppress(OSError):
            found += not path.readlink().name.startswith("meta.db")
    return found


def _rows(daemon: Cortend, query: str) -> frozenset[str]:
    with closing(sqlite3.connect(f"file:{daemon.root}/meta.db?mode=ro", uri=True)) as connection:
        return frozenset(str(row[0]) for row in connection.execute(query))
