"""The JSON that is read without importing `json` must be what `json` reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten import jsontext

ENVIRON = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip_agrees_with_json(value: object) -> None:
    assert jsontext.dumps(value) == json.dumps(value, separators=(",", ":"))
    assert jsontext.loads(json.dumps(value, indent=2).encode()) == value


@given(st.text(alphabet='[]{}",:0123456789.eE+-tfnrul \n\\', max_size=30))
def test_texts_are_accepted_and_refused_as_by_json(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            jsontext.loads(text)
    else:
        assert jsontext.loads(text) == expected


@pytest.mark.parametrize("text", [b"", b"{", b"{} {}", b"\xff", b"nul", b"[1,]", b'"\n"'])
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(text)


def test_unknown_types_are_refused() -> None:
    with pytest.raises(TypeError, match="set has no form in JSON"):
        jsontext.dumps({"a": {1}})


def test_errors_are_told_where_json_is_not_loaded() -> None:
    """The C scanner raises json's own exception class, which may not be there yet."""
    code = (
        "import sys\nfrom corten import jsontext\nassert 'json' not in sys.modules\n"
        "try:\n    jsontext.loads('{broken')\nexcept ValueError as exc:\n    print(exc)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, env=ENVIRON)
    assert done.stdout.startswith("Expecting property name"), done.stderr
