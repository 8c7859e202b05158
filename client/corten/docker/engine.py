"""The Docker Engine API: requests in, parsed replies or the engine's own error out.

Paths carry no version unless `DOCKER_API_VERSION` says one: every engine answers those as its
own newest version, which saves the round trip of a negotiation.
"""

from __future__ import annotations

import os

from corten import jsontext
from corten.output import escape
from corten.transport import Response, Transport, quote
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class EngineError(CortenError):
    """The engine refused; `status` is the HTTP status, `reason` its own words."""

    code = "engine"

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"Error response from daemon: {reason}")
        self.status = status
        self.reason = reason


class Engine:
    """One engine behind a transport."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        version = os.environ.get("DOCKER_API_VERSION", "").removeprefix("v")
        self._prefix = f"/v{quote(version)}" if version else ""

    def clone(self) -> Engine:
        """The same engine over a connection of its own, for use inside signal handlers."""
        return Engine(self.transport.clone())

    def call(
        self, method: str, path: str, query: Mapping[str, object] | None = None, body: Any = None
    ) -> Any:
        """The parsed reply (None when it is empty). Raises EngineError."""
        return self.open(method, path, query, body).json()

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The reply with its body unread. Raises EngineError for a status of 400 and more."""
        reply = self.transport.request(method, self._prefix + path, query=query, body=body, headers=headers)
        return self._checked(reply)

    def hijack(self, path: str, query: Mapping[str, object] | None = None, body: Any = None) -> Response:
        """Take the connection over: `response.connection` is a byte stream both ways."""
        reply = self.transport.hijack("POST", self._prefix + path, query=query, body=body)
        self._checked(reply)
        if reply.status not in (101, 200):
            reply.close()
            raise EngineError(reply.status, f"unable to upgrade to tcp, received {reply.status}")
        return reply

    @staticmethod
    def _checked(reply: Response) -> Response:
        if reply.status < 400:
            return reply
        body = reply.read(1 << 20)
        raise EngineError(reply.status, _reason(body) or f"{reply.status} {escape(reply.reason)}")


def _reason(body: bytes) -> str:
    """The message of an error body; other text as it is."""
    try:
        parsed = jsontext.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace").strip()[:2000]
    message = parsed.get("message") if isinstance(parsed, dict) else None
    return message.strip() if isinstance(message, str) else ""


def container_path(name: str, rest: str = "") -> str:
    """`/containers/<name><rest>`, whatever characters the name has."""
    return f"/containers/{quote(name)}{rest}"


def image_path(name: str, rest: str = "") -> str:
    """`/images/<name><rest>`; slashes and colons of the name stay, as the API has them."""
    return f"/images/{quote(name, '/:@')}{rest}"
