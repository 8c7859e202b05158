"""Images of containers: what is in them, what is not, and that they run as what they were made of."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cortend.core.containerfiles import MOUNT_POINTS
from daemon import Cortend, eventually
from trees import facts

pytestmark = pytest.mark.root

CHANGES = r"""
set -e
echo changed >> /etc/passwd; rm /bin/ar; rm -rf /home; mkdir /home; echo new > /home/new
mkdir -p /a/b; echo deep > /a/b/c; ln /a/b/c /a/twin; ln -s ../b/c /a/link; chmod 4755 /a/b/c
mkfifo /a/pipe; mknod /a/null c 1 3; chown 12345:70000 /a/b; touch -d @1000000000 /a/link /a/b/c
dd if=/dev/zero of=/a/sparse bs=1 count=1 seek=10000000 2>/dev/null
echo data > /data/in-volume
"""


@pytest.fixture
def box(engine: Cortend) -> Iterator[Callable[..., str]]:
    """Makes the container `box`; committed images go with it."""

    def make(*flags: str, script: str = CHANGES, run: bool = True) -> str:
        engine.corten(*(("run", "-d") if run else ("create",)), "--name", "box", *flags, "busybox", "sh", "-c", script)
        if run:
            engine.wait("box")
        return "box"

    yield make
    engine.remove_all()
    for tag in engine.corten("images", "--format", "{{.ID}} {{.Repository}}").stdout.decode().splitlines():
        if not tag.endswith(" busybox"):
            engine.corten("rmi", "-f", tag.split()[0], check=False)


def image(engine: Cortend, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(engine.corten("image", "inspect", name).stdout)
    return found[0]


def exported(engine: Cortend, container: str, target: Path) -> dict[str, tuple[object, ...]]:
    """The container's tree, unpacked."""
    target.mkdir()
    data = engine.corten("export", container).stdout
    subprocess.run(["tar", "-x", "--numeric-owner", "--same-owner", "-p", "-C", target], input=data, check=True)
    made_to_mount_on = {path.strip("/") for path in MOUNT_POINTS}
    return {name: fact for name, fact in facts(target).items() if name != "." and name not in made_to_mount_on}


def test_the_image_runs_with_the_containers_tree(engine: Cortend, box: Callable[..., str], tmp_path: Path) -> None:
    box("-v", "files:/data")
    author = "me <me@example.com>"
    image_id = engine.docker("commit", "-a", author, "-m", "why", "box", "made:1").stdout.decode().strip()
    engine.corten("create", "--name", "again", "made:1")
    assert exported(engine, "again", tmp_path / "again") == exported(engine, "box", tmp_path / "box")
    script = "cat /a/twin; ls /home /data; ls /bin/ar 2>&1; true"
    listed = engine.corten("run", "--rm", "made:1", "sh", "-c", script).stdout
    assert listed == b"deep\n/data:\n\n/home:\nnew\nls: /bin/ar: No such file or directory\n"
    found = image(engine, "made:1")
    assert found["Id"] == image_id and (found["Author"], found["Comment"]) == (author, "why")
    assert found["RootFS"]["Layers"][:-1] == image(engine, "busybox")["RootFS"]["Layers"]
    newest = json.loads(engine.docker("history", "--format", "{{json .}}", "made:1").stdout.splitlines()[0])
    assert newest["Comment"] == "why" and newest["CreatedBy"].startswith("sh -c") and newest["Size"] != "0B"
    assert "again" in engine.corten("ps", "-a", "--filter", "ancestor=made:1", "--format", "{{.Names}}").stdout.decode()


def test_settings_come_from_the_container_and_then_from_changes(engine: Cortend, box: Callable[..., str]) -> None:
    box("-e", "A=1", "-w", "/etc", "-l", "k=v", "-u", "1:1", "--expose", "80", script="true")
    changes = ["ENV B=$A", 'CMD ["echo"]', "HEALTHCHECK CMD true", "LABEL l=m", "EXPOSE 81", "VOLUME /v"]
    flags = [part for change in changes for part in ("--change", change)]
    engine.corten("commit", *flags, "box", "made:2")
    config = image(engine, "made:2")["Config"]
    assert {"A=1", "B=1"} <= set(config["Env"])
    assert config["Labels"] == {"k": "v", "l": "m"} and set(config["ExposedPorts"]) == {"80/tcp", "81/tcp"}
    assert (config["Cmd"], config["WorkingDir"], config["User"]) == (["echo"], "/etc", "1:1")
    assert config["Healthcheck"]["Test"] == ["CMD-SHELL", "true"] and set(config["Volumes"]) == {"/v"}
    done = engine.corten("commit", "--change", "RUN x", "box", check=False)
    assert done.returncode == 1 and b"RUN is not a valid change command" in done.stderr


def test_nothing_changed_is_no_layer(engine: Cortend, box: Callable[..., str]) -> None:
    box(run=False)
    engine.corten("commit", "box", "made:3")
    base, found = image(engine, "busybox"), image(engine, "made:3")
    assert found["RootFS"] == base["RootFS"] and found["Id"] != base["Id"]
    first = engine.corten("history", "--no-trunc", "--format", "{{.Size}}", "made:3").stdout.splitlines()[0]
    assert first == b"0B"


def test_a_running_container_is_paused_meanwhile_and_says_so(engine: Cortend, box: Callable[..., str]) -> None:
    engine.corten("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo x > /made; sleep 1000")
    eventually(lambda: b"/made" in engine.corten("diff", "box").stdout, "the file")
    since = time.time()
    image_id = engine.corten("commit", "box", "made:4").stdout.decode().strip()
    engine.await_event("box", "pause", since=since)
    engine.await_event("box", "unpause", since=since)
    event = engine.await_event("box", "commit", since=since)
    assert event["Actor"]["Attributes"]["imageID"] == image_id
    assert event["Actor"]["Attributes"]["imageRef"] == "made:4"
    assert engine.inspect("box")["State"]["Status"] == "running"
    since = time.time()
    for flags in (["--no-pause"], ["--pause=false"]):
        engine.corten("commit", *flags, "box", "made:5")
    filters = json.dumps({"event": ["pause"]})
    with engine.api() as api:
        query = {"since": f"{since:.9f}", "until": f"{time.time():.9f}", "filters": filters}
        assert api.request("GET", "/events", query=query).read() == b""
    engine.corten("pause", "box")
    engine.corten("commit", "box", "made:6")
    assert engine.inspect("box")["State"]["Status"] == "paused"
    engine.corten("unpause", "box")


def test_an_image_without_a_name_and_one_of_a_removed_image(engine: Cortend, box: Callable[..., str]) -> None:
    box(script="echo 1 > /one")
    first = engine.corten("commit", "box").stdout.decode().strip()
    assert image(engine, first)["RepoTags"] == []
    engine.corten("run", "--name", "second", first, "sh", "-c", "echo 2 > /two")
    engine.corten("rmi", "-f", first)
    engine.cortenctl("-n", "default", "gc")
    engine.corten("commit", "second", "made:7")
    assert engine.corten("run", "--rm", "made:7", "cat", "/one", "/two").stdout == b"1\n2\n"


def test_the_native_api_commits_with_another_compression(engine: Cortend, box: Callable[..., str]) -> None:
    box(script="echo 1 > /one")
    body = {"reference": "made:8", "compression": "zstd", "message": "m"}
    with engine.api() as api:
        reply = api.request("POST", "/api/v1/containers/box/commit", query={"namespace": "default"}, body=body)
        answer = reply.json()
    assert reply.status == 201 and answer["record"]["name"] == "docker.io/library/made:8"
    with tarfile.open(fileobj=io.BytesIO(engine.corten("save", "made:8").stdout)) as tar:
        manifests = [json.load(tar.extractfile(m)) for m in tar if m.isfile() and m.size < 100_000  # type: ignore[arg-type]
                     and b"+zstd" in tar.extractfile(m).read()]  # type: ignore[union-attr]  # fmt: skip
    assert manifests[0]["layers"][-1]["mediaType"].endswith("+zstd")
    assert engine.corten("run", "--rm", "made:8", "cat", "/one").stdout == b"1\n"


def test_what_cannot_be_committed_leaves_nothing(engine: Cortend, box: Callable[..., str]) -> None:
    box(script="touch /.wh.passwd")
    engine.cortenctl("-n", "default", "gc")
    before = engine.cortenctl("-n", "default", "content", "ls", "-q").stdout
    done = engine.docker("commit", "box", "made:9", check=False)
    assert done.returncode == 1 and b".wh.passwd" in done.stderr
    engine.cortenctl("-n", "default", "gc")
    assert engine.cortenctl("-n", "default", "content", "ls", "-q").stdout == before
    assert engine.docker("commit", "nobody", check=False).returncode == 1
    assert engine.docker("commit", "box", "UPPER", check=False).returncode == 1


def test_a_daemon_killed_meanwhile_resumes_the_container(
    make_cortend: Callable[..., Cortend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEN_TRACE", "commit.layer.paused=kill")
    daemon = make_cortend()
    daemon.corten("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo x > /made; sleep 1000")
    for next_trap in ("commit.layer.unpacked=kill", ""):
        assert daemon.corten("commit", "box", "made:1", check=False).returncode == 1
        assert daemon.process is not None
        daemon.process.wait(30)
        monkeypatch.setenv("CORTEN_TRACE", next_trap)
        daemon.start()
        assert daemon.inspect("box")["State"]["Status"] == "running"
        assert b"made" not in daemon.corten("images").stdout
    assert daemon.corten("exec", "box", "cat", "/made").stdout == b"x\n"
    daemon.corten("commit", "box", "made:1")
    assert daemon.corten("run", "--rm", "made:1", "cat", "/made").stdout == b"x\n"
