"""API versions: which are served, and that differences are made by the table."""

from __future__ import annotations

from typing import Any

import pytest

from corten_shared.errors import InvalidArgument
from cortend.api.docker import versions


@pytest.mark.parametrize("text", ["1.24", "1.41", "1.51", "1.55"])
def test_versions_in_the_range_are_served(text: str) -> None:
    assert versions.text(versions.parse(text)) == text


@pytest.mark.parametrize("text", ["1.10", "1.9", "0.1", "1", "1..", ".", "1." + "9" * 40])
def test_older_ones_are_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is too old\. Minimum supported API version is 1\.24, please upgrade"):
        versions.parse(text)


@pytest.mark.parametrize("text", ["1.56", "2.0"])
def test_newer_ones_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is too new\. Maximum supported API version is 1\.55"):
        versions.parse(text)


def inspected() -> dict[str, Any]:
    return {
        "GraphDriver": {"Name": "overlayfs", "Data": None},
        "NetworkSettings": {"IPAddress": "1.2.3.4", "Networks": {"bridge": {"DNSNames": None}}},
    }


def test_inspect_loses_its_top_level_addresses_with_1_52() -> None:
    old = versions.adapt("container.inspect", (1, 51), inspected())
    new = versions.adapt("container.inspect", (1, 52), inspected())
    assert old["NetworkSettings"]["IPAddress"] == "1.2.3.4"
    assert "IPAddress" not in new["NetworkSettings"]
    assert new["Storage"]["RootFS"]["Snapshot"]["Name"] == "overlayfs"


def test_images_had_a_virtual_size_before_1_44() -> None:
    row = {"Size": 7, "RepoTags": [], "RepoDigests": []}
    assert versions.adapt("image.summary", (1, 43), dict(row)) == {**row, "VirtualSize": 7}
    assert versions.adapt("image.summary", (1, 44), dict(row)) == row


def test_images_without_a_name_were_called_none_before_1_43() -> None:
    row = versions.adapt("image.summary", (1, 42), {"Size": 7, "RepoTags": [], "RepoDigests": []})
    assert row["RepoTags"] == ["<none>:<none>"]


def test_events_have_their_old_members_until_1_52() -> None:
    event = {"Type": "container", "Action": "die", "Actor": {"ID": "1", "Attributes": {"image": "busybox"}}}
    old = versions.adapt("event", (1, 51), dict(event))
    assert (old["status"], old["id"], old["from"]) == ("die", "1", "busybox")
    assert versions.adapt("event", (1, 52), dict(event)) == event


def test_framed_streams_are_called_so_since_1_42() -> None:
    assert versions.raw_stream_type((1, 42), tty=False).endswith("multiplexed-stream")
    assert versions.raw_stream_type((1, 42), tty=True).endswith("raw-stream")
    assert versions.raw_stream_type((1, 41), tty=False).endswith("raw-stream")
