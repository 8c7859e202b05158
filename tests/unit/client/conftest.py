"""Fixtures for the tests of the clients: a recording daemon."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.client.recorder import Recorder, reply


@pytest.fixture
def daemon() -> Iterator[Recorder]:
    """A recording daemon that answers a ping; unix socket paths are short, so not in tmp_path."""
    with tempfile.TemporaryDirectory(prefix="corten-") as folder:
        recorder = Recorder(Path(folder) / "s")
        for method in ("HEAD", "GET"):
            recorder.on(method, "/_ping", reply("200 OK", b"OK"))
        yield recorder
        recorder.close()
