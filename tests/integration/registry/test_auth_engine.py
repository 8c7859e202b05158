"""Logging in and looking names up, through a real daemon, in the registry's four shapes."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack

import pytest

from corten_shared.models import oci
from images import make_image, make_index, make_layer, put_manifest
from registry_shapes import SHAPES, run_shape

pytestmark = pytest.mark.root

IMAGE = make_image([make_layer([("a", b"x" * 1000)], "none")])


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Each kind once for the whole module."""
    with ExitStack() as stack:
        started = {}

        def get(kind):
            if kind not in started:
                started[kind] = stack.enter_context(run_shape(kind, tmp_path_factory.mktemp(kind), {"app:1": IMAGE}))
            return started[kind]

        yield get


def _ask(cortend, method, path, body=None, login=None):
    headers = {}
    if login:
        headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(login).encode()).decode()
    with cortend.api() as api:
        reply = api.request(method, path, body=body, headers=headers)
        return reply.status, reply.json()


def _login(cortend, server, username, password):
    body = {"username": username, "password": password, "serveraddress": server}
    return _ask(cortend, "POST", "/auth", body)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_login_that_the_registry_takes(cortend, running, kind):
    shape = running(kind)
    status, answer = _login(cortend, shape.host, "alice", "secret")
    assert (status, answer["Status"]) == (200, "Login Succeeded")
    assert answer["IdentityToken"] == (shape.tokens.refresh_token() if shape.tokens else "")


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_a_login_that_the_registry_refuses_is_refused_in_its_words(cortend, running, kind):
    shape = running(kind)
    for _ in range(2):
        assert _login(cortend, shape.host, "alice", "secret")[0] == 200
        status, answer = _login(cortend, f"http://{shape.host}/v1/", "alice", "Wr0ng")
        assert status == 401 and "unauthorized" in answer["message"] and "Wr0ng" not in answer["message"]
        assert f"http://{shape.host}/v2/" in answer["message"]
    assert "Wr0ng" not in cortend.log_text() and "c2VjcmV0" not in cortend.log_text()


@pytest.mark.parametrize("server", ["bad host", "http://", "a?b", "127.0.0.1:x"])
def test_a_server_that_is_none(cortend, server):
    status, answer = _login(cortend, server, "alice", "secret")
    assert (status, "unable to parse server address" in answer["message"]) == (400, True)


def test_a_server_that_is_not_there(cortend):
    status, answer = _login(cortend, "127.0.0.1:1", "alice", "secret")
    assert status == 503 and 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1' in answer["message"]


def test_a_pull_without_the_login_it_needs_is_no_401(cortend, running):
    """The docker CLI would ask for a login then, and wait, also without a terminal."""
    shape = running("basic")
    done = cortend.docker("pull", f"{shape.host}/app:1", check=False, timeout=30)
    assert done.returncode == 1 and b"authentication required" in done.stderr


@pytest.mark.parametrize("kind", SHAPES)
def test_the_docker_cli_logs_in_pulls_and_logs_out(cortend, running, kind):
    shape = running(kind)
    done = cortend.docker("login", "-u", "alice", "--password-stdin", shape.host, input=b"secret\n")
    assert done.stdout == b"Login Succeeded\n"
    cortend.docker("pull", f"{shape.host}/app:1")
    cortend.docker("rmi", f"{shape.host}/app:1")
    cortend.docker("logout", shape.host)
    if shape.user:
        assert cortend.docker("pull", f"{shape.host}/app:1", check=False, timeout=30).returncode == 1


def test_what_a_name_stands_for_is_told_without_a_pull(cortend, running):
    shape = running("token")
    login = {"username": "alice", "password": "secret"}
    status, found = _ask(cortend, "GET", f"/distribution/{shape.host}/app:1/json", login=login)
    assert status == 200
    assert found["Descriptor"] == {
        "mediaType": oci.OCI_MANIFEST, "digest": IMAGE.digest, "size": len(IMAGE.manifest)
    }  # fmt: skip
    assert found["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    assert _ask(cortend, "GET", f"/distribution/{shape.host}/app@{IMAGE.digest}/json", login=login)[1] == found
    assert _ask(cortend, "GET", f"/distribution/{shape.host}/app:none/json", login=login)[0] == 404
    assert _ask(cortend, "GET", "/distribution/BAD/json")[0] == 400
    assert cortend.corten("images", "-q", f"{shape.host}/app").stdout == b""


def test_an_index_has_several_platforms(cortend, running):
    shape = running("open")
    data = make_index({"linux/amd64": IMAGE, "linux/arm64/v8": IMAGE}, docker=True)
    put_manifest(shape.host, "app", "multi", data, oci.DOCKER_LIST)
    status, found = _ask(cortend, "GET", f"/distribution/{shape.host}/app:multi/json")
    assert (status, found["Descriptor"]["mediaType"]) == (200, oci.DOCKER_LIST)
    assert found["Platforms"] == [
        {"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"}
    ]  # fmt: skip
