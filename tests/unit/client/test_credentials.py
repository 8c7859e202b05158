"""Logins of the user: docker's config.json, credential helpers on PATH, DOCKER_AUTH_CONFIG."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading

import pytest

from corten.credentials import HUB, get_from_helper, load, servers_of_helper
from corten_shared.errors import CortenError

HELPER = """#!/bin/sh
# A credential helper that keeps one file per server, named after it, in its own directory.
store="$(dirname "$0")/kept"; mkdir -p "$store"
input="$(cat)"
case "$1" in
  get) name="$(printf %s "$input" | tr /: __)"
    [ "$input" = explode ] && { echo "no keyring"; exit 2; }
    [ -f "$store/$name" ] && cat "$store/$name" || { echo "credentials not found in native keychain"; exit 1; } ;;
  store) server="$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/')"
    printf %s "$input" > "$store/$(printf %s "$server" | tr /: __)" ;;
  erase) rm -f "$store/$(printf %s "$input" | tr /: __)" ;;
  list) echo '{"reg.test":"alice","https://index.docker.io/v1/":"bob"}' ;;
esac
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes config.json; its directory is DOCKER_CONFIG, and PATH has only the helper `test`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker-credential-test").write_text(HELPER)
    (programs / "docker-credential-test").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)

    def write(value):
        (tmp_path / "config").mkdir(exist_ok=True)
        text = value if isinstance(value, str) else json.dumps(value)
        (tmp_path / "config" / "config.json").write_text(text)
        return load()

    write.path = tmp_path / "config" / "config.json"
    return write


def _auth(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": _auth("alice", "a:b")}, {"username": "alice", "password": "a:b"}),
        ({"username": "alice", "password": "pw"}, {"username": "alice", "password": "pw"}),
        ({"auth": _auth("alice", ""), "identitytoken": "t"}, {"username": "alice", "identitytoken": "t"}),
        ({"registrytoken": "t"}, {"registrytoken": "t"}),
        ({"auth": _auth("alice", "pw\0\0")}, {"username": "alice", "password": "pw"}),
        ({}, {}),
        (5, {}),
    ],
)
def test_an_entry_in_each_of_its_forms(config, entry, login):
    assert config({"auths": {"reg.test": entry}}).login("reg.test") == login


@pytest.mark.parametrize(
    ("key", "server"),
    [
        ("reg.test:5000", "reg.test:5000"),
        ("https://reg.test:5000/v1/", "reg.test:5000"),
        ("http://reg.test", "reg.test"),
        ("reg.test/v2/", "reg.test"),
        (HUB, HUB),
        ("docker.io", HUB),
    ],
)
def test_a_server_is_found_under_its_older_names(config, key, server):
    found = config({"auths": {"other.test": {"auth": _auth("x", "y")}, key: {"auth": _auth("alice", "pw")}}})
    assert found.login(server) == {"username": "alice", "password": "pw"}
    assert found.login("reg.test.evil") == {}


def test_an_image_goes_to_its_registrys_login(config):
    found = config({"auths": {HUB: {"auth": _auth("hub", "1")}, "localhost:5000": {"identitytoken": "t"}}})
    header = json.loads(base64.urlsafe_b64decode(found.registry_auth("localhost:5000/app:1")))
    assert header == {"identitytoken": "t", "serveraddress": "localhost:5000"}
    assert json.loads(base64.urlsafe_b64decode(found.registry_auth("busybox")))["username"] == "hub"
    assert found.registry_auth("quay.io/a/b") == ""
    assert found.native("localhost:5000/app:1") == {"identity_token": "t"}
    assert found.native("quay.io/a/b") is None


def test_a_helper_has_the_word_for_all_servers_or_for_one(config, capsys):
    config({"credsStore": "test"}).store("reg.test", {"username": "alice", "password": "pw"})
    assert get_from_helper("test", "reg.test") == {"username": "alice", "password": "pw"}
    assert json.loads(config.path.read_text()) == {"credsStore": "test", "auths": {"reg.test": {}}}
    stale = {"reg.test": {"auth": _auth("file", "old")}, "other.test": {"auth": _auth("file", "own")}}
    found = config({"credHelpers": {"reg.test": "test"}, "auths": stale})
    assert found.login("reg.test") == {"username": "alice", "password": "pw"}
    assert found.login("other.test") == {"username": "file", "password": "own"}
    found = config({"credsStore": "test", "auths": stale})
    assert found.login("other.test") == {}, "what the helper does not have is not taken from the file"
    assert dict(servers_of_helper("test")) == {"reg.test": "alice", HUB: "bob"}
    assert capsys.readouterr().err == ""


def test_a_helper_keeps_identity_tokens_and_forgets(config):
    found = config({"credsStore": "test"})
    assert not found.store("reg.test", {"username": "alice", "identitytoken": "t"})
    assert found.login("reg.test") == {"identitytoken": "t"}
    found.erase("reg.test")
    assert found.login("reg.test") == {}
    found.erase("reg.test")


@pytest.mark.parametrize("name", ["none", "../bin/docker-credential-test", ""])
def test_a_helper_that_is_not_there_is_told_and_passed_over(config, capsys, name):
    found = config({"credHelpers": {"reg.test": name}, "auths": {"reg.test": {"auth": _auth("file", "pw")}}})
    assert found.login("reg.test") == {"username": "file", "password": "pw"}
    warning = capsys.readouterr().err
    if name:
        assert warning.startswith("WARNING: error getting credentials - err: exec: ") and warning.count("\n") == 1
        with pytest.raises(CortenError, match="error storing credentials"):
            found.store("reg.test", {"username": "a", "password": "b"})


def test_a_helper_that_fails_is_told_in_its_words(config):
    with pytest.raises(CortenError, match="exit status 2, out: `no keyring`"):
        get_from_helper("test", "explode")


def test_the_environment_comes_first(config, monkeypatch, capsys):
    found = config({"auths": {"reg.test": {"auth": _auth("file", "pw")}, "b.test": {"auth": _auth("file", "b")}}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"reg.test": {"auth": _auth("env", "pw")}}}))
    assert found.login("reg.test")["username"] == "env"
    assert found.login("b.test")["username"] == "file"
    assert capsys.readouterr().err == ""
    for broken in ("{", "[]", '{"auths":1}'):
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", broken)
        assert found.login("reg.test")["username"] == "file"
        assert "DOCKER_AUTH_CONFIG" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n"auths": {,}}', "line 2: "),
        ("[]", "it is no JSON object"),
        ("{" + '"a":[' * 50_000, "config.json"),
        ("x" * (4 << 20) + "y", "longer than"),
    ],
)
def test_a_broken_file_is_told_once_with_its_line_and_passed_over(config, capsys, text, said):
    found = config(text)
    assert found.login("reg.test") == {}
    warning = capsys.readouterr().err
    assert warning.startswith(f"WARNING: Error parsing config file ({config.path}): ") and said in warning
    assert warning.count("\n") == 1


def test_a_broken_entry_is_told_with_its_line(config, capsys):
    found = config('{"auths":\n{"ok.test": {"auth": "YTpi"},\n"reg.test": {"auth": "S3cret!"}}}')
    assert found.login("ok.test") == {"username": "a", "password": "b"}
    assert capsys.readouterr().err == ""
    assert found.login("reg.test") == {}
    warning = capsys.readouterr().err
    assert f"{config.path}: line 3" in warning and "reg.test" in warning and "S3cret" not in warning


def test_a_login_is_written_for_its_owner_only_and_the_rest_of_the_file_stays(config):
    rest = {"psFormat": "{{.ID}}", "unknown": [1, {"x": None}], "auths": {"b.test": {"auth": "YTpi", "email": "e"}}}
    found = config(rest)
    config.path.chmod(0o644)
    assert found.store("reg.test", {"username": "alice", "password": "pw"})
    assert stat.S_IMODE(config.path.stat().st_mode) == 0o600
    written = json.loads(config.path.read_text())
    assert written.pop("auths") == {**rest["auths"], "reg.test": {"auth": _auth("alice", "pw")}}
    assert written == {key: value for key, value in rest.items() if key != "auths"}
    before = config.path.stat().st_ino
    assert not found.store("reg.test", {"username": "alice", "password": "pw"}), "the same again"
    assert config.path.stat().st_ino == before
    found.erase("reg.test")
    assert json.loads(config.path.read_text()) == rest
    assert os.listdir(config.path.parent) == ["config.json"]


def test_the_first_login_makes_the_directory(config):
    assert load().store("reg.test", {"username": "alice", "password": "pw"})
    assert stat.S_IMODE(config.path.parent.stat().st_mode) == 0o700
    assert load().login("reg.test") == {"username": "alice", "password": "pw"}


def test_a_link_stays_a_link(config, tmp_path):
    config({})
    config.path.rename(tmp_path / "real.json")
    config.path.symlink_to(tmp_path / "real.json")
    load().store("reg.test", {"username": "alice", "password": "pw"})
    assert config.path.is_symlink() and "reg.test" in (tmp_path / "real.json").read_text()


def test_a_broken_file_is_kept_beside_the_new_one(config, capsys):
    found = config("{broken")
    found.store("reg.test", {"username": "alice", "password": "pw"})
    assert "reg.test" in config.path.read_text()
    assert config.path.with_name("config.json.broken").read_text() == "{broken"
    assert "config.json.broken" in capsys.readouterr().err


def test_logins_at_the_same_time_do_not_lose_each_other(config):
    config({})
    several = [load() for _ in range(8)]
    threads = [
        threading.Thread(target=one.store, args=(f"reg{number}.test", {"username": "a", "password": "b"}))
        for number, one in enumerate(several)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(config.path.read_text())["auths"]) == len(several)
