"""The subprocess runner."""

from __future__ import annotations

import asyncio
import os

import pytest

from corten_shared.errors import DeadlineExceeded, Unavailable
from cortend.runtime import process


def test_code_and_output_come_back() -> None:
    result = asyncio.run(process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10))
    assert result == (3, b"out\n", b"err\n")


def test_output_is_bounded_and_the_writer_is_not_blocked() -> None:
    result = asyncio.run(process.run(["head", "-c", "3000000", "/dev/zero"], timeout=10, limit=100))
    assert (result.code, len(result.stdout)) == (0, 100)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(Unavailable, match="cannot run /nonexistent"):
        asyncio.run(process.run(["/nonexistent"], timeout=10))


def test_the_deadline_ends_the_whole_process_group() -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    with pytest.raises(DeadlineExceeded, match="sh did not end within"):
        asyncio.run(process.run(["sh", "-c", "sleep 1000 & sleep 1000"], timeout=0.05, pass_fds=[write]))
    os.close(write)
    assert os.read(read, 1) == b""  # every holder of the other end is gone
    os.close(read)


def test_cancellation_kills() -> None:
    read, write = os.pipe()

    async def scenario() -> None:
        task = asyncio.create_task(
            process.run(["sh", "-c", f"echo > /proc/self/fd/{write}; exec sleep 1000"], timeout=100, pass_fds=[write])
        )
        up = asyncio.Event()
        asyncio.get_running_loop().add_reader(read, up.set)
        await up.wait()
        asyncio.get_running_loop().remove_reader(read)
        os.read(read, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)


def test_nothing_of_the_daemon_is_inherited() -> None:
    os.environ["NOTIFY_SOCKET"] = "/x"
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        environment = asyncio.run(process.run(["env"], timeout=10)).stdout
        descriptors = asyncio.run(process.run(["ls", "/proc/self/fd"], timeout=10)).stdout.split()
    finally:
        os.close(fd)
        del os.environ["NOTIFY_SOCKET"]
    assert b"NOTIFY_SOCKET" not in environment and b"HOME" not in environment
    assert descriptors == [b"0", b"1", b"2", b"3"]  # 3 is the directory being listed


def test_every_start_is_logged_as_a_line_to_paste(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="cortend.runtime.process"):
        asyncio.run(process.run(["echo", "two words", "$x"], timeout=10, cwd="/"))
    assert "run: cd / && echo 'two words' '$x'" in caplog.text
