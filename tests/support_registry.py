"""Registries for tests: Debian's real one, and one that lies.

    def test_x(registry): registry.host == "127.0.0.1:41234"      (fixture, a fresh docker-registry)
    with LyingRegistry() as liar: liar.on("GET", "/v2/app/blobs/…", Answer(503))
"""

from __future__ import annotations

import queue
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from images import Image, digest_of

_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
{auth}
"""


@dataclass(frozen=True)
class Registry:
    """A running docker-registry; `host` is what stands in references."""

    host: str
    root: Path


@contextmanager
def run_registry(
    folder: Path, auth: str = "", *, tls: Path | None = None, clients: Path | None = None
) -> Iterator[Registry]:
    """Debian's docker-registry on a free loopback port, up when this returns.

    `auth` is YAML for its config; `tls` a directory with cert.pem and key.pem: it speaks HTTPS then; `clients` a
    directory with ca.pem, client.pem and client.key: it wants a client's certificate then.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    config = folder / "registry.yml"
    wanted = f", clientcas: [{clients}/ca.pem]" if clients else ""
    pair = f", tls: {{certificate: {tls}/cert.pem, key: {tls}/key.pem{wanted}}}" if tls else ""
    config.write_text(_CONFIG.format(root=folder / "registry", port=port, auth=auth, tls=pair))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _await_answer(f"{'https' if tls else 'http'}://127.0.0.1:{port}/v2/", process, folder / "registry.log", clients)
        yield Registry(f"127.0.0.1:{port}", folder / "registry")
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(name="registry")
def registry_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A fresh, empty docker-registry without authentication."""
    with run_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def free_port() -> int:
    """A TCP port of the loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await_answer(url: str, process: subprocess.Popen[bytes], log: Path, clients: Path | None) -> None:
    trusting = ssl._create_unverified_context()  # only asks whether it is up
    if clients is not None:
        trusting.load_cert_chain(clients / "client.pem", clients / "client.key")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting)
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"docker-registry ended: {log.read_text()[-2000:]}")
        try:
            opener.open(url, timeout=5).close()
        except urllib.error.HTTPError:
            return  # 401: it answers
        except OSError:
            time.sleep(0.05)  # nothing announces that a foreign program listens
        else:
            return
    raise RuntimeError(f"docker-registry does not answer: {log.read_text()[-2000:]}")


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What the liar says: `promise` overrides Content-Length, `stall` then waits until the client has gone or the
    liar ends, `endless` repeats the body until the client has gone."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    promise: int | None = None
    stall: bool = False
    endless: bool = False


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what many tests are about."""


Script = Answer | Callable[[Request], Answer | None]


class LyingRegistry:
    """A scripted HTTP server. Answers are taken in order; the last one for a path stays.

    `requests` holds everything that was asked; `serve_image` makes it an honest registry first.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.arrived: queue.Queue[Request] = queue.Queue()
        self.stopping = threading.Event()
        self._scripts: dict[tuple[str, str], list[Script]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # closing waits for them, so that no socket is left open
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> LyingRegistry:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def on(self, method: str, path: str, *answers: Script) -> None:
        """Answer `method path` (without query) with these, one after the other."""
        with self._lock:
            self._scripts[method, path] = list(answers)

    def serve_image(self, image: Image, repository: str, tag: str = "latest") -> None:
        """Serve the image as a registry would, ranges included."""
        self.serve_manifest(repository, tag, image.manifest, image.media_type)
        for digest, data in image.blobs.items():
            self.on("GET", f"/v2/{repository}/blobs/{digest}", ranged(data))

    def serve_manifest(self, repository: str, tag: str, data: bytes, media_type: str) -> None:
        """Serve a document under its tag and its digest."""
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest_of(data)}
        for name in (tag, digest_of(data)):
            self.on("GET", f"/v2/{repository}/manifests/{name}", Answer(200, data, headers))
            self.on("HEAD", f"/v2/{repository}/manifests/{name}", Answer(200, b"", headers, promise=len(data)))

    def count(self, method: str, path: str) -> int:
        """How often `method path` was asked for."""
        with self._lock:
            return sum((r.method, r.path.partition("?")[0]) == (method, path) for r in self.requests)

    def _next(self, request: Request) -> Answer:
        key = (request.method, request.path.partition("?")[0])
        with self._lock:
            self.requests.append(request)
            scripts = self._scripts.get(key) or [Answer(404, b'{"errors":[]}')]
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        self.arrived.put(request)
        answer = script(request) if callable(script) else script
        return answer or Answer(404, b'{"errors":[]}')

    def _handler(liar) -> type[BaseHTTPRequestHandler]:  # the handler has its own self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20  # of a connection that its client leaves open

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length) if length else b""
                answer = liar._next(Request(self.command, self.path, dict(self.headers.items()), body))
                try:
                    self._send(answer)
                except OSError:
                    self.close_connection = True  # the client has gone, as some tests want

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def _send(self, answer: Answer) -> None:
                size = len(answer.body) if answer.promise is None else answer.promise
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.endless:
                    self.send_header("Connection", "close")
                else:
                    self.send_header("Content-Length", str(size))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                while answer.endless and not liar.stopping.is_set():
                    self.wfile.write(answer.body)
                if answer.stall:
                    self._wait_for_the_end()
                if self.command != "HEAD" and size != len(answer.body):
                    self.close_connection = True

            def _wait_for_the_end(self) -> None:
                self.connection.settimeout(0.05)
                while not liar.stopping.is_set():
                    try:
                        if not self.connection.recv(1):
                            return
                    except TimeoutError:
                        continue
                    except OSError:
                        return

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def ranged(data: bytes) -> Callable[[Request], Answer]:
    """Serve `data`, whole or from an offset."""

    def answer(request: Request) -> Answer:
        wanted = request.headers.get("Range", "")
        if not wanted:
            return Answer(200, data, {"Content-Type": "application/octet-stream"})
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(data):
            return Answer(416)
        return Answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})

    return answer
