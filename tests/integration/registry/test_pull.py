"""A pull from Debian's docker-registry, on the real stores, snapshots and unpack child."""

from __future__ import annotations

import asyncio
import json

import pytest

from corten_shared import digest as digests
from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models import oci
from images import busybox_image, make_image, make_index, make_layer, push_blob, push_to_registry, put_manifest, symlink
from support_images import NS, ImageStack, collect
from support_registry import registry_fixture  # noqa: F401 (a fixture)

pytestmark = pytest.mark.root

ONE = make_layer([("etc/motd", b"one"), ("etc/gone", b"x")], "gzip")
TWO = make_layer([("etc/motd", b"two"), ("etc/.wh.gone", b""), symlink("etc/link", "motd")], "zstd")
THREE = make_layer([("data", b"d" * 3_000_000)], "none")
IMAGE = make_image([ONE, TWO, THREE], {"Cmd": ["sh"], "Labels": {"a": "b"}})


@pytest.fixture(params=["overlayfs", "native"])
def stack(request, tmp_path):
    with ImageStack(tmp_path, snapshotter=request.param) as stack:
        yield stack


@pytest.fixture
def overlay(tmp_path):
    with ImageStack(tmp_path) as stack:
        yield stack


def test_an_image_of_three_kinds_of_layers_is_pulled(registry, stack):
    push_to_registry(IMAGE, registry.host, "app", "1")
    lines = stack.pull(f"{registry.host}/app:1")
    chain = digests.chain_ids([layer.diff_id for layer in IMAGE.layers])
    assert stack.snapshot_names() == set(chain)
    assert stack.blobs() == {IMAGE.digest, *IMAGE.blobs}
    assert stack.leases() == 0
    assert (stack.files(chain[2]) / "data").stat().st_size == 3_000_000
    record = lines[-1].image
    assert (record.name, record.target.digest) == (f"{registry.host}/app:1", IMAGE.digest)
    assert stack.image_names() == [record.name]


def test_the_progress_is_told_in_dockers_words(registry, overlay):
    push_to_registry(IMAGE, registry.host, "app", "1")
    lines = overlay.pull(f"{registry.host}/app:1")
    name = f"{registry.host}/app"
    assert (lines[0].status, lines[0].id) == (f"Pulling from {name.partition('/')[2]}", "1")
    assert [line.status for line in lines[-2:]] == [
        f"Digest: {IMAGE.digest}",
        f"Status: Downloaded newer image for {name}:1",
    ]
    for layer in IMAGE.layers:
        words = [line.status for line in lines if line.id == layer.digest[7:19]]
        order = ["Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Pull complete"]
        assert [word for word in words if word in order and words.count(word) == 1] == [
            word for word in order if words.count(word) == 1
        ]
        assert words[-1] == "Pull complete"


def test_a_second_pull_fetches_nothing_and_says_so(registry, overlay):
    push_to_registry(IMAGE, registry.host, "app", "1")
    overlay.pull(f"{registry.host}/app:1")
    before = overlay.call("get", f"{registry.host}/app:1").records[0]
    lines = overlay.pull(f"{registry.host}/app:1")
    assert lines[-1].status == f"Status: Image is up to date for {registry.host}/app:1"
    shown = {layer.digest[7:19] for layer in IMAGE.layers}
    assert {line.status for line in lines if line.id in shown} == {"Already exists"}
    assert overlay.call("get", f"{registry.host}/app:1").records[0] == before


def test_what_was_pulled_survives_the_collector_and_goes_with_its_image(registry, stack):
    push_to_registry(IMAGE, registry.host, "app", "1")
    stack.pull(f"{registry.host}/app:1")
    blobs, snapshots = stack.blobs(), stack.snapshot_names()
    stack.collector.collect()
    assert (stack.blobs(), stack.snapshot_names()) == (blobs, snapshots)
    stack.call("remove", f"{registry.host}/app:1")
    assert stack.collections_wanted == 1
    stack.collector.collect()
    assert (stack.blobs(), stack.snapshot_names()) == (set(), set())


def test_an_index_yields_this_machines_platform_and_keeps_it(registry, overlay):
    other = make_image([make_layer([("other", b"1")])], architecture="s390x")
    for image in (IMAGE, other):
        push_to_registry(image, registry.host, "app", image.digest)
    index = make_index({"linux/s390x": other, "linux/amd64": IMAGE, "linux/arm64": IMAGE})
    put_manifest(registry.host, "app", "multi", index, oci.OCI_INDEX)
    lines = overlay.pull(f"{registry.host}/app:multi")
    assert lines[-1].image.target.media_type == oci.OCI_INDEX
    overlay.collector.collect()
    assert overlay.blobs() == {digests.of(index), IMAGE.digest, *IMAGE.blobs}
    assert overlay.call("get", f"{registry.host}/app:multi").id == IMAGE.id
    overlay.pull(f"{registry.host}/app:multi", platform="linux/s390x")
    overlay.collector.collect()
    assert overlay.call("for_container", f"{registry.host}/app:multi", "linux/s390x").config_digest == other.id
    assert overlay.call("for_container", f"{registry.host}/app:multi").config_digest == IMAGE.id


def test_a_platform_that_is_not_there_is_named(registry, overlay):
    push_to_registry(IMAGE, registry.host, "app", "1")
    put_manifest(registry.host, "app", "multi", make_index({"linux/amd64": IMAGE}), oci.OCI_INDEX)
    with pytest.raises(NotFound, match="no matching manifest for linux/riscv64 in the manifest list entries"):
        overlay.pull(f"{registry.host}/app:multi", platform="linux/riscv64")
    with pytest.raises(NotFound, match=r"platform \(linux/amd64\) does not match the specified platform \(linux/arm64"):
        overlay.pull(f"{registry.host}/app:1", platform="linux/arm64")
    assert (overlay.leases(), overlay.image_names()) == (0, [])


def test_an_unknown_tag_fails_before_anything_is_said(registry, overlay):
    async def first():
        lines = overlay.pulls.pull(NS, f"{registry.host}/nope:1")
        with pytest.raises(NotFound, match=f"manifest for {registry.host}/nope:1 not found: manifest unknown"):
            await anext(lines)

    overlay.run(first())
    assert overlay.leases() == 0


def test_a_docker_image_is_pulled_by_digest(registry, overlay):
    image = make_image([make_layer([("a", b"1")], docker=True)], docker=True)
    push_to_registry(image, registry.host, "app", "1")
    name = f"{registry.host}/app@{image.digest}"
    assert overlay.pull(name)[-1].image.name == name
    view = overlay.call("get", name)
    assert (view.tags, view.digests, view.id) == ([], [name], image.id)


def test_many_pulls_of_one_image_fetch_each_blob_once(registry, overlay):
    push_to_registry(IMAGE, registry.host, "app", "1")

    async def pull_all():
        pulls = [collect(overlay.pulls.pull(NS, f"{registry.host}/app:1")) for _ in range(8)]
        return await asyncio.gather(*pulls)

    results = overlay.run(pull_all())
    fetched = [line.id for lines in results for line in lines if line.status == "Verifying Checksum"]
    assert sorted(fetched) == sorted(layer.digest[7:19] for layer in IMAGE.layers)
    assert all(lines[-1].image is not None for lines in results)
    assert overlay.snapshot_names() == set(digests.chain_ids([layer.diff_id for layer in IMAGE.layers]))


def test_another_namespace_adopts_the_bytes_without_a_download(registry, overlay):
    push_to_registry(IMAGE, registry.host, "app", "1")
    overlay.pull(f"{registry.host}/app:1")
    lines = overlay.pull(f"{registry.host}/app:1", ns="other")
    assert "Verifying Checksum" not in {line.status for line in lines}
    assert {blob.digest for blob in overlay.content.walk("other")} == {IMAGE.digest, *IMAGE.blobs}


def test_a_name_that_moves_leaves_a_dangling_image(registry, overlay):
    newer = make_image([ONE])
    push_to_registry(IMAGE, registry.host, "app", "1")
    overlay.pull(f"{registry.host}/app:1")
    push_to_registry(newer, registry.host, "app", "1")
    assert overlay.pull(f"{registry.host}/app:1")[-1].status.startswith("Status: Downloaded newer image")
    views = {view.id: view for view in overlay.call("list")}
    assert views[IMAGE.id].dangling and views[IMAGE.id].tags == []
    assert views[newer.id].tags == [f"{registry.host}/app:1"]
    removed, _ = overlay.call("prune")
    assert next(line.subject for line in removed if line.action == "Deleted") == IMAGE.id
    assert [view.id for view in overlay.call("list")] == [newer.id]


def test_an_artifact_that_is_no_image_is_refused(registry, overlay):
    data = json.dumps({"kind": "chart"}).encode()
    push_blob(registry.host, "chart", digests.of(data), data)
    chart = "application/vnd.cncf.helm.config.v1+json"
    config = {"mediaType": chart, "digest": digests.of(data), "size": len(data)}
    manifest = {"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "config": config, "layers": []}
    put_manifest(registry.host, "chart", "1", json.dumps(manifest).encode(), oci.OCI_MANIFEST)
    with pytest.raises(InvalidArgument, match="is no container image: unsupported media type"):
        overlay.pull(f"{registry.host}/chart:1")
    assert (overlay.image_names(), overlay.leases()) == ([], 0)


def test_busybox_is_ready_for_a_container(registry, overlay):
    image = busybox_image()
    push_to_registry(image, registry.host, "busybox", "latest")
    overlay.pull(f"{registry.host}/busybox")
    found = overlay.call("for_container", f"{registry.host}/busybox")
    parent = overlay.call("ensure_unpacked", found)
    assert parent == image.layers[0].diff_id
    overlay.snapshotter.prepare(NS, "c1", parent)
    assert (overlay.files(parent) / "bin/sh").is_symlink()
