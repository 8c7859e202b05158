"""The stream hub, against a socket that speaks as conmon does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from corten_shared.errors import Conflict, ResourceExhausted
from cortend.core.runtime import Chunk
from cortend.runtime.attach import PACKET, Client, Hub


def run(scenario: Callable[[socket.socket, Hub], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        ours, conmons = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        options.setdefault("closes_stdin", True)
        hub = Hub(ours, **options)
        try:
            await scenario(conmons, hub)
        finally:
            hub.close()
            conmons.close()

    asyncio.run(whole())


async def everything(client: Client) -> list[Chunk]:
    return [chunk async for chunk in client]


def test_streams_are_told_apart_and_joined_in_order() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        client = hub.attach(stdin=False)
        for packet in (b"\x02a", b"\x02b", b"\x03err", b"\x02c"):
            conmon.send(packet)
        conmon.close()
        assert await everything(client) == [(1, b"ab"), (2, b"err"), (1, b"c")]

    run(scenario)


def test_every_client_gets_everything_from_its_attachment_on() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        first = hub.attach(stdin=False)
        conmon.send(b"\x02one")
        assert await anext(first) == (1, b"one")
        second = hub.attach(stdin=False)
        conmon.send(b"\x02two")
        conmon.close()
        assert [await everything(first), await everything(second)] == [[(1, b"two")]] * 2

    run(scenario)


def test_stdin_goes_in_packets_that_conmon_takes_whole() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        client = hub.attach(stdin=True)
        await client.write(b"x" * (PACKET + 1))
        assert [len(conmon.recv(1 << 20)), len(conmon.recv(1 << 20))] == [PACKET, 1]

    run(scenario)


def test_a_writer_waits_for_a_full_pipe_and_goes_on() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        client = hub.attach(stdin=True)
        data = bytes(range(256)) * 8192
        writing = asyncio.create_task(client.write(data))
        got = b""
        while len(got) < len(data):
            await asyncio.sleep(0)
            conmon.setblocking(False)
            try:
                got += conmon.recv(1 << 20)
            except BlockingIOError:
                continue
        await writing
        assert got == data

    run(scenario)


def test_half_close_reaches_conmon_and_output_goes_on() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        client = hub.attach(stdin=True)
        await client.close_stdin()
        assert conmon.recv(10) == b""
        conmon.send(b"\x02still")
        assert await anext(client) == (1, b"still")
        with pytest.raises(Conflict):
            await client.write(b"x")

    run(scenario)


def test_without_stdin_once_a_client_s_end_of_input_stays_its_own() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        first, second = hub.attach(stdin=True), hub.attach(stdin=True)
        await first.close_stdin()
        await first.close()
        await second.write(b"x")
        assert conmon.recv(10) == b"x"

    run(scenario, closes_stdin=False)


def test_a_client_without_stdin_cannot_write() -> None:
    async def scenario(_: socket.socket, hub: Hub) -> None:
        with pytest.raises(Conflict, match="not attached to stdin"):
            await hub.attach(stdin=False).write(b"x")

    run(scenario)


def test_a_stalled_client_is_dropped_and_the_others_lose_nothing() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        stalled, living = hub.attach(stdin=False), hub.attach(stdin=False)
        reading = asyncio.create_task(everything(living))
        await asyncio.to_thread(_flood, conmon, 400)
        chunks = await reading
        assert sum(len(chunk.data) for chunk in chunks) == 400 * 8192
        with pytest.raises(ResourceExhausted, match="did not read"):
            await everything(stalled)

    run(scenario, limit=100_000, grace=0.01)


def test_a_slow_client_loses_nothing() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        client, size = hub.attach(stdin=False), 0
        flooding = asyncio.create_task(asyncio.to_thread(_flood, conmon, 200))
        async for chunk in client:
            size += len(chunk.data)
            await asyncio.sleep(0.001)
        await flooding
        assert size == 200 * 8192

    run(scenario, limit=20_000, grace=30)


def _flood(conmon: socket.socket, packets: int) -> None:
    for _ in range(packets):
        conmon.send(b"\x02" + b"x" * 8192)
    conmon.close()


def test_output_before_conmon_s_reset_is_not_lost() -> None:
    async def scenario(conmon: socket.socket, hub: Hub) -> None:
        client = hub.attach(stdin=True)
        await client.write(b"never read")
        conmon.send(b"\x02last words")
        conmon.close()
        assert await everything(client) == [(1, b"last words")]

    run(scenario)


def test_the_last_client_s_leave_gives_the_connection_up_unless_that_ends_the_input() -> None:
    async def scenario(_: socket.socket, hub: Hub) -> None:
        await hub.attach(stdin=False).close()
        assert not hub.closed
        await hub.attach(stdin=True).close()
        assert hub.closed

    run(scenario)

    async def open_stdin(_: socket.socket, hub: Hub) -> None:
        await hub.attach(stdin=False).close()
        assert hub.closed

    run(open_stdin, closes_stdin=False)


def test_closing_wakes_a_waiting_writer() -> None:
    async def scenario(_: socket.socket, hub: Hub) -> None:
        client = hub.attach(stdin=True)
        writing = asyncio.create_task(client.write(b"x" * (4 << 20)))
        await asyncio.sleep(0)
        hub.close()
        with pytest.raises(Conflict):
            await writing

    run(scenario)


def test_an_attachment_to_an_ended_hub_ends_at_once() -> None:
    async def scenario(_: socket.socket, hub: Hub) -> None:
        hub.close()
        assert await everything(hub.attach(stdin=False)) == []

    run(scenario)
