"""Requests to one endpoint of a registry: log in, follow redirects, try again, give up."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from email.utils import parsedate_to_datetime

import httpx

from corten_shared.errors import CortenError, ResourceExhausted, Unavailable
from corten_shared.reference import Reference
from cortend.core.limits import MAX_ERROR_BODY, MAX_REDIRECTS, MAX_TOKEN_ANSWER
from cortend.core.registry import Credentials
from cortend.registry.auth import Authorizer, TokenCache
from cortend.registry.challenge import parse_challenges
from cortend.registry.problems import Unreachable, bare, quoted, refused, unreachable
from cortend.registry.settings import Endpoint, RegistrySettings, address_of

log = logging.getLogger(__name__)

Body = Callable[[], AsyncIterator[bytes]]
"""A request's body: called anew for every attempt. What it raises ends the request; it should be a CortenError."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = frozenset({"GET", "HEAD"})
_LOGINS = 2
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


class Transport:
    """Sends the requests of one login for one repository. `client` must follow no redirects by itself.

    The login and the endpoint's own headers go to the endpoint's origin (scheme, host and port) and nowhere else,
    wherever redirects and upload locations point.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        settings: RegistrySettings,
        endpoint: Endpoint,
        reference: Reference,
        credentials: Credentials | None,
        tokens: TokenCache,
        scopes: Sequence[str] = (),
        *,
        attempts: int = 0,
        offline: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self._client = client
        self._settings = settings
        self._reference = reference
        self._base = _parse_url(endpoint.url, reference.domain)
        self._attempts = attempts or settings.attempts
        self._mirror = self._base.netloc.decode("ascii") not in (reference.domain, address_of(reference.domain))
        self._dial = endpoint.timeout or settings.connect_timeout
        self._waited = 0.0
        self._pushes = any("push" in scope.rpartition(":")[2].split(",") for scope in scopes)
        login = credentials if endpoint.own else None
        self._auth = Authorizer(self._base, scopes, login, tokens, self._exchange, offline=offline)

    @property
    def identity(self) -> str:
        """The identity token that the last token came with, when it was asked for (`offline`)."""
        return self._auth.identity

    def widen(self, *scopes: str) -> None:
        """Have the next token reach further, as `repository:other/app:pull` for a blob that is mounted from there."""
        self._auth.widen(*scopes)

    def narrow(self, *scopes: str) -> None:
        """Have the next token not reach as far as that after all."""
        self._auth.narrow(*scopes)

    async def open(
        self,
        method: str,
        what: str,
        target: str | httpx.URL,
        headers: Mapping[str, str],
        *,
        body: Body | None = None,
        accepted: Collection[int] = (),
        attempts: int = 0,
        resend: bool = True,
    ) -> httpx.Response:
        """A successful answer (2xx, or a status of `accepted`), its own body still unread; the caller closes it.

        `target` is a path below the repository, or an address from `location`; `what` names in errors what this is
        about. Connection errors, 429 and 5xx are tried again with growing pauses, `attempts` times (0: the transport's
        own number) and within their budget; without `resend` only what was answered: where no answer came, the
        registry may have taken it. Raises as core.registry.Fetcher.resolve.
        """
        url = target if isinstance(target, httpx.URL) else self._url(target)
        most = attempts or self._attempts
        for attempt in range(1, most + 1):
            try:
                response = await self.answer(method, url, headers, body)
            except Unreachable as error:
                await self._pause(attempt, most if resend else attempt, error)
                continue
            if response.is_success or response.status_code in accepted:
                return response
            problem = await self._problem(response, what)
            if response.status_code not in _RETRIED:
                raise problem
            await self._pause(attempt, most, problem, response)
        raise AssertionError("the last attempt raises")

    def location(self, response: httpx.Response) -> httpx.URL:
        """Where an answer's Location points (an upload's next address). Raises Unavailable for none or a bad one."""
        location = response.headers.get("location")
        if not location:
            raise Unavailable(f"{bare(response.url)} answered {response.status_code} without a Location")
        return _redirected(response.url, location)

    async def ping(self) -> httpx.Response:
        """The answer of the API's root, after logging in where asked: success means that the login is good.

        Raises Unreachable, and SpeaksTLS.
        """
        response = await self.answer("GET", httpx.URL(f"{self.endpoint.url}/"), {})
        if response.status_code == 400:
            raise await self._problem(response, "the API's root")
        return response

    async def answer(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], body: Body | None = None
    ) -> httpx.Response:
        """One answer, whatever it says, after logging in where asked: with the token at hand, and when that is
        refused with a new one. Raises Unreachable."""
        for _ in range(_LOGINS):
            used = await self._auth.ready()
            response = await self._follow(method, url, headers, used, body)
            if response.status_code != 401 or not await self._log_in(response, used):
                return response
        return await self._follow(method, url, headers, await self._auth.ready(), body)

    def _url(self, path: str) -> httpx.URL:
        url = httpx.URL(f"{self.endpoint.url}/{self._reference.path}/{path}")
        return url.copy_merge_params({"ns": self._reference.domain}) if self._mirror else url

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
        self, method: str, url: httpx.URL, headers: Mapping[str, str], authorization: str | None, body: Body | None
    ) -> httpx.Response:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(method, url, self._carried(url, headers, authorization), body)
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not location:
                return response
            await response.aclose()
            if method not in _SAFE and response.status_code < 307:
                raise Unavailable(f"{bare(url)} answers {method} with a redirect that would drop it: refused")
            url = _redirected(url, location)
        raise Unavailable(f"registry {self._reference.domain} redirects more than {MAX_REDIRECTS} times")

    def _carried(self, url: httpx.URL, headers: Mapping[str, str], authorization: str | None) -> list[tuple[str, str]]:
        """The headers for `url`: what is secret goes to the endpoint itself only."""
        carried = list(headers.items())
        if _same_origin(url, self._base):
            for name, value in self.endpoint.headers:
                if not authorization or name.lower() != "authorization":
                    carried.append((name, value))
            if authorization:
                carried.append(("Authorization", authorization))
        return carried

    async def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: Sequence[tuple[str, str]],
        body: Body | None = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        limit = self._dial + self._settings.header_timeout
        try:
            async with asyncio.timeout(limit) as clock:
                content = self._paced(body(), clock, limit) if body is not None else None
                request = self._client.build_request(method, url, headers=list(headers), content=content, data=form)
                return await self._client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise unreachable(method, url, error) from error

    async def _paced(
        self, chunks: AsyncIterator[bytes], clock: asyncio.Timeout, limit: float
    ) -> AsyncIterator[bytes]:
        """A body whose every chunk has the whole time limit; the registry gets more to digest it at its end."""
        loop = asyncio.get_running_loop()
        async for chunk in chunks:
            clock.reschedule(loop.time() + limit)
            yield chunk
        clock.reschedule(loop.time() + limit + self._settings.idle_timeout)

    async def _exchange(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        carried = list(headers.items())
        if _same_origin(url, self._base):
            carried += [(name, value) for name, value in self.endpoint.headers if name.lower() != "authorization"]
        attempt = 0
        while True:
            attempt += 1
            response = await self._send(method, url, carried, form=form)
            try:
                status = response.status_code
                wait = self._wait(attempt, self._attempts, response) if status in _RETRIED else None
                if wait is None:
                    return status, await self.read(response, MAX_TOKEN_ANSWER, f"token from {bare(url)}")
            finally:
                await response.aclose()
            await self._rest(wait, f"token server {bare(url)} answered {status}")

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

    async def words(self, response: httpx.Response) -> bytes:
        """As much of an error's body as arrives in time and fits; it only decorates the error.

        What another host says is not shown: a redirect could point at one that only we can reach.
        """
        if not _same_origin(response.url, self._base):
            return b""
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

    async def _problem(self, response: httpx.Response, what: str) -> CortenError:
        try:
            body = await self.words(response)
        finally:
            await response.aclose()
        challenges = parse_challenges(response.headers.get_list("www-authenticate"))
        scoped = response.status_code == 401 and any(
            c.parameters.get("error") == "insufficient_scope" for c in challenges
        )
        logged_in = self._auth.logged_in
        verb = "push" if self._pushes else "pull"
        return refused(self._reference, what, response, body, scoped=scoped, logged_in=logged_in, verb=verb)

    async def _pause(
        self, attempt: int, most: int, problem: CortenError, response: httpx.Response | None = None
    ) -> None:
        """Wait before the next attempt; raises `problem` when there is none left or the wait would be too long."""
        wait = self._wait(attempt, most, response)
        if wait is None:
            raise problem
        await self._rest(wait, problem.message)

    def _wait(self, attempt: int, most: int, response: httpx.Response | None) -> float | None:
        """Seconds to wait before the next attempt; None when there shall be none."""
        wait = self._settings.backoff * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 (jitter)
        if response is not None:
            wait = max(wait, _retry_after(response))
        spent = self._waited + wait > self._settings.wait_budget
        return None if attempt >= most or wait > self._settings.longest_wait or spent else wait

    async def _rest(self, wait: float, problem: str) -> None:
        self._waited += wait
        log.info("registry request failed, trying again", extra={"fields": {"error": problem, "in": wait}})
        await asyncio.sleep(wait)


def _parse_url(text: str, domain: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Unavailable(f"invalid registry address {quoted(text)}: {error}", subject=domain) from error


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
