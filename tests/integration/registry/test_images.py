"""Images that are here: imported, looked up, tagged, removed by docker's rules."""

from __future__ import annotations

import gzip

import pytest

from corten_shared import times
from corten_shared.errors import Conflict, InvalidArgument, NotFound
from corten_shared.models.container import ContainerRecord, ContainerSpec
from corten_shared.models.oci import RunConfig
from corten_shared.models.task import TaskRecord, TaskStatus
from cortend.services.image_removal import Removed
from images import busybox_entries, make_tar
from support_images import NS, ImageStack, chunked

pytestmark = pytest.mark.root

TAR = make_tar(busybox_entries())


@pytest.fixture
def stack(tmp_path):
    with ImageStack(tmp_path) as stack:
        yield stack


def _import(stack, name="busybox", data=TAR, **more):
    return stack.call("import_rootfs", chunked(data), name, **more)


def _container(stack, image, *, running):
    now = times.now()
    record = ContainerRecord(
        id="c" * 64,
        name="c",
        image_id=image.id,
        snapshotter="overlayfs",
        snapshot_key="c",
        spec=ContainerSpec(args=["x"]),
        created_at=now,
        updated_at=now,
    )
    with stack.database.update() as tx:
        tx.containers.create(NS, record)
        if running:
            tx.tasks.put(NS, TaskRecord(container_id=record.id, status=TaskStatus.RUNNING))


def _texts(removed):
    return [f"{line.action}: {line.subject}" for line in removed]


@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, 1)])
def test_a_tar_becomes_an_image(stack, pack):
    view = _import(stack, data=pack(TAR), config=RunConfig(Cmd=["sh"]), message="made here")
    assert view.tags == ["busybox:latest"]
    assert view.documents.config.config.cmd == ["sh"]
    found = stack.call("for_container", "busybox")
    parent = stack.call("ensure_unpacked", found)
    assert (stack.files(parent) / "bin/busybox").stat().st_mode & 0o777 == 0o755
    assert stack.call("history", "busybox")[0].comment == "made here"
    stack.collector.collect()
    assert stack.snapshot_names() == {parent}
    assert stack.leases() == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "is empty"), (b"BZh91AY" + b"x" * 600, "bzip2"), (b"not a tar" * 100, "checksum|tar|header")],
)
def test_what_is_no_tar_is_refused_and_nothing_kept(stack, data, reason):
    with pytest.raises(InvalidArgument, match=reason):
        _import(stack, data=data)
    stack.collector.collect()
    assert (stack.image_names(), stack.blobs(), stack.snapshot_names(), stack.leases()) == ([], set(), set(), 0)
    assert stack.content.statuses(NS) == []


@pytest.mark.parametrize("data", [b"junk " * 400, gzip.compress(TAR)[:-20], TAR[:-9000]])
def test_an_import_of_something_else_is_the_senders_fault(stack, data):
    with pytest.raises(InvalidArgument):
        _import(stack, data=data)
    assert stack.call("list") == []


def test_an_import_that_breaks_off_leaves_nothing(stack):
    async def broken():
        yield TAR[:100_000]
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        stack.call("import_rootfs", broken(), "busybox")
    assert (stack.content.statuses(NS), stack.leases(), stack.image_names()) == ([], 0, [])


def test_images_are_found_by_name_digest_and_id(stack):
    view = _import(stack)
    digest = view.records[0].target.digest
    for text in (
        "busybox", "busybox:latest", "docker.io/library/busybox", f"busybox@{digest}", view.id, view.id[7:],
        view.id[7:19], view.id[:19], digest,
    ):  # fmt: skip
        assert stack.call("get", text).id == view.id, text
    assert view.digests == [f"busybox@{digest}"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("nope", "nope:latest"), ("nope:1", "nope:1"), ("0" * 64, None), ("sha256:" + "0" * 64, None)],
)
def test_an_unknown_image_is_named(stack, text, shown):
    _import(stack)
    with pytest.raises(NotFound) as caught:
        stack.call("get", text)
    assert caught.value.message == f"No such image: {shown or text}"


def test_an_ambiguous_prefix_is_refused(stack):
    ids = set()
    number = 0
    while len({image_id[7] for image_id in ids}) == len(ids):
        ids.add(_import(stack, f"app{number}", make_tar([("n", str(number).encode())])).id)
        number += 1
    counts = [image_id[7] for image_id in ids]
    prefix = next(digit for digit in counts if counts.count(digit) > 1)
    with pytest.raises(InvalidArgument, match="ambiguous"):
        stack.call("get", prefix)


def test_a_tag_is_another_name_and_moves(stack):
    first, second = _import(stack, "one"), _import(stack, "two", make_tar([("two", b"2")]))
    stack.call("tag", "one", "mine:1")
    assert stack.call("get", "mine:1").id == first.id
    stack.call("tag", second.id, "mine:1")
    assert stack.call("get", "mine:1").id == second.id
    assert stack.call("get", "one").tags == ["one:latest"]
    with pytest.raises(InvalidArgument, match="must be lowercase"):
        stack.call("tag", "one", "Bad")
    with pytest.raises(InvalidArgument, match="digest reference"):
        stack.call("tag", "one", f"x@{first.id}")


def test_removing_the_last_name_deletes_the_image(stack):
    view = _import(stack)
    digest = view.records[0].target.digest
    stack.call("tag", "busybox", "other:1")
    removed = stack.call("remove", "busybox")
    assert _texts(removed) == ["Untagged: busybox:latest", f"Untagged: busybox@{digest}"]
    assert _texts(stack.call("remove", "other:1")) == [
        "Untagged: other:1",
        f"Untagged: other@{digest}",
        f"Deleted: {view.id}",
        f"Deleted: {view.documents.chain[0]}",
    ]
    stack.collector.collect()
    assert (stack.blobs(), stack.snapshot_names()) == (set(), set())
    with pytest.raises(NotFound, match="No such image: busybox:latest"):
        stack.call("remove", "busybox")


def test_removing_by_id_takes_one_tag_but_not_two_repositories(stack):
    view = _import(stack)
    stack.call("tag", "busybox", "other:1")
    with pytest.raises(Conflict) as caught:
        stack.call("remove", view.id[7:19])
    assert caught.value.message == (
        f"conflict: unable to delete {view.id[7:19]} (must be forced) - image is referenced in multiple repositories"
    )
    removed = stack.call("remove", view.id, force=True)
    assert Removed("Deleted", view.id) in removed and stack.image_names() == []


def test_a_stopped_container_keeps_its_image_unless_forced(stack):
    view = _import(stack)
    _container(stack, view, running=False)
    with pytest.raises(Conflict) as caught:
        stack.call("remove", "busybox")
    assert caught.value.message == (
        'conflict: unable to remove repository reference "busybox" (must force) - container cccccccccccc is using its '
        f"referenced image {view.id[7:19]}"
    )
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container cccccccccccc"):
        stack.call("remove", view.id)
    assert _texts(stack.call("remove", "busybox", force=True))[-1] == f"Deleted: {view.id}"


def test_a_running_container_keeps_its_image_even_when_forced(stack):
    view = _import(stack)
    _container(stack, view, running=True)
    with pytest.raises(Conflict) as caught:
        stack.call("remove", view.id, force=True)
    assert caught.value.message == (
        f"conflict: unable to delete {view.id[7:19]} (cannot be forced) - image is being used by running container "
        "cccccccccccc"
    )
    removed = stack.call("remove", "busybox", force=True)
    assert all(line.action == "Untagged" for line in removed)
    assert stack.call("get", view.id).dangling


def test_pruning_takes_what_nobody_names_or_all_that_nobody_uses(stack):
    used, unused = _import(stack, "used"), _import(stack, "unused", make_tar([("x", b"1")]))
    nameless = _import(stack, "", make_tar([("y", b"1")]))
    _container(stack, used, running=False)
    assert nameless.dangling
    removed, size = stack.call("prune")
    assert Removed("Deleted", nameless.id) in removed and size > 0
    removed, _ = stack.call("prune", dangling=False)
    assert Removed("Deleted", unused.id) in removed
    assert [view.id for view in stack.call("list")] == [used.id]


def test_events_say_what_happened_in_order(stack):
    _import(stack)
    stack.call("tag", "busybox", "other:1")
    stack.call("remove", "other:1")
    stack.call("remove", "busybox")
    with stack.database.view() as tx:
        events = [event for event in tx.events.list() if event.topic.startswith("/images/")]
    said = [(event.topic, event.attributes["action"]) for event in events]
    assert said == [
        ("/images/create", "import"),
        ("/images/update", "tag"),
        ("/images/delete", "untag"),
        ("/images/delete", "untag"),
        ("/images/delete", "delete"),
    ]
