"""Pushes through a real daemon: what its APIs and command lines say, and what a client that goes away leaves."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

import corten
from corten.transport import Transport
from daemon import eventually
from holdings import Holdings
from images import BUSYBOX, make_image, make_layer, write_docker_archive
from support_registry import free_port, run_registry
from support_uploads import UploadRegistry

pytestmark = pytest.mark.root

LAYERS = [make_layer([("bin/busybox", BUSYBOX.read_bytes(), 0o755)]), make_layer([("x", b"x" * 10_000)])]
IMAGE = make_image(LAYERS, {"Cmd": ["sh"]})
SHORT = [layer.diff_id[7:19] for layer in LAYERS]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with run_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def daemon(cortend, tmp_path):
    """The file's daemon, with the image `push-me:1`."""
    write_docker_archive(IMAGE, tmp_path / "image.tar", ["push-me:1"])
    cortend.corten("load", "-i", str(tmp_path / "image.tar"))
    before = Holdings.of(cortend).leases
    yield cortend
    assert Holdings.of(cortend).leases <= before


@pytest.fixture
def uploads():
    with UploadRegistry() as server:
        yield server


def tag(daemon, *names):
    for name in names:
        daemon.corten("tag", "push-me:1", name)


def push_over_the_api(daemon, name, query=None, headers=None):
    with daemon.api() as api:
        reply = api.request("POST", f"/images/{name}/push", query=query or {}, headers=headers or {})
        with reply:
            rows = list(reply.json_lines()) if reply.status == 200 else [reply.json()]
        return reply.status, rows


def test_the_engine_api_streams_dockers_rows(daemon, registry):
    tag(daemon, f"{registry.host}/api:1")
    status, rows = push_over_the_api(daemon, f"{registry.host}/api", {"tag": "1"}, {"X-Registry-Auth": "e30="})
    assert status == 200
    assert rows[0] == {"status": f"The push refers to repository [{registry.host}/api]"}
    assert {"status": "Preparing", "id": SHORT[0], "progressDetail": {}} in rows
    assert {"status": "Pushed", "id": SHORT[0], "progressDetail": {}} in rows
    moving = [row for row in rows if row.get("status") == "Pushing"]
    assert all(set(row["progressDetail"]) == {"current", "total"} for row in moving) and moving
    aux = rows[-1]["aux"]
    assert rows[-1]["progressDetail"] == {} and aux["Tag"] == "1"
    assert rows[-2]["status"] == f"1: digest: {aux['Digest']} size: {aux['Size']}"


def test_errors_before_the_first_line_have_a_status_and_later_ones_are_in_the_stream(daemon):
    gone = f"127.0.0.1:{free_port()}/x"
    tag(daemon, f"{gone}:1")
    for name, query, wanted in [
        (f"{gone}", {"tag": "2"}, 404),
        ("x/UPPER", {"tag": "1"}, 400),
        (gone, {"tag": "not a tag"}, 400),
        (f"{gone}@sha256:{'0' * 64}", {}, 400),
        (gone, {"tag": "1", "platform": "linux"}, 400),
        (gone, {"tag": "1", "platform": '{"os":"linux","architecture":"riscv64"}'}, 404),
    ]:
        status, (row,) = push_over_the_api(daemon, name, query)
        assert (status, list(row)) == (wanted, ["message"]), row
    status, rows = push_over_the_api(daemon, gone, {"tag": "1"})
    assert status == 200 and "connection refused" in rows[-1]["error"]
    assert rows[-1]["errorDetail"]["message"] == rows[-1]["error"]


@pytest.mark.parametrize("program", ["corten", "docker"])
def test_the_command_lines_push_one_or_all_tags(daemon, registry, program):
    if program == "docker" and shutil.which("docker") is None:
        pytest.skip("the docker CLI is not installed")
    run = getattr(daemon, program)
    name = f"{registry.host}/cli-{program}"
    tag(daemon, f"{name}:latest", f"{name}:two")
    said = run("push", name).stdout.decode()
    assert said.startswith(f"Using default tag: latest\nThe push refers to repository [{name}]\n")
    assert "latest: digest: sha256:" in said and "two: digest" not in said
    said = run("push", "-a", name).stdout.decode()
    assert f"{SHORT[0]}: Layer already exists" in said
    assert "latest: digest: sha256:" in said and "two: digest: sha256:" in said
    assert run("push", "-q", f"{name}:two").stdout.decode() == f"{name}:two\n"
    for wrong in (["push", f"{name}:none"], ["push", "-a", f"{name}:two"], ["push", f"{name}@sha256:{'0' * 64}"]):
        assert run(*wrong, check=False).returncode == 1


def test_a_platform_is_chosen_on_the_command_line(daemon, registry):
    name = f"{registry.host}/platform:1"
    tag(daemon, name)
    assert b"digest: sha256:" in daemon.corten("push", "--platform", "linux/amd64", name).stdout
    refused = daemon.corten("push", "--platform", "s390x", name, check=False)
    assert refused.returncode == 1 and b"no matching manifest for linux/s390x" in refused.stderr


def test_cortenctl_pushes_images_and_objects(daemon, registry):
    name = f"{registry.host}/ctl:1"
    said = daemon.cortenctl("images", "push", name, "docker.io/library/push-me:1").stdout.decode()
    assert f"The push refers to repository [{registry.host}/ctl]" in said and "1: digest: sha256:" in said
    (pushed,) = json.loads(daemon.cortenctl("-o", "json", "i", "push", name, "push-me:1").stdout)
    assert pushed["tag"] == "1"
    assert daemon.cortenctl("images", "push", "-q", name, "push-me:1").stdout.decode() == f"{pushed['digest']}\n"
    elsewhere = f"{registry.host}/objects:1"
    layer = LAYERS[0].diff_id
    said = daemon.cortenctl("content", "push-object", elsewhere, layer).stdout.decode()
    assert f"{SHORT[0]}: Mounted from" in said or f"{SHORT[0]}: Pushed" in said
    for part in (LAYERS[1].diff_id, IMAGE.id):
        daemon.cortenctl("content", "push-object", elsewhere, part)
    kind = "application/vnd.oci.image.manifest.v1+json"
    said = daemon.cortenctl("content", "push-object", elsewhere, pushed["digest"], kind).stdout.decode()
    assert f"1: digest: {pushed['digest']}" in said
    lost = daemon.cortenctl("content", "push-object", elsewhere, f"sha256:{'0' * 64}", check=False)
    assert lost.returncode == 1 and b"No such content" in lost.stderr


def test_the_native_api_and_the_sdk_push(daemon, registry):
    name = f"{registry.host}/native:1"
    with corten.Client(daemon.host) as client:
        lines = list(client.images.push(name, local="push-me:1"))
        assert lines[0].status == f"The push refers to repository [{registry.host}/native]"
        assert lines[-1].pushed.tag == "1"
        with pytest.raises(corten.NotFound):
            list(client.images.push(name, local="never-was:1"))
        with pytest.raises(corten.InvalidArgument):
            list(client.images.push(name, all_tags=True))
        with pytest.raises(corten.Unavailable):
            list(client.images.push(f"127.0.0.1:{free_port()}/x:1", local="push-me:1"))


def test_a_client_that_hangs_up_ends_the_push_and_the_upload(daemon, uploads):
    holding, release = threading.Event(), threading.Event()

    def hold(method):
        if method == "PUT":
            holding.set()
            release.wait(20)

    uploads.gate = hold
    tag(daemon, f"{uploads.host}/app:1")
    try:
        with Transport(daemon.host) as api:
            reply = api.request("POST", f"/images/{uploads.host}/app/push", query={"tag": "1"})
            rows = reply.json_lines()
            assert next(rows)
            assert holding.wait(20)
            assert Holdings.of(daemon).leases
            reply.close()
        eventually(lambda: not Holdings.of(daemon).leases, "the lease is gone")
    finally:
        release.set()
    assert uploads.manifests == {}
    uploads.gate = lambda method: None
    daemon.corten("push", f"{uploads.host}/app:1")
    assert "1" in uploads.manifests


@pytest.mark.parametrize(("flags", "most"), [([], 5), (["--max-concurrent-uploaded-layers", "2"], 2)])
def test_several_layers_go_at_once_and_no_more(daemon, uploads, tmp_path, flags, most):
    layers = [make_layer([(f"f{number}", b"x" * number)]) for number in range(9)]
    write_docker_archive(make_image(layers), tmp_path / "many.tar", ["many:1"])
    daemon.corten("load", "-i", str(tmp_path / "many.tar"))
    lock, full, enough = threading.Lock(), [0], threading.Event()
    seen = []

    def gate(method):
        if method != "PUT":
            return
        with lock:
            full[0] += 1
            seen.append(full[0])
            if full[0] == most:
                enough.set()
        enough.wait(5)
        with lock:
            full[0] -= 1

    uploads.gate = gate
    daemon.cortenctl("images", "push", *flags, f"{uploads.host}/many:1", "many:1")
    assert max(seen) == most
    assert len(uploads.blobs) == 10
