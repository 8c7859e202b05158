"""Framed and raw output, and both directions of an attached stream."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.streams import Demultiplexer, Pump, Raw, write_all
from corten.transport import Connection
from corten.tty import DetachKeys, parse_detach_keys
from corten_shared.errors import DataLoss, Internal, InvalidArgument


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


class Pipes:
    """Two pipes to write to and read back."""

    def __init__(self) -> None:
        self.read, self.write = zip(*(os.pipe() for _ in range(2)), strict=True)

    def demultiplexer(self) -> Demultiplexer:
        return Demultiplexer(*self.write)

    def finish(self) -> tuple[bytes, ...]:
        result = []
        for reading, writing in zip(self.read, self.write, strict=True):
            os.close(writing)
            result.append(b"".join(iter(lambda fd=reading: os.read(fd, 65536), b"")))
            os.close(reading)
        return tuple(result)


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=40)), max_size=30),
    st.lists(st.integers(1, 25), min_size=1, max_size=30),
)
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """However the stream is cut into reads, each stream's bytes come out whole and in order."""
    data = b"".join(frame(stream, body) for stream, body in frames)
    pipes = Pipes()
    output, at, turn = pipes.demultiplexer(), 0, 0
    while at < len(data):
        output.feed(data[at : at + cuts[turn % len(cuts)]])
        at += cuts[turn % len(cuts)]
        turn += 1
    output.finish()
    out = b"".join(body for stream, body in frames if stream != 2)
    assert pipes.finish() == (out, b"".join(body for stream, body in frames if stream == 2))


def test_many_small_frames_in_one_read() -> None:
    """More frames than one system call takes."""
    pipes = Pipes()
    output = pipes.demultiplexer()
    output.feed(b"".join(frame(1, b"%d," % n) for n in range(2000)))
    assert pipes.finish()[0] == b"".join(b"%d," % n for n in range(2000))


@pytest.mark.parametrize("data", [b"plain text", b"\x01\x00\x00\x01\x00\x00\x00\x01x", frame(4, b"x")])
def test_unframed_output_is_refused(data: bytes) -> None:
    with pytest.raises(DataLoss, match="not framed"):
        Demultiplexer().feed(data)


@pytest.mark.parametrize("data", [frame(1, b"abc")[:-1], b"\x01\x00"])
def test_output_that_ends_inside_a_frame_is_told(data: bytes) -> None:
    pipes = Pipes()
    output = pipes.demultiplexer()
    output.feed(data)
    with pytest.raises(DataLoss, match="middle of a frame"):
        output.finish()
    pipes.finish()


def test_an_error_in_the_stream_is_raised_at_its_end() -> None:
    output = Demultiplexer()
    output.feed(frame(3, b"it broke"))
    with pytest.raises(Internal, match="error from daemon in stream: it broke"):
        output.finish()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and the container's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def attached(
    pair: tuple[socket.socket, socket.socket], output: Demultiplexer | Raw, stdin: int, keys: bytes = b""
) -> tuple[Pump, socket.socket]:
    ours, theirs = pair
    return Pump(Connection(ours, "test"), output, stdin, DetachKeys(keys) if keys else None), theirs


def test_end_of_stdin_closes_one_direction_only(pair: tuple[socket.socket, socket.socket]) -> None:
    """Output that comes after our stdin ended is still carried."""
    pipes = Pipes()
    reading, writing = os.pipe()
    os.write(writing, b"question")
    os.close(writing)
    pump, theirs = attached(pair, pipes.demultiplexer(), reading)

    def container() -> None:
        asked = b"".join(iter(lambda: theirs.recv(100), b""))
        theirs.sendall(frame(1, b"answer to " + asked))
        theirs.close()

    thread = threading.Thread(target=container)
    thread.start()
    pump.run()
    thread.join()
    os.close(reading)
    assert pipes.finish()[0] == b"answer to question"


def test_large_streams_both_ways_do_not_block_each_other(pair: tuple[socket.socket, socket.socket]) -> None:
    """A container that echoes while we still send: more than all buffers hold."""
    pipes = Pipes()
    reading, writing = os.pipe()
    amount = 4 * 1024 * 1024
    pump, theirs = attached(pair, Raw(pipes.write[0]), reading)

    def echo() -> None:
        while data := theirs.recv(65536):
            theirs.sendall(data)
        theirs.close()

    def feed() -> None:
        write_all(writing, b"x" * amount)
        os.close(writing)

    received: list[int] = []

    def drain() -> None:
        total = 0
        while data := os.read(pipes.read[0], 1 << 20):
            total += len(data)
        received.append(total)

    threads = [threading.Thread(target=target) for target in (echo, feed, drain)]
    for thread in threads:
        thread.start()
    pump.run()
    os.close(pipes.write[0])
    for thread in threads:
        thread.join()
    for fd in (reading, pipes.read[0], *(pipes.read[1], pipes.write[1])):
        os.close(fd)
    assert received == [amount]


def test_detach_keys_end_the_pump_and_are_not_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    reading, writing = os.pipe()
    pump, theirs = attached(pair, Raw(), reading, b"\x10\x11")
    os.write(writing, b"ls\n\x10\x11rest")
    pump.run()
    assert pump.detached
    assert theirs.recv(100) == b"ls\n"
    for fd in (reading, writing):
        os.close(fd)


def test_a_container_that_stops_reading_still_writes(pair: tuple[socket.socket, socket.socket]) -> None:
    """Its end of stdin closed: our data is dropped, its output goes on."""
    pipes = Pipes()
    reading, writing = os.pipe()
    os.write(writing, b"unread")
    pump, theirs = attached(pair, pipes.demultiplexer(), reading)
    theirs.shutdown(socket.SHUT_RD)
    theirs.sendall(frame(1, b"output"))
    theirs.shutdown(socket.SHUT_WR)
    pump.run()
    os.close(reading)
    os.close(writing)
    assert pipes.finish()[0] == b"output"


@pytest.mark.parametrize(
    ("pieces", "passed", "found"),
    [
        ([b"a\x10", b"b"], b"a\x10b", False),
        ([b"\x10", b"\x11"], b"", True),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_detach_keys_hold_back_only_their_beginning(pieces: list[bytes], passed: bytes, found: bool) -> None:
    keys = DetachKeys(b"\x10\x11")
    assert b"".join(keys.feed(piece) for piece in pieces) == passed
    assert keys.found == found


def test_detach_key_names() -> None:
    assert parse_detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_detach_keys("a,ctrl-@,DEL,ctrl-_,ctrl-[") == b"a\x00\x7f\x1f\x1b"
    assert parse_detach_keys("") == b""
    for text in ("ctrl-", "ctrl-1", "ab", "ctrl-p,", "ctrl-é"):
        with pytest.raises(InvalidArgument, match="invalid detach keys"):
            parse_detach_keys(text)
