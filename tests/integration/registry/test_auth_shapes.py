"""The registry client against docker-registry in its four shapes: who gets in, with what, and who does not."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest
from pydantic import SecretStr

from corten_shared.errors import CortenError, Unauthenticated, Unavailable
from corten_shared.reference import parse_normalized
from cortend.core.registry import Credentials
from cortend.registry.client import RegistryClient
from cortend.registry.settings import RegistryHost, RegistrySettings
from images import make_image, make_layer
from registry_shapes import READER, READER_PASSWORD, SHAPES, run_shape

IMAGE = make_image([make_layer([("a", b"x" * 100_000)], "none")])
FAST = RegistrySettings(backoff=0.001, attempts=1)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Each kind once for the whole module."""
    with ExitStack() as stack:
        started = {}

        def get(kind):
            if kind not in started:
                folder = tmp_path_factory.mktemp(kind)
                started[kind] = stack.enter_context(run_shape(kind, folder, {"app:1": IMAGE}))
            if started[kind].tokens:
                started[kind].tokens.asked.clear()
            return started[kind]

        yield get


def _settings(shape):
    host = RegistryHost(ca_file=str(shape.folder / "ca.pem")) if shape.kind == "tls" else None
    return replace(FAST, hosts={shape.host: host} if host else {})


def _resolve(shape, credentials=None, settings=None):
    async def resolve():
        client = RegistryClient(settings or _settings(shape))
        async with client.fetcher(parse_normalized(f"{shape.host}/app:1"), credentials) as fetcher:
            found = await fetcher.resolve()
            assert await fetcher.manifest(found) == IMAGE.manifest
            return found.digest

    return asyncio.run(resolve())


def _login(shape):
    return Credentials(shape.user, SecretStr(shape.password)) if shape.user else None


@pytest.mark.parametrize("kind", SHAPES)
def test_every_shape_lets_its_user_in(running, kind):
    shape = running(kind)
    assert _resolve(shape, _login(shape)) == IMAGE.digest


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_nobody_else_gets_in_and_no_error_shows_the_password(running, kind):
    shape = running(kind)
    for given in (None, Credentials("alice", SecretStr("Wr0ng-pass")), Credentials("eve", SecretStr("Wr0ng-pass"))):
        with pytest.raises(CortenError) as caught:
            _resolve(shape, given)
        assert shape.host in caught.value.message and "Wr0ng" not in caught.value.message
        assert "\n" not in caught.value.message


def test_an_identity_token_lets_in(running):
    shape = running("token")
    refresh = Credentials(identity_token=SecretStr(shape.tokens.refresh_token()))
    assert _resolve(shape, refresh) == IMAGE.digest
    assert [(a.method, a.grant) for a in shape.tokens.asked] == [("POST", "refresh_token")]
    with pytest.raises(Unauthenticated):
        _resolve(shape, Credentials(identity_token=SecretStr("other")))


def test_one_token_does_for_a_pull_and_the_next(running):
    shape = running("token")

    async def twice():
        client = RegistryClient(FAST)
        for _ in range(2):
            async with client.fetcher(parse_normalized(f"{shape.host}/app:1"), _login(shape)) as fetcher:
                await fetcher.manifest(await fetcher.resolve())

    asyncio.run(twice())
    assert [a.scopes for a in shape.tokens.asked] == [("repository:app:pull",)]


def test_a_login_that_may_only_read_is_told_so_when_it_writes(running):
    shape = running("token")

    async def upload():
        reader = Credentials(READER, SecretStr(READER_PASSWORD))
        scopes = ["repository:app:pull,push", "repository:other:pull"]
        async with RegistryClient(FAST).transport(
            parse_normalized(f"{shape.host}/app:1"), reader, scopes=scopes
        ) as transport:
            await transport.open("POST", "an upload", "blobs/uploads/", {})

    with pytest.raises(CortenError, match="denied: requested access to the resource is denied"):
        asyncio.run(upload())
    assert shape.tokens.asked[0].scopes == ("repository:app:pull,push", "repository:other:pull")


def test_https_with_a_private_ca(running):
    shape = running("tls")
    for host, passes in (
        (RegistryHost(), False),
        (RegistryHost(ca_file=str(shape.folder / "ca.pem")), True),
        (RegistryHost(skip_verify=True), True),
    ):
        settings = replace(FAST, hosts={shape.host: host})
        if passes:
            assert _resolve(shape, settings=settings) == IMAGE.digest
        else:
            with pytest.raises(Unavailable, match="certificate"):
                _resolve(shape, settings=settings)
