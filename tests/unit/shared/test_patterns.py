"""The matcher of filters' regular expressions: right where Python's is, and never slow."""

from __future__ import annotations

import random
import re
import time

import pytest

from corten_shared.errors import ResourceExhausted
from corten_shared.patterns import Pattern, PatternError

_ATOMS = ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "(a|b)", "(ab)", "^", "$", r"\b", "x{2}", "(a+)", "()", "(|a)"]
_REPEATS = ["", "", "", "*", "+", "?", "{0,2}", "{2}", "{1,}"]


def test_matches_what_pythons_does() -> None:
    """Random patterns against random texts; `$` is the very end, as in RE2."""
    chance = random.Random(7)
    compared = 0
    while compared < 5000:
        parts = [chance.choice(_ATOMS) + chance.choice(_REPEATS) for _ in range(chance.randint(1, 5))]
        text = "".join(parts)
        try:
            ours, oracle = Pattern(text), re.compile(text.replace("$", r"\Z"), re.ASCII)
        except (re.error, PatternError):
            continue  # a repeat of a repeat
        for _ in range(4):
            subject = "".join(chance.choices("abx1 _", k=chance.randint(0, 8)))
            assert ours.search(subject) == bool(oracle.search(subject)), (text, subject)
            compared += 1


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("(?i)BusyBox", "docker.io/library/busybox", True),
        ("(?i:B)usy", "busy", True),
        ("(?i)[A-C]", "xbx", True),
        (r"^docker\.io/", "quay.io/docker.io/", False),
        (r"\x41\x{42}", "AB", True),
        ("(?s)a.b", "a\nb", True),
        ("a.b", "a\nb", False),
        ("[]a]+$", "]a", True),
        ("[^]]", "]", False),
        (r"[\d-]+", "-", True),
        ("a{,3}", "a{,3}", True),
        ("é+", "caféé", True),
        (r"\d", "٣", False),
        ("", "", True),
    ],
)
def test_syntax(pattern: str, text: str, found: bool) -> None:
    assert Pattern(pattern).search(text) is found


@pytest.mark.parametrize(
    "text",
    ["(", ")", "[", "a**", "*", "\\", "[z-a]", r"\p{L}", r"\1", "(?=a)", "[[:alpha:]]", "a{99999}", "a{3,2}", "(" * 500,
     "((a{0,1000}){0,1000}){0,1000}", "((((){1000}){1000}){1000}){1000}", "x" * 2000, r"\x{zz}", r"\x{110000}"],
)  # fmt: skip
def test_what_is_wrong_or_too_large_is_refused_at_once(text: str) -> None:
    begin = time.monotonic()
    with pytest.raises(PatternError):
        Pattern(text)
    assert time.monotonic() - begin < 1


def test_expressions_that_kill_backtracking_matchers_are_harmless() -> None:
    for text in ("(a+)+b", "(a|a)*b", "(((a*)*)*)*b", ".*.*.*.*.*.*x"):
        assert not Pattern(text).search("a" * 4000)


def test_work_is_bounded() -> None:
    """An automaton whose deterministic form is exponential."""
    chance = random.Random(3)
    text = "".join(chance.choices("ab", k=4000))
    with pytest.raises(ResourceExhausted):
        Pattern("[ab]*a[ab]{400}c").search(text)
