"""Ids of things that docker numbers and the engine names: networks, endpoints, sandboxes.

Derived from the name, so that they are the same after every restart.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache


@lru_cache(maxsize=4096)
def network_id(name: str) -> str:
    """64 hex digits for a network."""
    return hashlib.sha256(f"corten network {name}".encode()).hexdigest()


@lru_cache(maxsize=4096)
def endpoint_id(network: str, container_id: str) -> str:
    """64 hex digits for a container's place on a network."""
    return hashlib.sha256(f"corten endpoint {network} {container_id}".encode()).hexdigest()
