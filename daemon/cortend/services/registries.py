"""What is asked of a registry without getting an image from it: whether a login is good, what a name stands for."""

from __future__ import annotations

from typing import NamedTuple

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import INDEXES, Descriptor, Platform
from corten_shared.reference import DEFAULT_DOMAIN, is_domain, parse_normalized
from cortend.core.documents import parse_config, parse_index, parse_manifest
from cortend.core.registry import Credentials, Fetcher, Registries

_HUB = "index.docker.io"


class Distribution(NamedTuple):
    """What a reference stands for in its registry: the descriptor, and every platform that it has."""

    descriptor: Descriptor
    platforms: list[Platform]


class RegistryService:
    """Asks registries."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    async def login(self, server: str, credentials: Credentials) -> str:
        """Ask the registry whether it takes the login; the identity token that replaces the password, or nothing.

        `server` is a host, or an address in one of docker's forms (`https://index.docker.io/v1/`). Raises
        InvalidArgument for what is none, and as core.registry.Registries.login.
        """
        return await self._registries.login(domain_of(server), credentials)

    async def inspect(self, reference: str, credentials: Credentials | None = None) -> Distribution:
        """What `reference` means now, without fetching it. Raises as core.registry.Fetcher; InvalidArgument for a
        malformed reference or document."""
        parsed = parse_normalized(reference)
        async with self._registries.fetcher(parsed, credentials) as fetcher:
            target = await fetcher.resolve()
            data = await fetcher.manifest(target)
            if target.media_type in INDEXES:
                index = parse_index(data, target.media_type, f"index of {parsed.familiar}")
                return Distribution(target, [m.platform for m in index.manifests if m.platform is not None])
            return Distribution(target, [await _platform(fetcher, target, data, parsed.familiar)])


async def _platform(fetcher: Fetcher, target: Descriptor, data: bytes, name: str) -> Platform:
    manifest = parse_manifest(data, target.media_type, f"manifest of {name}")
    config = parse_config(await fetcher.manifest(manifest.config), f"config of {name}")
    return Platform(architecture=config.architecture, os=config.os, variant=config.variant)


def domain_of(server: str) -> str:
    """The domain, as in references, that a login's address is about. Raises InvalidArgument."""
    rest = server.partition("://")[2] if "://" in server else server
    host = rest.partition("/")[0]
    if not server or host in (DEFAULT_DOMAIN, _HUB):
        return DEFAULT_DOMAIN
    if not is_domain(host):
        raise InvalidArgument(
            f"unable to parse server address {server[:200]!r}", hint="write it as HOST[:PORT] or https://HOST[:PORT]"
        )
    return host
