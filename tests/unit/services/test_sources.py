"""Which repositories a blob can be mounted from."""

from __future__ import annotations

import pytest

from corten_shared.errors import NotFound
from corten_shared.models.content import BlobInfo
from corten_shared.reference import parse_normalized
from cortend.services import sources

HUB = sources.PREFIX + "docker.io"


class Content:
    """Labels of blobs."""

    def __init__(self, **labels):
        self.labels = labels
        self.writes = 0

    def info(self, ns, digest):
        if digest not in self.labels:
            raise NotFound(digest)
        return BlobInfo(digest=digest, size=1, labels=self.labels[digest], created_at=0, updated_at=0)

    def update_many(self, ns, labels):
        self.writes += 1
        for digest, changes in labels.items():
            self.labels[digest] = {**self.labels[digest], **changes}


def test_a_repository_is_remembered_once_for_every_blob():
    content = Content(a={}, b={HUB: "team/app"})
    for _ in range(2):
        sources.remember(content, "ns", parse_normalized("busybox"), ["a", "b", "gone"])
    assert content.labels == {"a": {HUB: "library/busybox"}, "b": {HUB: "team/app,library/busybox"}}
    assert content.writes == 1


def test_the_newest_are_kept():
    content = Content(a={})
    for number in range(30):
        sources.remember(content, "ns", parse_normalized(f"team/app{number}"), ["a"])
    assert content.labels["a"][HUB] == ",".join(f"team/app{number}" for number in range(18, 30))


def test_the_nearest_is_asked_first_and_the_target_never():
    labels = {HUB: "else/where,team/other,team/app", sources.PREFIX + "quay.io": "team/quay"}
    assert sources.candidates(labels, parse_normalized("team/app:1")) == ["team/other", "else/where"]
    assert sources.candidates(labels, parse_normalized("quay.io/new/app")) == ["team/quay"]
    assert sources.candidates({}, parse_normalized("team/app")) == []


@pytest.mark.parametrize(
    "text", ["../x", "a&mount=b", "UPPER", "a//b", "a?x", "a:tag", "a@sha256:" + "0" * 64, "a b", ""]
)  # fmt: skip
def test_what_is_no_repository_is_not_asked_for(text):
    assert sources.candidates({HUB: text}, parse_normalized("team/app")) == []
