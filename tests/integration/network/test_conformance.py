"""The bridge passes the suite that every network driver passes."""

from __future__ import annotations

import pytest

from suites.network_driver import NetworkDriverSuite


@pytest.mark.root
class TestBridgeNetwork(NetworkDriverSuite):
    """On a real kernel, with the fixture `driver` of this directory."""
