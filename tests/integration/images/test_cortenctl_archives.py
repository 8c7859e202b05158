"""`cortenctl images import` and `export`, with ctr's flags."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import Cortend
from images import busybox_image, digest_of, make_image, make_index, make_layer, make_tar

pytestmark = pytest.mark.root

HERE = "linux/amd64"
FAR = "linux/s390x"


class Ctl:
    """cortenctl in a namespace of the test's own."""

    def __init__(self, daemon: Cortend) -> None:
        self.daemon = daemon

    def __call__(
        self, *args: str, check: bool = True, input: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return self.daemon.cortenctl("-n", "archives", *args, check=check, input=input)

    def names(self) -> list[str]:
        return self("images", "ls", "-q").stdout.decode().split()

    def clear(self) -> None:
        """No images, no blobs, no snapshots."""
        while names := self.names():
            self("images", "rm", "-f", names[0])  # a digest's name goes with the last tag
        self("gc")
        assert self("content", "ls", "-q").stdout == b"" and self("snapshots", "ls", "-q").stdout == b""


@pytest.fixture
def ctl(cortend: Cortend) -> Iterator[Ctl]:
    found = Ctl(cortend)
    yield found
    found.clear()


@pytest.fixture(scope="module")
def layout() -> dict[str, bytes]:
    """Files of a layout with one image for two platforms, called by a tag only."""
    images = {HERE: busybox_image(), FAR: make_image([make_layer([("far", b"away")])], architecture="s390x")}
    index = make_index(images)
    top = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest_of(index), "size": len(index)}
    named = [{**top, "annotations": {"org.opencontainers.image.ref.name": "1"}}]
    blobs = {digest_of(index): index}
    for image in images.values():
        blobs |= {**image.blobs, image.digest: image.manifest}
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": named}).encode(),
        **{f"blobs/sha256/{digest[7:]}": data for digest, data in blobs.items()},
    }


def members(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return {info.name for info in tar if info.isfile()}


def test_names_and_platforms_of_an_import(ctl: Ctl, layout: dict[str, bytes], tmp_path: Path) -> None:
    path = str(tmp_path / "in.tar")
    Path(path).write_bytes(make_tar(list(layout.items())))
    shown = ctl("images", "import", path).stdout.decode()
    name = f"docker.io/library/{time.strftime('import-%Y-%m-%d')}:1"
    assert ctl.names() == [name] and f"Loaded image: {name}" in shown
    assert len(ctl("snapshots", "ls", "-q").stdout.split()) == 1
    ctl.clear()
    flags = ("--base-name", "reg.example/b", "--digests", "--index-name", "whole:1", "--no-unpack", "--local")
    ctl("images", "import", *flags, "--all-platforms", "-", input=Path(path).read_bytes())
    digest = digest_of(next(data for name, data in layout.items() if data.startswith(b'{"schemaVersion": 2, "mediaT')
                            and b"manifests" in data))  # fmt: skip
    assert ctl.names() == ["docker.io/library/whole:1", "reg.example/b:1", f"reg.example/b@{digest}"]
    assert ctl("snapshots", "ls", "-q").stdout == b""
    out = tmp_path / "out.tar"
    ctl("images", "export", "--all-platforms", "--skip-manifest-json", str(out), "reg.example/b:1")
    assert members(out) == set(layout)
    ctl("images", "export", "--platform", FAR, str(out), "reg.example/b:1")
    with tarfile.open(out) as tar:
        config = json.load(tar.extractfile(json.load(tar.extractfile("manifest.json"))[0]["Config"]))  # type: ignore[arg-type]
    assert config["architecture"] == "s390x" and len(members(out)) == 6
    ctl.clear()
    loaded = json.loads(ctl("images", "import", "--platform", HERE, "-o", "json", "--base-name", "b", path).stdout)
    assert [image["name"] for image in loaded] == ["docker.io/library/b:1"]
    refused = ctl("images", "export", "--all-platforms", str(tmp_path / "no.tar"), "b:1", check=False)
    assert refused.returncode == 1 and b"missing" in refused.stderr and not (tmp_path / "no.tar").exists()
    assert ctl("images", "export", "-", "b:1").stdout == ctl("images", "export", "-", "b:1").stdout
    assert ctl("images", "import", str(tmp_path / "none"), check=False).returncode == 1
    broken = ctl("images", "import", "-", input=b"x" * 2000, check=False)
    assert broken.returncode == 1 and b"refused" in broken.stderr


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_sees_both_platforms_of_an_export(ctl: Ctl, layout: dict[str, bytes], tmp_path: Path) -> None:
    ctl("images", "import", "--base-name", "b", "-", input=make_tar(list(layout.items())))
    ctl("images", "export", str(tmp_path / "o.tar"), "b:1")
    skopeo = ["skopeo", "--insecure-policy", "copy", "--multi-arch", "all"]
    subprocess.run([*skopeo, f"oci-archive:{tmp_path}/o.tar", f"oci:{tmp_path}/oci"], check=True, capture_output=True)
    blobs = {path.name for path in (tmp_path / "oci/blobs/sha256").iterdir()}
    assert blobs == {name.rpartition("/")[2] for name in layout if name.startswith("blobs")}
