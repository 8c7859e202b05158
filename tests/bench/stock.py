"""The images that engines are timed with, and the registry that holds them.

    busybox:latest   the machine's static busybox, one layer, as in the first-run image
    big:1            about 670 MB unpacked, 270 MB compressed, in four layers: a Debian base, 400 MB of what packages
                     install, 20,000 small files, 64 MB of noise

A registry's own storage under `CACHE` is what is kept between runs, so `big:1` is made once per machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from processes import BenchError

import images
from corten_shared.models import oci
from support_registry import Registry, run_registry

CACHE = Path("/var/tmp/corten-bench-cache")
BASE = CACHE / "base.tar"
IMAGE_SCRIPT = Path(__file__).resolve().parents[2] / "docs/first-run/image.sh"
PACKAGES_BYTES = 400_000_000
LARGEST = 4_000_000
"""Of a file in the layer of packages, in bytes: compilers alone would fill it, with few files."""

SMALL_FILES = 20_000
NOISE_BYTES = 64_000_000


def fetch_base() -> None:
    """The Debian base layer's tar: mmdebstrap's, or where its mirror is out of reach the machine's own programs."""
    if BASE.exists() or _has("big", "1"):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    print("==> making the benchmark's Debian base (once)", file=sys.stderr)
    part = BASE.with_suffix(".part.tar")
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(part)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        with tarfile.open(part, "w") as tar:
            _add_tree(tar, ("/bin", "/etc/apt", "/etc/dpkg", "/usr/bin", "/lib"), 110_000_000)
    part.rename(BASE)


def _has(repository: str, tag: str) -> bool:
    tags = CACHE / "registry/docker/registry/v2/repositories" / repository / "_manifests/tags"
    return (tags / tag / "current/link").exists()


@contextlib.contextmanager
def stocked(*, big: bool) -> Iterator[Registry]:
    """The registry with the images in it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with run_registry(CACHE) as registry:
        if not _has("busybox", "latest"):
            _put_busybox(registry)
        if big and not _has("big", "1"):
            _put_big(registry)
        yield registry


@contextlib.contextmanager
def empty(base: Path) -> Iterator[Registry]:
    """A registry with nothing in it, so that a push can mount nothing from elsewhere; gone with its data."""
    folder = Path(tempfile.mkdtemp(prefix="empty-", dir=base))
    try:
        with run_registry(folder) as registry:
            yield registry
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def many(folder: Path) -> Path:
    """A docker archive of a thousand images that share a layer: `bench/many:0` to `:999`."""
    path = folder / "many.tar"
    if not path.exists():
        layer = images.make_layer([("etc/motd", b"one of many")], "none")
        with tarfile.open(path, "w") as out:
            _add_bytes(out, "layer.tar", layer.tar)
            entries = []
            for number in range(1000):
                config = images.make_image([layer], {"Cmd": ["sh"], "Labels": {"number": str(number)}}).config
                _add_bytes(out, f"{number}.json", config)
                entries.append(
                    {"Config": f"{number}.json", "RepoTags": [f"bench/many:{number}"], "Layers": ["layer.tar"]}
                )
            _add_bytes(out, "manifest.json", json.dumps(entries).encode())
    return path


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _put_busybox(registry: Registry) -> None:
    tar = subprocess.run([IMAGE_SCRIPT], capture_output=True, check=True).stdout
    image = images.make_image([images.make_layer(tar)], {"Cmd": ["sh"], "Env": ["PATH=/bin"]})
    images.push_to_registry(image, registry.host, "busybox", "latest")


@dataclass(frozen=True)
class _Blob:
    """A layer on its way: the digests of its tar and of what is sent."""

    diff_id: str
    digest: str
    size: int


def _put_big(registry: Registry) -> None:
    print("==> making the benchmark's image big:1 (once)", file=sys.stderr)
    blobs = []
    with tempfile.TemporaryDirectory(prefix="big-", dir=CACHE) as folder:
        for number, fill in enumerate((None, _packages, _small_files, _noise)):
            tar = BASE if fill is None else Path(folder, f"{number}.tar")
            if fill is not None:
                with tarfile.open(tar, "w") as out:
                    fill(out)
            packed = Path(folder, f"{number}.tar.gz")
            blobs.append(_compress(tar, packed))
            _push_file(registry.host, "big", blobs[-1], packed)
    config = _config(blobs)
    images.push_blob(registry.host, "big", images.digest_of(config), config)
    images.put_manifest(registry.host, "big", "1", _manifest(blobs, config), oci.OCI_MANIFEST)
    BASE.unlink()


def _config(blobs: list[_Blob]) -> bytes:
    document = {
        "created": "2024-01-02T03:04:05Z",
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for blob in blobs]},
    }
    return json.dumps(document).encode()


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _manifest(blobs: list[_Blob], config: bytes) -> bytes:
    layers = [{"mediaType": oci.OCI_LAYER + "+gzip", "digest": blob.digest, "size": blob.size} for blob in blobs]
    document = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": {"mediaType": oci.OCI_CONFIG, "digest": images.digest_of(config), "size": len(config)},
        "layers": layers,
    }
    return json.dumps(document).encode()


def _packages(tar: tarfile.TarFile) -> None:
    _add_tree(tar, ("/usr/lib", "/usr/share"), PACKAGES_BYTES)


def _add_tree(tar: tarfile.TarFile, tops: tuple[str, ...], limit: int) -> None:
    """Regular files and links of the machine, in order of name, until `limit` bytes are in."""
    for top in tops:
        for folder, names, files in os.walk(Path(top).resolve()):
            names.sort()
            for name in sorted(files):
                path = Path(folder, name)
                if path.is_symlink() or (path.is_file() and path.stat().st_size <= LARGEST):
                    _add(tar, path)
                if tar.offset >= limit:
                    return


def _add(tar: tarfile.TarFile, path: Path) -> None:
    info = tar.gettarinfo(path, arcname=str(path).lstrip("/"))
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    if info.isreg():
        with path.open("rb") as file:
            tar.addfile(info, file)
    elif info.issym():
        tar.addfile(info)


def _small_files(tar: tarfile.TarFile) -> None:
    dice = random.Random(1)
    with tempfile.TemporaryFile() as file:
        for number in range(SMALL_FILES):
            file.seek(0)
            file.truncate()
            file.write((f"{dice.getrandbits(64):x} setting={number}\n" * dice.randrange(1, 120)).encode())
            _add_file(tar, f"srv/small/{number % 200:03}/{number:05}.conf", file)


def _noise(tar: tarfile.TarFile) -> None:
    dice = random.Random(2)
    with tempfile.TemporaryFile() as file:
        for _ in range(NOISE_BYTES // 1_000_000):
            file.write(dice.randbytes(1_000_000))
        _add_file(tar, "srv/noise.bin", file)


def _add_file(tar: tarfile.TarFile, name: str, file: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size = file.tell()
    file.seek(0)
    tar.addfile(info, file)


def _compress(tar: Path, packed: Path) -> _Blob:
    """gzip, as a builder does it, with both digests on the way."""
    deflate = zlib.compressobj(6, wbits=31)
    plain, sent, size = hashlib.sha256(), hashlib.sha256(), 0
    with tar.open("rb") as source, packed.open("wb") as target:
        while chunk := source.read(1 << 20):
            plain.update(chunk)
            piece = deflate.compress(chunk)
            sent.update(piece)
            size += target.write(piece)
        piece = deflate.flush()
        sent.update(piece)
        size += target.write(piece)
    return _Blob(f"sha256:{plain.hexdigest()}", f"sha256:{sent.hexdigest()}", size)


def _push_file(host: str, repository: str, blob: _Blob, packed: Path) -> None:
    """One blob in one PUT, from a file (distribution-spec, "Pushing a blob monolithically")."""
    start = urllib.request.Request(f"http://{host}/v2/{repository}/blobs/uploads/", method="POST")
    with urllib.request.urlopen(start, timeout=60) as answer:
        place = answer.headers["Location"]
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
    with packed.open("rb") as body:
        put = urllib.request.Request(f"{place}&digest={blob.digest}", data=body, headers=headers, method="PUT")
        with urllib.request.urlopen(put, timeout=300) as answer:
            if answer.status != 201:
                raise BenchError(f"the registry does not take {blob.digest}: {answer.status}")
