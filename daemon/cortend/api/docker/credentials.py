"""Logins that come with a request."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from pydantic import SecretStr

from cortend.core.registry import Credentials

MAX_HEADER = 32 << 10


def from_header(header: str) -> Credentials | None:
    """The login in `X-Registry-Auth`: base64url of JSON. What is empty or cannot be read is no login, as in docker."""
    if not header or len(header) > MAX_HEADER:
        return None
    try:
        padded = header.replace("-", "+").replace("_", "/").rstrip("=")
        found = json.loads(base64.b64decode(padded + "=" * (-len(padded) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return _credentials(found) if isinstance(found, dict) else None


def _credentials(found: dict[str, Any]) -> Credentials | None:
    username, password = _text(found, "username"), _text(found, "password")
    if not username and (auth := _text(found, "auth")):
        username, password = _basic(auth)
    identity, registry = _text(found, "identitytoken"), _text(found, "registrytoken")
    if not (username or identity or registry):
        return None
    return Credentials(username, SecretStr(password), SecretStr(identity), SecretStr(registry))


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _basic(auth: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return username, password
