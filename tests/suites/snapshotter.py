"""What every `core.snapshots.Snapshotter` does, on any driver.

A test class inherits `SnapshotterSuite`, gives the fixtures `snapshotter`, empty, and `metadata`, where its leases
are, and says with `write` and `files` how to get at what a snapshot's mounts describe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from corten_shared.errors import AlreadyExists, Conflict, NotFound
from corten_shared.models.snapshot import Kind, Mount
from cortend.core.metadata import Metadata
from cortend.core.snapshots import Snapshotter
from suites.content_store import held, new_lease


class SnapshotterSuite:
    """The conformance suite."""

    def write(self, mounts: Sequence[Mount], name: str) -> None:
        """Make a file called `name` in the snapshot."""
        raise AssertionError("given by the test class")

    def files(self, mounts: Sequence[Mount]) -> set[str]:
        """The names of the files of the snapshot."""
        raise AssertionError("given by the test class")

    def layer(self, snapshotter: Snapshotter, name: str, parent: str = "", ns: str = "a") -> None:
        """Commit a snapshot `name` with a file of that name."""
        self.write(snapshotter.prepare(ns, f"making-{name}", parent), name)
        snapshotter.commit(ns, name, f"making-{name}")

    def test_layers_lie_upon_each_other(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "one")
        self.layer(snapshotter, "two", "one")
        mounts = snapshotter.prepare("a", "top", "two")
        self.write(mounts, "three")
        assert self.files(mounts) == {"one", "two", "three"}
        assert self.files(snapshotter.mounts("a", "top")) == {"one", "two", "three"}
        assert self.files(snapshotter.view("a", "look", "one")) == {"one"}

    def test_records_say_what_a_snapshot_is(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "base")
        snapshotter.prepare("a", "active", "base", labels={"k": "v"})
        snapshotter.view("a", "view", "base")
        found = {info.name: (info.kind, info.parent, info.labels) for info in snapshotter.walk("a")}
        assert found == {
            "base": (Kind.COMMITTED, "", {}),
            "active": (Kind.ACTIVE, "base", {"k": "v"}),
            "view": (Kind.VIEW, "base", {}),
        }
        assert snapshotter.stat("a", "active").labels == {"k": "v"}

    def test_names_belong_to_their_namespace(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "base", ns="a")
        assert snapshotter.walk("b") == []
        with pytest.raises(NotFound):
            snapshotter.prepare("b", "top", "base")
        self.layer(snapshotter, "base", ns="b")
        snapshotter.remove("a", "base")
        assert [info.name for info in snapshotter.walk("b")] == ["base"]

    def test_what_is_not_there_is_not_found(self, snapshotter: Snapshotter) -> None:
        for use in (snapshotter.stat, snapshotter.usage, snapshotter.mounts, snapshotter.remove):
            with pytest.raises(NotFound, match="missing"):
                use("a", "missing")
        with pytest.raises(NotFound, match="missing"):
            snapshotter.update("a", "missing", {})
        with pytest.raises(NotFound, match="missing"):
            snapshotter.commit("a", "name", "missing")
        with pytest.raises(NotFound, match="missing"):
            snapshotter.prepare("a", "key", "missing")

    def test_a_name_is_taken_once(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "base")
        snapshotter.prepare("a", "active")
        for name in ("base", "active"):
            with pytest.raises(AlreadyExists, match=name):
                snapshotter.prepare("a", name)
            with pytest.raises(AlreadyExists, match=name):
                snapshotter.view("a", name)
        with pytest.raises(AlreadyExists, match="base"):
            snapshotter.commit("a", "base", "active")
        assert snapshotter.stat("a", "active").kind is Kind.ACTIVE
        assert snapshotter.cleanup() == 0

    def test_only_a_committed_snapshot_is_a_parent(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a", "active")
        with pytest.raises(Conflict, match="active"):
            snapshotter.prepare("a", "top", "active")

    def test_only_an_active_snapshot_is_committed(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "base")
        snapshotter.view("a", "view", "base")
        for key in ("base", "view"):
            with pytest.raises(Conflict, match=key):
                snapshotter.commit("a", "name", key)

    def test_a_parent_stays_while_it_has_children(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "base")
        snapshotter.prepare("a", "top", "base")
        with pytest.raises(Conflict, match="base"):
            snapshotter.remove("a", "base")
        snapshotter.remove("a", "top")
        snapshotter.remove("a", "base")
        assert snapshotter.walk("a") == []
        assert snapshotter.cleanup() == 0

    def test_the_key_is_gone_after_commit(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a", "key", labels={"old": "1"})
        snapshotter.commit("a", "name", "key", labels={"new": "2"})
        with pytest.raises(NotFound):
            snapshotter.stat("a", "key")
        assert snapshotter.stat("a", "name").labels == {"old": "1", "new": "2"}

    def test_labels_are_set_one_by_one(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a", "key", labels={"keep": "1", "drop": "2"})
        assert snapshotter.update("a", "key", {"drop": None, "new": "3"}).labels == {"keep": "1", "new": "3"}

    def test_usage_counts_what_a_snapshot_adds(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "base")
        mounts = snapshotter.prepare("a", "key", "base")
        before = snapshotter.usage("a", "key")
        for name in ("p", "q"):
            self.write(mounts, name)
        now = snapshotter.usage("a", "key")
        assert now.inodes == before.inodes + 2
        assert now.size > before.size
        snapshotter.commit("a", "name", "key")
        committed = snapshotter.usage("a", "name")
        assert committed.inodes == now.inodes
        assert committed == now or snapshotter.name == "erofs"  # an image packs small files

    def test_a_new_parent_is_given_only_where_the_driver_can(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "lower")
        self.write(snapshotter.prepare("a", "alone"), "upper")
        if snapshotter.rebases:
            snapshotter.commit("a", "upper", "alone", parent="lower")
            assert snapshotter.stat("a", "upper").parent == "lower"
            assert self.files(snapshotter.view("a", "look", "upper")) == {"lower", "upper"}
        else:
            with pytest.raises(Conflict, match="alone"):
                snapshotter.commit("a", "upper", "alone", parent="lower")
            assert snapshotter.stat("a", "alone").kind is Kind.ACTIVE

    def test_the_parent_it_has_can_always_be_given(self, snapshotter: Snapshotter) -> None:
        self.layer(snapshotter, "base")
        snapshotter.prepare("a", "key", "base")
        snapshotter.commit("a", "top", "key", parent="base")
        assert snapshotter.stat("a", "top").parent == "base"

    def test_walk_gives_parents_before_children(self, snapshotter: Snapshotter) -> None:
        if not snapshotter.rebases:
            for name, parent in (("z", ""), ("y", "z"), ("x", "y")):
                self.layer(snapshotter, name, parent)
        else:  # made in the reverse order, then put upon each other
            for name in ("x", "y", "z"):
                snapshotter.prepare("a", f"making-{name}")
            for name, parent in (("z", ""), ("y", "z"), ("x", "y")):
                snapshotter.commit("a", name, f"making-{name}", parent=parent)
        assert [info.name for info in snapshotter.walk("a")] == ["z", "y", "x"]

    def test_leases_hold_a_snapshot_under_its_present_name(self, snapshotter: Snapshotter, metadata: Metadata) -> None:
        kind = f"snapshots/{snapshotter.name}"
        lease = new_lease(metadata, "a", "unpack")
        snapshotter.prepare("a", "key", lease=lease)
        assert held(metadata, "a", lease) == [(kind, "key")]
        snapshotter.commit("a", "name", "key")
        assert held(metadata, "a", lease) == [(kind, "name")]
        snapshotter.remove("a", "name")
        assert held(metadata, "a", lease) == []

    def test_a_lease_that_is_not_there_lets_nothing_begin(self, snapshotter: Snapshotter) -> None:
        with pytest.raises(NotFound, match="gone"):
            snapshotter.prepare("a", "key", lease="gone")
        assert snapshotter.walk("a") == []
        assert snapshotter.cleanup() == 0

    def test_threads_that_take_one_anothers_parents_away(self, snapshotter: Snapshotter) -> None:
        """Each call succeeds or is refused in a word; what is there in the end is whole, and nothing else is."""
        unforeseen: list[BaseException] = []

        def attempt(call: Callable[[], object]) -> None:
            try:
                call()
            except (AlreadyExists, Conflict, NotFound):
                pass
            except BaseException as error:
                unforeseen.append(error)

        def work(number: int) -> None:
            for turn in range(6):
                base, top = f"base-{turn % 2}", f"top-{number}-{turn}"
                attempt(lambda: snapshotter.prepare("a", f"making-{number}-{turn}"))  # noqa: B023
                attempt(lambda: snapshotter.commit("a", base, f"making-{number}-{turn}"))  # noqa: B023
                attempt(lambda: snapshotter.prepare("a", top, base))  # noqa: B023
                attempt(lambda: snapshotter.mounts("a", top))  # noqa: B023
                attempt(lambda: snapshotter.remove("a", base))  # noqa: B023
                attempt(lambda: snapshotter.remove("a", top))  # noqa: B023
                attempt(lambda: snapshotter.remove("a", base))  # noqa: B023
                attempt(lambda: snapshotter.cleanup())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not unforeseen, unforeseen
        for info in reversed(snapshotter.walk("a")):
            snapshotter.remove("a", info.name)
        assert snapshotter.cleanup() == 0
