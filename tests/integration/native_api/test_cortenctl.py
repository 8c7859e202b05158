"""`cortenctl` against the real daemon."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

import corten
from daemon import BIN, Cortend
from images import busybox_image, push_to_registry
from support_registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("client")]


def test_run_leaves_with_the_containers_output_and_exit_code(cortend: Cortend) -> None:
    done = cortend.cortenctl("run", "--rm", "busybox", "one", "sh", "-c", "echo out; echo err >&2; exit 9", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (9, b"out\n", b"err\n")
    assert cortend.cortenctl("containers", "ls", "-q").stdout == b""


def test_run_carries_input_to_its_end(cortend: Cortend) -> None:
    data = os.urandom(300_000)
    done = cortend.cortenctl("run", "--rm", "-i", "busybox", "two", "cat", input=data)
    assert done.stdout == data


@pytest.mark.parametrize(("word", "code"), [("nope", 127), ("/etc", 126)])
def test_run_of_what_cannot_run_ends_as_in_a_shell(cortend: Cortend, word: str, code: int) -> None:
    done = cortend.cortenctl("run", "--rm", "busybox", "bad", word, check=False)
    assert done.returncode == code
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("cortenctl: ")


def test_run_of_an_unknown_image_is_the_engines_failure(cortend: Cortend) -> None:
    done = cortend.cortenctl("run", "nope", "named", check=False)
    assert done.returncode == 125
    assert b"No such image: nope:latest" in done.stderr


def test_run_with_a_terminal(cortend: Cortend) -> None:
    """The container sees a terminal, and the exit code comes through."""
    controller, terminal = pty.openpty()
    command = [BIN / "cortenctl", "-a", cortend.socket, "run", "--rm", "-t", "busybox", "tt", "sh", "-c"]
    process = subprocess.Popen(
        [*command, "test -t 0 && test -t 1 && echo terminal; read word; echo got $word; exit 4"],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    seen = b""
    while b"terminal" not in seen:
        seen += os.read(controller, 1024)
    os.write(controller, b"typed\n")
    while b"got typed" not in seen:
        seen += os.read(controller, 1024)
    assert process.wait(60) == 4
    os.close(controller)


def test_detached_task_from_start_to_removal(cortend: Cortend) -> None:
    ctl = cortend.cortenctl
    assert ctl("run", "-d", "busybox", "bg", "sh", "-c", "echo line; exec sleep 60").stdout == b"bg\n"
    (task,) = json.loads(ctl("tasks", "ls", "-o", "json").stdout)
    assert (task["name"], task["status"]) == ("bg", "running")
    assert b"sleep 60" in ctl("tasks", "ps", "bg").stdout
    assert b"running" in ctl("containers", "ls").stdout
    assert ctl("tasks", "logs", "bg").stdout == b"line\n"
    ctl("tasks", "kill", "-s", "KILL", "bg")
    assert ctl("tasks", "wait", "bg").stdout == b"137\n"
    ctl("tasks", "rm", "bg")
    ctl("containers", "rm", "bg")
    assert ctl("containers", "info", "bg", check=False).returncode == 1


def test_images_pull_and_listings(cortend: Cortend, registry: Registry, tmp_path: Path) -> None:
    ctl = cortend.cortenctl
    push_to_registry(busybox_image(), registry.host, "ctl/bb", "3")
    name = f"{registry.host}/ctl/bb:3"
    shown = ctl("images", "pull", name).stdout.decode()
    assert f"Status: Downloaded newer image for {name}" in shown
    assert "\x1b" not in shown
    assert name in ctl("images", "ls", "-q").stdout.decode().splitlines()
    detail = json.loads(ctl("images", "info", name).stdout)
    config = ctl("content", "get", detail["id"]).stdout
    assert json.loads(config)["os"] == "linux"
    ctl("images", "tag", name, "local/copy:1")
    assert b"Untagged" in ctl("images", "rm", name, "local/copy:1").stdout


def test_pull_that_fails_is_one_line(cortend: Cortend, registry: Registry) -> None:
    done = cortend.cortenctl("images", "pull", f"{registry.host}/none:1", check=False)
    assert done.returncode == 1
    assert len(done.stderr.decode().splitlines()) == 1


def test_everything_else_answers(cortend: Cortend) -> None:
    """Each reading command works on a daemon with an image in it."""
    for words in (
        "info", "version", "gc", "events --no-follow", "namespaces ls", "namespaces info default", "content ls",
        "content active", "snapshots ls", "snapshots usage", "leases ls", "images ls", "containers ls -A",
        "tasks ls -A",
    ):  # fmt: skip
        assert cortend.cortenctl(*words.split()).returncode == 0
        text = cortend.cortenctl(*words.split(), "-o", "json").stdout.decode()
        for document in text.splitlines() if words.startswith("events") else [text]:
            json.loads(document)


def test_names_are_the_sdks_too(cortend: Cortend, client: corten.Client) -> None:
    cortend.cortenctl("-n", "ctl-ns", "leases", "create", "--id", "x", "a=b")
    assert "ctl-ns" in [namespace.name for namespace in client.namespaces.list()]
    cortend.cortenctl("-n", "ctl-ns", "leases", "rm", "x")
    cortend.cortenctl("namespaces", "rm", "ctl-ns")
