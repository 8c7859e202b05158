"""Logging in to a registry: basic auth and bearer tokens (distribution "token authentication specification").

A token is good for one repository, one login and a short time; tokens are kept in memory only. Credentials go to
the registry itself (basic) or to the token server that it names, never over plain HTTP when the registry was
reached over TLS, and never into errors or logs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import httpx

from corten_shared.errors import CortenError, PermissionDenied, Unauthenticated, Unavailable
from cortend.core.limits import MAX_TOKEN, MAX_TOKENS_KEPT
from cortend.core.registry import Credentials
from cortend.registry.challenge import Challenge
from cortend.registry.problems import bare, quoted, said

MIN_LIFE = 60.0
"""A token that names no time lives this long, in seconds (the specification's default)."""
MAX_LIFE = 3600.0
_EARLY = 5.0
_CLIENT = "corten"

Exchange = Callable[[str, httpx.URL, dict[str, str], dict[str, str] | None], Awaitable[tuple[int, bytes]]]
"""Sends a request (method, URL, headers, form) to a token server, following no redirect; gives status and body."""


class _Key(NamedTuple):
    realm: str
    service: str
    scopes: tuple[str, ...]
    credentials: tuple[str, ...]


class TokenCache:
    """Tokens of every registry, until they expire. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens: dict[_Key, tuple[str, float]] = {}

    def get(self, key: _Key) -> str | None:
        """A token that still is good for some seconds."""
        token, expires = self._tokens.get(key, ("", 0.0))
        return token if token and expires > self._clock() + _EARLY else None

    def put(self, key: _Key, token: str, life: float) -> None:
        """Remember a token for `life` seconds; the oldest make room."""
        self._tokens.pop(key, None)
        while len(self._tokens) >= MAX_TOKENS_KEPT:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[key] = (token, self._clock() + min(max(life, MIN_LIFE), MAX_LIFE))

    def drop(self, key: _Key) -> None:
        """Forget a token that the registry refused."""
        self._tokens.pop(key, None)


class Authorizer:
    """The login of one fetcher: which Authorization header its requests carry."""

    def __init__(
        self,
        base: httpx.URL,
        scopes: Sequence[str],
        credentials: Credentials | None,
        tokens: TokenCache,
        exchange: Exchange,
        *,
        offline: bool = False,
    ) -> None:
        """`offline` asks for an identity token too: `identity` has it then."""
        self.identity = ""
        self._offline = offline
        self._base = base
        self._scopes = tuple(scopes)
        self._credentials = credentials or Credentials()
        self._tokens = tokens
        self._exchange = exchange
        self._lock = asyncio.Lock()
        self._source: tuple[httpx.URL, str] | None = None
        self._key: _Key | None = None
        given = self._credentials.registry_token.get_secret_value()
        self.header: str | None = f"Bearer {_checked(given)}" if given else None

    @property
    def logged_in(self) -> bool:
        """Whether the user gave any credentials."""
        return any(_secrets(self._credentials))

    def widen(self, *scopes: str) -> None:
        """Ask for these scopes too, from the next token on; `ready` gets it."""
        self._scopes += tuple(scope for scope in scopes if scope not in self._scopes)

    def narrow(self, *scopes: str) -> None:
        """Ask for these no more."""
        self._scopes = tuple(scope for scope in self._scopes if scope not in scopes)

    async def ready(self) -> str | None:
        """The header for the next request. A token that is about to end, or reaches less far than wanted, is
        replaced first: a refusal would come after the request's body was sent. Raises as `answer`."""
        if self._source is not None:
            async with self._lock:
                await self._take(*self._source)
        return self.header

    async def answer(self, challenges: list[Challenge], used: str | None) -> bool:
        """Meet a 401 that came for a request with the header `used`; whether another attempt makes sense now."""
        async with self._lock:
            if self.header != used:
                return True  # another request has logged in meanwhile
            for challenge in challenges:
                if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                    return await self._bearer(challenge, used)
                if challenge.scheme == "basic" and self._credentials.username:
                    self.header = self._basic()
                    return self.header != used
            return False

    def _basic(self) -> str:
        pair = f"{self._credentials.username}:{self._credentials.password.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    async def _bearer(self, challenge: Challenge, used: str | None) -> bool:
        source = self._realm(challenge.parameters["realm"]), challenge.parameters.get("service", "")
        key = self._key_of(*source)
        if self._source is not None and used is not None:
            if self._source != source:
                return False
            if self._key == key:
                if challenge.parameters.get("error") == "insufficient_scope":
                    return False  # another token would reach no further
                self._tokens.drop(key)
        await self._take(*source)
        self._source = source
        return self.header != used

    async def _take(self, realm: httpx.URL, service: str) -> None:
        """Have the token for all scopes, from the cache or the token server."""
        key = self._key_of(realm, service)
        token = self._tokens.get(key)
        if token is None:
            token, life = await self._fetch(realm, service)
            self._tokens.put(key, token, life)
        self._key = key
        self.header = f"Bearer {token}"

    def _key_of(self, realm: httpx.URL, service: str) -> _Key:
        return _Key(str(realm), service, self._scopes, _secrets(self._credentials))

    def _realm(self, text: str) -> httpx.URL:
        try:
            realm = httpx.URL(text)
        except (httpx.InvalidURL, ValueError):
            realm = httpx.URL("")
        if realm.scheme not in ("http", "https") or not realm.host or realm.userinfo:
            raise Unavailable(f"registry {self._name} names no usable token server: {quoted(text)}")
        if self._base.scheme == "https" and realm.scheme != "https":
            raise Unavailable(
                f"registry {self._name} wants the login sent in plain HTTP to {bare(realm)}: refused"
            )
        return realm

    async def _fetch(self, realm: httpx.URL, service: str) -> tuple[str, float]:
        refresh = self._credentials.identity_token.get_secret_value()
        asked: dict[str, str] = {"service": service} if service else {}
        headers = {"Accept": "application/json"}
        if refresh:
            form = {**asked, "grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": refresh}
            if self._scopes:
                form["scope"] = " ".join(self._scopes)
            status, body = await self._exchange("POST", realm, headers, form)
        else:
            if self._credentials.username:
                asked["account"] = self._credentials.username
                headers["Authorization"] = self._basic()
            if self._offline:
                asked |= {"offline_token": "true", "client_id": _CLIENT}
            url = realm.copy_merge_params({**asked, "scope": list(self._scopes)})
            status, body = await self._exchange("GET", url, headers, None)
        if status != 200:
            raise self._refused(realm, status, body)
        token, life, identity = _read_token(realm, body)
        self.identity = identity if self._offline else ""
        return token, life

    @property
    def _name(self) -> str:
        return self._base.netloc.decode("ascii")

    def _refused(self, realm: httpx.URL, status: int, body: bytes) -> CortenError:
        # Texts of a server that the registry merely pointed at are not shown: it may be one only we can reach.
        words = "; ".join(m for _, m in said(body)) if realm.host == self._base.host else ""
        text = f"token server {bare(realm)} of registry {self._name} answered {status}" + (words and f": {words}")
        hint = f"check the login of {self._name}"
        if status == 401 or (status == 400 and self.logged_in):
            return Unauthenticated(f"unauthorized: incorrect username or password ({text})", hint=hint)
        if status == 403:
            return PermissionDenied(f"denied: {text}", hint=hint)
        return Unavailable(text, hint="try again later")


def _secrets(credentials: Credentials) -> tuple[str, ...]:
    return (
        credentials.username,
        credentials.password.get_secret_value(),
        credentials.identity_token.get_secret_value(),
        credentials.registry_token.get_secret_value(),
    )


def _checked(token: Any) -> str:
    """A token that may stand in a header; a line break in it would be a header of its own."""
    if isinstance(token, str) and 0 < len(token) <= MAX_TOKEN and token.isascii() and token.isprintable():
        return token
    raise Unauthenticated("unusable bearer token: it is empty, too long or has control characters")


def _read_token(realm: httpx.URL, body: bytes) -> tuple[str, float, str]:
    """The token, its life in seconds, and the identity token if there is one."""
    try:
        answer = json.loads(body)
        token = _checked(answer.get("token") or answer.get("access_token"))
        life = answer.get("expires_in") or MIN_LIFE
        identity = answer.get("refresh_token") or ""
        return token, float(life) if isinstance(life, int | float) else MIN_LIFE, identity and _checked(identity)
    except (ValueError, AttributeError, OverflowError, RecursionError, Unauthenticated) as error:
        raise Unavailable(f"token server {bare(realm)} sent no usable token") from error
