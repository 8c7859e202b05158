"""Namespaces over blobs: what a crash or the collector does between a file and its row."""

from __future__ import annotations

import pytest

from corten_shared import digest as digests
from corten_shared.errors import DataLoss
from cortend.content.local import LocalBlobStore
from cortend.metadata.content import NamespacedContent
from cortend.metadata.db import Database
from suites import blob_store
from suites.content_store import DIGEST, HELLO, put


def test_a_crash_before_the_row_leaves_a_file_that_is_freed(content: NamespacedContent, blobs: LocalBlobStore) -> None:
    blob_store.put(blobs, HELLO)
    assert content.free_unseen() == (1, len(HELLO))
    assert list(blobs.walk()) == []


def test_a_crash_before_the_row_leaves_a_file_that_is_used(content: NamespacedContent, blobs: LocalBlobStore) -> None:
    blob_store.put(blobs, HELLO)
    assert content.adopt("a", DIGEST)
    assert content.free_unseen() == (0, 0)
    assert content.read("a", DIGEST, 100) == HELLO


def test_a_blob_is_not_freed_between_its_file_and_its_row(metadata: Database, blobs: LocalBlobStore) -> None:
    freed: list[tuple[int, int]] = []

    class Greedy(NamespacedContent):
        """Collects at the worst moment."""

        def record(
            self, ns: str, digest: str, size: int, labels: dict[str, str], lease: str | None, ref: str = ""
        ) -> None:
            freed.append(self.free_unseen())
            super().record(ns, digest, size, labels, lease, ref)

    content = Greedy(metadata, blobs)
    put(content, "a", HELLO)
    content.delete("a", DIGEST)
    assert content.adopt("b", DIGEST)
    content.delete("b", DIGEST)
    with pytest.raises(Exception, match="already exists"):
        put(content, "c", HELLO)
    assert freed == [(0, 0)] * 3
    content.delete("c", DIGEST)
    assert content.free_unseen() == (1, len(HELLO))


def test_bytes_that_other_namespaces_see_stay(content: NamespacedContent, blobs: LocalBlobStore) -> None:
    put(content, "a", HELLO)
    content.adopt("b", DIGEST)
    content.delete("a", DIGEST)
    assert content.free_unseen() == (0, 0)
    assert content.read("b", DIGEST, 100) == HELLO


def test_a_recorded_blob_without_its_file_is_data_loss_and_can_be_pulled_again(
    content: NamespacedContent, blobs: LocalBlobStore
) -> None:
    put(content, "a", HELLO)
    blobs.delete(DIGEST)
    with pytest.raises(DataLoss, match=DIGEST) as caught:
        content.open("a", DIGEST)
    assert "pull" in str(caught.value.hint)
    assert not content.adopt("a", DIGEST)
    with content.writer("a", "again", expected=DIGEST) as writer:
        writer.write(HELLO)
        writer.commit()
    assert content.read("a", DIGEST, 100) == HELLO


def test_nothing_is_recorded_when_the_bytes_are_wrong(content: NamespacedContent) -> None:
    with pytest.raises(DataLoss), content.writer("a", "lie", expected=digests.of(b"other")) as writer:
        writer.write(HELLO)
        writer.commit()
    assert content.walk("a") == []
