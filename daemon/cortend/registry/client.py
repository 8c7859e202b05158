"""Every registry, as configured."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import certifi
import httpx

from corten_shared.errors import Unavailable
from corten_shared.reference import Reference
from cortend.core.registry import Credentials, Fetcher
from cortend.registry.auth import TokenCache
from cortend.registry.fetcher import RepositoryFetcher
from cortend.registry.settings import RegistryHost, RegistrySettings, is_loopback
from cortend.registry.transport import Transport


class RegistryClient:
    """Implements core.registry.Registries; keeps tokens and TLS contexts. For one event loop."""

    def __init__(self, settings: RegistrySettings | None = None, *, user_agent: str = "corten") -> None:
        self._settings = settings or RegistrySettings()
        self._agent = user_agent
        self._tokens = TokenCache()
        self._contexts: dict[RegistryHost, ssl.SSLContext] = {}

    def configure(self, settings: RegistrySettings) -> None:
        """Use other settings from the next fetcher on."""
        self._settings = settings
        self._contexts.clear()

    def insecure(self) -> list[str]:
        """Domains that are spoken to without a checked certificate, for `info`."""
        return sorted(domain for domain, host in self._settings.hosts.items() if host.plain_http or host.skip_verify)

    def fetcher(
        self, reference: Reference, credentials: Credentials | None = None
    ) -> AbstractAsyncContextManager[Fetcher]:
        """See core.registry."""
        return self._fetcher(reference, credentials)

    @asynccontextmanager
    async def _fetcher(self, reference: Reference, credentials: Credentials | None) -> AsyncIterator[Fetcher]:
        scope = f"repository:{reference.path}:pull"
        async with self.transport(reference, credentials, scopes=(scope,)) as transport:
            yield RepositoryFetcher(transport, reference, self._settings.idle_timeout)

    @asynccontextmanager
    async def transport(
        self, reference: Reference, credentials: Credentials | None, *, scopes: Sequence[str]
    ) -> AsyncIterator[Transport]:
        """Requests to the reference's repository, with a login that reaches as far as `scopes` when it is by token
        (`repository:NAME:pull,push`, as many as are wanted; `Transport.widen` adds more). Sockets are closed when the
        context ends."""
        settings = self._settings
        endpoint = settings.endpoint(reference.domain)
        async with httpx.AsyncClient(
            verify=self._context(reference.domain, settings.host(reference.domain)),
            http2=False,
            follow_redirects=False,
            # As docker: the daemon's proxy variables count, but never for this machine's own registries.
            trust_env=not is_loopback(reference.domain),
            headers={"User-Agent": self._agent},
            timeout=httpx.Timeout(settings.idle_timeout, connect=settings.connect_timeout, pool=None),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=8),
        ) as client:
            yield Transport(client, settings, endpoint, reference, credentials, self._tokens, scopes)

    def _context(self, domain: str, host: RegistryHost) -> ssl.SSLContext:
        """The TLS settings of a host; made once, since reading the CAs takes some milliseconds."""
        if host not in self._contexts:
            try:
                self._contexts[host] = _make_context(host)
            except OSError as error:
                raise Unavailable(
                    f"cannot use CA file {host.ca_file} of registry {domain}: {error.strerror or error}",
                    subject=domain,
                    hint="correct ca_file in the configuration",
                ) from error
        return self._contexts[host]


def _make_context(host: RegistryHost) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not _has_system_cas():
        context.load_verify_locations(certifi.where())
    if host.ca_file:
        context.load_verify_locations(host.ca_file)
    if host.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _has_system_cas() -> bool:
    paths = ssl.get_default_verify_paths()
    if paths.cafile and Path(paths.cafile).exists():
        return True
    return bool(paths.capath and Path(paths.capath).is_dir() and any(Path(paths.capath).iterdir()))
