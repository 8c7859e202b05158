"""containerd's filter language. The cases are those that its own tests have, in words of ours."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_shared import filters
from corten_shared.errors import InvalidArgument

OBJECTS: dict[str, dict[str, object]] = {
    "A": {"name": "foo", "labels": {"foo": "true"}},
    "B": {"name": "bar"},
    "C": {"name": "foo", "labels": {"foo": "present", "a long label": "present"}},
    "D": {"name": "bar", "labels": {"bar": "true"}},
    "E": {"name": "fooer", "labels": {'with \\ and "': "present"}},
    "F": {"name": "fooer", "labels": {'with \\ and ".post': "present"}},
    "G": {"name": "baz", "other": "too complex, yo"},
    "H": {"name": "bazo", "other": "abc"},
    "I": {"name": "compound", "labels": {"foo": "omg_asdf.asdf-qwer"}},
}


def _matching(*texts: str) -> str:
    accept = filters.parse_all(texts)

    def lookup_in(found: dict[str, object]) -> filters.Lookup:
        def lookup(path: Sequence[str]) -> tuple[str, bool]:
            value = found.get(path[0])
            if isinstance(value, dict):
                value = value.get(".".join(path[1:]))
            return (value, True) if isinstance(value, str) else ("", False)

        return lookup

    return "".join(key for key, found in OBJECTS.items() if accept is None or accept(lookup_in(found)))


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], "ABCDEFGHI"),
        ([""], "ABCDEFGHI"),
        (["name"], "ABCDEFGHI"),
        (["labels.foo"], "ACI"),
        (["labels.foo,name"], "ACI"),
        (["labels.foo==true"], "A"),
        (["labels.foo==omg_asdf.asdf-qwer"], "I"),
        (["name==bar"], "BD"),
        (["name != bar"], "ACEFGHI"),
        (["name==bar,labels.bar"], "D"),
        (['other=="too complex, yo"'], "G"),
        (["other~=[abc]+,name!=foo"], "GH"),
        (["other~=/[abc]+/,name!=foo"], "GH"),
        (["other~=|[abc]{1,2}|,name!=foo"], "GH"),
        ([r'other~=/[abc]{0,1}"\//,name!=foo'], ""),
        ([r"name~=/^\w{4}$/"], "H"),
        (["name==bar,labels.bar==wrong"], ""),
        (['name==foo,labels."a long label"'], "C"),
        ([r'labels."with \\ and \""==present'], "E"),
        ([r'labels."with \\ and \"".post==present'], "F"),
        ([r'name=="\x66\u006f\157"'], "AC"),
        (["name==baz", "labels.bar"], "DG"),
        (["name==baz", ""], "ABCDEFGHI"),
        (["nothing!=x"], "ABCDEFGHI"),
        (["nothing~=^$"], "ABCDEFGHI"),
    ],
)
def test_selects(texts: list[str], found: str) -> None:
    assert _matching(*texts) == found


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("labels.|foo|==x", 7, "invalid quote encountered"),
        ('labels.?"x".post==y', 7, "expected field or quoted"),
        ("name==foo,", 10, "expected field or quoted"),
        ("labels.", 7, "expected field or quoted"),
        ("image~=,id?=?fbaq", 7, "expected value or quoted"),
        ("labels.ns/key==value", 9, "expected an operator"),
        ("labels.key==/value", 12, "quoted literal not terminated"),
        ("name=foo", 4, "expected an operator"),
        ("name==foo bar", 10, "unexpected input"),
        ("name~=[", 6, "invalid regular expression"),
        ('name=="\\q"', 7, "invalid escape"),
        ('name=="\\777777"', 7, ""),
        ("==", 0, "expected field"),
        (",", 0, "expected field"),
    ],
)
def test_mistakes_have_a_place(text: str, position: int, problem: str) -> None:
    if not problem:
        filters.parse(text)
        return
    with pytest.raises(InvalidArgument, match=problem) as caught:
        filters.parse(text)
    assert caught.value.details["position"] == position
    assert caught.value.hint


@given(st.text(alphabet='ab.,=!~"/|\\ []()*x0', max_size=30))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        accept = filters.parse(text)
    except InvalidArgument:
        return
    assert accept is None or accept(lambda path: ("", False)) in (True, False)


def test_sizes_are_bounded() -> None:
    with pytest.raises(InvalidArgument):
        filters.parse("a" * 5000)
    with pytest.raises(InvalidArgument):
        filters.parse_all(["a"] * 101)
