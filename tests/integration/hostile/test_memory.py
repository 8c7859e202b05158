"""One answer of a registry, or one archive, never grows the daemon by more than 64 MB, and is refused by one line.

The peak is the kernel's own (VmHWM, reset before each attack), so what was freed again counts as well.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from archives import archive, file, pax
from corten_shared.models import oci
from daemon import Cortend
from images import Image, digest_of, make_image, make_layer
from support_registry import Answer, LyingRegistry

pytestmark = pytest.mark.root

MOST = 64_000_000
FULL = 4 << 20
"""The largest document that is read."""

LAYER = make_layer([("f", b"x")])
IMAGE = make_image([LAYER])


def _filled(head: bytes, piece: bytes, tail: bytes) -> bytes:
    """As many pieces, with commas between them, as fit into the largest document."""
    return head + b",".join([piece] * ((FULL - 2_000 - len(head) - len(tail)) // (len(piece) + 1))) + tail


def _spliced(document: bytes, members: bytes) -> bytes:
    return document[:-1] + b"," + members + b"}"


def _manifest(more: bytes) -> bytes:
    return _spliced(IMAGE.manifest, more)


def _layers(count: int) -> bytes:
    document = json.loads(IMAGE.manifest)
    document["layers"] *= count
    return json.dumps(document).encode()


def _index(count: int) -> bytes:
    entry = IMAGE.descriptor(os="linux", architecture="s390x")
    return json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": [entry] * count}).encode()


def _config(more: bytes) -> Image:
    """The image with a larger config, and a manifest that fits to it."""
    config = _spliced(IMAGE.config, more)
    document = json.loads(IMAGE.manifest)
    document["config"].update(digest=digest_of(config), size=len(config))
    blobs = {**IMAGE.blobs, digest_of(config): config}
    return Image(IMAGE.layers, config, json.dumps(document).encode(), blobs=blobs)


MANIFESTS: dict[str, tuple[bytes, str]] = {
    "empty arrays": (_manifest(_filled(b'"x":[', b"[]", b"]")), oci.OCI_MANIFEST),
    "empty objects": (_manifest(_filled(b'"x":[', b"{}", b"]")), oci.OCI_MANIFEST),
    "numbers": (_manifest(_filled(b'"x":[', b"1.5", b"]")), oci.OCI_MANIFEST),
    "short strings": (_manifest(_filled(b'"x":[', b'"ab"', b"]")), oci.OCI_MANIFEST),
    "deep": (_manifest(b'"x":' + b"[" * 1_000_000 + b"]" * 1_000_000), oci.OCI_MANIFEST),
    "a long number": (_manifest(b'"x":' + b"9" * 1_000_000), oci.OCI_MANIFEST),
    "annotations": (
        _manifest(b'"annotations":{' + b",".join(b'"%06x":""' % n for n in range(300_000)) + b"}"),
        oci.OCI_MANIFEST,
    ),
    "layers": (_layers(20_000), oci.OCI_MANIFEST),
    "indexed manifests": (_index(18_000), oci.OCI_INDEX),
}
CONFIGS: dict[str, bytes] = {
    "history": _filled(b'"history":[', b"{}", b"]"),
    "diff ids": _filled(b'"rootfs":{"type":"layers","diff_ids":[', b'"%s"' % LAYER.diff_id.encode(), b"]}"),
    "environment": _filled(b'"config":{"Env":[', b'"A=b"', b"]}"),
    "volumes": b'"config":{"Volumes":{' + b",".join(b'"/%06x":{}' % n for n in range(300_000)) + b"}}",
}


class Peak:
    """How far the daemon's memory grew since it was made, in bytes."""

    def __init__(self, daemon: Cortend) -> None:
        self._proc = Path(f"/proc/{daemon.pid}")
        (self._proc / "clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def grown(self) -> int:
        return self._read("VmHWM") - self._before

    def _read(self, key: str) -> int:
        line = next(line for line in (self._proc / "status").read_text().splitlines() if line.startswith(key))
        return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def engine(busybox_tar: bytes) -> Iterator[Cortend]:
    import daemon as daemons

    with daemons.running() as daemon:
        yield daemon


@pytest.fixture
def liar() -> Iterator[LyingRegistry]:
    with LyingRegistry() as registry:
        registry.serve_image(IMAGE, "warm")
        yield registry


def _refusal(engine: Cortend, reference: str) -> str:
    """Why a pull ends: one line, in a status or in the stream."""
    with engine.api() as api:
        reply = api.request("POST", "/images/create", query={"fromImage": reference, "tag": "latest"})
        if reply.status != 200:
            with reply:
                message = str(reply.json()["message"])
        else:
            message = str([line for line in reply.json_lines() if "error" in line][-1]["error"])
    assert "\n" not in message and len(message) < 1000 and "internal" not in message, message
    return message


def _pull(engine: Cortend, reference: str) -> None:
    with engine.api() as api:
        reply = api.request("POST", "/images/create", query={"fromImage": reference, "tag": "latest"})
        lines = list(reply.json_lines())
    assert not [line for line in lines if "error" in line], lines


def _attack(engine: Cortend, liar: LyingRegistry, attack: Callable[[], Any]) -> None:
    _pull(engine, f"{liar.host}/warm")  # what a first pull imports is not the attack's
    peak = Peak(engine)
    attack()
    grown = peak.grown()
    assert grown <= MOST, f"the daemon grew by {grown / 1e6:.0f} MB"


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest(engine: Cortend, liar: LyingRegistry, what: str) -> None:
    data, media_type = MANIFESTS[what]
    assert len(data) <= FULL
    liar.serve_manifest("app", "latest", data, media_type)
    for digest, blob in IMAGE.blobs.items():
        liar.on("GET", f"/v2/app/blobs/{digest}", Answer(200, blob))
    _attack(engine, liar, lambda: _refusal(engine, f"{liar.host}/app"))


@pytest.mark.parametrize("what", CONFIGS)
def test_a_config(engine: Cortend, liar: LyingRegistry, what: str) -> None:
    liar.serve_image(_config(CONFIGS[what]), "app")
    _attack(engine, liar, lambda: _refusal(engine, f"{liar.host}/app"))


ANSWERS: dict[str, Answer] = {
    "an endless manifest": Answer(200, b"[" * 65536, {"Content-Type": oci.OCI_MANIFEST}, endless=True),
    "an endless error": Answer(400, b"x" * 65536, endless=True),
    "many headers": Answer(200, b"{}", {f"X-{n}": "y" * 50 for n in range(20_000)}),
    "a long header": Answer(200, b"{}", {"X": "y" * 8_000_000}),
    "a long redirect": Answer(307, b"", {"Location": "/" + "y" * 60_000}),
    "a long challenge": Answer(401, b"", {"WWW-Authenticate": 'Bearer realm="' + "y" * 60_000}),
    "a redirect to itself": Answer(307, b"", {"Location": "/v2/app/manifests/latest"}),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer(engine: Cortend, liar: LyingRegistry, what: str) -> None:
    liar.on("HEAD", "/v2/app/manifests/latest", Answer(405))
    liar.on("GET", "/v2/app/manifests/latest", ANSWERS[what])
    _attack(engine, liar, lambda: _refusal(engine, f"{liar.host}/app"))


TEXTS = {
    "a lone surrogate in a label": b'"config":{"Labels":{"a":"\\ud800"}}',
    "a lone surrogate in the environment": b'"config":{"Env":["A=\\udcff"]}',
    "a lone surrogate in the history": b'"history":[{"created_by":"\\udfff"}]',
    "a zero byte in a command": b'"config":{"Cmd":["a\\u0000b"]}',
    "an escape sequence as author": b'"author":"\\u001b]0;owned\\u0007"',
}


@pytest.mark.parametrize("what", TEXTS)
def test_odd_text_is_refused_or_harmless(engine: Cortend, liar: LyingRegistry, what: str) -> None:
    """Listing and inspecting must work whatever was let in."""
    document = json.loads(IMAGE.config)
    more = json.loads(b"{" + TEXTS[what] + b"}")
    image = make_image([LAYER], document={key: value for key, value in more.items() if key != "history"})
    if "history" in more:
        document["history"] = more["history"]
        image = make_image([LAYER], document={"history": more["history"]})
    liar.serve_image(image, "app")
    with engine.api() as api:
        with api.request("POST", "/images/create", query={"fromImage": f"{liar.host}/app", "tag": "latest"}) as reply:
            lines = list(reply.json_lines()) if reply.status == 200 else [{"error": reply.json()["message"]}]
        errors = [line["error"] for line in lines if "error" in line]
        assert not any("internal" in error or "Error" in error for error in errors), errors
        for path in ("/images/json", f"/images/{liar.host}/app/json", f"/images/{liar.host}/app/history"):
            with api.request("GET", path) as reply:
                assert reply.status == 200 or (errors and reply.status == 404), (path, reply.status, reply.json())
                reply.json()
        with api.request("POST", "/containers/create", body={"Image": f"{liar.host}/app"}) as reply:
            assert reply.status in (201, 400) or (errors and reply.status == 404), (reply.status, reply.json())
            made = reply.json().get("Id")
        with api.request("GET", "/containers/json", query={"all": "1"}) as reply:
            assert reply.status == 200
            reply.json()
        if made:
            api.request("DELETE", f"/containers/{made}").close()
        api.request("DELETE", f"/images/{liar.host}/app").close()


def _docker_archive(config: bytes, *more: bytes) -> bytes:
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["bomb:1"], "Layers": ["l.tar"]}]).encode()
    return archive(file("c.json", config), file("l.tar", LAYER.tar), *more, file("manifest.json", manifest))


def _zstd_bomb(window_log: int) -> bytes:
    """Zeros in a frame whose decoder needs a window of 2**window_log bytes, and gets all of them in one go."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    zeros = bytes(1 << 20)
    return b"".join([*(packer.compress(zeros) for _ in range(160)), packer.flush()])


ARCHIVES: dict[str, bytes] = {
    "a zstd frame with a large window": _zstd_bomb(27),
    "a zstd frame with a huge window": _zstd_bomb(30),
    "gzipped zeros": gzip.compress(bytes(200_000_000), 1),
    "a wide config": _docker_archive(_config(CONFIGS["history"]).config),
    "a wide list of images": archive(file("manifest.json", b"[" + b",".join([b"{}"] * 1_000_000) + b"]")),
    "long names": archive(*(file(f"{n:06}" + "n" * 90, b"") for n in range(9_000))),
    "headers of 1 MB each": archive(*(pax({"comment": "x" * 1_000_000}) + file(f"f{n}") for n in range(40))),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive(engine: Cortend, liar: LyingRegistry, what: str) -> None:
    def load() -> None:
        data = ARCHIVES[what]
        with engine.api() as api, api.request(
            "POST", "/images/load", body=(data[at : at + 65536] for at in range(0, len(data), 65536))
        ) as reply:
            assert reply.status == 400, (reply.status, list(reply.json_lines()))
            message = reply.json()["message"]
            assert "\n" not in message and "internal" not in message

    _attack(engine, liar, load)
