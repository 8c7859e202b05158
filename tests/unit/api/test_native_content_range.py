"""Ranges of blobs (RFC 9110, 14.2)."""

from __future__ import annotations

import pytest

from cortend.api.native.ranges import byte_range


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("", 10, (0, 10)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=0-3", 10, (0, 4)),
        ("bytes=3-3", 10, (3, 4)),
        ("bytes=3-99", 10, (3, 10)),
        ("bytes=-4", 10, (6, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("bytes=10-", 10, None),
        ("bytes=-0", 10, None),
        ("bytes=0-", 0, None),
        ("bytes=5-2", 10, (0, 10)),
        ("bytes=0-1,3-4", 10, (0, 10)),
        ("bytes=-", 10, (0, 10)),
        ("bytes=\u0663-", 10, (0, 10)),
        ("items=0-1", 10, (0, 10)),
        ("bytes=99999999999999999999-", 10, (0, 10)),
    ],
)
def test_byte_range(text: str, size: int, expected: tuple[int, int] | None) -> None:
    assert byte_range(text, size) == expected
