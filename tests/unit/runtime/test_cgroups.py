"""Control groups, on made-up trees of each layout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cortend.runtime.cgroups import Cgroups


@pytest.fixture
def v2(tmp_path: Path) -> Cgroups:
    group = tmp_path / "corten/c1"
    (group / "nested").mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (group / "nested/cgroup.procs").write_text("0\n")
    (group / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 1\nthrottled_usec 7\n")
    (group / "memory.current").write_text("1000\n")
    (group / "memory.max").write_text("max\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 10\n")
    (group / "memory.events").write_text("oom 3\noom_kill 2\n")
    (group / "pids.current").write_text("4\n")
    (group / "pids.max").write_text("50\n")
    (group / "cgroup.freeze").write_text("1\n")
    return Cgroups("v2", {"": tmp_path})


@pytest.fixture
def v1(tmp_path: Path) -> Cgroups:
    files = {
        "cpuacct": {"cpuacct.usage": "5000", "cpuacct.stat": "user 3\nsystem 2\n"},
        "cpu": {"cpu.stat": "nr_periods 9\nnr_throttled 1\nthrottled_time 7000\n"},
        "memory": {
            "memory.usage_in_bytes": "1000", "memory.limit_in_bytes": "9223372036854771712",
            "memory.stat": "inactive_file 5\ntotal_inactive_file 10\n",
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        },
        "pids": {"pids.current": "4", "pids.max": "50", "cgroup.procs": f"{os.getpid()}\n"},
        "freezer": {"freezer.state": "FROZEN\n"},
    }  # fmt: skip
    for controller, contents in files.items():
        group = tmp_path / controller / "corten/c1"
        group.mkdir(parents=True)
        for name, text in contents.items():
            (group / name).write_text(text)
    return Cgroups("v1", {name: tmp_path / name for name in files})


@pytest.mark.parametrize("layout", ["v1", "v2"])
def test_figures_are_the_same_on_every_layout(layout: str, request: pytest.FixtureRequest) -> None:
    cgroups: Cgroups = request.getfixturevalue(layout)
    found = cgroups.metrics("/corten/c1")
    assert (found.cpu_total_ns, found.memory_usage, found.memory_limit) == (5000, 1000, 0)
    assert (found.memory_inactive_file, found.pids, found.pids_limit) == (10, 4, 50)
    assert (found.throttled_periods, found.throttled_ns, found.oom_kills) == (1, 7000, 2)
    assert cgroups.pids("/corten/c1") == [os.getpid()]
    assert cgroups.frozen("/corten/c1")
    assert cgroups.processes("/corten/c1")[0].pid == os.getpid()


@pytest.mark.parametrize("layout", ["v1", "v2"])
def test_a_group_that_is_gone_is_empty(layout: str, request: pytest.FixtureRequest) -> None:
    cgroups: Cgroups = request.getfixturevalue(layout)
    assert cgroups.pids("/corten/gone") == []
    assert cgroups.metrics("/corten/gone").cpu_total_ns == 0
    assert not cgroups.frozen("/corten/gone")
    assert cgroups.kill("/corten/gone")
    cgroups.remove("/corten/gone")


def test_paths_that_leave_the_hierarchy_are_refused(v2: Cgroups) -> None:
    with pytest.raises(ValueError, match="clean"):
        v2.pids("/corten/../..")


def test_this_host_s_layout_is_found() -> None:
    cgroups = Cgroups.detect()
    assert cgroups.layout in ("v1", "hybrid", "v2")
    assert all(path.is_dir() for path in cgroups.roots.values())


def test_a_controller_that_moves_makes_another_host(tmp_path: Path) -> None:
    """What a runtime said before hugetlb went from v2 to v1 no longer counts."""
    unified = tmp_path / "unified"
    unified.mkdir()
    (unified / "cgroup.controllers").write_text("hugetlb\n")
    roots = {"": unified, "memory": tmp_path / "memory"}
    before = Cgroups("hybrid", roots).fingerprint()
    (unified / "cgroup.controllers").write_text("\n")
    moved = Cgroups("hybrid", {**roots, "hugetlb": tmp_path / "hugetlb"}).fingerprint()
    assert before != moved
    assert moved == Cgroups("hybrid", {"hugetlb": tmp_path / "hugetlb", **roots}).fingerprint()
