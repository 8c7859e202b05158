"""Events from threads to subscribers on a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack

import pytest

from corten_shared.errors import Internal, ResourceExhausted
from corten_shared.models.event import Event
from cortend.events.exchange import Exchange


def event(number: int) -> Event:
    return Event(seq=number, time=number, namespace="ns", topic="/x", object_id=str(number))


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_a_subscriber_gets_what_comes_after_it_subscribed() -> None:
    async def scenario() -> None:
        exchange = Exchange()
        exchange.publish(event(1))
        with exchange.subscribe() as events:
            exchange.publish(event(2))
            exchange.publish(event(3))
            assert [(await anext(events)).seq, (await anext(events)).seq] == [2, 3]

    run(scenario())


def test_a_waiting_subscriber_is_woken_from_another_thread() -> None:
    async def scenario() -> None:
        exchange = Exchange()
        with exchange.subscribe() as events:
            for number in range(50):
                waiting = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                thread = threading.Thread(target=exchange.publish, args=(event(number),))
                thread.start()
                assert (await waiting).seq == number
                thread.join()

    run(scenario())


def test_only_accepted_events_are_queued() -> None:
    async def scenario() -> None:
        exchange = Exchange(limit=2)
        with exchange.subscribe(lambda found: found.seq % 10 == 0) as events:
            for number in range(15):
                exchange.publish(event(number))
            assert [(await anext(events)).seq, (await anext(events)).seq] == [0, 10]

    run(scenario())


def test_a_subscriber_that_falls_behind_is_ended_and_the_others_are_not() -> None:
    async def scenario() -> None:
        exchange = Exchange(limit=3)
        with exchange.subscribe() as slow, exchange.subscribe() as quick:
            for number in range(4):
                exchange.publish(event(number))
                assert (await anext(quick)).seq == number
            got = []
            with pytest.raises(ResourceExhausted, match="more than 3"):
                async for found in slow:
                    got.append(found.seq)
            assert got == [0, 1, 2]
            exchange.publish(event(4))
            assert (await anext(quick)).seq == 4
            with pytest.raises(ResourceExhausted):
                await anext(slow)

    run(scenario())


def test_leaving_the_subscription_ends_its_reader() -> None:
    async def scenario() -> None:
        exchange = Exchange()
        with exchange.subscribe() as events:
            reader = asyncio.ensure_future(collect(events))
            exchange.publish(event(1))
            await asyncio.sleep(0)
        assert await reader == [1]
        exchange.publish(event(2))

    async def collect(events: AsyncIterator[Event]) -> list[int]:
        return [found.seq async for found in events]

    run(scenario())


def test_a_filter_that_fails_ends_its_own_subscription_only(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        exchange = Exchange()
        with exchange.subscribe(lambda found: 1 / found.seq > 0) as broken, exchange.subscribe() as whole:
            exchange.publish(event(0))
            assert (await anext(whole)).seq == 0
            with pytest.raises(Internal, match="filter"):
                await anext(broken)

    run(scenario())
    assert "filter failed" in caplog.text


def test_a_subscriber_whose_loop_is_gone_bothers_nobody() -> None:
    exchange = Exchange()

    async def subscribe(stack: ExitStack) -> None:
        stack.enter_context(exchange.subscribe())

    with ExitStack() as stack:
        asyncio.run(subscribe(stack))
        exchange.publish(event(1))
        exchange.publish(event(2))
