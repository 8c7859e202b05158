"""The user's config.json (docker's own file): formats, detach keys, registry credentials.

A file that cannot be read or parsed is told once on stderr and treated as empty, as docker does.
Credentials leave this module only as the value of an `X-Registry-Auth` header.
"""

from __future__ import annotations

import os

from corten import jsontext
from corten.output import err, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_CONFIG = 4 * 1024 * 1024
HELPER_SECONDS = 60
_HUB = "https://index.docker.io/v1/"


class Config:
    """The parsed file."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def text(self, key: str) -> str:
        """A string member, or nothing."""
        value = self._data.get(key)
        return value if isinstance(value, str) else ""

    @property
    def detach_keys(self) -> str:
        """`detachKeys`."""
        return self.text("detachKeys")

    def registry_auth(self, image: str) -> str:
        """The X-Registry-Auth value for the registry of `image`; empty without credentials."""
        server = registry_of(image)
        found = self._from_helper(server) or self._from_file(server)
        if not found:
            return ""
        import base64

        return base64.urlsafe_b64encode(jsontext.dumps({**found, "serveraddress": server}).encode()).decode()

    def _from_file(self, server: str) -> dict[str, str]:
        auths = self._data.get("auths")
        for key, entry in auths.items() if isinstance(auths, dict) else ():
            if _same_server(key, server) and isinstance(entry, dict):
                return _decode_entry(entry)
        return {}

    def _from_helper(self, server: str) -> dict[str, str]:
        helpers = self._data.get("credHelpers")
        own = helpers.get(server) if isinstance(helpers, dict) else None
        name = own if isinstance(own, str) else self.text("credsStore")
        if not name or "/" in name:
            return {}
        import subprocess

        command = [f"docker-credential-{name}", "get"]
        try:
            done = subprocess.run(command, input=server.encode(), capture_output=True, timeout=HELPER_SECONDS)
            answer = jsontext.loads(done.stdout) if done.returncode == 0 else {}
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return {}
        if not isinstance(answer, dict) or not answer.get("Secret"):
            return {}
        user, secret = str(answer.get("Username", "")), str(answer["Secret"])
        return {"identitytoken": secret} if user == "<token>" else {"username": user, "password": secret}


def load(folder: str) -> Config:
    """`config.json` of `folder`, or of DOCKER_CONFIG, or of ~/.docker."""
    folder = folder or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    path = os.path.join(folder, "config.json")
    try:
        with open(path, "rb") as file:
            data = jsontext.loads(file.read(MAX_CONFIG))
    except FileNotFoundError:
        return Config({})
    except (OSError, ValueError, RecursionError) as exc:
        err(f"WARNING: Error loading config file: {path}: {escape(exc)}")
        return Config({})
    return Config(data if isinstance(data, dict) else {})


def registry_of(image: str) -> str:
    """The registry's name as config.json keys it; Docker Hub has its old URL."""
    first, slash, _ = image.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named and first not in ("docker.io", "index.docker.io") else _HUB


def _same_server(key: str, server: str) -> bool:
    def host(text: str) -> str:
        return text.partition("://")[2].partition("/")[0] if "://" in text else text.partition("/")[0]

    return key == server or host(key) == host(server)


def _decode_entry(entry: dict[str, Any]) -> dict[str, str]:
    if isinstance(token := entry.get("identitytoken"), str) and token:
        return {"identitytoken": token}
    import base64

    try:
        user, _, password = base64.b64decode(str(entry.get("auth", ""))).decode().partition(":")
    except ValueError:
        return {}
    return {"username": user, "password": password.rstrip("\0")} if user else {}
