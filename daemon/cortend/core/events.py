"""Events reach subscribers after the transaction that caused them was committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Protocol

from corten_shared.models.event import Event


class EventExchange(Protocol):
    """Hands events to whoever listens now; what was is in the journal (`Transaction.events`)."""

    def publish(self, event: Event) -> None:
        """Give the event to every subscriber. Never blocks; safe from any thread."""
        ...

    def subscribe(
        self, accept: Callable[[Event], bool] | None = None
    ) -> AbstractContextManager[AsyncIterator[Event]]:
        """The events from now on that `accept` likes. A subscriber that falls too far behind (1,024
        events) is ended with
        ResourceExhausted, so that one slow reader costs nobody memory."""
        ...
