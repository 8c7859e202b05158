"""The endpoints of one registry, in order: the first that can, and does, answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from corten_shared.errors import CortenError, Unavailable
from cortend.registry.problems import SpeaksNoTLS, SpeaksTLS, Unreachable
from cortend.registry.settings import ANY
from cortend.registry.transport import Transport

log = logging.getLogger(__name__)

T = TypeVar("T")


class Route:
    """Asks mirrors, then the registry itself. For one fetcher.

    Whatever a mirror refuses, lacks or gets wrong, the next endpoint is asked; one that could not be reached, or
    broke off, is not asked again while there is another.
    """

    def __init__(self, domain: str, transports: Sequence[Transport]) -> None:
        self._domain = domain
        self._transports = transports
        self._avoided: set[Transport] = set()
        self._mistaken: set[Transport] = set()

    def avoid(self, transport: Transport) -> None:
        """Ask others from now on, where there are some."""
        self._avoided.add(transport)

    def more(self, capability: str) -> bool:
        """Whether there is somebody left to ask who is not avoided."""
        return any(t not in self._avoided and self._wanted(t) for t in self._able(capability))

    async def pick(self, capability: str) -> Transport:
        """The endpoint for work that cannot move on to the next in its middle. Raises as `first`."""
        able = self._able(capability)
        if len(able) > 1 and able[1].endpoint.fallback:
            return await self.first(capability, _reached)
        return able[0]

    async def first(self, capability: str, ask: Callable[[Transport], Awaitable[T]]) -> T:
        """What the first endpoint answers that does. Raises what tells most: an answer before none at all, and of
        equals what the registry itself said."""
        problems: list[tuple[Transport, CortenError]] = []
        for transport in self._candidates(self._able(capability)):
            try:
                return await ask(transport)
            except CortenError as error:
                problems.append((transport, error))
                if isinstance(error, Unreachable | SpeaksTLS):
                    self.avoid(transport)
                if isinstance(error, SpeaksNoTLS | SpeaksTLS):
                    self._mistaken.add(transport)
                log.info(
                    "registry host failed", extra={"fields": {"host": transport.endpoint.url, "error": error.message}}
                )
        raise _worst(problems)

    def _able(self, capability: str) -> list[Transport]:
        able = [t for t in self._transports if capability == ANY or capability in t.endpoint.capabilities]
        if not able:
            lack = f"has the capability '{capability}'" if capability else "takes logins for it"
            raise Unavailable(
                f"no host that is configured for registry {self._domain} {lack}",
                subject=self._domain,
                hint="see the registry's hosts.toml",
            )
        return able

    def _candidates(self, able: Sequence[Transport]) -> Iterator[Transport]:
        """Those to ask, in order; what one of them turns out to be decides about the next."""
        found = False
        for transport in able:
            if transport not in self._avoided and self._wanted(transport):
                found = True
                yield transport
        if not found:
            yield from filter(self._wanted, able)

    def _wanted(self, transport: Transport) -> bool:
        """A fallback is asked only when the endpoint before it turned out to speak the other protocol: a certificate
        that is refused must not end in plain HTTP."""
        if not transport.endpoint.fallback:
            return True
        return self._transports[self._transports.index(transport) - 1] in self._mistaken


async def _reached(transport: Transport) -> Transport:
    response = await transport.ping()
    await response.aclose()
    return transport


def _worst(problems: Sequence[tuple[Transport, CortenError]]) -> CortenError:
    chosen = max(range(len(problems)), key=lambda n: (_weight(problems[n][1]), n))
    error = problems[chosen][1]
    others = [f"{t.endpoint.url}: {e.message}" for n, (t, e) in enumerate(problems) if n != chosen]
    if others:
        said = f"other hosts failed too: {'; '.join(others[:2])}"
        error.hint = f"{error.hint}; {said}" if error.hint else said
    return error


def _weight(error: CortenError) -> int:
    return 0 if isinstance(error, Unreachable) else 1 if isinstance(error, Unavailable) else 2
