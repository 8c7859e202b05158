"""Hosts, time-outs and limits of the registry client."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_MANIFEST = 4 << 20
"""Largest manifest, index or config read, in bytes (distribution-spec, "Pushing Manifests")."""
MAX_TOKEN = 1 << 20
"""Largest answer of a token server, in bytes."""
MAX_ERROR_BODY = 64 << 10
"""As much of an error's body is read, in bytes."""
MAX_CHALLENGE = 8 << 10
"""Longest WWW-Authenticate header looked at, in bytes."""
MAX_REDIRECTS = 10
"""How often one request is sent on to another address."""

_ALIASES = {"docker.io": "registry-1.docker.io"}


class RegistryHost(NamedTuple):
    """How to talk to one registry; `ca_file` is a PEM file trusted besides the system's CAs."""

    plain_http: bool = False
    skip_verify: bool = False
    ca_file: str = ""


@dataclass(frozen=True)
class RegistrySettings:
    """Everything that can be configured; times in seconds.

    `hosts` is keyed by domain as in references (`registry.local:5000`). A loopback registry that is not named there
    is spoken to in plain HTTP. `wait_budget` bounds the sum of all waits between attempts of one fetcher.
    """

    hosts: Mapping[str, RegistryHost] = field(default_factory=dict)
    connect_timeout: float = 10.0
    header_timeout: float = 30.0
    document_timeout: float = 30.0
    idle_timeout: float = 60.0
    attempts: int = 4
    backoff: float = 0.25
    longest_wait: float = 60.0
    wait_budget: float = 120.0

    def host(self, domain: str) -> RegistryHost:
        """How to talk to `domain`."""
        return self.hosts.get(domain) or RegistryHost(plain_http=is_loopback(domain))

    def base_url(self, domain: str) -> str:
        """Where the registry of `domain` answers, without a path."""
        scheme = "http" if self.host(domain).plain_http else "https"
        return f"{scheme}://{_ALIASES.get(domain, domain)}"


def is_loopback(domain: str) -> bool:
    """Whether `domain` (host and maybe port) is this machine: localhost, 127.0.0.0/8 or ::1."""
    host = domain[1:].partition("]")[0] if domain.startswith("[") else domain.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
