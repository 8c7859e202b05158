"""Fixtures for the tests of `cortenctl`: a recording daemon that it finds by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.client.recorder import Recorder


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with tempfile.TemporaryDirectory(prefix="corten-") as folder:
        recorder = Recorder(Path(folder) / "s")
        monkeypatch.setenv("CORTEN_HOST", recorder.host)
        monkeypatch.delenv("CORTEN_NAMESPACE", raising=False)
        yield recorder
        recorder.close()
