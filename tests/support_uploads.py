"""A registry that takes uploads as the specification says, resumes them, and breaks off where a test wants it to.

    with UploadRegistry() as server:
        server.cuts = [300_000]          the first body ends after 300,000 bytes: those are kept, no answer is sent
        server.blobs, server.manifests   what it has
        server.log                       ("PATCH", "0-65535"), ... in the order they came

and `cutting_proxy`, which does such a thing to a real registry.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from images import digest_of

_SESSION = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>\d+)\Z")
_BLOB = re.compile(r"/v2/(?P<name>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})\Z")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<tag>[^/]+)\Z")


@dataclass
class UploadRegistry:
    """One repository space in memory.

    `refusals` are answered once each, to the next request of their method; `silent`: no answer when a blob is complete;
    `elsewhere`: where upload addresses point; `gate` is called with each request's method.
    """

    cuts: list[int] = field(default_factory=list)
    chunks: bool = True
    refusals: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    sessions: dict[str, bytearray] = field(default_factory=dict)
    elsewhere: str = ""
    silent: bool = False
    gate: Callable[[str], None] = lambda method: None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> UploadRegistry:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def methods(self, *wanted: str) -> list[str]:
        """The requests of these methods, as `METHOD detail`."""
        return [f"{method} {detail}".strip() for method, detail in self.log if method in wanted]

    def refuse(self, method: str) -> tuple[int, dict[str, str]] | None:
        """The refusal that is next for a method, if one is."""
        with self._lock:
            for number, (wanted, status, headers) in enumerate(self.refusals):
                if wanted == method:
                    del self.refusals[number]
                    return status, headers
        return None

    def next_cut(self) -> int | None:
        """After how many bytes the next body ends."""
        with self._lock:
            return self.cuts.pop(0) if self.cuts else None

    def _handler(registry) -> type[BaseHTTPRequestHandler]:  # the handler has its own self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def _serve(self) -> None:
                if self.path == "/v2/":
                    return self._answer(200)
                registry.log.append((self.command, self.headers.get("Content-Range", "")))
                registry.headers.append(dict(self.headers.items()))
                registry.gate(self.command)
                if refusal := registry.refuse(self.command):
                    self._drain()
                    return self._answer(refusal[0], **refusal[1])
                with suppress(ConnectionError):
                    return getattr(self, f"_{self.command.lower()}")(urlsplit(self.path))
                self.close_connection = True
                return None

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def _answer(self, status: int, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _drain(self) -> None:
                """As servers do that answer early: a reset would take the answer away."""
                self.rfile.read(int(self.headers.get("Content-Length", "0")))

            def _body(self, into: bytearray) -> bool:
                """The request's body, as far as it comes; whether that is all of it."""
                left = int(self.headers.get("Content-Length", "0"))
                cut = registry.next_cut() if left else None
                while left:
                    most = min(left, 65536) if cut is None else min(left, 65536, cut)
                    if not most:
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True
                        return False
                    piece = self.rfile.read(most)
                    if not piece:
                        return False
                    into += piece
                    left -= len(piece)
                    cut = None if cut is None else cut - len(piece)
                return True

            def _post(self, url) -> None:
                number = str(sum(method == "POST" for method, _ in registry.log))
                registry.sessions[number] = bytearray()
                name = url.path.removeprefix("/v2/").removesuffix("/blobs/uploads/")
                self._answer(202, Location=f"{registry.elsewhere}/v2/{name}/blobs/uploads/{number}?state=a/b+c")

            def _session(self, url) -> bytearray | None:
                found = _SESSION.fullmatch(url.path)
                session = registry.sessions.get(found["id"]) if found else None
                if session is None or "state=a/b+c" not in url.query:
                    self._answer(404)
                    return None
                return session

            def _told(self, status: int, url, session: bytearray) -> None:
                self._answer(status, Location=f"{url.path}?state=a/b+c", Range=f"0-{max(len(session) - 1, 0)}")

            def _get(self, url) -> None:
                if (session := self._session(url)) is not None:
                    self._told(204, url, session)

            def _patch(self, url) -> None:
                session = self._session(url)
                if session is None:
                    return None
                if not registry.chunks:
                    self._drain()
                    return self._answer(405)
                start = int(self.headers["Content-Range"].partition("-")[0])
                if start != len(session):
                    self._drain()
                    return self._answer(416)
                if self._body(session):
                    self._told(202, url, session)
                return None

            def _put(self, url) -> None:
                if manifest := _MANIFEST.fullmatch(url.path):
                    data = bytearray()
                    if self._body(data):
                        registry.manifests[manifest["tag"]] = bytes(data)
                        self._answer(201, Docker_Content_Digest=digest_of(bytes(data)))
                    return None
                session = self._session(url)
                if session is None or not self._body(session):
                    return None
                digest = parse_qs(url.query)["digest"][0]
                if digest_of(bytes(session)) != digest:
                    return self._answer(400)
                registry.blobs[digest] = bytes(session)
                if registry.silent:
                    self.close_connection = True
                    return None
                return self._answer(201)

            def _head(self, url) -> None:
                blob, manifest = _BLOB.fullmatch(url.path), _MANIFEST.fullmatch(url.path)
                there = (blob and blob["digest"] in registry.blobs) or (
                    manifest and manifest["tag"] in {digest_of(data) for data in registry.manifests.values()}
                )
                self._answer(200 if there else 404)

            def _delete(self, url) -> None:
                if found := _SESSION.fullmatch(url.path):
                    registry.sessions.pop(found["id"], None)
                self._answer(204)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what many tests are about."""


@contextmanager
def cutting_proxy(target: str, limits: list[int]) -> Iterator[str]:
    """A TCP proxy before `target`: as long as there are limits, a connection that brings more bytes than the next one
    is cut there. Yields its own address."""
    host, _, port = target.partition(":")
    threads: list[threading.Thread] = []
    lock = threading.Lock()

    def pump(source: socket.socket, sink: socket.socket, limited: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                with lock:
                    cut = limited and bool(limits) and passed > limits[0]
                    if cut:
                        limits.pop(0)
                if cut:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=pump, args=(server, client, False))
            back.start()
            pump(client, server, True)
            back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(client,)))
                threads[-1].start()

    listener = socket.create_server(("127.0.0.1", 0))
    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join()
