"""Pulls that meet lies, breaks and a full disk: one clear error, nothing half-made, nothing fetched twice."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

import pytest

from corten_shared import digest as digests
from corten_shared.errors import CortenError, DataLoss, InvalidArgument, ResourceExhausted, Unavailable
from corten_shared.models import oci
from images import Image, digest_of, make_image, make_layer
from support_images import NS, ImageStack
from support_registry import Answer, LyingRegistry, ranged

pytestmark = pytest.mark.root

BIG = make_layer([("big", os.urandom(6_000_000))], "none")
SMALL = make_layer([("small", b"1")], "gzip")
IMAGE = make_image([SMALL, BIG])
BLOB = f"/v2/app/blobs/{BIG.digest}"


@pytest.fixture
def liar():
    with LyingRegistry() as registry:
        registry.serve_image(IMAGE, "app")
        yield registry


@pytest.fixture
def stack(tmp_path):
    with ImageStack(tmp_path) as stack:
        yield stack


def _nothing_but_whole_blobs(stack):
    """No image, lease or half-made snapshot is left; whatever blob is stored is what its digest says."""
    assert stack.image_names() == []
    assert stack.leases() == 0
    assert all(name.startswith("sha256:") for name in stack.snapshot_names())
    for digest in stack.blobs():
        with stack.content.open(NS, digest) as blob:
            assert digest_of(blob.read()) == digest
    stack.collector.collect()
    assert (stack.snapshot_names(), stack.blobs()) == (set(), set())


def _ingests(stack):
    """Digests that can be resumed (a sibling that was cancelled may rightly be among them)."""
    return {status.expected for status in stack.content.statuses(NS)}


def _serve_lying(liar, config=None, layers=None):
    """Serve IMAGE with a manifest that lies."""
    document = json.loads(IMAGE.manifest)
    if config is not None:
        document["config"] |= {"digest": digest_of(config), "size": len(config)}
    document["layers"] = layers or document["layers"]
    data = json.dumps(document).encode()
    blobs = dict(IMAGE.blobs) | ({digest_of(config): config} if config is not None else {})
    liar.serve_image(Image(IMAGE.layers, IMAGE.config, data, oci.OCI_MANIFEST, blobs), "app")


def test_a_layer_with_other_bytes_is_refused(liar, stack):
    liar.on("GET", BLOB, Answer(200, b"x" * len(BIG.blob)))
    with pytest.raises(DataLoss, match=BIG.digest):
        stack.pull(f"{liar.host}/app")
    assert BIG.digest not in stack.blobs()
    assert BIG.digest not in _ingests(stack)
    _nothing_but_whole_blobs(stack)


def test_a_layer_that_breaks_off_twice_is_continued(liar, stack):
    whole = ranged(BIG.blob)
    cut = BIG.blob[:2_000_000]

    def second(request):
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        headers = {"Content-Range": f"bytes {start}-{len(BIG.blob) - 1}/{len(BIG.blob)}"}
        return Answer(206, BIG.blob[start : start + 2_000_000], headers, promise=len(BIG.blob) - start)

    liar.on("GET", BLOB, Answer(200, cut, promise=len(BIG.blob)), second, whole)
    assert stack.pull(f"{liar.host}/app")[-1].image is not None
    ranges = [r.headers.get("Range") for r in liar.requests if r.path == BLOB]
    assert ranges[0] is None and None not in ranges[1:]
    assert int(ranges[-1].removeprefix("bytes=").rstrip("-")) > 3_000_000


def test_a_layer_that_never_comes_whole_ends_in_one_error(liar, stack):
    liar.on("GET", BLOB, Answer(200, BIG.blob[:1000], promise=len(BIG.blob)))
    with pytest.raises(Unavailable):
        stack.pull(f"{liar.host}/app")
    _nothing_but_whole_blobs(stack)


def test_the_next_daemon_continues_a_broken_download(liar, tmp_path):
    liar.on("GET", BLOB, Answer(200, BIG.blob[:4_000_000], promise=len(BIG.blob)), Answer(404))
    with ImageStack(tmp_path) as stack, pytest.raises(CortenError):
        stack.pull(f"{liar.host}/app")
    liar.on("GET", BLOB, ranged(BIG.blob))
    with ImageStack(tmp_path) as stack:
        assert stack.pull(f"{liar.host}/app")[-1].image is not None
    last = [r for r in liar.requests if r.path == BLOB][-1]
    assert int(last.headers["Range"].removeprefix("bytes=").rstrip("-")) > 3_000_000


def test_a_resumed_download_that_was_damaged_starts_over(liar, stack):
    with stack.content.writer(NS, f"blob-{BIG.digest}", expected=BIG.digest, size=len(BIG.blob)) as writer:
        writer.write(b"damaged")
    assert stack.pull(f"{liar.host}/app")[-1].image is not None


def test_an_ingest_that_is_whole_already_is_only_committed(liar, stack):
    with stack.content.writer(NS, f"blob-{BIG.digest}", expected=BIG.digest, size=len(BIG.blob)) as writer:
        writer.write(BIG.blob)
    assert stack.pull(f"{liar.host}/app")[-1].image is not None
    assert liar.count("GET", BLOB) == 0


def test_ending_early_leaves_nothing_half_made_and_can_be_continued(liar, stack):
    liar.on("GET", BLOB, Answer(200, BIG.blob[:3_000_000], promise=len(BIG.blob), stall=True), ranged(BIG.blob))

    async def pull_a_little():
        lines = stack.pulls.pull(NS, f"{liar.host}/app")
        async for line in lines:
            if line.status == "Downloading" and (line.current or 0) >= 2_000_000:
                break
        await lines.aclose()
        # Nobody else's task is left running.
        assert asyncio.all_tasks() == {asyncio.current_task()}

    stack.run(pull_a_little())
    left = {status.expected: status.offset for status in stack.content.statuses(NS)}
    assert left[BIG.digest] > 1_000_000
    assert (stack.leases(), stack.image_names()) == (0, [])
    stack.pull(f"{liar.host}/app")
    last = [r for r in liar.requests if r.path == BLOB][-1]
    assert int(last.headers["Range"].removeprefix("bytes=").rstrip("-")) > 1_000_000


def test_a_config_that_lies_about_a_layer_is_refused(liar, stack):
    config = IMAGE.config.replace(BIG.diff_id.encode(), b"sha256:" + b"0" * 64)
    _serve_lying(liar, config)
    with pytest.raises(DataLoss, match=f"layer {BIG.digest} unpacks to {BIG.diff_id}"):
        stack.pull(f"{liar.host}/app")
    _nothing_but_whole_blobs(stack)


def test_a_config_with_another_number_of_layers_is_refused(liar, stack):
    config = json.loads(IMAGE.config)
    config["rootfs"]["diff_ids"].pop()
    _serve_lying(liar, json.dumps(config).encode())
    with pytest.raises(InvalidArgument, match="has 2 layers but its config lists 1"):
        stack.pull(f"{liar.host}/app")
    _nothing_but_whole_blobs(stack)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_manifest_that_lies_about_a_size_is_refused(liar, stack, change):
    layers = [layer.descriptor() for layer in IMAGE.layers]
    layers[1]["size"] += change
    _serve_lying(liar, layers=layers)
    with pytest.raises((DataLoss, Unavailable), match=BIG.digest):
        stack.pull(f"{liar.host}/app")
    _nothing_but_whole_blobs(stack)


def test_an_unknown_kind_of_layer_is_refused_before_any_download(liar, stack):
    layers = [layer.descriptor() for layer in IMAGE.layers]
    layers[1]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    _serve_lying(liar, layers=layers)
    with pytest.raises(InvalidArgument, match="unsupported media type"):
        stack.pull(f"{liar.host}/app")
    assert not [r for r in liar.requests if "/blobs/" in r.path and IMAGE.id not in r.path]
    _nothing_but_whole_blobs(stack)


def test_a_layer_that_leaves_its_root_is_refused(liar, stack, tmp_path):
    evil = make_layer([("../../../../../../../../escaped", b"x")], "gzip")
    image = make_image([SMALL, evil])
    liar.serve_image(image, "app")
    with pytest.raises(InvalidArgument):
        stack.pull(f"{liar.host}/app")
    _nothing_but_whole_blobs(stack)


def test_a_damaged_stream_inside_a_good_digest_is_refused(liar, stack):
    broken = SMALL.blob[: len(SMALL.blob) // 2]
    config = json.loads(IMAGE.config)
    layers = [
        {"mediaType": oci.OCI_LAYER_GZIP, "digest": digest_of(broken), "size": len(broken)},
        BIG.descriptor(),
    ]
    _serve_lying(liar, json.dumps(config).encode(), layers)
    liar.on("GET", f"/v2/app/blobs/{digest_of(broken)}", ranged(broken))
    with pytest.raises(DataLoss):
        stack.pull(f"{liar.host}/app")
    _nothing_but_whole_blobs(stack)


def test_a_full_disk_is_said_and_its_room_given_back(liar, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        with ImageStack(disk) as stack:
            with pytest.raises(ResourceExhausted, match="no space left on device"):
                stack.pull(f"{liar.host}/app")
            assert BIG.digest not in _ingests(stack)
            _nothing_but_whole_blobs(stack)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_images_with_shared_layers_share_their_snapshots(liar, stack):
    other = make_image([SMALL, BIG], {"Cmd": ["other"]})
    liar.serve_image(other, "other")
    stack.pull(f"{liar.host}/app")
    stack.pull(f"{liar.host}/other")
    assert liar.count("GET", BLOB) == 1 and liar.count("GET", BLOB.replace("app", "other")) == 0
    stack.call("remove", f"{liar.host}/app")
    stack.collector.collect()
    assert stack.snapshot_names() == set(digests.chain_ids([SMALL.diff_id, BIG.diff_id]))
