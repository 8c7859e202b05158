"""The filters parameter."""

from __future__ import annotations

import json

import pytest

from corten_shared.errors import InvalidArgument
from cortend.api.docker.filters import Filters

KNOWN = {"label", "label!", "name", "id", "dangling", "exited"}


def parsed(**values: object) -> Filters:
    return Filters.parse(json.dumps(values), KNOWN)


@pytest.mark.parametrize("shape", [{"a=b": True, "c": True}, ["a=b", "c"]])
def test_both_shapes_are_taken(shape: object) -> None:
    assert parsed(label=shape).get("label") == ("a=b", "c")


def test_a_value_marked_false_is_not_asked_for() -> None:
    assert "label" not in parsed(label={"a": False})


@pytest.mark.parametrize("text", ["{", "[]", "1", '{"label": 1}', '{"label": [{}]}', "[" * 5000, '"x"'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        Filters.parse(text, KNOWN)


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'bogus'"):
        Filters.parse('{"bogus": ["1"]}', KNOWN)


def test_all_labels_must_be_there() -> None:
    labels = {"a": "b", "c": ""}
    assert parsed(label=["a=b", "c"]).labels(labels)
    assert parsed(label=["a"]).labels(labels)
    assert not parsed(label=["a=b", "x"]).labels(labels)
    assert not parsed(label=["a=c"]).labels(labels)
    assert not parsed(**{"label!": ["c"]}).labels(labels)


def test_names_are_patterns_anywhere_and_alternatives() -> None:
    filters = parsed(name=["^/we", "db$"])
    assert filters.search("name", ("web", "/web"))
    assert filters.search("name", ("mydb", "/mydb"))
    assert not filters.search("name", ("cache", "/cache"))
    assert parsed().search("name", ("cache",))


@pytest.mark.parametrize("pattern", ["(a+)+$", "(", "a" * 300, r"(a)\1", "a*b*c*d*e*f"])
def test_patterns_that_could_run_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument):
        parsed(name=[pattern]).search("name", ("a" * 200,))


def test_flags_and_numbers() -> None:
    assert parsed(dangling=["true"]).flag("dangling") is True
    assert parsed(dangling={"0": True}).flag("dangling") is False
    assert parsed().flag("dangling") is None
    assert parsed(exited=[0, "3"]).integers("exited") == {0, 3}
    with pytest.raises(InvalidArgument):
        parsed(dangling=["maybe"]).flag("dangling")
    with pytest.raises(InvalidArgument):
        parsed(exited=["x"]).integers("exited")
