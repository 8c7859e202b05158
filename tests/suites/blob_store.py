"""What every `core.content.BlobStore` does, bare or seen through a namespace.

A test class inherits `BlobStoreSuite` and gives the fixture `store`: an empty one.
"""

from __future__ import annotations

import os
import secrets

import pytest

from corten_shared import digest as digests
from corten_shared.errors import (
    AlreadyExists,
    DataLoss,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from cortend.core.content import BlobStore

HELLO = b"hello, blob"
DIGEST = digests.of(HELLO)
MISSING = digests.of(b"nobody has this")


def put(store: BlobStore, data: bytes, ref: str = "put") -> str:
    """Store `data`; its digest."""
    with store.writer(ref) as writer:
        writer.write(data)
        return writer.commit()


class BlobStoreSuite:
    """The conformance suite."""

    def test_a_committed_blob_can_be_read_by_its_digest(self, store: BlobStore) -> None:
        assert put(store, HELLO) == DIGEST
        with store.open(DIGEST) as blob:
            assert blob.read() == HELLO
            assert os.fstat(blob.fileno()).st_size == len(HELLO)
            assert not os.get_inheritable(blob.fileno())
        assert store.stat(DIGEST).size == len(HELLO)
        assert [(found.digest, found.size) for found in store.walk()] == [(DIGEST, len(HELLO))]

    def test_an_empty_blob_is_a_blob(self, store: BlobStore) -> None:
        assert put(store, b"") == digests.of(b"")
        assert store.stat(digests.of(b"")).size == 0

    def test_the_digest_runs_with_the_bytes(self, store: BlobStore) -> None:
        with store.writer("running") as writer:
            assert writer.digest == digests.of(b"")
            for piece in (HELLO[:3], bytearray(HELLO[3:5]), memoryview(HELLO[5:])):
                writer.write(piece)
            assert (writer.digest, writer.offset, writer.ref) == (DIGEST, len(HELLO), "running")

    def test_what_is_not_there_is_not_found(self, store: BlobStore) -> None:
        for missing in (store.stat, store.open, store.delete):
            with pytest.raises(NotFound, match=MISSING):
                missing(MISSING)
        for missing_ref in (store.status, store.abort):
            with pytest.raises(NotFound, match="no such ref"):
                missing_ref("no such ref")

    @pytest.mark.parametrize(
        "bad", ["", "sha256:", "sha256:" + "A" * 64, "sha256:../../etc/passwd", "sha512:" + "0" * 128]
    )
    def test_a_malformed_digest_never_becomes_a_path(self, store: BlobStore, bad: str) -> None:
        with pytest.raises(InvalidArgument):
            store.writer("bad", expected=bad)
        for use in (store.stat, store.open, store.delete):
            with pytest.raises((InvalidArgument, NotFound)):
                use(bad)

    @pytest.mark.parametrize("ref", ["../../outside", "a/b/c", "null\0byte", "layer-sha256:0", "ünïcode", "x" * 900])
    def test_a_ref_is_any_text(self, store: BlobStore, ref: str) -> None:
        with store.writer(ref) as writer:
            writer.write(HELLO)
        assert [status.ref for status in store.statuses()] == [ref]
        assert store.status(ref).offset == len(HELLO)
        store.abort(ref)
        assert store.statuses() == []

    @pytest.mark.parametrize("ref", ["", "x" * 5000])
    def test_a_ref_has_a_bounded_length(self, store: BlobStore, ref: str) -> None:
        with pytest.raises(InvalidArgument):
            store.writer(ref)

    def test_a_ref_has_one_writer_at_a_time(self, store: BlobStore) -> None:
        with store.writer("busy"):
            with pytest.raises(Unavailable, match="busy"):
                store.writer("busy")
            with pytest.raises(Unavailable, match="busy"):
                store.abort("busy")
        with store.writer("busy") as writer:
            assert writer.offset == 0

    def test_an_interrupted_ingest_goes_on_where_it_ended(self, store: BlobStore) -> None:
        data = secrets.token_bytes(3_000_000)
        with store.writer("resume", expected=digests.of(data), size=len(data)) as writer:
            writer.write(data[:2_000_001])
        status = store.status("resume")
        assert (status.offset, status.total, status.expected) == (2_000_001, len(data), digests.of(data))
        with store.writer("resume", expected=digests.of(data), size=len(data)) as writer:
            assert writer.offset == 2_000_001
            writer.write(data[writer.offset :])
            assert writer.commit() == digests.of(data)
        assert store.statuses() == []

    def test_an_ingest_begun_for_another_digest_starts_over(self, store: BlobStore) -> None:
        with store.writer("changed", expected=MISSING) as writer:
            writer.write(b"of something else")
        with store.writer("changed", expected=DIGEST) as writer:
            assert writer.offset == 0

    def test_an_ingest_longer_than_promised_starts_over(self, store: BlobStore) -> None:
        with store.writer("long") as writer:
            writer.write(HELLO * 2)
        with store.writer("long", size=len(HELLO)) as writer:
            assert writer.offset == 0

    def test_truncate_keeps_the_first_bytes_and_their_digest(self, store: BlobStore) -> None:
        with store.writer("cut") as writer:
            writer.write(HELLO + b"garbage")
            writer.truncate(len(HELLO))
            assert (writer.offset, writer.digest) == (len(HELLO), DIGEST)
            with pytest.raises(InvalidArgument):
                writer.truncate(len(HELLO) + 1)
            writer.truncate(0)
            writer.write(HELLO)
            assert writer.commit() == DIGEST

    @pytest.mark.parametrize("promise", [{"expected": MISSING}, {"size": 5}, {"size": 500}])
    def test_bytes_other_than_promised_are_refused_and_dropped(
        self, store: BlobStore, promise: dict[str, object]
    ) -> None:
        with store.writer("lie") as writer:
            writer.write(HELLO)
            with pytest.raises(DataLoss, match="lie"):
                writer.commit(**promise)  # type: ignore[arg-type]
        assert list(store.walk()) == []
        assert store.statuses() == []

    def test_a_promise_made_at_opening_is_checked_at_commit(self, store: BlobStore) -> None:
        with store.writer("early", expected=MISSING, size=len(HELLO)) as writer:
            writer.write(HELLO)
            with pytest.raises(DataLoss, match=DIGEST):
                writer.commit()
        assert store.statuses() == []

    def test_more_bytes_than_promised_are_not_written(self, store: BlobStore) -> None:
        with store.writer("flood", size=4) as writer:
            writer.write(b"1234")
            with pytest.raises(ResourceExhausted, match="4 promised"):
                writer.write(b"5")
            assert writer.offset == 4

    def test_what_is_there_is_not_written_again(self, store: BlobStore) -> None:
        put(store, HELLO)
        with pytest.raises(AlreadyExists) as caught:
            store.writer("again", expected=DIGEST, size=len(HELLO))
        assert caught.value.subject == DIGEST
        with store.writer("unknowing") as writer:
            writer.write(HELLO)
            with pytest.raises(AlreadyExists) as caught:
                writer.commit()
        assert caught.value.subject == DIGEST
        assert store.statuses() == []

    def test_two_writers_of_the_same_bytes_both_succeed(self, store: BlobStore) -> None:
        with store.writer("one") as one, store.writer("two") as two:
            one.write(HELLO)
            two.write(HELLO)
            assert one.commit() == DIGEST
            with pytest.raises(AlreadyExists):
                two.commit()
        with store.open(DIGEST) as blob:
            assert blob.read() == HELLO

    def test_a_writer_that_ended_takes_no_more(self, store: BlobStore) -> None:
        writer = store.writer("ended")
        writer.close()
        writer.close()
        for late in (lambda: writer.write(b"x"), lambda: writer.truncate(0), writer.commit):
            with pytest.raises(Internal):
                late()

    def test_abort_drops_the_bytes(self, store: BlobStore) -> None:
        with store.writer("drop") as writer:
            writer.write(HELLO)
        store.abort("drop")
        with store.writer("drop") as writer:
            assert writer.offset == 0

    def test_a_deleted_blob_can_be_written_anew(self, store: BlobStore) -> None:
        put(store, HELLO)
        store.delete(DIGEST)
        assert list(store.walk()) == []
        assert put(store, HELLO) == DIGEST
        assert [found.digest for found in store.walk()] == [DIGEST]
