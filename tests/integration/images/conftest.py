"""Archives through a real daemon: what it sends, what it takes, what it says."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corten.transport import Response
from daemon import Cortend


class Refused(Exception):
    """The daemon's answer was an error: its status, and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _checked(reply: Response) -> Response:
    if reply.status < 400:
        return reply
    with reply:
        raise Refused(reply.status, reply.json()["message"])


class Archives:
    """One daemon's images, saved and loaded."""

    def __init__(self, daemon: Cortend) -> None:
        self.daemon = daemon

    def save(self, *names: str, **query: str) -> bytes:
        """An archive of these images."""
        with self.daemon.api() as api, _checked(
            api.request("GET", "/images/get", query={"names": list(names), **query})
        ) as reply:
            return b"".join(reply.chunks())

    def load(self, data: bytes, **query: str) -> list[str]:
        """The lines that a load answers."""
        pieces = (data[at : at + 65536] for at in range(0, len(data), 65536))
        with self.daemon.api() as api, _checked(
            api.request("POST", "/images/load", query={"quiet": "1", **query}, body=pieces)
        ) as reply:
            return [line["stream"] for line in reply.json_lines()]

    def refused(self, data: bytes) -> str:
        """Why an archive is not loaded."""
        with pytest.raises(Refused) as caught:
            self.load(data)
        assert caught.value.status == 400, caught.value
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def images(self) -> dict[str, str]:
        """Names and ids of what is there."""
        with self.daemon.api() as api:
            rows: list[dict[str, Any]] = api.request("GET", "/images/json", query={"all": "1"}).json()
        return {tag: row["Id"] for row in rows for tag in row["RepoTags"] or ["<none>"]}

    def remove_all(self) -> None:
        """Remove every image and what they were made of."""
        for image_id in set(self.images().values()):
            self.daemon.corten("rmi", "-f", image_id)
        self.daemon.cortenctl("-n", "default", "gc")

    def left(self) -> tuple[list[str], list[str]]:
        """What is still in the stores after a collection: blobs and ingests, files below the root without a blob."""
        self.daemon.cortenctl("-n", "default", "gc")
        blobs = self.daemon.cortenctl("-n", "default", "content", "ls", "-q").stdout.decode().split()
        names = [path.name for path in (self.daemon.root / "content").rglob("*") if path.is_file()]
        return blobs, names


@pytest.fixture(scope="session")
def refused() -> type[Refused]:
    """What a refused request raises."""
    return Refused


@pytest.fixture
def archives(make_cortend: Callable[..., Cortend]) -> Iterator[Archives]:
    """A daemon of the test's own, without images."""
    yield Archives(make_cortend(image=False))


@pytest.fixture(scope="session")
def members_of() -> Callable[[bytes], dict[str, bytes]]:
    """The files of a tar, by name, in order."""

    def members(data: bytes) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}  # type: ignore[union-attr]

    return members


