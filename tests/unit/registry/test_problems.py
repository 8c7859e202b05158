"""Errors name the registry and the thing, in docker's words, with nothing that could move a terminal."""

from __future__ import annotations

import httpx
import pytest

from corten_shared.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from corten_shared.reference import parse_normalized
from cortend.registry.problems import bare, quoted, refused, said

REFERENCE = parse_normalized("app:1")
UNKNOWN = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}'
DENIED = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'


def _refused(status, body=b"", what="1", **flags):
    flags = {"scoped": False, "logged_in": False} | flags
    return refused(REFERENCE, what, httpx.Response(status, request=httpx.Request("GET", "http://x/")), body, **flags)


@pytest.mark.parametrize(
    ("status", "body", "cls", "text"),
    [
        (404, UNKNOWN, NotFound, "manifest for app:1 not found: manifest unknown: manifest unknown"),
        (404, b"", NotFound, "manifest for app:1 not found: manifest unknown: manifest unknown"),
        (
            403,
            DENIED,
            NotFound,
            "pull access denied for app, repository does not exist or may require 'docker login': denied: requested "
            "access to the resource is denied",
        ),
        (401, b"", Unauthenticated, "registry docker.io wants a login for app: unauthorized: authentication required"),
        (429, b"", ResourceExhausted, "toomanyrequests: registry docker.io answered 429 for app (1)"),
        (503, b"<html>", Unavailable, "registry docker.io answered 503 for app (1)"),
        (418, b"", InvalidArgument, "registry docker.io answered 418 for app (1)"),
    ],
)
def test_answers_become_errors(status, body, cls, text):
    error = _refused(status, body)
    assert (type(error), error.message) == (cls, text)


def test_denied_with_a_login_is_a_matter_of_permission():
    assert isinstance(_refused(403, DENIED, logged_in=True), PermissionDenied)


def test_a_token_that_does_not_reach_is_a_denial():
    body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
    assert _refused(401, body, scoped=True).message.endswith("denied: requested access to the resource is denied")


def test_a_missing_blob_is_named_by_its_digest():
    digest = "sha256:" + "a" * 64
    assert _refused(404, what=digest).message.startswith(f"{digest} of app not found in registry docker.io")


def test_control_characters_of_a_registry_are_escaped_and_the_text_is_bounded():
    body = b'{"errors":[{"code":"X","message":"\\u001b]0;owned\\u0007\\nnext\\u202e' + b"a" * 10_000 + b'"}]}'
    message = _refused(500, body).message
    assert message.isprintable() and len(message) < 600 and "\\x1b" in message


@pytest.mark.parametrize("body", [b"", b"[]", b'{"errors":5}', b'{"errors":[5]}', b"[" * 60_000, b'{"errors":null}'])
def test_unreadable_error_bodies_say_nothing(body):
    assert said(body) == []


def test_a_printed_url_has_no_user_and_no_query():
    assert bare(httpx.URL("https://u:p@[::1]:8080/a/b?sig=secret#x")) == "https://[::1]:8080/a/b"


def test_quoting_keeps_ordinary_text():
    assert quoted("naïve: ok") == "naïve: ok"
