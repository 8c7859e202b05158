"""Marking and labels, without any store."""

from __future__ import annotations

from cortend.core.gc import Node, expired, mark, references, snapshot_kind


def blob(name: str) -> Node:
    return Node("ns", "content", name)


def test_labels_refer_to_content_and_snapshots() -> None:
    labels = {
        "gc.ref.content": "1",
        "gc.ref.content.config": "2",
        "gc.ref.content/l.0": "3",
        "gc.ref.snapshot.overlayfs": "4",
        "gc.ref.snapshot.native/top": "5",
        "gc.ref.snapshot.native.x.y": "6",
        "gc.ref.contents": "no",
        "gc.root": "no",
        "other": "no",
    }
    assert list(references("ns", labels)) == [
        blob("1"),
        blob("2"),
        blob("3"),
        Node("ns", "snapshots/overlayfs", "4"),
        Node("ns", "snapshots/native", "5"),
        Node("ns", "snapshots/native", "6"),
    ]
    assert snapshot_kind("native") == "snapshots/native"


def test_a_lease_expires_at_its_time_and_never_without_a_readable_one() -> None:
    at = {"gc.expire": "1970-01-01T00:00:10Z"}
    second = 1_000_000_000
    assert not expired(at, 10 * second - 1)
    assert expired(at, 10 * second)
    assert not expired({}, 10 * second)
    assert not expired({"gc.expire": "soon"}, 10 * second)


def test_mark_reaches_everything_and_ends_on_cycles() -> None:
    edges = {
        blob("a"): [blob("b"), blob("c")],
        blob("b"): [blob("a")],
        blob("c"): [blob("gone")],
        blob("x"): [blob("a")],
    }
    reached = mark([blob("a")], lambda node: edges.get(node, ()))
    assert reached == {blob("a"), blob("b"), blob("c"), blob("gone")}
    assert mark([], lambda node: ()) == set()
