"""Errors of the native API: every class has a status, every body turns back into its class."""

from __future__ import annotations

import json

import pytest

from corten_shared import errors
from cortend.api.docker.errors import STATUS as DOCKER
from cortend.api.errors import STATUS, error_response, invalid_request, status_of


@pytest.mark.parametrize("cls", errors.CLASSES.values(), ids=lambda cls: cls.__name__)
def test_every_class_passes_through_every_table_and_back(cls: type[errors.CortenError]) -> None:
    error = cls("it broke", hint="mend it", subject="x", details={"k": [1]})
    answer = error_response(error)
    assert 400 <= answer.status_code < 600
    again = errors.from_body(json.loads(bytes(answer.body)))
    assert type(again) is cls
    assert (again.message, again.hint, again.subject, again.details) == ("it broke", "mend it", "x", {"k": [1]})
    assert cls in STATUS
    assert cls in DOCKER


def test_subclasses_have_their_parents_status() -> None:
    class Gone(errors.NotFound):
        pass

    assert status_of(Gone("x")) == 404
    assert status_of(errors.CortenError("x")) == 500


def test_validation_errors_leave_out_what_was_sent() -> None:
    where = ("body", "credentials", "password")
    error = invalid_request([{"loc": where, "msg": "Input should be a string", "input": {"secret": "hunter2"}}])
    assert error.message == "body.credentials.password: Input should be a string"
    assert "hunter2" not in json.dumps(error.body())
