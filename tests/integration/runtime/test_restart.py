"""What is left when the daemon, or conmon, dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from corten_shared.models.snapshot import Mount
from cortend.core.runtime import TaskKey
from cortend.linux import mountinfo
from cortend.runtime.cgroups import Cgroups

from .conftest import Lab, alive, read_until


def test_a_new_daemon_adopts_a_running_task_with_streams_and_exit_code(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.create("sh", "-c", "echo up; read x; echo got $x; exit 9", open_stdin=True)
        first = await lab.tasks.attach(made.key)
        await lab.tasks.start(made.key)
        await read_until(first, b"up\n")
        lab.tasks.close()

        lab.tasks = lab.new_tasks()
        await lab.tasks.probe()
        assert lab.tasks.is_alive(made.handle.process)
        assert await lab.tasks.leftovers() == [made.key]
        second = await lab.tasks.attach(made.key)
        await second.write(b"it\n")
        await read_until(second, b"got it\n")
        assert (await lab.tasks.wait(made.key, made.handle)).code == 9

    lab.run(scenario)


def test_an_exit_that_nobody_watched_is_known_with_its_time(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sh", "-c", "exit 11")
        lab.tasks.close()
        while alive(made.handle.monitor):
            pass
        written = (lab.tasks.bundle(made.key).path / "exit").stat().st_mtime_ns
        lab.tasks = lab.new_tasks()
        await lab.tasks.probe()
        ended = await lab.tasks.wait(made.key, made.handle)
        assert (ended.code, ended.finished_at) == (11, written)

    lab.run(scenario)


def test_a_killed_conmon_is_a_lost_exit_and_ends_the_container(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sh", "-c", "sleep 1000 & sleep 1000")
        os.kill(made.handle.monitor.pid, signal.SIGKILL)
        ended = await lab.tasks.wait(made.key, made.handle)
        assert (ended.code, ended.lost) == (255, True)
        assert not alive(made.handle.process)
        assert await lab.tasks.processes(made.key) == []

    lab.run(scenario)


def test_a_task_cut_off_while_it_was_created_is_cleared_by_the_next_prepare(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        # As if the daemon had died before it could write this down.
        (lab.tasks.bundle(made.key).path / "task.json").unlink()
        lab.tasks.close()
        lab.tasks = lab.new_tasks()
        await lab.tasks.probe()
        await lab.tasks.delete(made.key)
        assert not alive(made.handle.process) and not alive(made.handle.monitor)
        assert not any(str(lab.state_root) in point.target for point in mountinfo.read_mounts())
        assert not Cgroups.detect().directories(lab.tasks.cgroup_path(made.key.id))
        assert not list(lab.state_root.glob("runtime/*/*/*"))

    lab.run(scenario)


def test_leftovers_names_bundles_of_every_namespace(lab: Lab, image: Path) -> None:
    async def scenario() -> None:
        for ns in ("default", "k8s.io"):
            await lab.tasks.prepare(TaskKey(ns, "x"), [Mount(type="bind", source=str(image), options=["rbind"])])
        assert await lab.tasks.leftovers() == [TaskKey("default", "x"), TaskKey("k8s.io", "x")]

    lab.run(scenario)


def test_removal_of_a_bundle_never_reaches_into_the_image(lab: Lab, image: Path) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        await lab.tasks.delete(made.key)

    lab.run(scenario)
    assert (image / "bin/busybox").exists()
