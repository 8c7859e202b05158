"""WWW-Authenticate headers are read as RFC 9110 writes them, and hostile ones harm nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortend.registry.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ("Basic realm=x", [Challenge("basic", {"realm": "x"})]),
        ('bAsIc REALM = "a\\"b"', [Challenge("basic", {"realm": 'a"b'})]),
        (
            'Basic realm="x", Bearer realm="y"',
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})],
        ),
        ("Negotiate", [Challenge("negotiate", {})]),
        ('Bearer realm="first",realm="second"', [Challenge("bearer", {"realm": "first"})]),
        ("", []),
        ('realm="no scheme"', []),
        ('Bearer realm="never closed', [Challenge("bearer", {})]),
    ],
)
def test_challenges_are_read(header, expected):
    assert parse_challenges([header]) == expected


def test_several_headers_add_up():
    assert [c.scheme for c in parse_challenges(["Basic realm=a", "Bearer realm=b"])] == ["basic", "bearer"]


def test_a_huge_header_is_cut_and_harmless():
    assert len(parse_challenges(["Bearer " + 'a="' + "\\" * 1_000_000])) == 1
    assert len(parse_challenges(["Basic, " * 100_000])) <= 16


@given(st.text(max_size=200))
def test_no_text_raises(text):
    parse_challenges([text])
