"""docker's rules for --cap-add and --cap-drop."""

from __future__ import annotations

import pytest

from corten_shared.errors import InvalidArgument
from cortend.core import capabilities


def test_the_default_set_is_docker_s_fourteen() -> None:
    assert len(capabilities.DEFAULT) == 14
    assert capabilities.resolve([], [], privileged=False) == [
        n for n in capabilities.NAMES if n in capabilities.DEFAULT
    ]


def test_numbers_follow_the_kernel_s_header() -> None:
    assert [capabilities.NAMES.index(f"CAP_{name}") for name in ("CHOWN", "SYS_ADMIN", "SYS_RESOURCE", "BPF")] == [
        0, 21, 24, 39,
    ]  # fmt: skip
    assert capabilities.from_mask(0b1 | 1 << 21) == {"CAP_CHOWN", "CAP_SYS_ADMIN"}


@pytest.mark.parametrize(
    ("add", "drop", "inside", "outside"),
    [
        (["net_admin"], [], "CAP_NET_ADMIN", "CAP_SYS_ADMIN"),
        ([], ["CAP_CHOWN"], "CAP_KILL", "CAP_CHOWN"),
        (["ALL"], ["SYS_ADMIN"], "CAP_BPF", "CAP_SYS_ADMIN"),
        (["chown"], ["all"], "CAP_CHOWN", "CAP_KILL"),
    ],
)
def test_add_and_drop(add: list[str], drop: list[str], inside: str, outside: str) -> None:
    found = capabilities.resolve(add, drop, privileged=False)
    assert inside in found and outside not in found


def test_privileged_asks_for_all() -> None:
    assert capabilities.resolve([], ["ALL"], privileged=True) == list(capabilities.NAMES)


def test_an_unknown_capability_is_named() -> None:
    with pytest.raises(InvalidArgument, match='invalid CapAdd: unknown capability: "CAP_FLY"'):
        capabilities.resolve(["fly"], [], privileged=False)
    with pytest.raises(InvalidArgument, match="invalid CapDrop"):
        capabilities.resolve([], ["fly"], privileged=False)
