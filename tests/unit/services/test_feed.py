"""A stream for a thread: in order, slowed down, and ended from either side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from corten_shared.errors import Cancelled, InvalidArgument, ResourceExhausted
from cortend.services.feed import Feed
from cortend.services.hops import HOP


async def _chunks(count: int, sent: list[int], *, error: Exception | None = None) -> AsyncGenerator[bytes, None]:
    for number in range(count):
        sent.append(number)
        yield bytes([number]) * (HOP // 2)
    if error is not None:
        raise error


def _feed(count: int, sent: list[int], *, limit: int = 1 << 40, error: Exception | None = None) -> Feed:
    return Feed(_chunks(count, sent, error=error), limit=limit, what="the archive")


def test_everything_arrives_in_order() -> None:
    async def main() -> bytes:
        feed = _feed(9, [])
        reading = asyncio.get_running_loop().run_in_executor(None, lambda: b"".join(feed))
        await feed.pump()
        return await reading

    whole = asyncio.run(main())
    assert whole == b"".join(bytes([number]) * (HOP // 2) for number in range(9))


def test_a_fast_sender_waits_for_the_thread() -> None:
    async def main() -> int:
        sent: list[int] = []
        feed, go = _feed(100, sent), threading.Event()

        def read() -> int:
            go.wait()
            return sum(map(len, feed))

        reading = asyncio.get_running_loop().run_in_executor(None, read)
        pumping = asyncio.ensure_future(feed.pump())
        for _ in range(1000):  # every turn of the loop that it could have sent in
            await asyncio.sleep(0)
        ahead = len(sent)
        go.set()
        await pumping
        assert await reading == 100 * (HOP // 2)
        return ahead

    assert 8 <= asyncio.run(main()) <= 10


@pytest.mark.parametrize(
    ("error", "limit", "kind"),
    [(InvalidArgument("bad"), 1 << 40, InvalidArgument), (None, HOP, ResourceExhausted)],
)
def test_what_ends_the_stream_ends_the_thread(error: Exception | None, limit: int, kind: type[Exception]) -> None:
    async def main() -> None:
        feed = _feed(5, [], error=error, limit=limit)
        reading = asyncio.get_running_loop().run_in_executor(None, lambda: list(feed))
        with pytest.raises(kind):
            await feed.pump()
        with pytest.raises(Cancelled):
            await reading

    asyncio.run(main())


def test_closing_ends_a_thread_that_waits() -> None:
    async def main() -> None:
        feed = _feed(0, [])
        reading = asyncio.get_running_loop().run_in_executor(None, lambda: list(feed))
        feed.close()
        with pytest.raises(Cancelled):
            await reading

    asyncio.run(main())
