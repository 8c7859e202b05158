"""TLS towards registries: which certificates are believed, and which are shown."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import certifi

from corten_shared.errors import Unavailable
from cortend.registry.problems import quoted
from cortend.registry.settings import Endpoint

_KEPT = 64


class _Key(NamedTuple):
    """What a context was made from: other bytes in a file have another time, size or number."""

    verify: bool
    files: tuple[tuple[str, int, int, int], ...]


class Contexts:
    """TLS contexts of endpoints, kept while their files stay the same: reading the CAs takes some milliseconds."""

    def __init__(self) -> None:
        self._made: dict[_Key, ssl.SSLContext] = {}

    def get(self, endpoint: Endpoint, domain: str) -> ssl.SSLContext:
        """Blocking. Raises Unavailable, which names the file, for certificates that cannot be used."""
        files = [*endpoint.ca, *(name for pair in endpoint.client for name in pair if name)]
        key = _Key(not endpoint.skip_verify, tuple(_signature(name, domain) for name in files))
        if key not in self._made:
            while len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = _make(endpoint, domain)
        return self._made[key]


def _signature(name: str, domain: str) -> tuple[str, int, int, int]:
    try:
        found = Path(name).stat()
    except OSError as error:
        raise _unusable("certificate file", name, domain, error) from error
    return name, found.st_mtime_ns, found.st_size, found.st_ino


def _make(endpoint: Endpoint, domain: str) -> ssl.SSLContext:
    context = _unverifying() if endpoint.skip_verify else _verifying()
    for name in endpoint.ca:
        try:
            context.load_verify_locations(name)
        except OSError as error:
            raise _unusable("CA file", name, domain, error) from error
    for certificate, key in endpoint.client:
        try:
            # A key with a passphrase is refused: asking for it would hang the daemon.
            context.load_cert_chain(certificate, key or None, password=_no_passphrase)
        except (OSError, ValueError) as error:
            raise _unusable("client certificate", certificate, domain, error) from error
    return context


def _verifying() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not _has_system_cas():
        context.load_verify_locations(certifi.where())
    return context


def _unverifying() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _no_passphrase() -> str:
    raise ValueError("its key has a passphrase")


def _unusable(what: str, name: str, domain: str, error: Exception) -> Unavailable:
    strerror = getattr(error, "strerror", None)
    words = "no certificates in it" if isinstance(error, ssl.SSLError) else strerror or str(error)
    return Unavailable(
        f"cannot use {what} {name} of registry {domain}: {quoted(words)}",
        subject=domain,
        hint="correct the file or the configuration that names it",
    )


def _has_system_cas() -> bool:
    paths = ssl.get_default_verify_paths()
    if paths.cafile and Path(paths.cafile).exists():
        return True
    return bool(paths.capath and Path(paths.capath).is_dir() and any(Path(paths.capath).iterdir()))
