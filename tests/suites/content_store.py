"""What every `core.content.ContentStore` does.

A test class inherits `ContentStoreSuite` and gives the fixtures `content`, empty, and `metadata`, where its leases are.
"""

from __future__ import annotations

import pytest

from corten_shared import digest as digests
from corten_shared.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from corten_shared.models.lease import Lease
from cortend.core.content import ContentStore
from cortend.core.metadata import Metadata

HELLO = b"hello, namespace"
DIGEST = digests.of(HELLO)


def put(
    content: ContentStore, ns: str, data: bytes, *, labels: dict[str, str] | None = None, lease: str | None = None
) -> str:
    """Commit `data` to a namespace; its digest."""
    with content.writer(ns, f"put-{digests.of(data)}", lease=lease) as writer:
        writer.write(data)
        return writer.commit(labels=labels)


def new_lease(metadata: Metadata, ns: str, lease: str) -> str:
    """A lease without an end; its id."""
    with metadata.update() as tx:
        tx.leases.create(ns, Lease(id=lease, created_at=1))
    return lease


def held(metadata: Metadata, ns: str, lease: str) -> list[tuple[str, str]]:
    """What a lease holds."""
    with metadata.view() as tx:
        return [(resource.type, resource.id) for resource in tx.leases.resources(ns, lease)]


class ContentStoreSuite:
    """The conformance suite."""

    def test_labels_of_many_blobs_change_together(self, content: ContentStore) -> None:
        first, second = put(content, "a", b"1", labels={"x": "1", "y": "2"}), put(content, "a", b"2")
        content.update_many("a", {first: {"x": None, "z": "3"}, second: {"z": "4"}, DIGEST: {"z": "5"}})
        assert content.info("a", first).labels == {"y": "2", "z": "3"}
        assert content.info("a", second).labels == {"z": "4"}
        assert [info.digest for info in content.walk("a")] == sorted((first, second))

    def test_a_blob_is_seen_only_where_it_was_committed(self, content: ContentStore) -> None:
        put(content, "a", HELLO)
        assert content.info("a", DIGEST).size == len(HELLO)
        assert [info.digest for info in content.walk("a")] == [DIGEST]
        assert content.walk("b") == []
        for use in (content.info, content.open, content.delete):
            with pytest.raises(NotFound, match=DIGEST):
                use("b", DIGEST)
        with pytest.raises(NotFound):
            content.update("b", DIGEST, {"x": "y"})
        with pytest.raises(NotFound):
            content.read("b", DIGEST, 100)

    def test_bytes_that_are_stored_can_be_adopted(self, content: ContentStore) -> None:
        assert not content.adopt("b", DIGEST)
        put(content, "a", HELLO)
        assert content.adopt("b", DIGEST, {"from": "a"})
        assert content.adopt("b", DIGEST, {"more": "yes"})
        assert content.info("b", DIGEST).labels == {"from": "a", "more": "yes"}
        content.delete("a", DIGEST)
        assert content.read("b", DIGEST, 100) == HELLO

    def test_a_writer_of_what_another_namespace_has_adopts_it(self, content: ContentStore, metadata: Metadata) -> None:
        put(content, "a", HELLO)
        lease = new_lease(metadata, "b", "pull")
        with pytest.raises(AlreadyExists):
            content.writer("b", "layer", lease=lease, expected=DIGEST)
        assert content.read("b", DIGEST, 100) == HELLO
        assert held(metadata, "b", lease) == [("content", DIGEST)]

    def test_a_commit_of_stored_bytes_is_recorded_all_the_same(self, content: ContentStore, metadata: Metadata) -> None:
        put(content, "a", HELLO)
        lease = new_lease(metadata, "b", "load")
        with content.writer("b", "unknowing", lease=lease) as writer:
            writer.write(HELLO)
            with pytest.raises(AlreadyExists):
                writer.commit(labels={"k": "v"})
        assert content.info("b", DIGEST).labels == {"k": "v"}
        assert held(metadata, "b", lease) == [("content", DIGEST)]

    def test_a_lease_holds_the_ingest_and_then_the_blob(self, content: ContentStore, metadata: Metadata) -> None:
        lease = new_lease(metadata, "a", "pull")
        with content.writer("a", "layer", lease=lease) as writer:
            assert held(metadata, "a", lease) == [("ingest", "layer")]
            writer.write(HELLO)
            writer.commit()
        assert held(metadata, "a", lease) == [("content", DIGEST)]

    def test_a_lease_that_is_not_there_lets_nothing_begin(self, content: ContentStore) -> None:
        with pytest.raises(NotFound, match="gone"):
            content.writer("a", "layer", lease="gone")
        assert content.statuses("a") == []
        put(content, "a", HELLO)
        with pytest.raises(NotFound, match="gone"):
            content.adopt("b", DIGEST, lease="gone")
        assert content.walk("b") == []

    def test_two_namespaces_may_use_one_ref(self, content: ContentStore) -> None:
        with content.writer("a", "layer") as one, content.writer("b", "layer") as two:
            one.write(b"1")
            two.write(b"22")
        assert [(status.ref, status.offset) for status in content.statuses("a")] == [("layer", 1)]
        assert content.status("b", "layer").offset == 2
        content.abort("a", "layer")
        assert content.statuses("a") == []
        assert content.status("b", "layer").ref == "layer"

    @pytest.mark.parametrize("ns", ["", "a/b", "..", "-x", "a" * 77])
    def test_a_malformed_namespace_is_refused(self, content: ContentStore, ns: str) -> None:
        with pytest.raises(InvalidArgument):
            content.writer(ns, "ref")

    def test_labels_are_set_one_by_one(self, content: ContentStore) -> None:
        put(content, "a", HELLO, labels={"keep": "1", "drop": "2"})
        info = content.update("a", DIGEST, {"drop": None, "new": "3", "never": None})
        assert info.labels == {"keep": "1", "new": "3"} == content.info("a", DIGEST).labels
        assert info.updated_at >= info.created_at

    def test_a_label_has_a_bounded_length(self, content: ContentStore) -> None:
        put(content, "a", HELLO, labels={"fits": "x" * (4096 - 4)})
        with pytest.raises(InvalidArgument, match="label"):
            content.update("a", DIGEST, {"long": "x" * (4096 - 3)})
        with pytest.raises(InvalidArgument, match="label"):
            content.update("a", DIGEST, {"": "x"})

    def test_a_blob_larger_than_the_limit_is_not_read(self, content: ContentStore) -> None:
        put(content, "a", HELLO)
        assert content.read("a", DIGEST, len(HELLO)) == HELLO
        with pytest.raises(ResourceExhausted, match=DIGEST):
            content.read("a", DIGEST, len(HELLO) - 1)
