"""Requests to one registry: log in, follow redirects, try again, give up."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from email.utils import parsedate_to_datetime

import httpx

from corten_shared.errors import CortenError, ResourceExhausted, Unavailable
from corten_shared.reference import Reference
from cortend.core.registry import Credentials
from cortend.registry.auth import Authorizer, TokenCache
from cortend.registry.challenge import parse_challenges
from cortend.registry.problems import Unreachable, bare, quoted, refused, unreachable
from cortend.registry.settings import MAX_ERROR_BODY, MAX_REDIRECTS, MAX_TOKEN, RegistrySettings

log = logging.getLogger(__name__)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOGINS = 2
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


class Transport:
    """Sends the requests of one fetcher. `client` must follow no redirects by itself."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        settings: RegistrySettings,
        reference: Reference,
        credentials: Credentials | None,
        tokens: TokenCache,
    ) -> None:
        self._client = client
        self._settings = settings
        self._reference = reference
        self._base = _base_url(settings, reference.domain)
        self._waited = 0.0
        scope = f"repository:{reference.path}:pull"
        self._auth = Authorizer(self._base, scope, credentials, tokens, self._exchange)

    async def open(self, method: str, what: str, path: str, headers: dict[str, str]) -> httpx.Response:
        """A successful answer (2xx, or 416 to a range), its body still unread; the caller closes it.

        Connection errors, 429 and 5xx are tried again with growing pauses, within the settings' budget. Raises as
        core.registry.Fetcher.resolve.
        """
        url = self._base.join(f"/v2/{self._reference.path}/{path}")
        for attempt in range(1, self._settings.attempts + 1):
            try:
                response = await self._answer(method, url, headers)
            except Unreachable as error:
                await self._pause(attempt, error)
                continue
            if response.is_success or (response.status_code == 416 and "Range" in headers):
                return response
            problem = await self._problem(response, what)
            if response.status_code not in _RETRIED:
                raise problem
            await self._pause(attempt, problem, response)
        raise AssertionError("the last attempt raises")

    async def _answer(self, method: str, url: httpx.URL, headers: dict[str, str]) -> httpx.Response:
        """The answer after logging in where asked: with a token at hand, and when that is refused with a new one."""
        for _ in range(_LOGINS):
            used = self._auth.header
            response = await self._follow(method, url, headers, used)
            if response.status_code != 401 or not await self._log_in(response, used):
                return response
        return await self._follow(method, url, headers, self._auth.header)

    async def _log_in(self, response: httpx.Response, used: str | None) -> bool:
        """Meet a 401; True when the request should be sent again, the response is then closed."""
        if not _same_origin(response.url, self._base):
            return False
        challenges = parse_challenges(response.headers.get_list("www-authenticate"))
        try:
            again = await self._auth.answer(challenges, used)
        except BaseException:
            await response.aclose()
            raise
        if again:
            await response.aclose()
        return again

    async def _follow(
        self, method: str, url: httpx.URL, headers: dict[str, str], authorization: str | None
    ) -> httpx.Response:
        for _ in range(MAX_REDIRECTS + 1):
            carried = dict(headers)
            if authorization and _same_origin(url, self._base):
                carried["Authorization"] = authorization
            response = await self._send(self._client.build_request(method, url, headers=carried))
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not location:
                return response
            await response.aclose()
            url = _redirected(url, location)
        raise Unavailable(f"registry {self._reference.domain} redirects more than {MAX_REDIRECTS} times")

    async def _send(self, request: httpx.Request) -> httpx.Response:
        limit = self._settings.connect_timeout + self._settings.header_timeout
        try:
            async with asyncio.timeout(limit):
                return await self._client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise unreachable(request.method, request.url, error) from error

    async def _exchange(
        self, method: str, url: httpx.URL, headers: dict[str, str], form: dict[str, str] | None
    ) -> tuple[int, bytes]:
        request = self._client.build_request(method, url, headers=headers, data=form)
        response = await self._send(request)
        try:
            return response.status_code, await self.read(response, MAX_TOKEN, f"token from {bare(url)}")
        finally:
            await response.aclose()

    async def read(self, response: httpx.Response, limit: int, what: str) -> bytes:
        """The whole body, at most `limit` bytes. Raises ResourceExhausted, Unavailable."""
        data = bytearray()
        try:
            async with asyncio.timeout(self._settings.document_timeout):
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > limit:
                        raise ResourceExhausted(
                            f"{what}: registry {self._reference.domain} sent more than {limit} bytes", subject=what
                        )
        except (httpx.HTTPError, TimeoutError) as error:
            raise unreachable(response.request.method, response.url, error) from error
        return bytes(data)

    async def _problem(self, response: httpx.Response, what: str) -> CortenError:
        own = _same_origin(response.url, self._base)
        try:
            # What another host says is not shown: a redirect could point at one that only we can reach.
            body = await self._read_some(response) if own else b""
        finally:
            await response.aclose()
        challenges = parse_challenges(response.headers.get_list("www-authenticate"))
        scoped = response.status_code == 401 and any(
            c.parameters.get("error") == "insufficient_scope" for c in challenges
        )
        return refused(self._reference, what, response, body, scoped=scoped, logged_in=self._auth.logged_in)

    async def _read_some(self, response: httpx.Response) -> bytes:
        """As much of an error's body as arrives in time and fits; it only decorates the error."""
        data = bytearray()
        try:
            async with asyncio.timeout(min(5.0, self._settings.document_timeout)):
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) >= MAX_ERROR_BODY:
                        break
        except (httpx.HTTPError, TimeoutError):
            pass
        return bytes(data[:MAX_ERROR_BODY])

    async def _pause(self, attempt: int, problem: CortenError, response: httpx.Response | None = None) -> None:
        """Wait before the next attempt; raises `problem` when there is none left or the wait would be too long."""
        wait = self._settings.backoff * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 (jitter)
        if response is not None:
            wait = max(wait, _retry_after(response))
        spent = self._waited + wait > self._settings.wait_budget
        if attempt >= self._settings.attempts or wait > self._settings.longest_wait or spent:
            raise problem
        self._waited += wait
        log.info("registry request failed, trying again", extra={"fields": {"error": problem.message, "in": wait}})
        await asyncio.sleep(wait)


def _base_url(settings: RegistrySettings, domain: str) -> httpx.URL:
    try:
        return httpx.URL(settings.base_url(domain))
    except httpx.InvalidURL as error:
        raise Unavailable(f"invalid registry address {quoted(domain)}: {error}", subject=domain) from error


def _same_origin(a: httpx.URL, b: httpx.URL) -> bool:
    return (a.scheme, a.host, a.port) == (b.scheme, b.host, b.port)


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        shown = quoted(location.partition("?")[0])
        raise Unavailable(f"{bare(url)} redirects to a malformed address {shown}") from error
    if target.scheme not in ("http", "https") or not target.host or target.userinfo:
        raise Unavailable(f"{bare(url)} redirects to {bare(target)}: refused")
    if url.scheme == "https" and target.scheme == "http":
        raise Unavailable(f"{bare(url)} redirects from HTTPS to plain HTTP ({bare(target)}): refused")
    return target


def _retry_after(response: httpx.Response) -> float:
    """Seconds that Retry-After asks for (a number or an HTTP date); 0 when absent or unreadable."""
    text = response.headers.get("retry-after", "").strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
