"""Pulls for one platform, several and all: what is fetched, what is unpacked, and what is said."""

from __future__ import annotations

import json
import os

import pytest

from corten_shared import digest as digests
from corten_shared.errors import InvalidArgument, NotFound
from corten_shared.models import oci
from cortend.services.pull import PullOptions
from images import digest_of, make_image, make_index, make_layer, push_blob, push_to_registry, put_manifest
from support_images import NS, ImageStack, collect
from support_registry import LyingRegistry, registry_fixture  # noqa: F401 (a fixture)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the images are made for amd64 and others"),
]

COMMON = make_layer([("etc/common", b"c" * 1000)], "zstd")
AMD = make_image([COMMON, make_layer([("arch", b"amd64")])])
ARM = make_image([COMMON, make_layer([("arch", b"arm64")])], architecture="arm64")
S390 = make_image([COMMON, make_layer([("arch", b"s390x")], "none")], architecture="s390x")
ALL = {"linux/s390x": S390, "linux/arm64": ARM, "linux/amd64": AMD}
INDEX = make_index(ALL)


@pytest.fixture
def stack(tmp_path):
    with ImageStack(tmp_path) as stack:
        yield stack


@pytest.fixture
def host(registry):
    for image in ALL.values():
        push_to_registry(image, registry.host, "app", image.digest)
    put_manifest(registry.host, "app", "multi", INDEX, oci.OCI_INDEX)
    return registry.host


def _pull(stack, reference, **options):
    stack._build()
    return stack.run(collect(stack.pulls.pull(NS, reference, options=PullOptions(**options))))


def _contents(*images):
    return {digest_of(INDEX)} | {digest for image in images for digest in (image.digest, *image.blobs)}


def _chain(image):
    return digests.chain_ids([layer.diff_id for layer in image.layers])


def test_several_platforms_are_fetched_and_the_first_is_unpacked(host, stack):
    lines = _pull(stack, f"{host}/app:multi", platforms=["linux/arm64", "linux/amd64"])
    assert lines[-1].image.target.digest == digest_of(INDEX)
    stack.collector.collect()
    assert stack.blobs() == _contents(AMD, ARM)
    assert stack.snapshot_names() == set(_chain(ARM))
    assert [line.status for line in lines if line.id == COMMON.digest[7:19]].count("Verifying Checksum") == 1


def test_all_platforms_are_fetched_and_the_hosts_is_unpacked(host, stack):
    _pull(stack, f"{host}/app:multi", every=True)
    stack.collector.collect()
    assert stack.blobs() == _contents(AMD, ARM, S390)
    assert stack.snapshot_names() == set(_chain(AMD))


def test_another_platform_is_unpacked_when_it_is_wanted(host, stack):
    _pull(stack, f"{host}/app:multi", every=True)
    image = stack.call("for_container", f"{host}/app:multi", "linux/s390x")
    assert stack.call("ensure_unpacked", image) == _chain(S390)[-1]
    stack.collector.collect()
    assert stack.snapshot_names() == {*_chain(AMD), *_chain(S390)}
    assert (stack.files(_chain(S390)[-1]) / "arch").read_bytes() == b"s390x"


def test_without_unpacking_there_are_no_snapshots(host, stack):
    _pull(stack, f"{host}/app:multi", unpack=False)
    stack.collector.collect()
    assert (stack.blobs(), stack.snapshot_names()) == (_contents(AMD), set())
    assert stack.call("ensure_unpacked", stack.call("for_container", f"{host}/app:multi")) == _chain(AMD)[-1]


def test_the_documents_of_all_platforms_come_without_layers(host, stack):
    _pull(stack, f"{host}/app:multi", metadata=True)
    stack.collector.collect()
    documents = {digest for image in (ARM, S390) for digest in (image.digest, image.id)}
    assert stack.blobs() == _contents(AMD) | documents
    view = stack.call("get", f"{host}/app:multi")
    states = {
        str(state.descriptor.platform): (state.here, state.complete) for state in stack.call("manifests", view)
    }
    assert states == {"linux/amd64": (True, True), "linux/arm64": (True, False), "linux/s390x": (True, False)}


def test_documents_alone_do_not_hide_what_is_whole(host, stack):
    """The host's manifest is here, its layers are not: containers start from what is here."""
    _pull(stack, f"{host}/app:multi", platforms=["linux/arm64"], metadata=True)
    assert stack.call("get", f"{host}/app:multi").id == ARM.id


def test_a_platform_that_is_missing_among_several_is_named(host, stack):
    with pytest.raises(NotFound, match="no matching manifest for linux/riscv64"):
        _pull(stack, f"{host}/app:multi", platforms=["linux/amd64", "linux/riscv64"])
    assert (stack.image_names(), stack.leases()) == ([], 0)


def test_a_tag_beside_a_digest_is_only_for_people(host, stack):
    lines = _pull(stack, f"{host}/app:multi@{digest_of(INDEX)}")
    assert lines[-1].image.name == f"{host}/app@{digest_of(INDEX)}"


def test_labels_are_the_names_and_stay(host, stack):
    _pull(stack, f"{host}/app:multi", labels={"team": "a", "tier": "1"})
    assert _pull(stack, f"{host}/app:multi", labels={"tier": "2"})[-1].image is not None
    with stack.database.view() as tx:
        assert tx.images.get(NS, f"{host}/app:multi").labels == {"team": "a", "tier": "2"}


def _nested(depth):
    """(documents by digest, the outermost) of an image below that many indexes; decoys stand beside each."""
    documents = {}
    inner, media_type = AMD.manifest, AMD.media_type
    for _ in range(depth):
        documents[digest_of(inner)] = (inner, media_type)
        entries = [{"mediaType": media_type, "digest": digest_of(inner), "size": len(inner)}]
        inner = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries}).encode()
        media_type = oci.OCI_INDEX
    documents[digest_of(inner)] = (inner, media_type)
    return documents, inner


@pytest.mark.parametrize("every", [False, True])
def test_indexes_nest(every, stack):
    documents, outer = _nested(4)
    with LyingRegistry() as liar:
        liar.serve_image(AMD, "app", "inner")
        for data, media_type in documents.values():
            liar.serve_manifest("app", digest_of(data), data, media_type)
        name = f"{liar.host}/app@{digest_of(outer)}"
        _pull(stack, name, every=every)
    stack.collector.collect()
    assert stack.blobs() == {*documents, *AMD.blobs}
    assert stack.call("get", name).id == AMD.id


def test_indexes_that_nest_too_deep_are_refused(stack):
    documents, outer = _nested(5)
    with LyingRegistry() as liar:
        for data, media_type in documents.values():
            liar.serve_manifest("app", digest_of(data), data, media_type)
        with pytest.raises(InvalidArgument, match="more than 4 indexes below each other"):
            _pull(stack, f"{liar.host}/app@{digest_of(outer)}")


def test_the_right_one_of_several_nested_indexes_is_found(stack):
    """Nested indexes say no platform of their own: each is looked into."""
    inner = {name: make_index({name: image}) for name, image in ALL.items()}
    entries = [
        {"mediaType": oci.OCI_INDEX, "digest": digest_of(data), "size": len(data)} for data in inner.values()
    ]
    outer = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries}).encode()
    with LyingRegistry() as liar:
        for image in ALL.values():
            liar.serve_image(image, "app", image.digest)
        for data in (*inner.values(), outer):
            liar.serve_manifest("app", digest_of(data), data, oci.OCI_INDEX)
        name = f"{liar.host}/app@{digest_of(outer)}"
        _pull(stack, name)
        stack.collector.collect()
        assert stack.blobs() == {digest_of(outer), digest_of(inner["linux/amd64"]), AMD.digest, *AMD.blobs}
        assert stack.call("get", name).id == AMD.id
        _pull(stack, name, platforms=["linux/arm64"])
        assert stack.call("for_container", name, "linux/arm64").config_digest == ARM.id


def test_indexes_that_repeat_each_other_are_read_once(stack):
    """A thousand times the same index, which has a thousand times the same: three documents, a billion ways."""
    data, media_type, documents = AMD.manifest, AMD.media_type, []
    for _ in range(3):
        entry = {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}
        if media_type != oci.OCI_INDEX:
            entry["platform"] = {"os": "linux", "architecture": "riscv64"}
        data = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": [entry] * 1000}).encode()
        media_type = oci.OCI_INDEX
        documents.append(data)
    with LyingRegistry() as liar:
        liar.serve_image(AMD, "app", "inner")
        for document in documents:
            liar.serve_manifest("app", digest_of(document), document, oci.OCI_INDEX)
        name = f"{liar.host}/app@{digest_of(data)}"
        with pytest.raises(NotFound, match="no matching manifest"):
            _pull(stack, name)
        _pull(stack, name, every=True)
        asked = [request.path for request in liar.requests if request.method == "GET"]
    assert len(asked) == len(set(asked))
    assert stack.call("get", name).id == AMD.id


def _artifact(host):
    data = json.dumps({"kind": "chart"}).encode()
    chart = b"chart bytes"
    for blob in (data, chart):
        push_blob(host, "chart", digest_of(blob), blob)
    document = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest_of(data),
                   "size": len(data)},
        "layers": [{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                    "digest": digest_of(chart), "size": len(chart)}],
    }  # fmt: skip
    manifest = json.dumps(document).encode()
    put_manifest(host, "chart", "1", manifest, oci.OCI_MANIFEST)
    return {digest_of(manifest), digest_of(data), digest_of(chart)}


def test_an_artifact_is_fetched_when_nothing_is_to_be_unpacked(registry, stack):
    parts = _artifact(registry.host)
    with pytest.raises(InvalidArgument, match="no container image") as caught:
        _pull(stack, f"{registry.host}/chart:1")
    assert "--no-unpack" in caught.value.hint
    record = _pull(stack, f"{registry.host}/chart:1", unpack=False)[-1].image
    stack.collector.collect()
    assert (stack.blobs(), stack.image_names()) == (parts, [record.name])
    assert stack.call("list") == []
    stack.call("remove", f"{registry.host}/chart:1")
    stack.collector.collect()
    assert (stack.blobs(), stack.image_names()) == (set(), [])


def test_attestations_come_with_all_platforms_and_are_not_unpacked(registry, stack):
    push_to_registry(AMD, registry.host, "app", "1")
    statement = b'{"_type": "https://in-toto.io/Statement/v0.1"}'
    config = json.dumps({"os": "unknown", "architecture": "unknown", "rootfs": {"diff_ids": []}}).encode()
    for blob in (statement, config):
        push_blob(registry.host, "app", digest_of(blob), blob)
    layer = {"mediaType": "application/vnd.in-toto+json", "digest": digest_of(statement), "size": len(statement)}
    attestation = json.dumps({
        "schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "layers": [layer],
        "config": {"mediaType": oci.OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
    }).encode()  # fmt: skip
    put_manifest(registry.host, "app", digest_of(attestation), attestation, oci.OCI_MANIFEST)
    index = json.loads(make_index({"linux/amd64": AMD}))
    entry = {"mediaType": oci.OCI_MANIFEST, "digest": digest_of(attestation), "size": len(attestation)}
    unknown = {"platform": {"os": "unknown", "architecture": "unknown"}}
    index["manifests"].insert(0, {**entry, **unknown})
    put_manifest(registry.host, "app", "multi", json.dumps(index).encode(), oci.OCI_INDEX)
    _pull(stack, f"{registry.host}/app:multi", every=True)
    stack.collector.collect()
    assert {digest_of(blob) for blob in (attestation, statement, config)} < stack.blobs()
    assert stack.snapshot_names() == set(_chain(AMD))
    assert stack.call("get", f"{registry.host}/app:multi").id == AMD.id


def test_every_tag_of_a_repository_is_pulled(registry, stack):
    for tag in ("a", "b", "c"):
        push_to_registry(AMD, registry.host, "app", tag)
    lines = stack.run(collect(stack.pulls.pull_all(NS, f"{registry.host}/app")))
    assert {line.image.name for line in lines if line.image} == {f"{registry.host}/app:{tag}" for tag in "abc"}
    stack._build()
    with pytest.raises(NotFound, match="nope not found"):
        stack.run(collect(stack.pulls.pull_all(NS, f"{registry.host}/nope")))
    with pytest.raises(InvalidArgument, match="tag can't be used"):
        stack.run(collect(stack.pulls.pull_all(NS, f"{registry.host}/app:a")))
