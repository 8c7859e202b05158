"""`corten login` and what both clients do with it, against registries in their four shapes and a real daemon."""

from __future__ import annotations

import json
import os
import pty
import shutil
import stat
import subprocess
from contextlib import ExitStack

import pytest

from daemon import BIN
from images import make_image, make_layer
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


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    return tmp_path / "config" / "config.json"


def _gone(cortend, name):
    cortend.corten("rmi", "-f", name, check=False)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_login_serves_pull_and_push_of_both_clients(cortend, running, config, kind):
    shape = running(kind)
    name = f"{shape.host}/app:1"
    if shape.user:
        refused = cortend.corten("pull", name, check=False)
        assert refused.returncode == 1 and b"corten login" in refused.stderr
        assert cortend.cortenctl("-n", "default", "images", "pull", name, check=False).returncode == 1
    done = cortend.corten("login", "-u", "alice", "--password-stdin", shape.host, input=b"secret\n")
    assert done.stdout == b"Login Succeeded\n"
    assert (b"stored unencrypted" in done.stderr) is (kind != "token"), "an identity token is no password"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert ("identitytoken" in json.loads(config.read_text())["auths"][shape.host]) is (kind == "token")
    cortend.corten("pull", name)
    _gone(cortend, name)
    cortend.cortenctl("-n", "default", "images", "pull", name)
    fetched = cortend.cortenctl("-n", "default", "content", "fetch-object", name)
    assert fetched.stdout == IMAGE.manifest
    cortend.corten("tag", name, f"{shape.host}/copy/{kind}:1")
    cortend.corten("push", f"{shape.host}/copy/{kind}:1")
    cortend.cortenctl("-n", "default", "images", "push", f"{shape.host}/copy/{kind}:2", name)
    cortend.corten("logout", shape.host)
    assert json.loads(config.read_text()) == {"auths": {}}
    _gone(cortend, name)
    _gone(cortend, f"{shape.host}/copy/{kind}:1")
    if shape.user:
        assert cortend.corten("pull", name, check=False).returncode == 1
        cortend.cortenctl("-n", "default", "images", "pull", "--user", "alice:secret", name)
        _gone(cortend, name)


def test_what_docker_has_kept_corten_uses_and_the_other_way_round(cortend, running, config):
    shape = running("basic")
    docker = shutil.which("docker")
    subprocess.run(
        [docker, "-H", cortend.host, "login", "-u", "alice", "--password-stdin", shape.host],
        input=b"secret", capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    kept = json.loads(config.read_text())
    cortend.corten("pull", f"{shape.host}/app:1")
    _gone(cortend, f"{shape.host}/app:1")
    cortend.corten("logout", shape.host)
    cortend.corten("login", "-u", "alice", "--password-stdin", shape.host, input=b"secret")
    assert json.loads(config.read_text()) == kept
    subprocess.run(
        [docker, "-H", cortend.host, "pull", f"{shape.host}/app:1"], capture_output=True, check=True, timeout=30
    )
    _gone(cortend, f"{shape.host}/app:1")


def test_a_wrong_password_is_not_kept(cortend, running, config):
    shape = running("basic")
    done = cortend.corten("login", "-u", "alice", "-p", "Wr0ng", shape.host, check=False)
    assert done.returncode == 1 and not config.exists()
    assert done.stderr.startswith(b"WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    assert b"401 Unauthorized" in done.stderr and b"Wr0ng" not in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["login"], b"Error: Cannot perform an interactive login from a non TTY device\n"),
        (["login", "-u", "a", "x.test"], b"Error: Cannot perform an interactive login from a non TTY device\n"),
        (["login", "--password-stdin"], b"the --password-stdin option requires --username to be set\n"),
        (
            ["login", "-u", "a", "-p", "b", "--password-stdin"],
            b"conflicting options: cannot specify both --password and --password-stdin\n",
        ),
    ],
)
def test_mistakes_are_told_in_dockers_words(cortend, config, args, said):
    done = cortend.corten(*args, check=False)
    assert (done.returncode, done.stderr) == (1, said)


def test_a_kept_login_is_tried_first_and_asked_for_anew_when_it_is_no_longer_good(cortend, running, config):
    shape = running("basic")
    cortend.corten("login", "-u", "alice", "--password-stdin", shape.host, input=b"secret")
    done = cortend.corten("login", shape.host)
    assert done.stdout == b"Login Succeeded\n"
    assert done.stderr.startswith(b"Authenticating with existing credentials... [Username: alice]\n")
    config.write_text(json.dumps({"auths": {shape.host: {"auth": "YWxpY2U6d3Jvbmc="}}}))
    answers = {b"Username (alice): ": b"\n", b"Password: ": b"secret\n"}
    code, shown = _on_a_terminal(cortend, ["login", shape.host], answers)
    assert code == 0 and b"Stored credentials invalid or expired" in shown and b"Login Succeeded" in shown
    assert b"secret" not in shown, "a password is not echoed"
    assert json.loads(config.read_text())["auths"][shape.host] == {"auth": "YWxpY2U6c2VjcmV0"}


def _on_a_terminal(cortend, args, answers):
    """Run `corten` on a terminal and answer what it asks."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(BIN / "corten", ["corten", "-H", cortend.host, *args])
    shown = b""
    try:
        while chunk := os.read(fd, 4096):
            shown += chunk
            for question, answer in list(answers.items()):
                if shown.endswith(question):
                    os.write(fd, answers.pop(question) if answer else b"")
    except OSError:
        pass  # the terminal's end
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_no_secret_reaches_the_daemons_log(cortend):
    text = cortend.log_text()
    for secret in ("secret", "c2VjcmV0", "YWxpY2U6", "refresh-alice", "Bearer ey"):
        assert secret not in text
