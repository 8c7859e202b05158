"""Documents of others are bounded, unambiguous, and what they were announced as."""

from __future__ import annotations

import json

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models import oci
from cortend.core.documents import (
    load_json,
    parse_config,
    parse_index,
    parse_manifest,
    sniff_media_type,
)
from cortend.core.limits import MAX_NESTING, ImageLimits
from images import make_image, make_index, make_layer

LAYERS = ImageLimits().layers
IMAGE = make_image([make_layer([("a", b"1")])])
MANIFEST = json.loads(IMAGE.manifest)


def _dump(**changes):
    return json.dumps({**MANIFEST, **changes}).encode()


def test_good_documents_are_read():
    assert parse_manifest(IMAGE.manifest, oci.OCI_MANIFEST, "x").config.digest == IMAGE.id
    assert parse_config(IMAGE.config, "x").rootfs.diff_ids == [IMAGE.layers[0].diff_id]
    index = parse_index(make_index({"linux/arm/v7": IMAGE}), oci.OCI_INDEX, "x")
    assert str(index.manifests[0].platform) == "linux/arm/v7"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not valid JSON"),
        (b"[]", "is no JSON object"),
        (b"\xff{}", "is not valid JSON"),
        (b'{"a":NaN}', "NaN is no JSON number"),
        (b'{"a":1,"a":2}', "member twice"),
        (b'{"a":' + b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1) + b"}", "nested"),
        (b'{"a":' + b"[" * 200_000, "nested too deep|not valid JSON|has more than"),
        (b'{"a":' + b"9" * 10_000 + b"}", "is not valid JSON"),
    ],
)
def test_hostile_json_is_refused(data, reason):
    with pytest.raises(InvalidArgument, match=reason):
        load_json(data, "manifest of x")


def test_nesting_up_to_the_limit_is_read():
    load_json(b'{"a":' + b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1) + b"}", "x")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_dump(manifests=[]), "is ambiguous"),
        (_dump(fsLayers=[]), "is ambiguous"),
        (_dump(mediaType=oci.OCI_INDEX), "was announced as"),
        (_dump(mediaType=oci.DOCKER_MANIFEST), "was announced as"),
        (_dump(schemaVersion=1), "unsupported schemaVersion"),
        (_dump(layers=[{"mediaType": "x", "digest": "sha256:../../etc", "size": 1}]), "malformed: invalid digest"),
        (_dump(layers=[{"mediaType": "x", "digest": IMAGE.id, "size": -1}]), "layers.0.size"),
        (_dump(layers=[{"mediaType": "x", "digest": IMAGE.id, "size": 1 << 41}]), "layers.0.size"),
        (_dump(layers=MANIFEST["layers"] * (LAYERS + 1)), f"more than {LAYERS}"),
    ],
)
def test_lying_manifests_are_refused(data, reason):
    with pytest.raises(InvalidArgument, match=reason):
        parse_manifest(data, oci.OCI_MANIFEST, "manifest of x")


def test_an_index_with_layers_is_refused():
    index = {**json.loads(make_index({"linux/amd64": IMAGE})), "layers": []}
    with pytest.raises(InvalidArgument, match="ambiguous"):
        parse_index(json.dumps(index).encode(), oci.OCI_INDEX, "x")


def test_the_most_layers_allowed_are_read():
    manifest = parse_manifest(_dump(layers=MANIFEST["layers"] * LAYERS), oci.OCI_MANIFEST, "x")
    assert len(manifest.layers) == LAYERS


def test_schema_1_gets_a_word_of_its_own():
    with pytest.raises(InvalidArgument, match="schema 1, which is no longer supported") as caught:
        sniff_media_type(b'{"schemaVersion":1,"fsLayers":[]}', "manifest of old:1")
    assert caught.value.hint


def test_a_document_without_media_type_is_known_by_its_shape():
    assert sniff_media_type(b'{"schemaVersion":2,"manifests":[]}', "x") == oci.OCI_INDEX
    assert sniff_media_type(b'{"schemaVersion":2,"layers":[]}', "x") == oci.OCI_MANIFEST
