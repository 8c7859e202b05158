"""Device nodes behind a wish."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import DeviceSpec
from cortend.runtime.devices import find_devices


def test_a_node_is_found_under_its_name_inside() -> None:
    (device,) = find_devices(DeviceSpec(host_path="/dev/null", container_path="/dev/nothing"))
    assert (device.path, device.kind, device.major, device.minor) == ("/dev/nothing", "c", 1, 3)


def test_what_is_no_device_is_said_so(tmp_path: Path) -> None:
    for path in (str(tmp_path), "/etc/hostname", "/nonexistent"):
        with pytest.raises(InvalidArgument, match="error gathering device information"):
            find_devices(DeviceSpec(host_path=path, container_path=path))
