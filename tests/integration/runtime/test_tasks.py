"""Tasks from beginning to end, with a real OCI runtime and conmon."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from corten_shared.errors import Conflict, InvalidArgument, NotFound
from corten_shared.models.container import Resources
from corten_shared.models.snapshot import Mount
from cortend.core.runtime import TaskKey

from .conftest import Lab, alive, collect, read_until


def test_probe_finds_a_runtime_that_works_and_leaves_nothing_behind(lab: Lab) -> None:
    async def scenario() -> None:
        assert any(info.usable for info in lab.tasks.runtimes())
        assert all(info.reason for info in lab.tasks.runtimes() if not info.usable)
        assert not list(lab.state_root.glob("probe-*"))
        assert lab.tasks.resolve("").usable
        with pytest.raises(InvalidArgument, match="unknown or invalid runtime name: nope"):
            lab.tasks.resolve("nope")

    lab.run(scenario)


def test_streams_and_exit_code_come_back_exactly(lab: Lab) -> None:
    ended, out, err = lab.run(lambda: lab.output("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (ended.code, ended.lost, ended.oom_killed) == (7, False, False)
    assert (out, err) == (b"out\n", b"err\n")


def test_a_signal_is_128_and_its_number(lab: Lab) -> None:
    async def scenario() -> int:
        made = await lab.start("sleep", "1000")
        await lab.tasks.kill(made.key, signal.SIGKILL)
        return (await lab.tasks.wait(made.key, made.handle)).code

    assert lab.run(scenario) == 137


def test_output_of_the_first_moment_is_never_missed(lab: Lab) -> None:
    async def scenario() -> list[bytes]:
        return [(await lab.output("echo", "first"))[1] for _ in range(10)]

    assert lab.run(scenario) == [b"first\n"] * 10


def test_much_output_arrives_whole(lab: Lab) -> None:
    _, out, _ = lab.run(lambda: lab.output("dd", "if=/dev/zero", "bs=1M", "count=32", log=False))
    assert len(out) == 32 << 20


def test_the_log_has_every_line_with_its_stream(lab: Lab) -> None:
    async def scenario() -> str:
        made = await lab.start("sh", "-c", "echo one; echo two >&2")
        await lab.tasks.wait(made.key, made.handle)
        return lab.log_path(made.key).read_text()

    lines = [line.split(" ", 1)[1] for line in lab.run(scenario).splitlines()]
    assert sorted(lines) == ["stderr F two", "stdout F one"]


def test_the_log_goes_on_in_a_new_file_after_a_reopen(lab: Lab) -> None:
    async def scenario() -> tuple[str, str]:
        made = await lab.create("sh", "-c", "echo before; read x; echo after; read x", open_stdin=True)
        attachment = await lab.tasks.attach(made.key)
        await lab.tasks.start(made.key)
        await read_until(attachment, b"before\n")
        path = lab.log_path(made.key)
        path.rename(path.with_suffix(".1"))
        await lab.tasks.reopen_log(made.key)
        while not path.exists():  # noqa: ASYNC110 - there is no event for a file
            await asyncio.sleep(0)
        await attachment.write(b"\n")
        await read_until(attachment, b"after\n")
        await attachment.write(b"\n")
        await lab.tasks.wait(made.key, made.handle)
        return path.with_suffix(".1").read_text(), path.read_text()

    old, new = lab.run(scenario)
    assert "before" in old and "after" not in old
    assert "after" in new


def test_half_close_of_stdin_ends_the_input_and_output_goes_on(lab: Lab) -> None:
    async def scenario() -> bytes:
        made = await lab.create("sh", "-c", "cat; echo done", open_stdin=True, stdin_once=True)
        attachment = await lab.tasks.attach(made.key)
        await lab.tasks.start(made.key)
        data = os.urandom(1 << 20)
        reading = asyncio.create_task(collect(attachment))
        await attachment.write(data)
        await attachment.close_stdin()
        await attachment.close_stdin()
        out, _ = await reading
        assert out == data + b"done\n"
        with pytest.raises(Conflict):
            await attachment.write(b"x")
        return out

    lab.run(scenario)


def test_stdin_stays_open_for_further_clients_without_stdin_once(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.create("sh", "-c", "read a; read b; echo $a $b", open_stdin=True)
        first = await lab.tasks.attach(made.key)
        await lab.tasks.start(made.key)
        await first.write(b"one\n")
        await first.close_stdin()
        await first.close()
        second = await lab.tasks.attach(made.key)
        await second.write(b"two\n")
        assert await read_until(second, b"\n") == b"one two\n"

    lab.run(scenario)


def test_several_clients_see_the_same_and_a_closed_one_does_not_disturb(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.create("sh", "-c", "echo a; read x; echo b", open_stdin=True)
        clients = [await lab.tasks.attach(made.key) for _ in range(3)]
        await lab.tasks.start(made.key)
        for client in clients:
            await read_until(client, b"a\n")
        await clients[0].close()
        await clients[1].write(b"\n")
        for client in clients[1:]:
            assert await read_until(client, b"b\n") == b"b\n"

    lab.run(scenario)


def test_a_client_that_does_not_read_does_not_stop_the_container(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.create("sh", "-c", "head -c 40000000 /dev/zero; echo end >&2", log=False)
        stalled = await lab.tasks.attach(made.key, stdin=False)
        await lab.tasks.start(made.key)
        ended = await lab.tasks.wait(made.key, made.handle)
        assert ended.code == 0
        with pytest.raises(Exception, match="did not read"):
            await collect(stalled)

    lab.run(scenario)


def test_a_terminal_has_a_size_that_can_change(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.create(
            "sh", "-c", "stty size; read x; stty size", tty=True, open_stdin=True, context={"console_size": (100, 30)}
        )
        attachment = await lab.tasks.attach(made.key)
        await lab.tasks.start(made.key)
        assert b"30 100\r\n" in await read_until(attachment, b"30 100\r\n")
        await lab.tasks.resize(made.key, 120, 50)
        await attachment.write(b"\n")
        await read_until(attachment, b"50 120\r\n")

    lab.run(scenario)


def test_resize_without_a_terminal_is_a_conflict(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        with pytest.raises(Conflict, match="no terminal"):
            await lab.tasks.resize(made.key, 80, 25)

    lab.run(scenario)


def test_pause_and_resume_are_idempotent_and_a_paused_task_can_be_killed(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        for _ in range(2):
            await lab.tasks.pause(made.key)
        for _ in range(2):
            await lab.tasks.resume(made.key)
        await lab.tasks.pause(made.key)
        await lab.tasks.kill(made.key, signal.SIGKILL)
        assert (await lab.tasks.wait(made.key, made.handle)).code == 137

    lab.run(scenario)


def test_kill_of_an_ended_task_is_not_found(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("true")
        await lab.tasks.wait(made.key, made.handle)
        with pytest.raises(NotFound, match="is not running"):
            await lab.tasks.kill(made.key, signal.SIGTERM)

    lab.run(scenario)


def test_the_oom_killer_is_seen(lab: Lab) -> None:
    async def scenario() -> None:
        # The shell's variable grows until the group's memory is gone.
        ended, _, _ = await lab.output(
            "sh", "-c", "x=a; while true; do x=$x$x; done", resources=Resources(memory=16 << 20, memory_swap=16 << 20)
        )
        assert (ended.code, ended.oom_killed) == (137, True)

    lab.run(scenario)


def test_limits_are_there_and_can_be_changed(lab: Lab) -> None:
    async def scenario() -> None:
        limits = Resources(memory=64 << 20, nano_cpus=500_000_000, pids=50)
        made = await lab.start("sleep", "1000", resources=limits)
        figures = await lab.tasks.metrics(made.key)
        assert (figures.memory_limit, figures.pids_limit, figures.pids) == (64 << 20, 50, 1)
        assert figures.memory_usage > 0 and figures.cpu_total_ns > 0
        await lab.tasks.update(made.key, {"pids": {"limit": 20}})
        assert (await lab.tasks.metrics(made.key)).pids_limit == 20

    lab.run(scenario)


def test_processes_are_listed_as_the_host_sees_them(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.create("sh", "-c", "sleep 1000 & echo up; wait")
        attachment = await lab.tasks.attach(made.key, stdin=False)
        await lab.tasks.start(made.key)
        await read_until(attachment, b"up\n")
        found = await lab.tasks.processes(made.key)
        while "sleep 1000" not in {process.command for process in found}:  # it is the shell still, until it execs
            found = await lab.tasks.processes(made.key)
        assert len(found) == 2
        assert made.handle.process.pid in {process.pid for process in found}

    lab.run(scenario)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nonexistent"], 'exec: "nonexistent": executable file not found in $PATH'),
        (["/nonexistent"], "no such file or directory"),
        (["/etc/passwd"], "permission denied"),
    ],
)
def test_what_cannot_run_is_said_in_docker_s_words_and_leaves_nothing(lab: Lab, args: list[str], words: str) -> None:
    async def scenario() -> None:
        with pytest.raises(InvalidArgument) as caught:
            await lab.create(*args)
        assert caught.value.message.startswith("OCI runtime create failed: ")
        assert words in caught.value.message

    lab.run(scenario)


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "etc"])
def test_a_root_with_a_link_where_the_runtime_mounts_is_refused(
    lab: Lab, image: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (image / "etc/passwd").unlink()
    (image / "etc").rmdir()
    (image / name).symlink_to(outside)

    async def scenario() -> None:
        with pytest.raises(InvalidArgument, match=f"/{name} is not a directory"):
            await lab.create("true")

    lab.run(scenario)
    assert not list(outside.iterdir())


def test_a_fifo_as_passwd_is_refused_before_the_runtime_hangs_on_it(lab: Lab, image: Path) -> None:
    (image / "etc/passwd").unlink()
    os.mkfifo(image / "etc/passwd")

    async def scenario() -> None:
        with pytest.raises(InvalidArgument, match="/etc/passwd is not a regular file"):
            await lab.create("true")

    lab.run(scenario)


def test_missing_directories_are_made(lab: Lab, image: Path) -> None:
    ended, _, _ = lab.run(lambda: lab.output("test", "-d", "/sys/fs"))
    assert ended.code == 0
    assert (image / "sys").is_dir()


def test_delete_is_idempotent_and_ends_what_runs(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sh", "-c", "trap '' TERM; sleep 1000 & wait")
        await lab.tasks.delete(made.key)
        await lab.tasks.delete(made.key)
        assert not alive(made.handle.process) and not alive(made.handle.monitor)
        assert await lab.tasks.leftovers() == []
        with pytest.raises(NotFound):
            await lab.tasks.processes(made.key)

    lab.run(scenario)


def test_a_failed_mount_leaves_no_bundle(lab: Lab) -> None:
    async def scenario() -> None:
        with pytest.raises(Exception, match="cannot mount the root file system"):
            await lab.tasks.prepare(TaskKey("default", "x"), [Mount(type="bind", source="/nonexistent", options=[])])
        assert await lab.tasks.leftovers() == []

    lab.run(scenario)


@pytest.mark.slow
def test_fifty_runs_leak_nothing(lab: Lab) -> None:
    async def scenario() -> None:
        def held() -> tuple[int, str]:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
            return len(os.listdir("/proc/self/fd")), children

        await lab.output("true")
        await lab.output("true")
        before = held()
        for turn in range(50):
            ended, out, _ = await lab.output("echo", str(turn))
            assert (ended.code, out) == (0, f"{turn}\n".encode())
        assert held() == before

    lab.run(scenario)
