"""Pages and filters of lists: nothing skipped or shown twice while the list changes."""

from __future__ import annotations

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerRecord, ContainerSpec
from corten_shared.models.image import ImageRecord
from corten_shared.models.oci import Descriptor
from corten_shared.models.snapshot import Kind, SnapshotInfo
from cortend.api.native.listing import Listing, fields_of


def _page(names: set[str], limit: int | None, page: str = "", filter: list[str] | None = None) -> tuple[list[str], str]:
    found = Listing(limit, page, filter or []).page(lambda: names, key=lambda name: name)
    return found.items, found.next or ""


def test_pages_hold_everything_once() -> None:
    names = {f"n{number:03}" for number in range(10)}
    seen: list[str] = []
    token = ""
    while True:
        items, token = _page(names, 3, token)
        seen += items
        if not token:
            break
    assert seen == sorted(names)


def test_a_full_last_page_has_no_next() -> None:
    assert _page({"a", "b"}, 2) == (["a", "b"], "")
    assert _page(set(), 2) == ([], "")
    assert _page({"a", "b"}, None) == (["a", "b"], "")


def test_pages_stand_changes_in_between() -> None:
    """What stays is shown once, also when the page's last item goes away and others come before it."""
    names = {"b", "d", "f", "h"}
    first, token = _page(names, 2)
    assert first == ["b", "d"]
    names -= {"d", "b"}
    names |= {"a", "c", "g"}
    assert _page(names, 10, token) == (["f", "g", "h"], "")


@pytest.mark.parametrize("page", ["x", "é", "e30", "W10", "WzFd", "W251bGxd", "W1tdXQ", "%00", "A" * 8000])
def test_pages_of_no_list_are_refused(page: str) -> None:
    with pytest.raises(InvalidArgument, match="page"):
        _page({"a"}, 1, page)


IMAGE = ImageRecord(
    name="docker.io/library/busybox:latest",
    target=Descriptor(media_type="application/vnd.oci.image.index.v1+json", digest="sha256:" + "0" * 64, size=7),
    labels={"a.b": "x", "empty": ""},
    created_at=1_700_000_000_000_000_000,
    updated_at=1_700_000_000_000_000_000,
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", (IMAGE.name, True)),
        ("target.digest", ("sha256:" + "0" * 64, True)),
        ("target.mediatype", ("application/vnd.oci.image.index.v1+json", True)),
        ("target.mediaType", ("application/vnd.oci.image.index.v1+json", True)),
        ("target.size", ("7", True)),
        ("labels.a.b", ("x", True)),
        ("labels", ("", True)),
        ("created_at", ("2023-11-14T22:13:20Z", True)),
        ("createdAt", ("2023-11-14T22:13:20Z", True)),
        ("nope", ("", False)),
        ("name.more", ("", False)),
        ("model_config", ("", False)),
        ("__class__", ("", False)),
    ],
)
def test_fields_of_records(path: str, value: tuple[str, bool]) -> None:
    assert fields_of(IMAGE)(path.split(".")) == value


def test_fields_of_further_objects() -> None:
    """The first that has the field tells it; maps take a whole path as one name."""
    container = ContainerRecord(
        id="1", name="web", snapshotter="overlayfs", snapshot_key="1", spec=ContainerSpec(args=["a", "b"], tty=True),
        created_at=1, updated_at=1,
    )  # fmt: skip
    lookup = fields_of(IMAGE, container, {"runtime.name": "crun"}, container.spec)
    assert lookup(["id"]) == ("1", True)
    assert lookup(["name"]) == (IMAGE.name, True)
    assert lookup(["runtime", "name"]) == ("crun", True)
    assert lookup(["args"]) == ("a,b", True)
    assert lookup(["tty"]) == ("true", True)
    assert lookup(["init"]) == ("false", False)


def test_enumerations_are_their_word() -> None:
    snapshot = SnapshotInfo(name="x", kind=Kind.COMMITTED, created_at=1, updated_at=1)
    assert fields_of(snapshot)(["kind"]) == ("committed", True)
