"""`cortenctl system check` over a store in which everything is wrong at once: found, mended, and all images run again.

Each seed damages something of its own and says what the check must say of it. Those that a start mends by itself, or
that need the daemon's help, are sown while it runs; the others while it is stopped, which shows that it starts.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from corten_shared import digest as digests
from daemon import Cortend, running
from images import Image, busybox_image, make_layer
from support_registry import Answer, LyingRegistry, ranged

pytestmark = pytest.mark.root

Expected = tuple[str, str]
"""A finding: its problem and its subject."""


@dataclass
class Field:
    """The store to be damaged: its daemon, and an image for every seed."""

    daemon: Cortend
    registry: LyingRegistry
    images: dict[str, Image]

    def name(self, seed: str) -> str:
        return f"{self.registry.host}/{seed}:latest"

    def blob(self, digest: str) -> Path:
        return self.daemon.root / "content/blobs/sha256" / digest.removeprefix("sha256:")

    def layer(self, seed: str) -> str:
        """The digest of the seed's own top layer."""
        return self.images[seed].layers[-1].digest

    def chain(self, seed: str) -> list[str]:
        return digests.chain_ids([layer.diff_id for layer in self.images[seed].layers])

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Foreign keys are off, as they are for whoever damages a database."""
        with closing(sqlite3.connect(self.daemon.root / "meta.db", isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    def snapshot(self, name: str) -> Path:
        ((number,),) = self.sql("SELECT sid FROM snapshots WHERE name = ?", name)
        return self.daemon.root / "snapshots/overlayfs" / str(number)

    def check(self, *flags: str) -> tuple[int, list[dict[str, object]], dict[str, int]]:
        """Exit code, findings and summary."""
        done = self.daemon.cortenctl("-o", "json", "system", "check", *flags, check=False, timeout=100)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines and "summary" in lines[-1], (done.stdout, done.stderr)
        return done.returncode, [line["finding"] for line in lines if "finding" in line], lines[-1]["summary"]


def overwrite(path: Path, data: bytes) -> None:
    """Other bytes, with the same times and mode: as failing hardware does it."""
    found = path.stat()
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(found.st_mode & 0o7777)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    overwrite(path, bytes(data))


# -- sown while the daemon is stopped ---------------------------------------------------------------------------------


def damaged_layer(field: Field) -> Expected:
    flip(field.blob(field.layer("damaged_layer")))
    return "blob-damaged", field.layer("damaged_layer")


def truncated_layer(field: Field) -> Expected:
    path = field.blob(field.layer("truncated_layer"))
    overwrite(path, path.read_bytes()[:20])
    return "blob-damaged", field.layer("truncated_layer")


def missing_layer(field: Field) -> Expected:
    field.blob(field.layer("missing_layer")).unlink()
    return "blob-missing", field.layer("missing_layer")


def missing_manifest(field: Field) -> Expected:
    field.blob(field.images["missing_manifest"].digest).unlink()
    return "blob-missing", field.images["missing_manifest"].digest


def damaged_config(field: Field) -> Expected:
    flip(field.blob(field.images["damaged_config"].id))
    return "blob-damaged", field.images["damaged_config"].id


def unseen_layer(field: Field) -> Expected:
    """The file is there, its row is gone."""
    field.sql("DELETE FROM content WHERE digest = ?", field.layer("unseen_layer"))
    return "blob-missing", field.layer("unseen_layer")


def image_without_content(field: Field) -> Expected:
    digest = field.images["image_without_content"].digest
    field.sql("DELETE FROM content WHERE digest = ?", digest)
    field.blob(digest).unlink()
    return "blob-missing", digest


def layer_and_snapshot(field: Field) -> Expected:
    """Nothing of a layer is left, packed or unpacked."""
    field.blob(field.layer("layer_and_snapshot")).unlink()
    shutil.rmtree(field.snapshot(field.chain("layer_and_snapshot")[-1]))
    return "snapshot-missing", field.chain("layer_and_snapshot")[-1]


def wrong_size(field: Field) -> Expected:
    field.sql("UPDATE content SET size = size + 7 WHERE digest = ?", field.layer("wrong_size"))
    return "row-wrong", field.layer("wrong_size")


def snapshot_gone(field: Field) -> Expected:
    name = field.chain("snapshot_gone")[-1]
    shutil.rmtree(field.snapshot(name))
    return "snapshot-missing", name


def snapshot_lost_a_file(field: Field) -> Expected:
    name = field.chain("snapshot_lost_a_file")[-1]
    (field.snapshot(name) / "fs/own").unlink()
    return "snapshot-damaged", name


def snapshot_with_an_empty_file(field: Field) -> Expected:
    """What a power cut does to an engine that does not sync."""
    name = field.chain("snapshot_with_an_empty_file")[-1]
    (field.snapshot(name) / "fs/own").write_bytes(b"")
    return "snapshot-damaged", name


def snapshot_without_parent(field: Field) -> Expected:
    top, below = field.chain("snapshot_without_parent")[-1], field.chain("snapshot_without_parent")[-2]
    field.sql("DELETE FROM snapshots WHERE name = ?", below)
    return "snapshot-damaged", top


def snapshot_without_row(field: Field) -> Expected:
    name = field.chain("snapshot_without_row")[-1]
    field.sql("DELETE FROM snapshots WHERE name = ?", name)
    return "snapshot-missing", name


def torn_target(field: Field) -> Expected:
    field.sql("UPDATE images SET target = substr(target, 1, 20) WHERE name = ?", field.name("torn_target"))
    return "row-damaged", field.name("torn_target")


def torn_image_labels(field: Field) -> Expected:
    field.sql("UPDATE images SET labels = '{\"a\"' WHERE name = ?", field.name("torn_image_labels"))
    return "row-damaged", field.name("torn_image_labels")


def torn_content_labels(field: Field) -> Expected:
    digest = field.images["torn_content_labels"].digest
    field.sql("UPDATE content SET labels = '[1]' WHERE digest = ?", digest)
    return "row-damaged", digest


def torn_snapshot_labels(field: Field) -> Expected:
    name = field.chain("torn_snapshot_labels")[-1]
    field.sql("UPDATE snapshots SET labels = '' WHERE name = ?", name)
    return "row-damaged", name


def wrong_digest(field: Field) -> Expected:
    other = field.images["torn_image_labels"].digest
    field.sql("UPDATE images SET digest = ? WHERE name = ?", other, field.name("wrong_digest"))
    return "row-wrong", field.name("wrong_digest")


def torn_container(field: Field) -> Expected:
    ((container,),) = field.sql("SELECT id FROM containers WHERE name = 'kept'")
    field.sql("UPDATE containers SET record = substr(record, 1, 100) WHERE name = 'kept'")
    return "row-damaged", str(container)


def torn_task(field: Field) -> Expected:
    ((container,),) = field.sql("SELECT id FROM containers WHERE name = 'ended'")
    field.sql("UPDATE tasks SET record = 'x' WHERE container_id = ?", container)
    return "row-damaged", str(container)


def torn_endpoint(field: Field) -> Expected:
    field.sql("INSERT INTO endpoints VALUES ('default', 'nobody', 'bridge', NULL, '{}')")
    return "row-damaged", "nobody"


def torn_lease(field: Field) -> Expected:
    field.sql("INSERT INTO leases VALUES ('default', 'torn', '{', 0)")
    return "row-damaged", "torn"


def torn_event(field: Field) -> Expected:
    field.sql("UPDATE events SET attributes = 'null' WHERE seq = 1")
    return "row-damaged", "1"


def torn_namespace(field: Field) -> Expected:
    field.sql("INSERT INTO namespaces VALUES ('torn', 'no', 0)")
    return "row-damaged", "torn"


def task_without_container(field: Field) -> Expected:
    field.sql("INSERT INTO tasks SELECT 'default', 'gone', record FROM tasks LIMIT 1")
    return "row-dangling", "gone"


def hold_without_lease(field: Field) -> Expected:
    field.sql("INSERT INTO lease_resources VALUES ('default', 'vanished', 'content', 'sha256:x')")
    return "row-dangling", "vanished"


def blob_in_no_namespace(field: Field) -> Expected:
    digest = field.layer("wrong_size")
    field.sql("INSERT INTO content SELECT 'nowhere', digest, size, '{}', 0, 0 FROM content WHERE digest = ?", digest)
    return "row-dangling", digest


def index_without_entry(field: Field) -> Expected:
    """A row that its table has and its index has not."""
    path = field.daemon.root / "meta.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        index = connection.execute("SELECT * FROM sqlite_schema WHERE name = 'content_by_digest'").fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'content_by_digest'")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO content SELECT 'default', ?, 3, '{}', 0, 0", (digests.of(b"unindexed"),)
        )
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", index)
    return "database-damaged", "meta.db"


OFFLINE: list[Callable[[Field], Expected]] = [
    damaged_layer, truncated_layer, missing_layer, missing_manifest, damaged_config, unseen_layer,
    image_without_content, layer_and_snapshot, wrong_size, snapshot_gone, snapshot_lost_a_file,
    snapshot_with_an_empty_file, snapshot_without_parent, snapshot_without_row, torn_target, torn_image_labels,
    torn_content_labels, torn_snapshot_labels, wrong_digest, torn_container, torn_task, torn_endpoint, torn_lease,
    torn_event, torn_namespace, task_without_container, hold_without_lease, blob_in_no_namespace, index_without_entry,
]  # fmt: skip


# -- sown while it runs -----------------------------------------------------------------------------------------------


def extra_blob(field: Field) -> Expected:
    digest = digests.of(b"nobody's")
    field.blob(digest).write_bytes(b"nobody's")
    return "blob-extra", digest


def stray_in_content(field: Field) -> Expected:
    field.blob("core").write_bytes(b"x")
    return "leftover", "blobs/core"


def broken_ingest(field: Field) -> Expected:
    path = field.daemon.root / "content/ingest" / ("0" * 64)
    path.mkdir()
    (path / "data").write_bytes(b"of what?")
    os.utime(path, (1, 1))
    return "leftover", f"ingest/{path.name}"


def old_ingest(field: Field) -> Expected:
    ingests = field.daemon.root / "content/ingest"
    name = "default/abandoned"
    path = ingests / digests.of(name.encode()).removeprefix("sha256:")
    path.mkdir()
    (path / "ingest.json").write_text(json.dumps({"ref": name, "started_at": 1}))
    (path / "data").write_bytes(b"half of")
    os.utime(path / "data", (1, 1))
    return "ingest-stale", "abandoned"


def orphan_directory(field: Field) -> Expected:
    (field.daemon.root / "snapshots/overlayfs/999999/fs").mkdir(parents=True)
    return "snapshot-orphan", "overlayfs/999999"


def stray_snapshot(field: Field) -> Expected:
    (field.daemon.root / "snapshots/overlayfs/lost+found").mkdir()
    return "leftover", "overlayfs/lost+found"


def container_directory(field: Field) -> Expected:
    (field.daemon.root / "containers/default/nobody/log").mkdir(parents=True)
    return "leftover", "default/nobody"


def active_directory_gone(field: Field) -> Expected:
    ((key,),) = field.sql("SELECT snapshot_key FROM containers WHERE name = 'ended'")
    shutil.rmtree(field.snapshot(str(key)))
    return "snapshot-missing", str(key)


ONLINE: list[Callable[[Field], Expected]] = [
    extra_blob, stray_in_content, broken_ingest, old_ingest, orphan_directory, stray_snapshot, container_directory,
    active_directory_gone,
]  # fmt: skip

IMAGES = [seed.__name__ for seed in OFFLINE[:19]]


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """A daemon that collects no garbage by itself, with an image for every seed and two containers."""
    images = {
        name: busybox_image(make_layer([("below", name.encode())]), make_layer([("own", name.encode())]))
        for name in (*IMAGES, "bystander")
    }
    with LyingRegistry() as registry, running("[gc]\ndelay = 3000.0\n") as daemon:
        field = Field(daemon, registry, images)
        for name, image in images.items():
            registry.serve_image(image, name)
            daemon.corten("pull", "-q", field.name(name))
        bystander = field.name("bystander")
        daemon.corten("run", "--name", "ended", bystander, "true")
        daemon.corten("run", "--name", "kept", bystander, "sh", "-c", "echo precious >/mine")
        yield field


def test_everything_is_found_and_mended_and_every_image_runs(field: Field) -> None:
    daemon = field.daemon
    code, findings, summary = field.check()
    assert (code, findings, summary["left"]) == (0, [], 0)
    assert summary["images"] == len(field.images) and summary["blobs"] > 3 * len(field.images)

    daemon.stop()
    expected = {seed(field) for seed in OFFLINE}
    daemon.start()
    assert b"damaged" in daemon.log.read_bytes()
    expected |= {seed(field) for seed in ONLINE}

    code, findings, summary = field.check()
    found = {(str(finding["problem"]), str(finding["subject"])) for finding in findings}
    assert expected - found == set()
    assert code == 1 and summary["left"] == summary["found"] == len(findings)
    assert all(finding.get("repaired") is None for finding in findings)

    code, findings, summary = field.check("--repair")
    assert [finding for finding in findings if not finding["repaired"]] == []
    assert code == 0
    code, findings, summary = field.check("--deep")
    assert (code, findings) == (0, [])

    daemon.cortenctl("gc")
    assert field.check()[:2] == (0, [])
    for name in field.images:
        shown = daemon.corten("run", "--rm", "--pull", "never", field.name(name), "cat", "/below", "/own").stdout
        assert shown == name.encode() * 2, name
    with daemon.api() as api:
        archive = api.request("GET", "/containers/kept/archive", query={"path": "/mine"}).read()
    assert b"precious" in archive, "what a container wrote is kept, whatever becomes of its record"
    daemon.corten("rm", "kept")


def test_what_cannot_be_seen_without_reading_is_found_by_deep(field: Field) -> None:
    name = field.chain("bystander")[-1]
    flip(field.snapshot(name) / "fs/own")
    assert field.check()[1] == []
    code, findings, _ = field.check("--deep", "--repair")
    assert [(finding["problem"], finding["subject"]) for finding in findings] == [("snapshot-damaged", name)]
    assert code == 0 and findings[0]["outcome"] == "unpacked again"
    assert (field.snapshot(name) / "fs/own").read_bytes() == b"bystander"
    assert field.check()[:2] == (0, [])


def test_a_layer_that_is_mounted_is_not_taken_from_under_its_container(field: Field) -> None:
    daemon, name = field.daemon, field.chain("bystander")[-1]
    daemon.corten("run", "-d", "--name", "runs", "-i", field.name("bystander"), "cat")
    try:
        (field.snapshot(name) / "fs/own").unlink()
        code, findings, _ = field.check("--repair")
        assert code == 1 and findings[0]["repaired"] is False
        assert "it is mounted on" in str(findings[0]["outcome"]) and "stop the container" in str(findings[0]["outcome"])
        assert daemon.inspect("runs")["State"]["Running"]
    finally:
        daemon.corten("rm", "-f", "runs")
    assert field.check("--repair")[0] == 0
    assert field.check()[:2] == (0, [])


def test_without_a_registry_what_is_lost_is_said_and_comes_back_with_a_pull(field: Field) -> None:
    seed = "damaged_layer"
    flip(field.blob(field.layer(seed)))
    for method in ("GET", "HEAD"):
        field.registry.on(method, f"/v2/{seed}/blobs/{field.layer(seed)}", Answer(404))
    done = field.daemon.cortenctl("content", "check", "--repair", check=False)
    assert done.returncode == 1
    said = done.stdout.decode()
    assert "blob-damaged [default]" in said and "NOT REPAIRED: not fetched again" in said
    assert "pull the image again" in said
    shown = field.daemon.corten("run", "--rm", "--pull", "never", field.name(seed), "cat", "/own").stdout
    assert shown == seed.encode(), "what is unpacked still runs"
    layer = field.images[seed].layers[-1]
    field.registry.on("GET", f"/v2/{seed}/blobs/{layer.digest}", ranged(layer.blob))
    field.daemon.corten("pull", field.name(seed))
    assert field.check()[:2] == (0, [])
