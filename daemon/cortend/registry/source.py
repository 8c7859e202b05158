"""Files behind URLs that a user names, to make images of: http and https, bounded in redirects and time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from corten_shared.errors import InvalidArgument, Unavailable
from cortend.core.limits import MAX_REDIRECTS
from cortend.registry.problems import bare, quoted, unreachable

CONNECT_SECONDS = 30.0
IDLE_SECONDS = 60.0
"""Seconds without a byte after which a download is given up."""


class WebSource:
    """See `core.archives.Source`."""

    def __init__(self, *, user_agent: str) -> None:
        self._agent = user_agent

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See the contract."""
        target = _parsed(url)
        timeout = httpx.Timeout(IDLE_SECONDS, connect=CONNECT_SECONDS)
        async with httpx.AsyncClient(
            timeout=timeout, follow_redirects=True, max_redirects=MAX_REDIRECTS, headers={"User-Agent": self._agent}
        ) as client:
            try:
                async with client.stream("GET", target, headers={"Accept-Encoding": "identity"}) as response:
                    if not response.is_success:
                        raise Unavailable(
                            f"{bare(target)} answered {response.status_code} {quoted(response.reason_phrase)}",
                            subject=bare(target),
                        )
                    yield response.aiter_raw(1 << 18)
            except httpx.TooManyRedirects:
                raise Unavailable(f"{bare(target)} redirects more than {MAX_REDIRECTS} times") from None
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise InvalidArgument(f"{bare(target)} leads to no http or https address") from error
            except httpx.HTTPError as error:
                raise unreachable("get", target, error) from error


def _parsed(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        raise InvalidArgument(f"invalid URL {quoted(url, 80)!r}") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise InvalidArgument(
            f"cannot import from {quoted(url, 80)!r}", hint="give an http or https URL, a file, or - for stdin"
        )
    return target
