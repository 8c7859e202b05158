"""Hosts and time-outs of the registry client."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

PULL, RESOLVE, PUSH = "pull", "resolve", "push"
CAPABILITIES = frozenset({PULL, RESOLVE, PUSH})
"""What an endpoint may be asked for: content by its digest, what a tag means now, taking content."""

ANY = ""
"""What every endpoint can do: take a login."""

_ALIASES = {"docker.io": "registry-1.docker.io"}


class RegistryHost(NamedTuple):
    """The configuration file's short form of an endpoint: `ca_file` is trusted besides the system's CAs."""

    plain_http: bool = False
    skip_verify: bool = False
    ca_file: str = ""


class Endpoint(NamedTuple):
    """One address that has a registry's content: the registry itself (`own`) or a mirror of it.

    `url` is the API's root, without a slash at its end (`https://mirror.local/v2`). `ca` and `client` are PEM files:
    CAs that are trusted besides the system's, and pairs of certificate and key (empty: in the same file). `headers`
    go to this origin only. `timeout` is for connecting; 0: the settings' own. An endpoint that is a `fallback` is
    tried only when the one before it turned out to speak the other protocol, HTTP or HTTPS.
    """

    url: str
    own: bool = True
    capabilities: frozenset[str] = CAPABILITIES
    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str], ...] = ()
    skip_verify: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 0.0
    proxy: str = ""
    fallback: bool = False


class UploadSettings(NamedTuple):
    """How blobs are sent: larger ones than `chunk_size` bytes in chunks of that size (0: never), begun or continued
    `attempts` times with pauses of `pause` seconds, twice that, and so on."""

    chunk_size: int = 64 << 20
    attempts: int = 5
    pause: float = 1.0


@dataclass(frozen=True)
class RegistrySettings:
    """Everything that can be configured; times in seconds.

    `directory` has a hosts.toml for each registry that needs one (see `hosts`; empty: there is none). `hosts` is keyed
    by domain as in references (`registry.local:5000`). A loopback registry that is in neither is spoken to in plain
    HTTP. `wait_budget` bounds the sum of all waits between attempts at one endpoint in the life of a fetcher.
    """

    directory: str = ""
    hosts: Mapping[str, RegistryHost] = field(default_factory=dict)
    connect_timeout: float = 10.0
    header_timeout: float = 30.0
    document_timeout: float = 30.0
    idle_timeout: float = 60.0
    attempts: int = 4
    backoff: float = 0.25
    longest_wait: float = 60.0
    wait_budget: float = 120.0
    upload: UploadSettings = field(default_factory=UploadSettings)

    def host(self, domain: str) -> RegistryHost:
        """How to talk to `domain`."""
        return self.hosts.get(domain) or RegistryHost(plain_http=is_loopback(domain))

    def endpoint(self, domain: str) -> Endpoint:
        """The registry itself, as the configuration file has it."""
        host = self.host(domain)
        scheme = "http" if host.plain_http else "https"
        return Endpoint(
            f"{scheme}://{address_of(domain)}/v2",
            ca=(host.ca_file,) if host.ca_file else (),
            skip_verify=host.skip_verify,
        )


def address_of(domain: str) -> str:
    """The host that answers for a reference's domain."""
    return _ALIASES.get(domain, domain)


def is_loopback(domain: str) -> bool:
    """Whether `domain` (host and maybe port) is this machine: localhost, 127.0.0.0/8 or ::1."""
    host = domain[1:].partition("]")[0] if domain.startswith("[") else domain.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
