"""Images made on the spot for tests: layers, configs, manifests, and ways to hand them out.

    image = busybox_image()                       one layer with Debian's static busybox
    push_to_registry(image, "127.0.0.1:5000", "app", "latest")
    write_docker_archive(image, path, ["app:latest"])
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from corten_shared.models import oci

BUSYBOX = Path("/usr/bin/busybox")
APPLETS = (
    "sh", "ash", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "du", "echo", "env",
    "expr", "false", "find", "free", "grep", "gzip", "head", "hostname", "id", "ifconfig", "ip", "kill", "ln",
    "ls", "mkdir", "mknod", "mktemp", "mount", "mv", "nc", "nproc", "nslookup", "od", "ping", "printf", "ps",
    "pwd", "readlink", "rm", "rmdir", "route", "sed", "seq", "sha256sum", "sleep", "sort", "stat", "stty",
    "tail", "tar", "tee", "test", "touch", "tr", "true", "tty", "umount", "uname", "wc", "wget", "which",
    "whoami", "xargs", "yes",
)  # fmt: skip

_SUFFIX = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}


def digest_of(data: bytes) -> str:
    """`sha256:…` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Layer:
    """A layer: its tar, and the same as it travels."""

    tar: bytes
    blob: bytes
    media_type: str

    @property
    def diff_id(self) -> str:
        return digest_of(self.tar)

    @property
    def digest(self) -> str:
        return digest_of(self.blob)

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.blob)}


@dataclass(frozen=True)
class Image:
    """An image's documents and blobs."""

    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes
    media_type: str = oci.OCI_MANIFEST
    blobs: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The config's digest: docker's image id."""
        return digest_of(self.config)

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    def descriptor(self, **platform: str) -> dict[str, Any]:
        """The manifest's descriptor, for an index."""
        found = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest)}
        return {**found, "platform": platform} if platform else found


Entry = tarfile.TarInfo | tuple[str, bytes] | tuple[str, bytes, int]


def make_tar(entries: Iterable[Entry]) -> bytes:
    """A tar of `entries`: (path, content[, mode]) files, or TarInfo for anything else. Reproducible."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1])
            info.mode = entry[2] if len(entry) == 3 else 0o644
            tar.addfile(info, io.BytesIO(entry[1]))
    return out.getvalue()


def directory(path: str, mode: int = 0o755) -> tarfile.TarInfo:
    """An entry for a directory."""
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info


def symlink(path: str, target: str) -> tarfile.TarInfo:
    """An entry for a symbolic link."""
    info = tarfile.TarInfo(path)
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
    return info


def make_layer(entries: Iterable[Entry] | bytes, compression: str = "gzip", *, docker: bool = False) -> Layer:
    """A layer of `entries` (or a finished tar), compressed with none, gzip or zstd."""
    tar = entries if isinstance(entries, bytes) else make_tar(entries)
    pack = {
        "none": lambda data: data,
        "gzip": lambda data: gzip.compress(data, 1, mtime=0),
        "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
    }[compression]
    media_type = oci.OCI_LAYER + _SUFFIX[compression]
    if docker:
        kinds = {"none": oci.DOCKER_LAYER, "gzip": oci.DOCKER_LAYER_GZIP, "zstd": oci.DOCKER_LAYER_ZSTD}
        media_type = kinds[compression]
    return Layer(tar, pack(tar), media_type)


def make_image(
    layers: Sequence[Layer],
    config: Mapping[str, Any] | None = None,
    *,
    docker: bool = False,
    architecture: str = "amd64",
    document: Mapping[str, Any] | None = None,
) -> Image:
    """An image of `layers`; `config` is its run configuration, `document` further members of the config blob."""
    blob = {
        "created": "2024-01-02T03:04:05Z",
        "architecture": architecture,
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": f"step {n}"} for n in range(len(layers))],
        **(document or {}),
    }
    data = json.dumps(blob).encode()
    media_type = oci.DOCKER_MANIFEST if docker else oci.OCI_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": oci.DOCKER_CONFIG if docker else oci.OCI_CONFIG,
            "digest": digest_of(data),
            "size": len(data),
        },
        "layers": [layer.descriptor() for layer in layers],
    }
    blobs = {digest_of(data): data} | {layer.digest: layer.blob for layer in layers}
    return Image(tuple(layers), data, json.dumps(manifest).encode(), media_type, blobs)


def make_index(images: Mapping[str, Image], *, docker: bool = False) -> bytes:
    """An index of images by platform (`linux/amd64`, `linux/arm/v7`)."""
    manifests = []
    for platform, image in images.items():
        os, architecture, *variant = platform.split("/")
        more = {"variant": variant[0]} if variant else {}
        manifests.append(image.descriptor(os=os, architecture=architecture, **more))
    media_type = oci.DOCKER_LIST if docker else oci.OCI_INDEX
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).encode()


def busybox_entries() -> list[Entry]:
    """A small root file system around the machine's static busybox."""
    users = (
        b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
        b"nobody:x:65534:65534:nobody:/:/bin/false\n"
    )
    groups = b"root:x:0:\ndaemon:x:1:\nusers:x:100:nobody\nnogroup:x:65534:\n"
    folders = ("bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "var")
    return [
        *(directory(name) for name in folders),
        directory("tmp", 0o1777),
        ("bin/busybox", BUSYBOX.read_bytes(), 0o755),
        *(symlink(f"bin/{name}", "busybox") for name in APPLETS),
        ("etc/passwd", users),
        ("etc/group", groups),
    ]


def busybox_layer(compression: str = "gzip") -> Layer:
    """The layer of busybox_image."""
    return make_layer(busybox_entries(), compression)


def busybox_image(*more: Layer, compression: str = "gzip", config: Mapping[str, Any] | None = None) -> Image:
    """Busybox, with `more` layers on top; runs `sh` by default."""
    defaults = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    return make_image([busybox_layer(compression), *more], config if config is not None else defaults)


def push_to_registry(image: Image, host: str, repository: str, tag: str) -> str:
    """Put the image into the plain HTTP registry at `host`; returns the manifest's digest."""
    for digest, data in image.blobs.items():
        push_blob(host, repository, digest, data)
    put_manifest(host, repository, tag, image.manifest, image.media_type)
    return image.digest


def push_blob(host: str, repository: str, digest: str, data: bytes) -> None:
    """One blob, in one PUT (distribution-spec, "Pushing a blob monolithically")."""
    with _call("POST", f"http://{host}/v2/{repository}/blobs/uploads/") as answer:
        location = answer.headers["Location"]
    place = location if location.startswith("http") else f"http://{host}{location}"
    with _call("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", data, "application/octet-stream"):
        pass


def put_manifest(host: str, repository: str, reference: str, data: bytes, media_type: str) -> str:
    """A manifest or index under a tag or digest; returns its digest."""
    with _call("PUT", f"http://{host}/v2/{repository}/manifests/{reference}", data, media_type):
        return digest_of(data)


def _call(method: str, url: str, data: bytes | None = None, content_type: str = "") -> Any:
    headers = {"Content-Type": content_type} if content_type else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never through a proxy
    return opener.open(urllib.request.Request(url, data=data, method=method, headers=headers), timeout=60)


def write_docker_archive(image: Image, path: Path, tags: Sequence[str]) -> None:
    """The image as `docker save` writes it."""
    name = image.id.removeprefix("sha256:")
    files: list[Entry] = [(f"{name}.json", image.config)]
    paths = []
    for number, layer in enumerate(image.layers):
        paths.append(f"{number:064d}/layer.tar")
        files.append((paths[-1], layer.tar))
    manifest = [{"Config": f"{name}.json", "RepoTags": list(tags), "Layers": paths}]
    path.write_bytes(make_tar([*files, ("manifest.json", json.dumps(manifest).encode())]))
