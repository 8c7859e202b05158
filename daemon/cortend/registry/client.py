"""Every registry, as configured."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import httpx

from corten_shared.reference import Reference
from cortend.core.registry import Credentials, Fetcher, Pusher
from cortend.registry import hosts
from cortend.registry.auth import TokenCache
from cortend.registry.fetcher import RepositoryFetcher
from cortend.registry.login import log_in
from cortend.registry.pusher import RepositoryPusher
from cortend.registry.route import Route
from cortend.registry.settings import PUSH, Endpoint, RegistrySettings, is_loopback
from cortend.registry.tls import Contexts
from cortend.registry.transport import Transport


class RegistryClient:
    """Implements core.registry.Registries; keeps tokens and TLS contexts. For one event loop."""

    def __init__(self, settings: RegistrySettings | None = None, *, user_agent: str = "corten") -> None:
        self._settings = settings or RegistrySettings()
        self._agent = user_agent
        self._tokens = TokenCache()
        self._contexts = Contexts()

    def configure(self, settings: RegistrySettings) -> None:
        """Use other settings from the next fetcher on."""
        self._settings = settings

    def insecure(self) -> list[str]:
        """Domains that are spoken to without a checked certificate, for `info`."""
        settings = self._settings
        named = {domain for domain, host in settings.hosts.items() if host.plain_http or host.skip_verify}
        return sorted(named | set(hosts.insecure(settings.directory)))

    def fetcher(
        self, reference: Reference, credentials: Credentials | None = None
    ) -> AbstractAsyncContextManager[Fetcher]:
        """See core.registry."""
        return self._fetcher(reference, credentials)

    @asynccontextmanager
    async def _fetcher(self, reference: Reference, credentials: Credentials | None) -> AsyncIterator[Fetcher]:
        scopes = (f"repository:{reference.path}:pull",)
        async with self.route(reference, credentials, scopes) as route:
            yield RepositoryFetcher(route, reference, self._settings.idle_timeout)

    def pusher(
        self, reference: Reference, credentials: Credentials | None = None
    ) -> AbstractAsyncContextManager[Pusher]:
        """See core.registry."""
        return self._pusher(reference, credentials)

    @asynccontextmanager
    async def _pusher(self, reference: Reference, credentials: Credentials | None) -> AsyncIterator[Pusher]:
        scope = f"repository:{reference.path}:pull,push"
        async with self.transport(reference, credentials, scopes=(scope,)) as transport:
            yield RepositoryPusher(transport, reference, self._settings.upload)

    @asynccontextmanager
    async def transport(
        self, reference: Reference, credentials: Credentials | None, *, scopes: Sequence[str]
    ) -> AsyncIterator[Transport]:
        """Requests to the reference's repository at the host that takes pushes, with a login that reaches as far as
        `scopes` when it is by token (`repository:NAME:pull,push`, as many as are wanted; `Transport.widen` adds more).
        Sockets are closed when the context ends."""
        async with self.route(reference, credentials, scopes) as route:
            yield await route.pick(PUSH)

    @asynccontextmanager
    async def route(
        self, reference: Reference, credentials: Credentials | None, scopes: Sequence[str]
    ) -> AsyncIterator[Route]:
        """Requests to the reference's repository at the registry and its mirrors. Raises Unavailable for a
        configuration that cannot be used."""
        async with self._open(reference, credentials, scopes, self._tokens) as route:
            yield route

    @asynccontextmanager
    async def _open(
        self,
        reference: Reference,
        credentials: Credentials | None,
        scopes: Sequence[str],
        tokens: TokenCache,
        *,
        login: bool = False,
    ) -> AsyncIterator[Route]:
        settings = self._settings
        found = await asyncio.to_thread(self._read_endpoints, settings, reference.domain)
        async with AsyncExitStack() as stack:
            transports = []
            for number, (endpoint, context) in enumerate(found):
                if login and not endpoint.own:
                    continue
                client = await stack.enter_async_context(self._client(settings, endpoint, context))
                others = [later.capabilities for later, _ in found[number + 1 :] if not later.fallback]
                transports.append(
                    Transport(
                        client,
                        settings,
                        endpoint,
                        reference,
                        credentials,
                        tokens,
                        scopes,
                        offline=login,
                        # Where another host can do the same, that is quicker than waiting for this one.
                        attempts=1 if any(endpoint.capabilities & other for other in others) else settings.attempts,
                    )
                )
            yield Route(reference.domain, transports)

    async def login(self, domain: str, credentials: Credentials) -> str:
        """See core.registry."""
        reference = Reference(domain, "")
        async with self._open(reference, credentials, (), TokenCache(), login=True) as route:
            return await log_in(route)

    def _read_endpoints(self, settings: RegistrySettings, domain: str) -> list[tuple[Endpoint, ssl.SSLContext]]:
        return [
            (endpoint, self._contexts.get(endpoint, domain)) for endpoint in hosts.endpoints(settings, domain)
        ]

    def _client(
        self, settings: RegistrySettings, endpoint: Endpoint, context: ssl.SSLContext
    ) -> httpx.AsyncClient:
        address = httpx.URL(endpoint.url).host
        return httpx.AsyncClient(
            verify=context,
            http2=False,
            follow_redirects=False,
            proxy=endpoint.proxy or None,
            # As docker: the daemon's proxy variables count, but never for this machine's own registries.
            trust_env=not endpoint.proxy and not is_loopback(address),
            headers={"User-Agent": self._agent},
            timeout=httpx.Timeout(
                settings.idle_timeout, connect=endpoint.timeout or settings.connect_timeout, pool=None
            ),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=8),
        )
