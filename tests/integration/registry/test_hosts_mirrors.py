"""Mirrors and registries as hosts.toml has them: who is asked, in which order, with what, and for whom."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest
from pydantic import SecretStr

from corten_shared.errors import NotFound, Unavailable
from corten_shared.models.oci import Descriptor
from corten_shared.reference import parse_normalized
from cortend.core.registry import Credentials
from cortend.registry.client import RegistryClient
from cortend.registry.settings import RegistrySettings
from images import make_image, make_layer
from registry_shapes import run_shape
from support_registry import Answer, LyingRegistry, free_port, ranged

IMAGE = make_image([make_layer([("a", b"x" * 100_000)], "none")])
LAYER = Descriptor.model_validate(IMAGE.layers[0].descriptor())
BLOB = f"/v2/app/blobs/{LAYER.digest}"
TAG = "/v2/app/manifests/latest"
BY_DIGEST = f"/v2/app/manifests/{IMAGE.digest}"
LOGIN = Credentials("alice", SecretStr("hunter2"))
BASIC = "Basic " + base64.b64encode(b"alice:hunter2").decode()
SETTINGS = RegistrySettings(backoff=0.001, header_timeout=1, document_timeout=1, idle_timeout=0.3)


@pytest.fixture
def mirror():
    with LyingRegistry() as registry:
        registry.serve_image(IMAGE, "app")
        yield registry


@pytest.fixture
def upstream():
    with LyingRegistry() as registry:
        registry.serve_image(IMAGE, "app")
        yield registry


@pytest.fixture
def write(tmp_path):
    def write(domain, text):
        (tmp_path / "certs.d" / domain).mkdir(parents=True, exist_ok=True)
        (tmp_path / "certs.d" / domain / "hosts.toml").write_text(text)

    return write


@pytest.fixture
def pull(tmp_path):
    """Resolve, read the manifest and the layer, as a pull does."""

    def pull(name, credentials=None, client=None, times=1):
        settings = replace(SETTINGS, directory=str(tmp_path / "certs.d"))

        async def run():
            reference = parse_normalized(name)
            async with (client or RegistryClient(settings)).fetcher(reference, credentials) as fetcher:
                for _ in range(times):
                    found = await fetcher.resolve()
                    assert await fetcher.manifest(found) == IMAGE.manifest
                    async with fetcher.blob(LAYER) as stream:
                        data = b"".join([chunk async for chunk in stream.chunks])
                    assert data == IMAGE.layers[0].blob

        asyncio.run(run())

    return pull


def _asked(server):
    return [request.path.partition("?")[0] for request in server.requests]


def test_a_mirror_is_asked_for_everything_it_may_and_told_for_whom(mirror, upstream, write, pull):
    write(upstream.host, f'[host."http://{mirror.host}"]\ncapabilities = ["pull", "resolve"]')
    pull(f"{upstream.host}/app")
    assert _asked(mirror) == [TAG, BY_DIGEST, BLOB] and upstream.requests == []
    assert all(r.path.endswith(f"?ns={upstream.host.replace(':', '%3A')}") for r in mirror.requests)


def test_a_mirror_that_may_not_resolve_is_not_asked_what_a_tag_means(mirror, upstream, write, pull):
    write(upstream.host, f'[host."http://{mirror.host}"]\ncapabilities = ["pull"]')
    pull(f"{upstream.host}/app")
    assert _asked(upstream) == [TAG] and _asked(mirror) == [BY_DIGEST, BLOB]
    mirror.requests.clear()
    upstream.requests.clear()
    pull(f"{upstream.host}/app@{IMAGE.digest}")
    assert _asked(mirror) == [BY_DIGEST, BY_DIGEST, BLOB] and upstream.requests == []


@pytest.mark.parametrize(
    "answer", [Answer(404), Answer(500), Answer(429, headers={"Retry-After": "50"}), Answer(401), Answer(403)]
)
def test_what_a_mirror_refuses_the_registry_is_asked_at_once(mirror, upstream, write, pull, answer):
    for path in (TAG, BY_DIGEST, BLOB):
        mirror.on("GET", path, answer)
        mirror.on("HEAD", path, answer)
    write(upstream.host, f'[host."http://{mirror.host}"]')
    pull(f"{upstream.host}/app")
    assert _asked(upstream) == [TAG, BY_DIGEST, BLOB]
    assert max(_asked(mirror).count(path) for path in (TAG, BY_DIGEST, BLOB)) <= 2


def test_a_mirror_that_is_down_is_asked_once(upstream, write, pull):
    with LyingRegistry() as counted:
        counted.on("HEAD", TAG, Answer(200, stall=True, promise=10))
        write(upstream.host, f'[host."http://127.0.0.1:{free_port()}"]\n[host."http://{counted.host}"]')
        counted.on("GET", BY_DIGEST, Answer(200, b"", promise=len(IMAGE.manifest)))
        pull(f"{upstream.host}/app", times=2)
        assert _asked(upstream) == [TAG, BY_DIGEST, BLOB] * 2


def test_a_mirror_that_lies_about_a_manifest_is_passed_over(mirror, upstream, write, pull):
    mirror.on("GET", BY_DIGEST, Answer(200, b"x" * len(IMAGE.manifest)))
    write(upstream.host, f'[host."http://{mirror.host}"]')
    pull(f"{upstream.host}/app")
    assert _asked(upstream) == [BY_DIGEST]


def test_a_mirror_that_breaks_off_a_blob_is_avoided_from_then_on(mirror, upstream, write, tmp_path):
    mirror.on("GET", BLOB, Answer(200, b"x" * 10, promise=LAYER.size))
    write(upstream.host, f'[host."http://{mirror.host}"]')
    settings = replace(SETTINGS, directory=str(tmp_path / "certs.d"))

    async def run():
        async with RegistryClient(settings).fetcher(parse_normalized(f"{upstream.host}/app")) as fetcher:
            with pytest.raises(Unavailable):
                async with fetcher.blob(LAYER) as stream:
                    _ = [chunk async for chunk in stream.chunks]
            async with fetcher.blob(LAYER, 10) as stream:
                return stream.offset, b"".join([chunk async for chunk in stream.chunks])

    assert asyncio.run(run()) == (10, IMAGE.layers[0].blob[10:])
    assert mirror.count("GET", BLOB) == 1


def test_when_all_fail_the_answer_that_tells_most_is_shown_with_the_others(upstream, write, pull):
    port = free_port()
    upstream.on("HEAD", TAG, Answer(404))
    upstream.on("GET", TAG, Answer(404))
    write(upstream.host, f'[host."http://127.0.0.1:{port}"]')
    with pytest.raises(NotFound, match="manifest unknown") as caught:
        pull(f"{upstream.host}/app")
    assert f"127.0.0.1:{port}/v2: " in caught.value.hint and "connection refused" in caught.value.hint
    dead = f"127.0.0.1:{port}"
    with LyingRegistry() as lacking:
        write(dead, f'[host."http://{lacking.host}"]')
        with pytest.raises(NotFound, match="manifest unknown"):
            pull(f"{dead}/app")


def test_nobody_who_may_is_said(upstream, write, pull):
    write(upstream.host, f'server = "http://{upstream.host}"\ncapabilities = ["push"]')
    with pytest.raises(Unavailable, match="has the capability 'resolve'"):
        pull(f"{upstream.host}/app")


def test_the_login_goes_to_the_registry_and_not_to_its_mirror(mirror, upstream, write, pull):
    wants = Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    mirror.on("HEAD", TAG, wants)
    mirror.on("GET", TAG, wants)

    def guarded(answer):
        return lambda request: answer if request.headers.get("Authorization") == BASIC else wants

    honest = upstream._scripts["HEAD", TAG][0]
    upstream.on("HEAD", TAG, guarded(honest))
    write(upstream.host, f'[host."http://{mirror.host}"]\ncapabilities = ["pull", "resolve"]')
    pull(f"{upstream.host}/app", LOGIN)
    assert not any("Authorization" in request.headers for request in mirror.requests)
    assert upstream.requests[-1].headers["Authorization"] == BASIC


def test_headers_go_to_their_host_and_to_no_other(mirror, upstream, write, pull):
    with LyingRegistry() as storage:
        storage.on("GET", "/blob", ranged(IMAGE.layers[0].blob))
        mirror.on("GET", BLOB, Answer(307, b"", {"Location": f"http://{storage.host}/blob?sig=1"}))
        write(
            upstream.host,
            f'[host."http://{mirror.host}"]\ncapabilities = ["pull"]\n'
            f'[host."http://{mirror.host}".header]\nAuthorization = "Bearer for-the-mirror"\nX-Two = ["a", "b"]\n',
        )
        pull(f"{upstream.host}/app")
        for request in mirror.requests:
            assert request.headers["Authorization"] == "Bearer for-the-mirror"
        assert "X-Two" in mirror.requests[0].headers
        for other in (*storage.requests, *upstream.requests):
            assert "Authorization" not in other.headers and "X-Two" not in other.headers


def test_a_path_that_overrides_the_apis_own(mirror, upstream, write, pull):
    for (method, path), answers in list(mirror._scripts.items()):
        mirror.on(method, path.replace("/v2/", "/artifacts/docker/"), *answers)
    write(upstream.host, f'[host."http://{mirror.host}/artifacts/docker"]\noverride_path = true')
    pull(f"{upstream.host}/app")
    assert [path.removeprefix("/artifacts/docker/app/") for path in _asked(mirror)] == [
        "manifests/latest", f"manifests/{IMAGE.digest}", f"blobs/{LAYER.digest}",
    ]  # fmt: skip


def test_a_change_is_in_force_at_the_next_pull(mirror, upstream, write, pull, tmp_path):
    client = RegistryClient(replace(SETTINGS, directory=str(tmp_path / "certs.d")))
    pull(f"{upstream.host}/app", client=client)
    assert mirror.requests == []
    write("_default", f'[host."http://{mirror.host}"]')
    pull(f"{upstream.host}/app", client=client)
    assert _asked(mirror) == [TAG, BY_DIGEST, BLOB]
    write("_default", "[host")
    with pytest.raises(Unavailable, match=r"_default/hosts\.toml: "):
        pull(f"{upstream.host}/app", client=client)


def test_a_proxy_is_used_and_what_it_refuses_is_not_asked_directly(mirror, upstream, write, pull):
    for (method, path), answers in list(upstream._scripts.items()):
        mirror.on(method, f"http://{upstream.host}{path}", *answers)  # a proxy is asked for whole addresses
    write(upstream.host, f'server = "http://{upstream.host}"\nproxy = "http://{mirror.host}"')
    pull(f"{upstream.host}/app")
    assert upstream.requests == [] and len(mirror.requests) == 3
    write(upstream.host, f'server = "http://{upstream.host}"\nproxy = "http://127.0.0.1:{free_port()}"')
    with pytest.raises(Unavailable):
        pull(f"{upstream.host}/app")
    assert upstream.requests == []


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    with run_shape("tls", tmp_path_factory.mktemp("tls"), {"app:latest": IMAGE}) as shape:
        yield shape


def test_a_private_ca_in_either_form(tls, write, pull, tmp_path):
    write("_default", f'server = "https://{tls.host}"')
    with pytest.raises(Unavailable, match="failed to verify certificate"):
        pull(f"{tls.host}/app")
    tls.certs(tmp_path / "certs.d")
    pull(f"{tls.host}/app")
    (tmp_path / "certs.d" / tls.host / "ca.crt").unlink()
    write(tls.host, f'server = "https://{tls.host}"\nca = "{tls.folder}/ca.pem"')
    pull(f"{tls.host}/app")


def test_a_certificate_that_is_refused_does_not_end_in_plain_http(tls, write, pull):
    write(tls.host, f'server = "http://{tls.host}"\nca = "/etc/hostname"')
    with pytest.raises(Unavailable, match="cannot use CA file /etc/hostname"):
        pull(f"{tls.host}/app")
    with LyingRegistry() as plain:
        write(tls.host, f'server = "http://{tls.host}"\nclient = "{tls.folder}/both.pem"')
        both = (tls.folder / "client.pem").read_bytes() + (tls.folder / "client.key").read_bytes()
        (tls.folder / "both.pem").write_bytes(both)
        with pytest.raises(Unavailable, match="failed to verify certificate"):
            pull(f"{tls.host}/app")
        assert plain.requests == []


def test_skip_verify_reaches_https_and_plain_http_alike(tls, upstream, write, pull):
    write(tls.host, f'[host."http://{tls.host}"]\nskip_verify = true')
    pull(f"{tls.host}/app")
    write(upstream.host, f'server = "http://{upstream.host}"\nskip_verify = true')
    pull(f"{upstream.host}/app", times=2)


def test_a_registry_on_this_machine_needs_no_word_for_https(tls, pull):
    pull(f"{tls.host}/app", times=2)


def test_a_changed_ca_file_is_read_again(tls, pull, tmp_path):
    tls.certs(tmp_path / "certs.d")
    client = RegistryClient(replace(SETTINGS, directory=str(tmp_path / "certs.d")))
    good = tmp_path / "certs.d" / tls.host / "ca.crt"
    pull(f"{tls.host}/app", client=client)
    kept = good.read_bytes()
    good.write_bytes(b"nothing")
    with pytest.raises(Unavailable, match=r"cannot use CA file .*ca\.crt"):
        pull(f"{tls.host}/app", client=client)
    good.write_bytes(kept)
    pull(f"{tls.host}/app", client=client)


def test_a_client_certificate_is_shown_where_it_is_wanted(pull, write, tmp_path):
    folder = tmp_path / "shape"
    folder.mkdir()
    with run_shape("mtls", folder, {"app:latest": IMAGE}) as shape:
        shape.certs(tmp_path / "certs.d")
        pull(f"{shape.host}/app")
        place = tmp_path / "certs.d" / shape.host
        (place / "client.key").unlink()
        with pytest.raises(Unavailable, match=r"cannot use client certificate .*client\.cert"):
            pull(f"{shape.host}/app")
        (place / "client.cert").unlink()
        with pytest.raises(Unavailable):
            pull(f"{shape.host}/app")
        write(
            shape.host,
            f'ca = "ca.crt"\nclient = [["{shape.folder}/client.pem", "{shape.folder}/client.key"]]',
        )
        pull(f"{shape.host}/app")
