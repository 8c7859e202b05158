"""Hijacked streams over the daemon's real HTTP protocol, and their parts."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.task import ExecRecord
from cortend.api.streams import DetachFilter, frame, parse_detach_keys
from cortend.core.runtime import Chunk
from unit.api.docker.fakes import Engine, FakeAttachment, make_view

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def test_a_frame_is_a_header_and_its_payload() -> None:
    assert frame(2, b"abc") == b"\x02\0\0\0\0\0\0\x03abc"


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", b"\x10\x11"), ("ctrl-a", b"\x01"), ("ctrl-@,b", b"\0b"), ("a,ctrl-[", b"a\x1b"), ("ctrl-_", b"\x1f")],
)
def test_detach_keys(text: str, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ab", "a,,b", "ctrl-ab", "ctrl-1", "é"])
def test_malformed_detach_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid detach keys"):
        parse_detach_keys(text)


def feed(keys: DetachFilter, *pieces: bytes) -> tuple[bytes, bool]:
    passed, found = b"", False
    for piece in pieces:
        data, found = keys.feed(piece)
        passed += data
        if found:
            break
    return passed, found


def test_detach_keys_are_found_across_reads_and_what_precedes_them_passes() -> None:
    assert feed(DetachFilter(b"\x10\x11"), b"ls\x10", b"\x11rest") == (b"ls", True)
    assert feed(DetachFilter(b"abc"), b"a", b"b", b"c") == (b"", True)


def test_the_beginning_of_detach_keys_alone_is_passed_on_later() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert feed(keys, b"x\x10", b"y") == (b"x\x10y", False)
    assert feed(keys, b"\x10\x10", b"\x11") == (b"\x10", True)
    keys.feed(b"\x10")
    assert keys.rest() == b"\x10"


def run(engine: Engine, folder: Path, scenario: Callable[[Path], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), engine.serve(folder / "s") as path:
            await scenario(path)

    asyncio.run(main())


async def hijack(path: Path, target: str, body: bytes = b"", upgrade: bool = True) -> tuple[bytes, Streams]:
    reader, writer = await asyncio.open_unix_connection(path)
    headers = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
    head = f"POST {target} HTTP/1.1\r\nHost: docker\r\n{headers}Content-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return await reader.readuntil(b"\r\n\r\n"), (reader, writer)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    stream, size = struct.unpack(">BxxxL", await reader.readexactly(8))
    return stream, await reader.readexactly(size)


ATTACH = "/containers/web/attach?stream=1&stdin=1&stdout=1&stderr=1"


def test_attach_frames_output_and_ends_input_on_half_close(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view()]
    attachment = engine.containers.attachment = FakeAttachment()

    async def scenario(path: Path) -> None:
        head, (reader, writer) = await hijack(path, f"/v1.51{ATTACH}")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
        assert b"application/vnd.docker.multiplexed-stream" in head
        writer.write(b"hello")
        assert await read_frame(reader) == (1, b"HELLO")
        attachment.queue.put_nowait(Chunk(2, b"oops"))
        assert await read_frame(reader) == (2, b"oops")
        writer.write_eof()
        assert await reader.read() == b""
        assert attachment.stdin_closed
        await attachment.closed.wait()
        writer.close()

    run(engine, tmp_path, scenario)


def test_with_a_terminal_the_stream_is_raw(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view(tty=True)]
    engine.containers.attachment = FakeAttachment([Chunk(1, b"$ ")])

    async def scenario(path: Path) -> None:
        head, (reader, writer) = await hijack(path, ATTACH)
        assert b"application/vnd.docker.raw-stream" in head
        assert await reader.read() == b"$ "
        writer.close()

    run(engine, tmp_path, scenario)


def test_detach_keys_end_the_stream_and_not_the_input(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view(tty=True)]
    attachment = engine.containers.attachment = FakeAttachment()

    async def scenario(path: Path) -> None:
        _, (reader, writer) = await hijack(path, ATTACH + "&detachKeys=ctrl-a,b")
        writer.write(b"x\x01")
        assert await reader.readexactly(1) == b"X"
        writer.write(b"b")
        assert await reader.read() == b""
        await attachment.closed.wait()
        assert attachment.written == b"x"
        assert not attachment.stdin_closed
        writer.close()

    run(engine, tmp_path, scenario)


def test_without_a_terminal_detach_keys_are_just_bytes(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view()]
    attachment = engine.containers.attachment = FakeAttachment()

    async def scenario(path: Path) -> None:
        _, (reader, writer) = await hijack(path, ATTACH)
        writer.write(b"\x10\x11")
        await read_frame(reader)
        assert attachment.written == b"\x10\x11"
        writer.close()

    run(engine, tmp_path, scenario)


def test_only_the_streams_asked_for_come(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view()]
    engine.containers.attachment = FakeAttachment([Chunk(1, b"out"), Chunk(2, b"err")])

    async def scenario(path: Path) -> None:
        _, (reader, writer) = await hijack(path, "/containers/web/attach?stream=1&stderr=1")
        assert await reader.read() == frame(2, b"err")
        writer.close()

    run(engine, tmp_path, scenario)


def test_a_client_that_is_gone_lets_go_of_a_silent_container(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view()]
    attachment = engine.containers.attachment = FakeAttachment([], silent=True)

    async def scenario(path: Path) -> None:
        _, (_, writer) = await hijack(path, "/containers/web/attach?stream=1&stdout=1")
        writer.write_eof()
        writer.close()
        await attachment.closed.wait()

    run(engine, tmp_path, scenario)


def test_without_an_upgrade_the_answer_is_200_and_raw(engine: Engine, tmp_path: Path) -> None:
    engine.containers.views = [make_view()]
    engine.containers.attachment = FakeAttachment([Chunk(1, b"x")])

    async def scenario(path: Path) -> None:
        head, (reader, writer) = await hijack(path, ATTACH, upgrade=False)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.read() == frame(1, b"x")
        writer.close()

    run(engine, tmp_path, scenario)


def exec_record(**changes: object) -> ExecRecord:
    return ExecRecord.model_validate({"id": "e", "container_id": "1", "args": ["x"], **changes})


def test_an_exec_that_cannot_start_says_why_in_its_stream(engine: Engine, tmp_path: Path) -> None:
    engine.execs.record = exec_record()
    engine.execs.error = InvalidArgument('exec: "x": executable file not found in $PATH')

    async def scenario(path: Path) -> None:
        _, (reader, writer) = await hijack(path, "/exec/e/start", b'{"Detach":false,"Tty":false}')
        assert await reader.read() == frame(1, b'exec: "x": executable file not found in $PATH\r\n')
        writer.close()

    run(engine, tmp_path, scenario)


def test_an_execs_console_size_is_height_and_width(engine: Engine, tmp_path: Path) -> None:
    engine.execs.record = exec_record(tty=True, open_stdin=True)
    engine.execs.attachment = FakeAttachment([Chunk(1, b"x")])

    async def scenario(path: Path) -> None:
        _, (reader, writer) = await hijack(path, "/exec/e/start", b'{"Tty":true,"ConsoleSize":[24,80]}')
        assert await reader.read() == b"x"
        writer.close()

    run(engine, tmp_path, scenario)
    assert engine.execs.sizes == [(80, 24)]
