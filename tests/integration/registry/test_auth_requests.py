"""Requests that carry a body or need more than one scope: what a push asks of the transport."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from corten_shared.errors import Unavailable
from corten_shared.reference import parse_normalized
from cortend.core.registry import Credentials
from cortend.registry.client import RegistryClient
from cortend.registry.settings import RegistrySettings
from support_registry import Answer, LyingRegistry

UPLOADS = "/v2/app/blobs/uploads/"
LOGIN = Credentials("alice", SecretStr("hunter2-password"))
SETTINGS = RegistrySettings(backoff=0.001, header_timeout=0.3, document_timeout=0.3, idle_timeout=0.3, longest_wait=2)


@pytest.fixture
def liar():
    with LyingRegistry() as registry:
        yield registry


def _with_transport(host, use, scopes, credentials=LOGIN):
    async def run():
        client = RegistryClient(SETTINGS)
        async with client.transport(parse_normalized(f"{host}/app"), credentials, scopes=scopes) as transport:
            return await use(transport)

    return asyncio.run(run())


def _asks_for_scopes(liar):
    """A token server whose tokens are the scopes they reach."""

    def issue(request):
        query = parse_qs(urlsplit(request.path).query)
        return Answer(200, json.dumps({"token": "+".join(query.get("scope", []))}).encode())

    header = f'Bearer realm="http://{liar.host}/token",service="reg"'

    def upload(request):
        if "Authorization" not in request.headers:
            return Answer(401, b"", {"WWW-Authenticate": header})
        return Answer(202, request.body, {"Location": "/v2/app/blobs/uploads/1?state=x"})

    liar.on("GET", "/token", issue)
    liar.on("POST", UPLOADS, upload)


def test_a_token_reaches_as_far_as_asked_and_further_later(liar):
    _asks_for_scopes(liar)

    async def use(transport):
        for _ in range(2):
            response = await transport.open("POST", "an upload", "blobs/uploads/", {})
            await response.aclose()
            transport.widen("repository:other:pull")
        return str(transport.location(response))

    place = _with_transport(liar.host, use, ["repository:app:pull,push"])
    assert place == f"http://{liar.host}/v2/app/blobs/uploads/1?state=x"
    sent = [r.headers.get("Authorization") for r in liar.requests if r.path == UPLOADS]
    first = "Bearer repository:app:pull,push"
    assert sent == [None, first, f"{first}+repository:other:pull"]


def test_a_body_is_sent_again_after_the_login_and_after_passing_trouble(liar):
    _asks_for_scopes(liar)
    login = liar._scripts["POST", UPLOADS][0]
    liar.on("POST", UPLOADS, login, Answer(503), login)
    made = []

    async def use(transport):
        async def chunks():
            made.append(1)
            for piece in (b"one ", b"two"):
                yield piece

        response = await transport.open(
            "POST", "an upload", "blobs/uploads/", {"Content-Length": "7"}, body=chunks
        )
        return await transport.read(response, 100, "echo")

    assert _with_transport(liar.host, use, ["repository:app:push"]) == b"one two"
    assert len(made) == 3


def test_a_body_may_take_longer_than_an_answer_as_long_as_it_moves(liar):
    liar.on("POST", UPLOADS, lambda request: Answer(202, request.body))
    settings = replace(SETTINGS, connect_timeout=0.1, header_timeout=0.2)

    async def run():
        async def chunks():
            for _ in range(5):
                await asyncio.sleep(0.1)  # the time that a disk would take is what this is about
                yield b"x"

        client = RegistryClient(settings)
        async with client.transport(parse_normalized(f"{liar.host}/app"), None, scopes=[]) as transport:
            response = await transport.open("POST", "x", "blobs/uploads/", {"Content-Length": "5"}, body=chunks)
            return await transport.read(response, 100, "echo")

    assert asyncio.run(run()) == b"xxxxx"


@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x", "http://a:x/"])
def test_an_uploads_location_that_is_none_is_refused(liar, location):
    liar.on("POST", UPLOADS, Answer(202, b"", {"Location": location} if location else {}))

    async def use(transport):
        response = await transport.open("POST", "an upload", "blobs/uploads/", {})
        await response.aclose()
        transport.location(response)

    with pytest.raises(Unavailable):
        _with_transport(liar.host, use, [], None)


def test_the_login_does_not_follow_an_upload_to_another_host(liar):
    with LyingRegistry() as other:
        other.on("PUT", "/store", Answer(201))
        liar.on("POST", UPLOADS, Answer(202, b"", {"Location": f"http://{other.host}/store?sig=1"}))
        given = Credentials(registry_token=SecretStr("mine"))

        async def use(transport):
            response = await transport.open("POST", "an upload", "blobs/uploads/", {})
            await response.aclose()
            done = await transport.open("PUT", "an upload", transport.location(response), {})
            await done.aclose()

        _with_transport(liar.host, use, [], given)
        assert liar.requests[0].headers["Authorization"] == "Bearer mine"
        assert "Authorization" not in other.requests[0].headers and other.requests[0].path == "/store?sig=1"


def _with_tokens(liar, *answers):
    header = f'Bearer realm="http://{liar.host}/token",service="reg"'
    liar.on("GET", "/token", *answers)
    liar.on(
        "POST",
        UPLOADS,
        lambda r: Answer(202) if "Authorization" in r.headers else Answer(401, b"", {"WWW-Authenticate": header}),
    )


async def _begin(transport):
    await (await transport.open("POST", "an upload", "blobs/uploads/", {})).aclose()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_trouble_of_a_token_server_is_tried_again(liar, status):
    _with_tokens(liar, Answer(status), Answer(status, headers={"Retry-After": "0"}), Answer(200, b'{"token":"t"}'))
    _with_transport(liar.host, _begin, [])
    assert liar.count("GET", "/token") == 3


def test_lasting_trouble_of_a_token_server_ends(liar):
    _with_tokens(liar, Answer(503))
    with pytest.raises(Unavailable, match=r"token server http://\S+/token of registry \S+ answered 503"):
        _with_transport(liar.host, _begin, [])
    assert liar.count("GET", "/token") == SETTINGS.attempts
    _with_tokens(liar, Answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(Unavailable, match="answered 429"):
        _with_transport(liar.host, _begin, [])
    assert liar.count("GET", "/token") == SETTINGS.attempts + 1, "an hour is not waited for"


def test_a_login_does_not_follow_a_token_servers_redirect(liar):
    with LyingRegistry() as other:
        other.on("GET", "/token", Answer(200, b'{"token":"t"}'))
        _with_tokens(liar, Answer(307, b"", {"Location": f"http://{other.host}/token"}))
        with pytest.raises(Unavailable, match="answered 307"):
            _with_transport(liar.host, _begin, [])
        assert other.requests == []
