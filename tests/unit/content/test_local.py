"""The local blob store: the conformance suite, and what only a disk can show."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from corten_shared import digest as digests
from corten_shared.errors import ResourceExhausted
from cortend.content import ingest as ingest_module
from cortend.content.local import LocalBlobStore
from suites.blob_store import DIGEST, HELLO, BlobStoreSuite, put


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "content")


class TestLocalBlobStore(BlobStoreSuite):
    """The conformance suite."""


def test_nobody_else_can_read_and_nobody_write(store: LocalBlobStore, tmp_path: Path) -> None:
    put(store, HELLO)
    with store.writer("open") as writer:
        writer.write(b"x")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "content").rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert modes[tmp_path / "content/blobs/sha256" / DIGEST[7:]] == 0o444


def test_a_restart_keeps_blobs_and_ingests(store: LocalBlobStore, tmp_path: Path) -> None:
    put(store, HELLO)
    with store.writer("half", size=100) as writer:
        writer.write(b"12345")
    again = LocalBlobStore(tmp_path / "content")
    assert [found.digest for found in again.walk()] == [DIGEST]
    assert [(status.ref, status.offset, status.total) for status in again.statuses()] == [("half", 5, 100)]


@pytest.mark.parametrize("remains", ["nothing", "torn", "foreign"])
def test_remains_of_a_crash_are_cleared_at_start(store: LocalBlobStore, tmp_path: Path, remains: str) -> None:
    directory = tmp_path / "content/ingest" / ("0" * 64)
    directory.mkdir()
    if remains != "nothing":
        (directory / "data").write_bytes(b"bytes of nobody")
        text = '{"ref": "other", "started_at": 1}' if remains == "foreign" else '{"ref": "oth'
        (directory / "ingest.json").write_text(text)
    again = LocalBlobStore(tmp_path / "content")
    assert again.statuses() == []
    assert not directory.exists()


def test_bytes_damaged_by_a_power_cut_are_found_at_commit(store: LocalBlobStore, tmp_path: Path) -> None:
    with store.writer("cut", expected=DIGEST) as writer:
        writer.write(HELLO[:6])
    (data,) = (tmp_path / "content/ingest").glob("*/data")
    data.write_bytes(bytes(6))
    with pytest.raises(Exception, match="expected"), store.writer("cut", expected=DIGEST) as writer:
        writer.write(HELLO[6:])
        writer.commit()
    assert store.statuses() == []


def test_a_blob_of_the_wrong_size_is_written_again(store: LocalBlobStore, tmp_path: Path) -> None:
    put(store, HELLO)
    path = tmp_path / "content/blobs/sha256" / DIGEST[7:]
    path.unlink()
    path.write_bytes(b"")
    with store.writer("heal", expected=DIGEST, size=len(HELLO)) as writer:
        writer.write(HELLO)
        assert writer.commit() == DIGEST
    assert path.read_bytes() == HELLO


def test_a_full_disk_is_named_and_the_ingest_kept(store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answer is replaced: filling a real file system needs root (see the integration tests)."""
    real = os.write
    room = [10]

    def full(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real(descriptor, data[: room[0]])
        room[0] -= taken
        return taken

    with store.writer("big") as writer:
        monkeypatch.setattr(ingest_module.os, "write", full)
        with pytest.raises(ResourceExhausted, match="no space left on device while writing big"):
            writer.write(b"0123456789abcdef")
        monkeypatch.undo()
        assert (writer.offset, writer.digest) == (10, digests.of(b"0123456789"))
    with store.writer("big") as writer:
        assert writer.offset == 10
        writer.write(b"abcdef")
        assert writer.commit() == digests.of(b"0123456789abcdef")


def test_other_files_in_the_store_are_left_alone(store: LocalBlobStore, tmp_path: Path) -> None:
    foreign = tmp_path / "content/blobs/sha256/README"
    foreign.write_text("hands off")
    assert list(store.walk()) == []
    assert foreign.exists()


def test_a_blob_is_synced_before_it_appears_and_its_name_after(
    store: LocalBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut at any moment finds the whole blob or none; the calls are watched, and made."""
    calls: list[tuple[str, str]] = []
    real_sync, real_rename = os.fsync, os.rename

    def sync(descriptor: int) -> None:
        calls.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real_sync(descriptor)

    def rename(source: Path, target: Path) -> None:
        calls.append(("rename", str(target)))
        real_rename(source, target)

    blobs = tmp_path / "content/blobs/sha256"
    with store.writer("layer") as writer:
        writer.write(HELLO)
        (data,) = (tmp_path / "content/ingest").glob("*/data")
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "rename", rename)
        writer.commit()
    monkeypatch.undo()
    assert calls == [("fsync", str(data)), ("rename", str(blobs / DIGEST[7:])), ("fsync", str(blobs))]
