"""Archives that lie, lead out or explode: one clear line, and nothing stays."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest

from archives import archive, device, file, hard_link, header, link, pad
from images import digest_of, make_image, make_layer

pytestmark = pytest.mark.root

LAYER = make_layer([("x", b"x" * 3000)])
IMAGE = make_image([LAYER])


def _manifest(layer="l.tar", config="c.json", tags=("x:1",)):
    return json.dumps([{"Config": config, "RepoTags": list(tags), "Layers": [layer]}]).encode()


GOOD = (file("c.json", IMAGE.config), file("l.tar", LAYER.tar), file("manifest.json", _manifest()))


def _blob(data):
    return file(f"blobs/sha256/{digest_of(data)[7:]}", data)


def _layout(*descriptors, blobs=()):
    index = json.dumps({"schemaVersion": 2, "manifests": list(descriptors)}).encode()
    return archive(file("index.json", index), *blobs)


def _nested(depth):
    blobs, inner = [], IMAGE.descriptor()
    for _ in range(depth):
        data = json.dumps(
            {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [inner]}
        ).encode()
        blobs.append(_blob(data))
        inner = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest_of(data), "size": len(data)}
    return _layout(inner, blobs=[*blobs, _blob(IMAGE.manifest), _blob(IMAGE.config), _blob(LAYER.blob)])


WRONG_BLOB = file(f"blobs/sha256/{LAYER.digest[7:]}", b"y" * len(LAYER.blob))
OTHER = make_layer([("x", b"other")])
LYING = make_image([LAYER], document={"rootfs": {"type": "layers", "diff_ids": [OTHER.diff_id]}})

ARCHIVES = {
    "nothing": (b"", "empty"),
    "no tar": (b"x" * 4000, "checksum|unreadable"),
    "no image": (archive(file("etc/passwd", b"x")), "is no image"),
    "bzip2": (b"BZh91AY" + b"x" * 600, "bzip2"),
    "member above": (archive(file("../../../../tmp/corten-escape", b"x"), *GOOD), "leads out"),
    "member absolute": (archive(file("/tmp/corten-escape", b"x"), *GOOD), "absolute"),
    "layer above": (archive(*GOOD[:2], file("manifest.json", _manifest("../../etc/passwd"))), "leads out"),
    "config absolute": (archive(*GOOD[:2], file("manifest.json", _manifest(config="/etc/passwd"))), "leads out"),
    "link out": (archive(link("l.tar", "../../etc/passwd"), GOOD[0], GOOD[2]), "leads out"),
    "link absolute": (archive(link("l.tar", "/etc/passwd"), GOOD[0], GOOD[2]), "leads out"),
    "hard link out": (archive(hard_link("l.tar", "../x"), GOOD[0], GOOD[2]), "leads out"),
    "links in a circle": (archive(link("l.tar", "m.tar"), link("m.tar", "l.tar"), GOOD[0], GOOD[2]), "circle"),
    "link to nothing": (archive(link("l.tar", "m.tar"), GOOD[0], GOOD[2]), "missing"),
    "device": (archive(device("l.tar", 1, 3), *GOOD), "device"),
    "twice": (archive(*GOOD, file("./l.tar", b"other")), "twice"),
    "cut in the layer": (archive(*GOOD)[:4000], "ends in the middle"),
    "cut before the end": (archive(*GOOD[:2]), "is no image"),
    "cut gzip": (gzip.compress(archive(*GOOD, file("z", os.urandom(20000))))[:-9000], "ends early"),
    "layer missing": (archive(GOOD[0], GOOD[2]), "missing"),
    "wrong diff id": (archive(GOOD[0], file("l.tar", OTHER.tar), GOOD[2]), "damaged"),
    "wrong size": (_layout({**IMAGE.descriptor(), "size": 7}, blobs=[_blob(IMAGE.manifest)]), "bytes, not 7"),
    "wrong blob": (
        _layout(IMAGE.descriptor(), blobs=[_blob(IMAGE.manifest), _blob(IMAGE.config), WRONG_BLOB]),
        "damaged",
    ),
    "wrong manifest": (
        _layout(IMAGE.descriptor(), blobs=[file(f"blobs/sha256/{IMAGE.digest[7:]}", b"x" * len(IMAGE.manifest))]),
        "damaged",
    ),
    "config lies": (
        _layout(LYING.descriptor(), blobs=[_blob(LYING.manifest), _blob(LYING.config), _blob(LAYER.blob)]),
        "config says",
    ),
    "digest is a path": (
        _layout({**IMAGE.descriptor(), "digest": "sha256:../../../../../../etc/passwd"}),
        "malformed",
    ),
    "indexes without end": (_nested(9), "more than 4 indexes"),
    "no JSON": (archive(*GOOD[:2], file("manifest.json", b"{")), "not valid JSON"),
    "no list": (archive(*GOOD[:2], file("manifest.json", b"{}")), "no list"),
    "nested JSON": (archive(*GOOD[:2], file("manifest.json", b"[" * 100_000 + b"]" * 100_000)), "nested"),
    "members twice": (
        archive(*GOOD[:2], file("manifest.json", b'[{"Config":"c.json","Config":"c.json","Layers":[]}]')),
        "twice",
    ),
    "huge JSON": (archive(*GOOD[:2], file("manifest.json", b"[" + b" " * (4 << 20) + b"]")), "more than 4194304"),
    "huge header": (
        archive(header("PaxHeaders/x", b"x", 2 << 20) + pad(b"9 path=a\n" * ((2 << 20) // 9)), *GOOD),
        "extended header",
    ),
    "many layers": (
        archive(*GOOD[:2], file("manifest.json", json.dumps([{"Config": "c.json", "Layers": ["l"] * 600}]).encode())),
        "600 layers, more than 512",
    ),
    "many members": (archive(*(file(f"f{n}") for n in range(10_001)), *GOOD), "more than 10000 members"),
    "bad name": (archive(*GOOD[:2], file("manifest.json", _manifest(tags=["../../x"]))), "invalid reference"),
    "name by digest": (
        archive(*GOOD[:2], file("manifest.json", _manifest(tags=["x@sha256:" + "0" * 64]))),
        "by digest",
    ),
    "layer bomb": (archive(GOOD[0], file("l.tar", gzip.compress(b"\0" * 5_000_000)), GOOD[2]), ""),
}


def test_each_is_refused_by_one_line_and_nothing_stays(archives):
    failed = {}
    for what, (data, reason) in ARCHIVES.items():
        message = archives.refused(data)
        if not re.search(reason, message):
            failed[what] = message
    assert failed == {}
    assert archives.images() == {}
    assert archives.left() == ([], [])
    assert not Path("/tmp/corten-escape").exists()
    assert archives.load(archive(*GOOD)) == ["Loaded image: x:1\n"]


def test_a_client_that_goes_away_leaves_nothing(archives):
    whole = archive(*GOOD)

    def broken():
        yield whole[:3000]
        raise ConnectionError("gone")

    with archives.daemon.api() as api, pytest.raises(Exception, match="gone"):
        api.request("POST", "/images/load", body=broken())
    assert archives.load(whole) == ["Loaded image: x:1\n"]
    archives.remove_all()
    assert archives.left() == ([], [])
