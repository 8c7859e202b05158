"""What a registry's refusal or silence means, as one line that names it."""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl

import httpx

from corten_shared.errors import (
    CortenError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from corten_shared.reference import Reference

_SHOWN = 256


class Unreachable(Unavailable):
    """No answer came: what another attempt may mend."""


class SpeaksNoTLS(Unreachable):
    """What answered is no TLS: a server in plain HTTP, most likely."""


class SpeaksTLS(Unavailable):
    """What answered in plain HTTP says that it is an HTTPS server."""


def quoted(text: object, limit: int = _SHOWN) -> str:
    """A foreign text made safe to print: one line, no control or direction characters, bounded."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[:limit])
    return shown[:limit] + ("…" if len(str(text)) > limit else "")


def bare(url: httpx.URL) -> str:
    """A URL to print: without user, query and fragment, where secrets live (presigned redirects)."""
    port = f":{url.port}" if url.port else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return quoted(f"{url.scheme}://{host}{port}{url.path}", 512)


def unreachable(method: str, url: httpx.URL, error: BaseException) -> Unreachable:
    """No answer: connection refused, name unknown, TLS refused, time-out. In the words of Go's http client."""
    host = f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"
    return (SpeaksNoTLS if _speaks_no_tls(error) else Unreachable)(
        f'{method.capitalize()} "{bare(url)}": {_reason(host, error)}',
        subject=url.host,
        hint="check the registry's address and that it is up; then try again",
    )


def _reason(host: str, error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"tls: failed to verify certificate: x509: {quoted(cause.verify_message)}"
        if isinstance(cause, ssl.SSLError):
            return f"tls: {quoted(cause.reason or cause)} (a registry in plain HTTP must be configured as such)"
        if isinstance(cause, socket.gaierror):
            return f"dial tcp: lookup {quoted(host.rpartition(':')[0])}: {quoted(cause.strerror)}"
        if isinstance(cause, OSError) and cause.errno:
            word = "connect" if cause.errno in _DIALLING else "read"
            return f"dial tcp {host}: {word}: {os.strerror(cause.errno).lower()}"
    if isinstance(error, httpx.ConnectTimeout):
        return f"dial tcp {host}: i/o timeout"
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "timeout while waiting for an answer"
    return quoted(error) or type(error).__name__


def speaks_tls(url: httpx.URL, status: int, body: bytes) -> bool:
    """Whether an answer in plain HTTP is that of an HTTPS server (Go's and nginx's words)."""
    return url.scheme == "http" and status == 400 and any(words in body for words in _WANTS_TLS)


_WANTS_TLS = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")


def _speaks_no_tls(error: BaseException) -> bool:
    return any(isinstance(c, ssl.SSLError) and c.reason in _NO_TLS for c in _causes(error))


_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})
"""OpenSSL's reasons, of several versions, for a first record that is none."""
_DIALLING = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL})


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what caused it, outermost first; groups (several addresses tried) by their first member."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(found) < 16:
        found.append(current)
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        else:
            current = current.__cause__ or current.__context__
    return found


def said(body: bytes) -> list[tuple[str, str]]:
    """The codes and messages of a registry's error body (distribution-spec, "Error Codes"), escaped."""
    try:
        errors = json.loads(body)["errors"]
        return [(quoted(e.get("code", ""), 64), quoted(e.get("message", ""))) for e in errors[:4]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def refused(
    reference: Reference,
    what: str,
    response: httpx.Response,
    body: bytes,
    *,
    scoped: bool,
    logged_in: bool,
    verb: str = "pull",
) -> CortenError:
    """The error for an answer that is no success.

    `what` is the digest or tag asked for, `scoped` whether the registry says that the login does not reach this
    far, `logged_in` whether credentials were given, `verb` what was wanted (`pull`, `push`).
    """
    status = response.status_code
    errors = said(body)
    words = "; ".join(_words(code, message) for code, message in errors)
    codes = {code for code, _ in errors}
    if status == 403 or scoped or "DENIED" in codes:
        return _denied(reference, words, logged_in, verb)
    if status == 401:
        return Unauthenticated(
            f"registry {reference.domain} wants a login for {reference.familiar_name}: "
            f"{words or 'unauthorized: authentication required'}",
            subject=reference.domain,
            hint=f"log in with: corten login {reference.domain}",
        )
    if status == 404:
        return _missing(reference, what, words, codes)
    if speaks_tls(response.url, status, body):
        return SpeaksTLS(
            f"registry {reference.domain} speaks HTTPS, not plain HTTP",
            subject=reference.domain,
            hint=f"put its CA into ca.crt in the directory {reference.domain} of registry.config_path",
        )
    where = f"registry {reference.domain} answered {status} for {reference.familiar_name} ({what})"
    text = f"{where}: {words}" if words else where
    if status == 429:
        return ResourceExhausted(
            f"toomanyrequests: {text}",
            subject=reference.domain,
            hint="wait, or log in for a higher limit",
            details={"status": status},
        )
    if status >= 500 or status == 408:
        return Unavailable(text, subject=reference.domain, hint="the registry has a problem; try again later")
    hint = "something on the way takes no such large requests; lower push.chunk_size" if status == 413 else None
    return InvalidArgument(text, subject=reference.domain, hint=hint)


def _words(code: str, message: str) -> str:
    """As docker prints a code: `manifest unknown: manifest unknown`."""
    return f"{code.lower().replace('_', ' ')}: {message}" if code else message


def _denied(reference: Reference, words: str, logged_in: bool, verb: str) -> CortenError:
    cls = PermissionDenied if logged_in or verb == "push" else NotFound
    if not words or words.startswith("unauthorized"):
        words = "denied: requested access to the resource is denied"
    return cls(
        f"{verb} access denied for {reference.familiar_name}, repository does not exist or may require "
        f"'docker login': {words}",
        subject=reference.familiar_name,
        hint=f"check the name, or log in with: corten login {reference.domain}",
    )


def _missing(reference: Reference, what: str, words: str, codes: set[str]) -> NotFound:
    if "NAME_UNKNOWN" in codes:
        return NotFound(f"repository {reference.familiar_name} not found: {words}", subject=reference.familiar_name)
    if "BLOB_UNKNOWN" in codes or what not in (reference.tag, reference.digest):
        return NotFound(
            f"{what} of {reference.familiar_name} not found in registry {reference.domain}: "
            f"{words or 'blob unknown'}",
            subject=what,
            hint="the image is incomplete in the registry; push it again",
        )
    return NotFound(
        f"manifest for {reference.familiar} not found: {words or 'manifest unknown: manifest unknown'}",
        subject=reference.familiar,
        hint="check the tag",
    )
