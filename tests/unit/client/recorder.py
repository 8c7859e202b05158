"""A tiny HTTP server on a unix socket that records requests and answers from a list of rules.

Both command lines can be pointed at it: what the real docker CLI sends is the oracle for ours.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Request:
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path without the query and without docker's version prefix."""
        path = self.target.partition("?")[0]
        first, _, rest = path[1:].partition("/")
        return f"/{rest}" if first[:1] == "v" and first[1:2].isdigit() else path

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


Reply = Callable[[Request, socket.socket], bool | None]
"""Writes the answer to the socket; True keeps the connection."""


def reply(status: str, body: Any = b"", headers: str = "") -> Reply:
    """A canned answer with a Content-Length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(request: Request, sock: socket.socket) -> bool:
        shown = b"" if request.method == "HEAD" else data
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nApi-Version: 1.50\r\n{headers}"
        sock.sendall(f"{head}Content-Length: {len(shown)}\r\n\r\n".encode() + shown)
        return True

    return answer


def raw(data: bytes) -> Reply:
    """These very bytes, and the connection closed."""

    def answer(request: Request, sock: socket.socket) -> bool:
        sock.sendall(data)
        return False

    return answer


@dataclass
class Recorder:
    """The server; `rules` maps (method, path prefix) to answers, tried in order; 404 otherwise."""

    path: Path
    rules: list[tuple[str, str, Reply]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    at_close: list[Callable[[], object]] = field(default_factory=list)
    """Called first when closing: release answers that wait for something."""

    def __post_init__(self) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(self.path))
        self._sock.listen(32)
        self._threads: list[threading.Thread] = []
        self._peers: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    def on(self, method: str, prefix: str, answer: Reply) -> None:
        """Answer requests of this method whose path starts so."""
        self.rules.append((method, prefix, answer))

    def sent(self, method: str, prefix: str) -> list[Request]:
        """The recorded requests of this method and path."""
        return [r for r in self.requests if r.method == method and r.path.startswith(prefix)]

    def close(self) -> None:
        """Stop, and wait for every thread."""
        for release in self.at_close:
            release()
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._accepting.join()
        for peer in self._peers:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            try:
                while (request := _read_request(peer)) is not None:
                    self.requests.append(request)
                    if not self._answer(request)(request, peer):
                        return
            except OSError:
                return

    def _answer(self, request: Request) -> Reply:
        for method, prefix, answer in self.rules:
            if request.method == method and request.path.startswith(prefix):
                return answer
        return reply("404 Not Found", {"message": f"page not found: {request.path}"})


def _read_request(peer: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += peer.recv(65536)
    while len(body) < int(headers.get("content-length", 0)):
        body += peer.recv(65536)
    return Request(method, target, headers, body)
