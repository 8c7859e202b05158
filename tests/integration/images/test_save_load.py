"""Images saved and loaded: what comes back is what went out."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess

import pytest
import zstandard

from images import busybox_image, busybox_layer, make_image, make_layer, make_tar, symlink, write_docker_archive

pytestmark = pytest.mark.root

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
NEEDS_SKOPEO = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")


def _docker_archive(image, tmp_path, *tags):
    write_docker_archive(image, tmp_path / "given.tar", tags)
    return (tmp_path / "given.tar").read_bytes()


def _skopeo(*args):
    return subprocess.run(
        ["skopeo", "--insecure-policy", *map(str, args)], capture_output=True, check=True, timeout=60
    ).stdout


def _digest(archives, name):
    with archives.daemon.api() as api:
        return api.request("GET", f"/images/{name}/json").json()["RepoDigests"][0].rpartition("@")[2]


def test_save_remove_load_gives_the_same_image_and_it_runs(archives, tmp_path):
    base = busybox_layer()
    one = make_image([base], {"Cmd": ["echo", "one"], "Env": ["PATH=/bin"]})
    two = make_image([base, make_layer([("two", b"2")])], {"Cmd": ["cat", "/two"], "Env": ["PATH=/bin"]})
    archives.load(_docker_archive(one, tmp_path, "one:1", "also:one"))
    archives.load(_docker_archive(two, tmp_path, "example.com/two:latest"))
    names, digest = archives.images(), _digest(archives, "one:1")
    assert names == {"one:1": one.id, "also:one": one.id, "example.com/two:latest": two.id}
    saved = archives.save("one", "also:one", "example.com/two")
    assert archives.save("one", "also:one", "example.com/two") == saved
    archives.remove_all()
    assert archives.left() == ([], [])
    assert archives.load(saved) == [
        "Loaded image: one:1\n", "Loaded image: also:one\n", "Loaded image: example.com/two:latest\n"
    ]  # fmt: skip
    assert (archives.images(), _digest(archives, "one:1")) == (names, digest)
    assert archives.daemon.corten("run", "--rm", "one:1").stdout == b"one\n"
    assert archives.daemon.corten("run", "--rm", "example.com/two").stdout == b"2"


def test_an_archive_has_each_blob_once_and_both_tables_of_contents(archives, members_of, tmp_path):
    base = busybox_layer()
    for name, image in {"a": make_image([base]), "b": make_image([base], {"Cmd": ["x"]})}.items():
        archives.load(_docker_archive(image, tmp_path, f"{name}:latest"))
    members = members_of(archives.save("a:latest", "b:latest"))
    assert list(members)[:3] == ["oci-layout", "index.json", "manifest.json"]
    layer = f"blobs/sha256/{base.diff_id.removeprefix('sha256:')}"
    assert len(members) == 3 + 5 and members[layer] == base.tar
    entries = json.loads(members["manifest.json"])
    assert [entry["RepoTags"] for entry in entries] == [["a:latest"], ["b:latest"]]
    assert [entry["Layers"] for entry in entries] == [[layer], [layer]]
    index = json.loads(members["index.json"])["manifests"]
    assert [entry["annotations"] for entry in index] == [
        {"io.containerd.image.name": f"docker.io/library/{name}:latest", "org.opencontainers.image.ref.name": "latest"}
        for name in "ab"
    ]


def test_compressed_archives_and_compressed_layers_load(archives):
    layer = make_layer([("x", os.urandom(3 << 20))])  # large enough to be no document
    image = make_image([layer])
    entry = {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}
    first = ("manifest.json", json.dumps([entry]).encode())
    data = make_tar([first, ("c.json", image.config), ("l/layer.tar", layer.blob)])
    for pack in (gzip.compress, zstandard.ZstdCompressor().compress, bz2.compress, lzma.compress):
        assert archives.load(pack(data)) == ["Loaded image: x:1\n"]
        assert archives.images() == {"x:1": image.id}
        assert layer.digest in archives.left()[0]
        archives.remove_all()
        damaged = pack(data)[: -len(data) // 3]
        assert "damaged" in archives.refused(damaged) or "refused" in archives.refused(damaged)
        assert archives.left() == ([], [])
    with archives.daemon.api() as api:
        lines = list(api.request("POST", "/images/load", body=iter([data])).json_lines())
    assert lines[-1] == {"stream": "Loaded image: x:1\n"}
    told = {"status": "Loading layer", "id": layer.diff_id[7:19]}
    assert any(told.items() <= line.items() and line["progressDetail"]["total"] == len(layer.blob) for line in lines)


def test_layers_behind_links_inside_the_archive_load(archives):
    layer = make_layer([("x", b"x")])
    image = make_image([layer, layer])
    entry = {"Config": "c.json", "RepoTags": None, "Layers": ["a/layer.tar", "b/layer.tar"]}
    data = make_tar(
        [
            ("./c.json", image.config),
            ("a/layer.tar", layer.tar),
            symlink("b/layer.tar", "../a/layer.tar"),
            ("manifest.json", json.dumps([entry]).encode()),
        ]
    )
    assert archives.load(data) == [f"Loaded image ID: {image.id}\n"]
    assert archives.images() == {"<none>": image.id}


def test_unknown_names_are_404_before_the_first_byte(archives, refused, tmp_path):
    archives.load(_docker_archive(make_image([]), tmp_path, "here:1"))
    for name in ("gone", "here:2", "here@sha256:" + "0" * 64, "sha256:" + "0" * 64):
        with pytest.raises(refused, match="No such image") as caught:
            archives.save("here:1", name)
        assert caught.value.status == 404


def test_a_platform_chooses_what_is_saved_and_loaded(archives, refused, tmp_path):
    image = make_image([make_layer([("x", b"x")])], architecture="s390x")
    data = _docker_archive(image, tmp_path, "far:1")
    here = json.dumps({"os": "linux", "architecture": "amd64"})
    far = json.dumps({"os": "linux", "architecture": "s390x"})
    with pytest.raises(refused, match="no image for linux/amd64"):
        archives.load(data, platform=here)
    archives.load(data, platform=far)
    with archives.daemon.api() as api:
        assert api.request("GET", "/images/far:1/history", query={"platform": far}).json()[0]["Id"] == image.id
        reply = api.request("GET", "/images/far:1/history", query={"platform": here})
        assert reply.status == 404 and b"linux/amd64" in reply.read()
    with pytest.raises(refused, match="linux/amd64"):
        archives.save("far:1", platform=here)
    assert archives.save("far:1", platform=far) == archives.save("far:1")


def test_a_load_and_a_save_are_events(archives, tmp_path):
    image = make_image([])
    archives.load(_docker_archive(image, tmp_path, "e:1"))
    archives.save("e:1")
    for action in ("load", "save"):
        with archives.daemon.api() as api:
            reply = api.request("GET", "/events", query={"since": "1", "filters": json.dumps({"event": [action]})})
            event = next(iter(reply.json_lines()))
        assert (event["Type"], event["Action"], event["Actor"]["ID"]) == ("image", action, image.id)


@pytest.mark.parametrize("program", ["corten", "docker"])
def test_the_command_lines_save_and_load(archives, tmp_path, program):
    if program == "docker" and shutil.which("docker") is None:
        pytest.skip("the docker CLI is not installed")
    run = getattr(archives.daemon, program)
    image = busybox_image()
    archives.load(_docker_archive(image, tmp_path, "bb:1"))
    run("save", "-o", str(tmp_path / "saved.tar"), "bb:1")
    assert run("save", "bb:1").stdout == (tmp_path / "saved.tar").read_bytes()
    archives.remove_all()
    assert run("load", "-i", str(tmp_path / "saved.tar")).stdout.decode().strip() == "Loaded image: bb:1"
    assert archives.images() == {"bb:1": image.id}
    assert run("save", "gone:1", check=False).returncode == 1


@NEEDS_SKOPEO
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_skopeo_reads_what_is_saved_and_what_it_writes_loads(archives, tmp_path, compression):
    layers = [busybox_layer(compression), make_layer([("top", b"top")], compression)]
    image = make_image(layers, {"Env": ["PATH=/bin"]})
    content = {**image.blobs, image.digest: image.manifest}
    blobs = [(f"blobs/sha256/{digest[7:]}", data) for digest, data in content.items()]
    index = {
        "schemaVersion": 2,
        "manifests": [{**image.descriptor(), "annotations": {"io.containerd.image.name": "docker.io/library/s:1"}}],
    }
    given = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", json.dumps(index).encode()), *blobs]
    assert archives.load(make_tar(given)) == ["Loaded image: s:1\n"]
    assert _digest(archives, "s:1") == image.digest
    saved = tmp_path / "saved.tar"
    saved.write_bytes(archives.save("s:1"))
    assert json.loads(_skopeo("inspect", "--config", f"docker-archive:{saved}:s:1"))["rootfs"]["diff_ids"] == [
        layer.diff_id for layer in layers
    ]
    # skopeo cannot convert zstd layers to docker's media types, so these come as a layout both times.
    kind = "docker" if compression != "zstd" else "oci"
    _skopeo("copy", f"oci-archive:{saved}", f"{kind}-archive:{tmp_path}/d.tar:from-skopeo:1")
    _skopeo("copy", f"oci-archive:{saved}", f"oci-archive:{tmp_path}/o.tar:oci.example/from-skopeo:2")
    _skopeo("copy", f"docker-archive:{saved}", f"dir:{tmp_path}/dir")
    archives.remove_all()
    assert archives.load((tmp_path / "d.tar").read_bytes()) == ["Loaded image: from-skopeo:1\n"]
    assert archives.load((tmp_path / "o.tar").read_bytes()) == ["Loaded image: oci.example/from-skopeo:2\n"]
    assert archives.images()["oci.example/from-skopeo:2"] == image.id
    for name in ("from-skopeo:1", "oci.example/from-skopeo:2"):
        assert archives.daemon.corten("run", "--rm", name, "cat", "/top").stdout == b"top"
