"""hosts.toml and certificate files under a running daemon: a change is in force at the next command."""

from __future__ import annotations

import pytest

import daemon as daemons
from images import make_image, make_layer
from registry_shapes import run_shape
from support_registry import Answer, LyingRegistry, free_port

pytestmark = pytest.mark.root

IMAGE = make_image([make_layer([("hosts", b"x" * 1000)], "none")])


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return tmp_path_factory.mktemp("certs.d")


@pytest.fixture(scope="module")
def daemon(certs):
    with daemons.running(f'[registry]\nconfig_path = "{certs}"\n') as daemon:
        yield daemon


def _write(certs, host, text):
    (certs / host).mkdir(exist_ok=True)
    (certs / host / "hosts.toml").write_text(text)


def test_mirrors_come_and_go_without_a_restart(daemon, certs):
    with LyingRegistry() as mirror:
        mirror.serve_image(IMAGE, "team/app", "1")
        host = f"127.0.0.1:{free_port()}"
        name = f"{host}/team/app:1"
        refused = daemon.corten("pull", name, check=False)
        assert refused.returncode == 1 and b"connection refused" in refused.stderr
        _write(certs, host, f'[host."http://127.0.0.1:{free_port()}"]\n[host."http://{mirror.host}"]\n')
        daemon.corten("pull", name)
        assert all(f"ns={host.replace(':', '%3A')}" in request.path for request in mirror.requests)
        assert daemon.corten("images", "-q", f"{host}/team/app").stdout
        daemon.corten("rmi", name)
        _write(certs, host, f'[host."http://{mirror.host}"]\ncapabilites = ["pull"]\n')
        broken = daemon.corten("pull", name, check=False)
        assert f"{certs}/{host}/hosts.toml: 'host.\"http://{mirror.host}\".capabilites'".encode() in broken.stderr
        assert broken.stderr.count(b"\n") == 1


def test_a_mirror_whose_blob_is_wrong_is_passed_over(daemon, certs):
    blob = f"/v2/lied/blobs/{IMAGE.layers[0].digest}"
    with LyingRegistry() as mirror, LyingRegistry() as upstream:
        mirror.serve_image(IMAGE, "lied")
        upstream.serve_image(IMAGE, "lied")
        mirror.on("GET", blob, Answer(200, b"z" * len(IMAGE.layers[0].blob)))
        _write(certs, upstream.host, f'[host."http://{mirror.host}"]\n')
        daemon.cortenctl("-n", "default", "gc")
        daemon.corten("pull", f"{upstream.host}/lied")
        assert (mirror.count("GET", blob), upstream.count("GET", blob)) == (1, 1)
        daemon.corten("rmi", f"{upstream.host}/lied")
        daemon.cortenctl("-n", "default", "gc")
        upstream.on("GET", blob, Answer(200, b"y" * len(IMAGE.layers[0].blob)))
        refused = daemon.corten("pull", f"{upstream.host}/lied", check=False)
        assert refused.returncode == 1 and IMAGE.layers[0].digest.encode() in refused.stderr


def test_a_client_certificate_serves_login_pull_and_push(daemon, certs, tmp_path):
    folder = tmp_path / "shape"
    folder.mkdir()
    with run_shape("mtls", folder, {"app:1": IMAGE}) as shape:
        name = f"{shape.host}/app:1"
        assert daemon.corten("pull", name, check=False).returncode == 1
        shape.certs(certs)
        env = {"DOCKER_CONFIG": str(tmp_path / "config")}
        daemon.corten("login", "-u", "alice", "--password-stdin", shape.host, input=b"secret", env=env)
        daemon.corten("pull", name, env=env)
        daemon.corten("tag", name, f"{shape.host}/copy:1")
        daemon.corten("push", f"{shape.host}/copy:1", env=env)
        (certs / shape.host / "client.cert").write_text("nothing")
        broken = daemon.corten("push", f"{shape.host}/copy:1", env=env, check=False)
        assert b"cannot use client certificate" in broken.stderr + broken.stdout


def test_info_names_insecure_registries(daemon, certs):
    _write(certs, "open.test_5000_", "skip_verify = true\n")
    assert b"open.test:5000" in daemon.corten("info", "--format", "{{json .RegistryConfig}}").stdout
