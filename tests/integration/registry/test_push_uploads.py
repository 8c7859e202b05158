"""Uploads that break, are refused, or go somewhere else: what is sent again, and to whom."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from pydantic import SecretStr

from corten_shared.errors import DataLoss, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from corten_shared.models import oci
from corten_shared.models.oci import Descriptor
from corten_shared.reference import parse_normalized
from cortend.core.registry import Credentials
from cortend.registry.client import RegistryClient
from cortend.registry.settings import RegistrySettings, UploadSettings
from cortend.registry.upload import PIECE
from images import digest_of
from support_registry import Answer, LyingRegistry, registry_fixture  # noqa: F401 (a fixture)
from support_uploads import UploadRegistry, cutting_proxy

SIZE = 1_000_000
DATA = bytes(range(256)) * (SIZE // 256) + b"end"
BLOB = Descriptor(mediaType=oci.OCI_LAYER, digest=digest_of(DATA), size=len(DATA))
LOGIN = Credentials("alice", SecretStr("hunter2-password"))
QUICK = RegistrySettings(
    backoff=0.001, header_timeout=5, idle_timeout=5, longest_wait=2, upload=UploadSettings(0, attempts=3, pause=0.001)
)


def chunked(size):
    return replace(QUICK, upload=QUICK.upload._replace(chunk_size=size))


async def read(offset, size):
    return DATA[offset : offset + size]


def use(host, work, settings=QUICK, credentials=None):
    async def run():
        async with RegistryClient(settings).pusher(parse_normalized(f"{host}/app"), credentials) as pusher:
            return await work(pusher)

    return asyncio.run(run())


def upload(host, settings=QUICK, credentials=None):
    """Send the blob; what progress was told."""
    told = []
    use(host, lambda pusher: pusher.upload(BLOB, read, told.append), settings, credentials)
    return told


@pytest.fixture
def server():
    with UploadRegistry() as registry:
        yield registry


def test_a_small_blob_goes_in_one_request(server):
    told = upload(server.host, chunked(len(DATA)))
    assert server.blobs == {BLOB.digest: DATA}
    assert server.methods("POST", "PUT", "PATCH") == ["POST", "PUT"]
    assert told == sorted(told) and told[-1] == len(DATA)


def test_a_large_blob_goes_in_chunks_that_say_where_they_belong(server):
    upload(server.host, chunked(400_000))
    assert server.blobs == {BLOB.digest: DATA}
    assert server.methods("POST", "PUT", "PATCH") == [
        "POST", "PATCH 0-399999", "PATCH 400000-799999", f"PATCH 800000-{len(DATA) - 1}", "PUT"
    ]  # fmt: skip


@pytest.mark.parametrize("chunk", [0, 400_000])
def test_no_more_than_a_piece_is_ever_in_memory(server, chunk):
    asked = []

    async def watched(offset, size):
        asked.append((offset, size))
        return DATA[offset : offset + size]

    use(server.host, lambda pusher: pusher.upload(BLOB, watched, lambda sent: None), chunked(chunk))
    assert max(size for _, size in asked) <= PIECE < len(DATA)
    assert sum(size for _, size in asked) == len(DATA)


def test_an_empty_blob_is_a_blob(server):
    empty = Descriptor(mediaType=oci.OCI_LAYER, digest=digest_of(b""), size=0)
    use(server.host, lambda pusher: pusher.upload(empty, read, lambda sent: None))
    assert server.blobs == {empty.digest: b""}


@pytest.mark.parametrize("settings", [chunked(600_000), QUICK], ids=["chunks", "one request"])
def test_a_broken_connection_goes_on_where_it_stopped(server, settings):
    server.cuts = [300_000, 100_000]
    told = upload(server.host, settings)
    assert server.blobs == {BLOB.digest: DATA}
    assert len(server.methods("POST")) == 1
    resumed = [line.partition(" ")[2].partition("-")[0] for line in server.methods("PATCH")]
    assert {"300000", "400000"} <= set(resumed)
    assert 300_000 in told and told[-1] == len(DATA)


def test_an_answer_that_is_lost_after_the_last_byte_is_asked_for(server):
    server.silent = True
    upload(server.host)
    assert server.methods("POST", "PUT", "PATCH", "HEAD") == ["POST", "PUT", "HEAD"]


def test_a_lost_session_is_begun_anew(server):
    def forget(method):
        if method == "GET":
            server.sessions["1"] = None

    server.cuts = [300_000]
    server.gate = forget
    upload(server.host)
    assert server.blobs == {BLOB.digest: DATA}
    assert len(server.methods("POST")) == 2


def test_a_registry_that_takes_no_chunks_gets_the_blob_whole(server):
    server.chunks = False
    upload(server.host, chunked(100_000))
    assert server.blobs == {BLOB.digest: DATA}
    assert server.methods("POST", "PUT", "PATCH", "DELETE") == ["POST", "PATCH 0-99999", "DELETE", "POST", "PUT"]
    assert list(server.sessions) == ["2"]


def test_it_gives_up_after_its_attempts_and_drops_the_session(server):
    server.cuts = [100_000] * 10
    with pytest.raises(Unavailable):
        upload(server.host)
    assert server.sessions == {} and server.blobs == {}
    assert len(server.methods("GET")) == 2


def test_a_busy_registry_is_asked_again_when_it_says(server):
    server.refusals = [("PATCH", 429, {"Retry-After": "1"}), ("POST", 503, {}), ("PUT", 500, {})]
    upload(server.host, chunked(600_000))
    assert server.blobs == {BLOB.digest: DATA}


def test_a_registry_that_stays_busy_says_so(server):
    server.refusals = [("POST", 429, {})] * 20
    with pytest.raises(ResourceExhausted, match="toomanyrequests"):
        upload(server.host)


def test_a_proxys_refusal_of_large_requests_says_what_to_do(server):
    server.refusals = [("PUT", 413, {})] * 20
    with pytest.raises(InvalidArgument, match="413") as caught:
        upload(server.host)
    assert "push.chunk_size" in caught.value.hint


def test_an_upload_that_is_given_up_is_dropped_in_the_registry(server):
    arrived = threading.Event()
    release = threading.Event()

    def hold(method):
        if method == "PUT":
            arrived.set()
            release.wait(10)

    server.gate = hold

    async def work(pusher):
        task = asyncio.create_task(pusher.upload(BLOB, read, lambda sent: None))
        await asyncio.to_thread(arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        use(server.host, work)
        assert server.methods("DELETE") == ["DELETE"]
    finally:
        release.set()


def test_credentials_stay_at_the_registry_wherever_the_upload_goes(server):
    with UploadRegistry() as other:
        server.refusals = [("POST", 401, {"WWW-Authenticate": 'Basic realm="x"'})]
        server.elsewhere = f"http://{other.host}"
        other.sessions = server.sessions
        upload(server.host, chunked(600_000), LOGIN)
        assert other.blobs == {BLOB.digest: DATA}
        assert any("Authorization" in headers for headers in server.headers)
        assert not any("Authorization" in headers for headers in other.headers)


def test_a_short_file_is_found_out(server):
    longer = BLOB.model_copy(update={"size": len(DATA) + 5})
    with pytest.raises(DataLoss, match="is shorter than"):
        use(server.host, lambda pusher: pusher.upload(longer, read, lambda sent: None))
    assert server.blobs == {}


@pytest.mark.parametrize("range", ["0-99999999999", "0-10", "bytes", "-5", "5-3"])
def test_what_a_registry_claims_to_have_is_believed_only_as_far_as_it_can_be(range):
    """Whatever it says, the upload ends: with an error, or with the blob."""
    session = "/v2/app/blobs/uploads/1"
    with LyingRegistry() as liar:
        liar.on("POST", "/v2/app/blobs/uploads/", Answer(202, b"", {"Location": session}))
        liar.on("PATCH", session, Answer(202, b"", {"Location": session, "Range": range}))
        liar.on("GET", session, Answer(204, b"", {"Location": session, "Range": range}))
        liar.on("PUT", session, Answer(404))
        liar.on("DELETE", session, Answer(204))
        with pytest.raises(Unavailable):
            upload(liar.host, chunked(600_000))
        assert liar.count("PATCH", session) < 20


@pytest.mark.parametrize("location", [None, "", "ftp://x/y", "http://", "http://[", "//user:pw@127.0.0.1:1/x"])
def test_an_upload_without_a_usable_address_fails(location):
    with LyingRegistry() as liar:
        headers = {} if location is None else {"Location": location}
        liar.on("POST", "/v2/app/blobs/uploads/", Answer(202, b"", headers))
        with pytest.raises(Unavailable):
            upload(liar.host)


def test_a_registry_that_takes_a_manifest_for_another_is_found_out():
    data = b'{"schemaVersion":2}'
    manifest = Descriptor(mediaType=oci.OCI_MANIFEST, digest=digest_of(data), size=len(data))
    with LyingRegistry() as liar:
        wrong = {"Docker-Content-Digest": "sha256:" + "0" * 64}
        liar.on("PUT", "/v2/app/manifests/1", Answer(201, b"", wrong))
        with pytest.raises(DataLoss, match=f"took {manifest.digest} as sha256:000"):
            use(liar.host, lambda pusher: pusher.put(manifest, data, "1"))


def test_a_mount_that_is_refused_with_an_error_leaves_the_rest_possible():
    with LyingRegistry() as liar:
        liar.on("POST", "/v2/app/blobs/uploads/", Answer(403))

        async def work(pusher):
            return [await pusher.mount(BLOB, "other"), await pusher.has(BLOB)]

        assert use(liar.host, work) == [False, False]


def test_an_unknown_repository_is_named():
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}'
    with LyingRegistry() as liar:
        liar.on("POST", "/v2/app/blobs/uploads/", Answer(404, body))
        with pytest.raises(NotFound, match=f"repository {liar.host}/app not found"):
            upload(liar.host)


@pytest.mark.parametrize("chunk", [0, 300_000])
@pytest.mark.parametrize("limits", [[1000], [500_000], [900_000, 400_000, 900_000]], ids=["early", "middle", "thrice"])
def test_docker_registry_behind_a_line_that_breaks_gets_it_all(registry, chunk, limits):
    settings = replace(chunked(chunk), upload=UploadSettings(chunk, attempts=8, pause=0.001))
    with cutting_proxy(registry.host, limits) as host:
        upload(host, settings)
        assert use(registry.host, lambda pusher: pusher.has(BLOB))
        assert limits == [] or chunk


def test_docker_registry_resumes_at_the_chunk_that_did_not_arrive(registry):
    """Between chunks it keeps what it has: here the second one is refused on the way, and only that is sent again."""
    sent = []
    refused = []

    async def counting(offset, size):
        sent.append(offset)
        if offset >= 400_000 and not refused:
            refused.append(offset)
            raise Unavailable("the line broke")
        return DATA[offset : offset + size]

    use(registry.host, lambda pusher: pusher.upload(BLOB, counting, lambda n: None), chunked(400_000))
    assert use(registry.host, lambda pusher: pusher.has(BLOB))
    assert refused == [400_000] and sent.count(0) == 1
