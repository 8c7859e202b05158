"""Images of root file systems in tars: from stdin, files and URLs, in every compression that docker takes."""

from __future__ import annotations

import bz2
import gzip
import http.server
import json
import lzma
import os
import threading
from collections.abc import Iterator

import pytest
import zstandard

from images import BUSYBOX, directory, make_tar, symlink

pytestmark = pytest.mark.root

PACKS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.fixture(scope="module")
def rootfs() -> bytes:
    return make_tar([directory("bin"), ("bin/busybox", BUSYBOX.read_bytes(), 0o755), symlink("bin/sh", "busybox")])


class Server(http.server.ThreadingHTTPServer):
    files: dict[str, bytes]
    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.startswith("/loop"):
            self.send_response(302)
            self.send_header("Location", self.path + "x")
            self.end_headers()
        elif self.path == "/file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif (data := self.server.files.get(self.path.partition("?")[0])) is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: -100 if self.path == "/short" else None])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(rootfs: bytes) -> Iterator[Server]:
    """A web server with the root file system."""
    server = Server(("127.0.0.1", 0), Handler)
    server.files, server.asked = {"/r.tar": rootfs, "/short": rootfs, "/none": b""}, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_compression_imports_and_runs_and_urls_are_fetched(archives, web, rootfs, tmp_path) -> None:
    for name, pack in PACKS.items():
        (tmp_path / name).write_bytes(pack(rootfs))
        flags = ("-c", 'CMD ["/bin/sh"]', "-m", f"from {name}", "--platform", "linux/amd64")
        done = archives.daemon.corten("import", *flags, str(tmp_path / name), f"{name}:1")
        assert done.stdout.decode().strip() == archives.images()[f"{name}:1"]
        assert archives.daemon.corten("run", "--rm", f"{name}:1", "/bin/sh", "-c", "echo ran").stdout == b"ran\n"
        comment = archives.daemon.corten("history", "--format", "{{.Comment}}", f"{name}:1").stdout
        assert comment == f"from {name}\n".encode()
    # The layer of each is the same tar.
    layers = [json.loads(archives.daemon.corten("image", "inspect", f"{n}:1").stdout)[0]["RootFS"] for n in PACKS]
    assert all(layer == layers[0] for layer in layers)

    for program in ("corten", "docker"):
        _imports_a_url(archives, web, program)


def _imports_a_url(archives, web, program) -> None:
    url = f"http://me:secret@127.0.0.1:{web.server_port}/r.tar?token=hidden"
    done = getattr(archives.daemon, program)("import", url, "web:1")
    first, last = done.stdout.decode().split("\n")[:2]
    assert first == f"Downloading from http://127.0.0.1:{web.server_port}/r.tar"
    assert last.strip() == archives.images()["web:1"]
    told = archives.daemon.corten("history", "--no-trunc", "web:1").stdout + done.stdout
    assert b"secret" not in told and b"hidden" not in told and b"Imported from http://127.0.0.1" in told
    assert "secret" not in archives.daemon.log_text() and "hidden" not in archives.daemon.log_text()


def test_what_cannot_be_fetched_or_is_broken_is_said_and_leaves_nothing(archives, web, rootfs) -> None:
    base = f"http://127.0.0.1:{web.server_port}"
    for path, word in {"/gone": "404", "/loop": "redirects more than", "/file": "http or https", "/none": "empty",
                       "/short": "closed"}.items():  # fmt: skip
        done = archives.daemon.corten("import", base + path, "no:1", check=False)
        assert done.returncode == 1 and word in done.stderr.decode(), (path, done.stderr)
        assert len(done.stderr.decode().strip().splitlines()) <= 2
    assert len(web.asked) < 20
    with archives.daemon.api() as api:
        for source in ("ftp://127.0.0.1/x", "file:///etc/passwd", "/etc/passwd", "http://"):
            reply = api.request("POST", "/images/create", query={"fromSrc": source, "repo": "no"})
            assert reply.status in (400, 503), (source, reply.read())
            reply.read()
    for pack in (bz2.compress, lzma.compress, gzip.compress):
        data = pack(rootfs + os.urandom(50_000))
        done = archives.daemon.corten("import", "-", "no:1", input=data[: len(data) // 2], check=False)
        assert done.returncode == 1 and b"damaged" in done.stderr, done.stderr
    assert archives.images() == {} and archives.left() == ([], [])
