"""Further processes in a running container."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from corten_shared.errors import InvalidArgument

from .conftest import Lab, alive, collect, read_until


def test_exec_streams_whole_output_and_exit_code_every_time(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        for turn in range(15):
            handle, attachment = await lab.execute(
                made, "sh", "-c", f"echo out{turn}; echo err >&2; exit {turn}", exec_id=f"e{turn}"
            )
            assert attachment
            assert await collect(attachment) == (f"out{turn}\n".encode(), b"err\n")
            ended = await lab.tasks.wait_exec(made.key, f"e{turn}", handle)
            assert (ended.code, ended.lost) == (turn, False)
        assert list((lab.tasks.bundle(made.key).path / "execs").iterdir()) == []

    lab.run(scenario)


def test_exec_of_a_missing_program_says_so_and_leaves_no_conmon(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        for attach in (True, False):
            with pytest.raises(InvalidArgument) as caught:
                await lab.execute(made, "nonexistent", attach=attach)
            assert caught.value.message.startswith("OCI runtime exec failed: ")
            assert 'exec: "nonexistent": executable file not found in $PATH' in caught.value.message
        monitors = [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_conmon(int(pid), made.key.id)]
        assert monitors == [str(made.handle.monitor.pid)]

    lab.run(scenario)


def _is_conmon(pid: int, id: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"conmon") and id.encode() in words


def test_exec_with_stdin_ends_when_its_input_does(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        handle, attachment = await lab.execute(made, "cat", stdin=True)
        assert attachment
        data = os.urandom(300_000)
        reading = asyncio.create_task(collect(attachment))
        await attachment.write(data)
        await attachment.close_stdin()
        assert (await reading)[0] == data
        assert (await lab.tasks.wait_exec(made.key, "e1", handle)).code == 0

    lab.run(scenario)


def test_exec_with_a_terminal(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        handle, attachment = await lab.execute(made, "sh", "-c", "read x; stty size; exit 3", tty=True, stdin=True)
        assert attachment
        await lab.tasks.resize(made.key, 90, 20, "e1")
        await attachment.write(b"\n")
        await read_until(attachment, b"20 90\r\n")
        assert (await lab.tasks.wait_exec(made.key, "e1", handle)).code == 3

    lab.run(scenario)


def test_a_detached_exec_runs_and_is_waited_for(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        handle, attachment = await lab.execute(made, "sh", "-c", "yes | head -c 1000000; exit 5", attach=False)
        assert attachment is None
        assert (await lab.tasks.wait_exec(made.key, "e1", handle)).code == 5

    lab.run(scenario)


def test_an_exec_ends_with_its_container(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        handle, _ = await lab.execute(made, "sleep", "1000", attach=False)
        await lab.tasks.kill(made.key, signal.SIGKILL)
        assert (await lab.tasks.wait_exec(made.key, "e1", handle)).code == 137
        await lab.tasks.delete(made.key)
        assert not alive(handle.monitor)

    lab.run(scenario)


def test_a_cancelled_exec_leaves_no_process(lab: Lab) -> None:
    async def scenario() -> None:
        made = await lab.start("sleep", "1000")
        task = asyncio.create_task(lab.execute(made, "sleep", "1000", attach=False))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await lab.tasks.processes(made.key)) == 1

    lab.run(scenario)
