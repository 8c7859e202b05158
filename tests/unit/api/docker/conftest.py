"""The Engine API over services that live in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unit.api.docker.fakes import Engine


@pytest.fixture
def engine() -> Engine:
    """The API over fakes."""
    return Engine()


@pytest.fixture
def create_body() -> dict[str, Any]:
    """The body that docker CLI 28.2 sent for a `create` with many flags (recorded)."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "create_body.json").read_text())
    return found
