"""Every error class through docker's table."""

from __future__ import annotations

import json

import pytest

from corten_shared.errors import CLASSES, CortenError, NotFound
from cortend.api.docker.errors import STATUS, error_response

EXPECTED = {
    "invalid_argument": 400, "unauthenticated": 500, "permission_denied": 403, "not_found": 404, "already_exists": 409,
    "conflict": 409, "not_modified": 304, "resource_exhausted": 500, "data_loss": 500, "internal": 500,
    "deadline_exceeded": 500, "cancelled": 500, "unimplemented": 501, "unavailable": 503,
}  # fmt: skip


@pytest.mark.parametrize("code", sorted(CLASSES))
def test_every_class_has_a_status_and_dockers_body(code: str) -> None:
    response = error_response(CLASSES[code]("it is so", hint="do this"))
    assert response.status_code == EXPECTED[code]
    if response.status_code == 304:
        assert response.body == b""
    else:
        assert json.loads(bytes(response.body)) == {"message": "it is so: do this"}


def test_the_table_has_no_other_classes() -> None:
    assert set(STATUS) == set(CLASSES.values())


def test_a_class_that_is_not_in_the_table_goes_by_its_parent() -> None:
    class Vanished(NotFound):
        pass

    assert error_response(Vanished("x")).status_code == 404
    assert error_response(CortenError("x")).status_code == 500
