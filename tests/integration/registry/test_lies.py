"""A registry that lies, breaks, stalls or refuses: one clear error each, nothing believed."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from pydantic import SecretStr

from corten_shared.errors import (
    CortenError,
    DataLoss,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from corten_shared.models import oci
from corten_shared.models.oci import Descriptor
from corten_shared.reference import parse_normalized
from cortend.core.limits import MAX_MANIFEST, MAX_REDIRECTS
from cortend.core.registry import Credentials
from cortend.registry.client import RegistryClient
from cortend.registry.settings import RegistrySettings
from images import make_image, make_layer
from support_registry import Answer, LyingRegistry, free_port, ranged

IMAGE = make_image([make_layer([("a", b"x" * 100_000)], "none")])
LAYER = Descriptor.model_validate(IMAGE.layers[0].descriptor())
BLOB = f"/v2/app/blobs/{LAYER.digest}"
MANIFEST = "/v2/app/manifests/latest"
LOGIN = Credentials("alice", SecretStr("hunter2-password"))
SETTINGS = RegistrySettings(backoff=0.001, header_timeout=0.3, document_timeout=0.3, idle_timeout=0.3, longest_wait=2)


@pytest.fixture
def liar():
    with LyingRegistry() as registry:
        registry.serve_image(IMAGE, "app")
        yield registry


def _use(host, use, credentials=None, client=None, name="app"):
    async def run():
        registries = client or RegistryClient(SETTINGS)
        async with registries.fetcher(parse_normalized(f"{host}/{name}"), credentials) as fetcher:
            return await use(fetcher)

    return asyncio.run(run())


async def _resolve(fetcher):
    return await fetcher.resolve()


async def _read(fetcher, offset=0):
    async with fetcher.blob(LAYER, offset) as stream:
        return stream.offset, b"".join([chunk async for chunk in stream.chunks])


def _manifest(descriptor):
    return lambda fetcher: fetcher.manifest(descriptor)


def test_the_honest_liar_serves(liar):
    assert _use(liar.host, _resolve).digest == IMAGE.digest
    assert _use(liar.host, _read) == (0, IMAGE.layers[0].blob)


def test_a_manifest_with_other_bytes_is_refused(liar):
    descriptor = _use(liar.host, _resolve)
    liar.on("GET", f"/v2/app/manifests/{IMAGE.digest}", Answer(200, IMAGE.manifest.replace(b"2", b"3", 1)))
    with pytest.raises(DataLoss, match=f"expected {IMAGE.digest}"):
        _use(liar.host, _manifest(descriptor))


def test_a_manifest_of_another_length_is_refused(liar):
    descriptor = _use(liar.host, _resolve)
    liar.on("GET", f"/v2/app/manifests/{IMAGE.digest}", Answer(200, IMAGE.manifest[:-1]))
    with pytest.raises(DataLoss, match="instead of"):
        _use(liar.host, _manifest(descriptor))


def test_a_header_that_contradicts_the_body_is_refused(liar):
    wrong = {"Docker-Content-Digest": "sha256:" + "0" * 64, "Content-Type": oci.OCI_MANIFEST}
    liar.on("HEAD", MANIFEST, Answer(405))
    liar.on("GET", MANIFEST, Answer(200, IMAGE.manifest, wrong))
    with pytest.raises(DataLoss, match="does not have the digest"):
        _use(liar.host, _resolve)


def test_a_registry_without_head_is_asked_with_get(liar):
    liar.on("HEAD", MANIFEST, Answer(405))
    assert _use(liar.host, _resolve).digest == IMAGE.digest


def test_a_digest_reference_is_not_answered_by_another_manifest(liar):
    digest = "sha256:" + "1" * 64
    headers = {"Content-Type": oci.OCI_MANIFEST}
    liar.on("GET", f"/v2/app/manifests/{digest}", Answer(200, IMAGE.manifest, headers))
    with pytest.raises(DataLoss, match=digest):
        _use(liar.host, _resolve, name=f"app@{digest}")


def test_an_endless_manifest_is_cut_off(liar):
    liar.on("HEAD", MANIFEST, Answer(405))
    liar.on("GET", MANIFEST, Answer(200, b"[" * 65536, {"Content-Type": oci.OCI_MANIFEST}, endless=True))
    with pytest.raises((ResourceExhausted, Unavailable)) as caught:
        client = RegistryClient(RegistrySettings(backoff=0.001, document_timeout=60))
        _use(liar.host, _resolve, client=client)
    assert str(MAX_MANIFEST) in caught.value.message


def test_a_huge_document_is_refused_before_it_is_fetched(liar):
    descriptor = Descriptor(mediaType=oci.OCI_CONFIG, digest=IMAGE.id, size=MAX_MANIFEST + 1)
    with pytest.raises(InvalidArgument, match=str(MAX_MANIFEST)):
        _use(liar.host, _manifest(descriptor))
    assert liar.count("GET", f"/v2/app/blobs/{IMAGE.id}") == 0


def test_schema_1_gets_a_word_of_its_own(liar):
    headers = {"Content-Type": oci.DOCKER_SCHEMA1_SIGNED}
    liar.on("HEAD", MANIFEST, Answer(200, b"", headers))
    liar.on("GET", MANIFEST, Answer(200, b'{"schemaVersion":1}', headers))
    with pytest.raises(InvalidArgument, match="schema 1, which is no longer supported"):
        _use(liar.host, _resolve)


def test_an_endless_blob_is_cut_off_at_its_size(liar):
    liar.on("GET", BLOB, Answer(200, b"z" * 65536, endless=True))
    with pytest.raises(DataLoss, match=f"more than the {LAYER.size} bytes"):
        _use(liar.host, _read)


def test_a_truncated_blob_says_so(liar):
    liar.on("GET", BLOB, Answer(200, IMAGE.layers[0].blob[:1000]))
    with pytest.raises(Unavailable, match=f"{LAYER.size - 1000} bytes early"):
        _use(liar.host, _read)


def test_a_broken_connection_is_an_error_of_the_registry(liar):
    liar.on("GET", BLOB, Answer(200, IMAGE.layers[0].blob[:1000], promise=LAYER.size))
    with pytest.raises(Unavailable, match=liar.host):
        _use(liar.host, _read)


def test_a_blob_that_stalls_times_out(liar):
    liar.on("GET", BLOB, Answer(200, IMAGE.layers[0].blob[:1000], promise=LAYER.size, stall=True))
    with pytest.raises(Unavailable, match="timeout while waiting"):
        _use(liar.host, _read)


def test_headers_that_never_come_time_out():
    async def run():
        gone = asyncio.Event()

        async def silent(reader, writer):
            await reader.read()
            writer.close()
            await writer.wait_closed()
            gone.set()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = RegistrySettings(attempts=1, connect_timeout=0.1, header_timeout=0.1)
        async with server:
            try:
                async with RegistryClient(settings).fetcher(parse_normalized(f"127.0.0.1:{port}/app")) as fetcher:
                    await fetcher.resolve()
            finally:
                await gone.wait()

    with pytest.raises(Unavailable, match=r'Head "http://127.0.0.1:\d+/v2/app/manifests/latest": timeout'):
        asyncio.run(run())


def test_nobody_there_is_said_in_one_line():
    port = free_port()
    with pytest.raises(Unavailable) as caught:
        _use(f"127.0.0.1:{port}", _resolve)
    url = f"http://127.0.0.1:{port}/v2/app/manifests/latest"
    assert caught.value.message == f'Head "{url}": dial tcp 127.0.0.1:{port}: connect: connection refused'


def test_a_range_is_continued(liar):
    assert _use(liar.host, lambda f: _read(f, 60_000)) == (60_000, IMAGE.layers[0].blob[60_000:])


def test_a_registry_without_ranges_starts_over(liar):
    liar.on("GET", BLOB, Answer(200, IMAGE.layers[0].blob))
    assert _use(liar.host, lambda f: _read(f, 60_000)) == (0, IMAGE.layers[0].blob)


def test_a_range_that_cannot_be_satisfied_starts_over(liar):
    liar.on("GET", BLOB, Answer(416), ranged(IMAGE.layers[0].blob))
    assert _use(liar.host, lambda f: _read(f, LAYER.size)) == (0, IMAGE.layers[0].blob)


@pytest.mark.parametrize("given", ["bytes 5-6/7", "bytes 0-6/7", "bytes 60000", ""])
def test_a_wrong_range_starts_over(liar, given):
    liar.on("GET", BLOB, Answer(206, b"xx", {"Content-Range": given}), Answer(200, IMAGE.layers[0].blob))
    assert _use(liar.host, lambda f: _read(f, 60_000)) == (0, IMAGE.layers[0].blob)


def test_a_part_that_nobody_asked_for_is_refused(liar):
    liar.on("GET", BLOB, Answer(206, b"xx", {"Content-Range": "bytes 5-6/7"}))
    with pytest.raises(Unavailable, match="answered a range from 0 with bytes 5-6/7"):
        _use(liar.host, lambda f: _read(f, 60_000))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_trouble_is_tried_again(liar, status):
    liar.on("GET", BLOB, Answer(status), Answer(status, b"", {"Retry-After": "0"}), ranged(IMAGE.layers[0].blob))
    assert _use(liar.host, _read)[1] == IMAGE.layers[0].blob
    assert liar.count("GET", BLOB) == 3


@pytest.mark.parametrize(("status", "cls"), [(429, ResourceExhausted), (503, Unavailable)])
def test_lasting_trouble_ends_in_one_line(liar, status, cls):
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow \\u001b[31mdown"}]}'
    liar.on("GET", BLOB, Answer(status, body))
    with pytest.raises(cls, match=rf"registry {liar.host} answered {status}") as caught:
        _use(liar.host, _read)
    assert liar.count("GET", BLOB) == SETTINGS.attempts
    assert caught.value.message.isprintable()


def test_a_long_retry_after_is_not_waited_for(liar):
    liar.on("GET", BLOB, Answer(429, b"", {"Retry-After": "86400"}))
    with pytest.raises(ResourceExhausted):
        _use(liar.host, _read)
    assert liar.count("GET", BLOB) == 1


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_plain_refusal_is_not_tried_again(liar, status):
    liar.on("GET", BLOB, Answer(status))
    with pytest.raises(CortenError):
        _use(liar.host, _read)
    assert liar.count("GET", BLOB) == 1


# -- redirects ---------------------------------------------------------------------------------------------------


def test_a_blob_elsewhere_is_followed_without_the_login(liar):
    with LyingRegistry() as storage:
        storage.on("GET", "/signed", ranged(IMAGE.layers[0].blob))
        _want_basic(liar, BLOB, Answer(307, b"", {"Location": f"http://{storage.host}/signed?sig=1"}))
        assert _use(liar.host, _read, LOGIN)[1] == IMAGE.layers[0].blob
        assert "Authorization" not in storage.requests[0].headers
    assert "Authorization" in liar.requests[-1].headers


def test_endless_redirects_end(liar):
    liar.on("GET", BLOB, Answer(302, b"", {"Location": BLOB}))
    with pytest.raises(Unavailable, match=f"redirects more than {MAX_REDIRECTS} times"):
        _use(liar.host, _read, client=RegistryClient(RegistrySettings(attempts=1)))
    assert liar.count("GET", BLOB) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "http://u:p@127.0.0.1/x", "http://a:x/"])
def test_a_redirect_to_anything_but_http_is_refused(liar, target):
    liar.on("GET", BLOB, Answer(302, b"", {"Location": target}))
    with pytest.raises(Unavailable, match=r"redirects to|Invalid URL in location"):
        _use(liar.host, _read, client=RegistryClient(RegistrySettings(attempts=1)))


def test_what_a_redirects_target_says_is_not_shown(liar):
    with LyingRegistry() as inner:
        inner.on("GET", "/secret", Answer(404, b'{"errors":[{"code":"X","message":"internal secret"}]}'))
        liar.on("GET", BLOB, Answer(302, b"", {"Location": f"http://{inner.host}/secret"}))
        with pytest.raises(NotFound) as caught:
            _use(liar.host, _read)
    assert "internal secret" not in caught.value.message


# -- logins ------------------------------------------------------------------------------------------------------


def _want_basic(liar, path, good):
    wanted = "Basic " + base64.b64encode(b"alice:hunter2-password").decode()
    challenge = Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    liar.on("GET", path, lambda r: good if r.headers.get("Authorization") == wanted else challenge)


def _want_token(liar, path, token, good, realm=None):
    header = f'Bearer realm="{realm or f"http://{liar.host}/token"}",service="reg",scope="repository:other:push"'
    challenge = Answer(401, b"", {"WWW-Authenticate": header})
    liar.on("GET", path, lambda r: good if r.headers.get("Authorization") == f"Bearer {token}" else challenge)


def _issue(token, **more):
    return Answer(200, json.dumps({"token": token, **more}).encode())


def test_a_token_is_fetched_for_this_repository_and_reused(liar):
    _want_token(liar, BLOB, "t1", Answer(200, IMAGE.layers[0].blob))
    liar.on("GET", "/token", _issue("t1"))
    client = RegistryClient(SETTINGS)
    for _ in range(2):
        assert _use(liar.host, _read, LOGIN, client)[1] == IMAGE.layers[0].blob
    asked = [r for r in liar.requests if r.path.startswith("/token")]
    assert len(asked) == 1
    assert "scope=repository%3Aapp%3Apull" in asked[0].path and "other" not in asked[0].path
    assert "service=reg" in asked[0].path and asked[0].headers["Authorization"].startswith("Basic ")


def test_an_anonymous_pull_asks_for_a_token_without_login(liar):
    _want_token(liar, BLOB, "anon", Answer(200, IMAGE.layers[0].blob))
    liar.on("GET", "/token", Answer(200, b'{"access_token":"anon"}'))
    assert _use(liar.host, _read)[1] == IMAGE.layers[0].blob
    assert "Authorization" not in next(r for r in liar.requests if r.path.startswith("/token")).headers


def test_a_refused_token_is_renewed(liar):
    _want_token(liar, BLOB, "t1", Answer(200, IMAGE.layers[0].blob))
    liar.on("GET", "/token", _issue("t1"), _issue("t2"))
    client = RegistryClient(SETTINGS)
    assert _use(liar.host, _read, None, client)[1] == IMAGE.layers[0].blob
    _want_token(liar, BLOB, "t2", Answer(200, IMAGE.layers[0].blob))
    assert _use(liar.host, _read, None, client)[1] == IMAGE.layers[0].blob
    assert liar.count("GET", "/token") == 2


def test_a_login_that_never_helps_ends(liar):
    _want_token(liar, BLOB, "never", Answer(200))
    liar.on("GET", "/token", lambda r: _issue(f"t{len(liar.requests)}"))
    with pytest.raises(Unauthenticated, match="wants a login"):
        _use(liar.host, _read)
    assert liar.count("GET", BLOB) == 3


def test_an_identity_token_is_exchanged(liar):
    _want_token(liar, BLOB, "t2", Answer(200, IMAGE.layers[0].blob))
    liar.on("POST", "/token", _issue("t2"))
    login = Credentials(identity_token=SecretStr("refresh&me"))
    assert _use(liar.host, _read, login)[1] == IMAGE.layers[0].blob
    body = next(r for r in liar.requests if r.method == "POST").body
    assert b"grant_type=refresh_token" in body and b"refresh_token=refresh%26me" in body


@pytest.mark.parametrize(
    "realm", ["file:///etc/passwd", "javascript:alert(1)", "http://u:p@127.0.0.1/t", "//", "http://a:x/"]
)
def test_a_token_server_that_is_no_web_address_is_refused(liar, realm):
    _want_token(liar, BLOB, "x", Answer(200), realm=realm)
    with pytest.raises(Unavailable, match="names no usable token server"):
        _use(liar.host, _read, LOGIN, RegistryClient(RegistrySettings(attempts=1)))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"token":5}', b'{"token":"a\\r\\nX-Evil: 1"}', b'{"token":""}', b'{"token":"\\u00e9"}',
        b'{"token":"' + b"a" * 40_000 + b'"}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_an_unusable_token_is_refused(liar, body):
    _want_token(liar, BLOB, "x", Answer(200))
    liar.on("GET", "/token", Answer(200, body))
    with pytest.raises(Unavailable, match="sent no usable token"):
        _use(liar.host, _read, None, RegistryClient(RegistrySettings(attempts=1)))


def test_an_endless_token_is_cut_off(liar):
    _want_token(liar, BLOB, "x", Answer(200))
    liar.on("GET", "/token", Answer(200, b"a" * 65536, endless=True))
    with pytest.raises(ResourceExhausted, match="token from"):
        _use(liar.host, _read, None, RegistryClient(RegistrySettings(attempts=1)))


@pytest.mark.parametrize("status", [400, 401])
def test_a_wrong_password_is_said_without_showing_it(liar, status):
    _want_token(liar, BLOB, "x", Answer(200))
    liar.on("GET", "/token", Answer(status))
    with pytest.raises(Unauthenticated, match="incorrect username or password") as caught:
        _use(liar.host, _read, LOGIN)
    assert "hunter2" not in caught.value.message and "hunter2" not in repr(LOGIN)


def test_a_token_that_does_not_reach_is_a_denial_in_dockers_words(liar):
    header = f'Bearer realm="http://{liar.host}/token",error="insufficient_scope"'
    liar.on("GET", MANIFEST, Answer(401, b"", {"WWW-Authenticate": header}))
    liar.on("HEAD", MANIFEST, Answer(405))
    liar.on("GET", "/token", _issue("weak"))
    with pytest.raises(NotFound) as caught:
        _use(liar.host, _resolve)
    assert caught.value.message == (
        f"pull access denied for {liar.host}/app, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )


def test_a_token_given_by_the_user_is_used_as_it_is(liar):
    _want_token(liar, BLOB, "mine", Answer(200, IMAGE.layers[0].blob))
    assert _use(liar.host, _read, Credentials(registry_token=SecretStr("mine")))[1] == IMAGE.layers[0].blob
    assert liar.count("GET", "/token") == 0


def test_cancelling_frees_the_connection(liar):
    liar.on("GET", BLOB, Answer(200, b"x", promise=LAYER.size, stall=True))

    async def run():
        client = RegistryClient(RegistrySettings())
        async with client.fetcher(parse_normalized(f"{liar.host}/app")) as fetcher:
            started = asyncio.Event()

            async def read():
                async with fetcher.blob(LAYER) as stream:
                    async for _ in stream.chunks:
                        started.set()

            task = asyncio.create_task(read())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
