"""docker CLI 28 as its users drive it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from compat.terminal import Terminal
from daemon import Cortend
from images import busybox_image, make_layer, push_to_registry
from support_registry import Registry

pytestmark = pytest.mark.root


def text(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stdout.decode().strip()


def inspect(docker: Cortend, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker.docker("inspect", name).stdout)[0]
    return found


def first_events(docker: Cortend, *filters: str, count: int) -> list[bytes]:
    """The first `count` events that `docker events` prints; it is ended then."""
    argv = ["docker", "-H", docker.host, "events", *filters]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            return [process.stdout.readline() for _ in range(count)]
        finally:
            process.terminate()


# -- run --------------------------------------------------------------------------------------------------------------


def test_run_prints_what_the_container_says_and_leaves_nothing(docker: Cortend) -> None:
    assert docker.docker("run", "--rm", "busybox", "echo", "hi").stdout == b"hi\n"
    assert docker.docker("ps", "-aq").stdout == b""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--init", "busybox", "sh", "-c", "sh -c 'kill -9 $$'"], 137),
        (["busybox", "true"], 0),
        (["busybox", "sh", "-c", "exit 7"], 7),
        (["busybox", "no-such-program"], 127),
        (["busybox", "/etc/passwd"], 126),
        (["--cap-add", "BOGUS", "busybox", "true"], 125),
        (["-v", "/a:relative", "busybox", "true"], 125),
    ],
)
def test_run_exits_as_docker_does(docker: Cortend, arguments: list[str], code: int) -> None:
    done = docker.docker("run", "--rm", *arguments, check=False)
    assert done.returncode == code, done.stderr


def test_run_passes_stdin_through_and_its_end(docker: Cortend) -> None:
    data = bytes(range(256)) * 4096
    assert docker.docker("run", "--rm", "-i", "busybox", "cat", input=data).stdout == data


def test_a_program_that_does_not_read_its_stdin_ends_all_the_same(docker: Cortend) -> None:
    done = docker.docker("run", "--rm", "-i", "busybox", "true", input=b"x" * 1_000_000)
    assert (done.returncode, done.stderr) == (0, b"")


def test_stdout_and_stderr_stay_apart(docker: Cortend) -> None:
    done = docker.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_much_output_arrives_whole(docker: Cortend) -> None:
    done = docker.docker("run", "--rm", "busybox", "dd", "if=/dev/zero", "bs=1M", "count=64")
    assert len(done.stdout) == 64 << 20


def test_run_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    session = terminal("run", "--rm", "-it", "busybox", "sh")
    session.expect(b"#")
    session.send(b"stty size; tty; echo do''ne\n")
    said = session.expect(b"done\r\n")
    assert b"24 80" in said
    assert b"/dev/pts/0" in said
    session.send(b"exit 5\n")
    assert session.wait() == 5


def test_detach_keys_leave_the_container_running(docker: Cortend, terminal: Callable[..., Terminal]) -> None:
    session = terminal("run", "-it", "--name", "left", "busybox", "sh")
    session.expect(b"#")
    session.send(b"\x10\x11")
    assert session.wait() == 0
    assert inspect(docker, "left")["State"]["Running"]
    again = terminal("attach", "left")
    again.send(b"echo a''gain\n")
    again.expect(b"again\r\n")
    again.send(b"exit 3\n")
    assert again.wait() == 3


def test_the_image_that_is_missing_is_named(docker: Cortend) -> None:
    done = docker.docker("run", "--pull", "never", "--rm", "nothing/here:1", "true", check=False)
    assert done.returncode == 125
    assert b"No such image: nothing/here:1" in done.stderr


def test_a_name_in_use_is_refused_in_dockers_words(docker: Cortend) -> None:
    docker.docker("create", "--name", "taken", "busybox", "true")
    done = docker.docker("create", "--name", "taken", "busybox", "true", check=False)
    assert b'The container name "/taken" is already in use by container' in done.stderr


# -- life -------------------------------------------------------------------------------------------------------------


def test_a_detached_container_through_its_life(docker: Cortend) -> None:
    script = "trap 'echo bye; exit 9' TERM; echo ready; while true; do sleep 0.1; done"
    identifier = text(docker.docker("run", "-d", "--name", "life", "--label", "k=v", "busybox", "sh", "-c", script))
    assert text(docker.docker("ps", "-q", "--no-trunc", "--filter", "label=k=v")) == identifier
    docker.docker("pause", "life")
    assert "(Paused)" in text(docker.docker("ps", "--format", "{{.Status}}"))
    docker.docker("unpause", "life")
    docker.docker("rename", "life", "afterlife")
    docker.docker("update", "--memory", "64m", "--memory-swap", "-1", "afterlife")
    assert inspect(docker, "afterlife")["HostConfig"]["Memory"] == 64 << 20
    refused = docker.docker("rm", "afterlife", check=False)
    assert b"container is running" in refused.stderr
    docker.docker("stop", "-t", "10", "afterlife")
    state = inspect(docker, "afterlife")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 9)
    assert text(docker.docker("wait", "afterlife")) == "9"
    assert docker.docker("logs", "afterlife").stdout == b"ready\nbye\n"
    docker.docker("rm", "afterlife")
    assert docker.docker("inspect", "afterlife", check=False).returncode == 1


def test_kill_is_137_and_start_attached_gives_the_code_again(docker: Cortend) -> None:
    docker.docker("run", "-d", "--name", "victim", "busybox", "sleep", "1000")
    docker.docker("kill", "victim")
    assert text(docker.docker("wait", "victim")) == "137"
    assert b"is not running" in docker.docker("kill", "victim", check=False).stderr
    docker.docker("create", "--name", "again", "busybox", "sh", "-c", "echo said; exit 4")
    for _ in range(2):
        done = docker.docker("start", "-a", "again", check=False)
        assert (done.returncode, done.stdout) == (4, b"said\n")


def test_start_and_stop_are_idempotent(docker: Cortend) -> None:
    docker.docker("run", "-d", "--name", "twice", "busybox", "sleep", "1000")
    docker.docker("start", "twice")
    for _ in range(2):
        docker.docker("stop", "-t", "0", "twice")


# -- logs and exec ----------------------------------------------------------------------------------------------------


def test_logs_follow_until_the_end(docker: Cortend) -> None:
    docker.docker("run", "-d", "--name", "talker", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert docker.docker("logs", "-f", "talker").stdout == b"1\n2\n3\n"
    assert docker.docker("logs", "--tail", "1", "talker").stdout == b"3\n"
    stamped = docker.docker("logs", "-t", "--tail", "1", "talker").stdout.split()
    assert stamped[1] == b"3" and stamped[0].endswith(b"Z") and len(stamped[0]) == 30
    assert docker.docker("logs", "--since", "2999-01-01T00:00:00Z", "talker").stdout == b""


def test_exec_has_its_own_code_streams_and_settings(docker: Cortend) -> None:
    docker.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    script = "id -u; pwd; echo $A; echo err >&2; exit 3"
    done = docker.docker("exec", "-u", "1", "-w", "/tmp", "-e", "A=b", "host", "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"1\n/tmp\nb\n", b"err\n")
    assert docker.docker("exec", "-i", "host", "cat", input=b"through").stdout == b"through"
    assert docker.docker("exec", "host", "no-such-program", check=False).returncode == 127
    assert docker.docker("exec", "host", "/etc/passwd", check=False).returncode == 126
    docker.docker("exec", "-d", "host", "touch", "/tmp/detached")
    docker.docker("stop", "-t", "0", "host")
    assert b"is not running" in docker.docker("exec", "host", "true", check=False).stderr


def test_exec_codes_are_never_missed(docker: Cortend) -> None:
    docker.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    codes = [docker.docker("exec", "host", "sh", "-c", f"exit {n}", check=False).returncode for n in range(1, 8)]
    assert codes == list(range(1, 8))


def test_exec_on_a_terminal(docker: Cortend, terminal: Callable[..., Terminal]) -> None:
    docker.docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    session = terminal("exec", "-it", "host", "sh")
    session.expect(b"#")
    session.send(b"tty; exit 6\n")
    session.expect(b"/dev/pts/")
    assert session.wait() == 6


# -- looking ----------------------------------------------------------------------------------------------------------


def test_top_stats_and_port(docker: Cortend) -> None:
    docker.docker("run", "-d", "--name", "busy", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    assert "sleep 1000" in text(docker.docker("top", "busy"))
    stats = json.loads(docker.docker("stats", "--no-stream", "--format", "{{json .}}", "busy").stdout)
    assert (stats["Name"], stats["PIDs"]) == ("busy", "1")
    assert text(docker.docker("port", "busy", "80")).startswith("127.0.0.1:")


def test_listings_as_json(docker: Cortend) -> None:
    docker.docker("create", "--name", "listed", "-v", "named:/data", "busybox", "true")
    row = json.loads(docker.docker("ps", "-a", "--format", "{{json .}}").stdout)
    assert (row["Names"], row["State"], row["Image"], row["LocalVolumes"]) == ("listed", "created", "busybox", "1")
    image = json.loads(docker.docker("images", "--format", "{{json .}}", "busybox").stdout)
    assert (image["Repository"], image["Tag"]) == ("busybox", "latest")
    assert docker.docker("network", "ls", "--format", "{{.Name}}").stdout.split() == [b"bridge", b"host", b"none"]
    volume = json.loads(docker.docker("volume", "ls", "--format", "{{json .}}").stdout)
    assert (volume["Name"], volume["Driver"]) == ("named", "local")


def test_version_and_info(docker: Cortend) -> None:
    assert text(docker.docker("version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}")) == "1.51 linux"
    info = json.loads(docker.docker("info", "--format", "{{json .}}").stdout)
    assert info["OSType"] == "linux"
    assert info["DefaultRuntime"] in info["Runtimes"]
    assert info["Swarm"]["LocalNodeState"] == "inactive"


def test_events_tell_a_containers_life_in_order(docker: Cortend) -> None:
    docker.docker("run", "--rm", "--name", "story", "busybox", "true")
    until = str(int(time.time()) + 1)  # whole seconds: what happened in the present one counts
    done = docker.docker(
        "events", "--since", "10m", "--until", until, "--filter", "container=story", "--format", "{{.Action}}"
    )
    assert done.stdout.decode().split()[-4:] == ["create", "start", "die", "destroy"]


def test_prune_takes_what_does_not_run(docker: Cortend) -> None:
    docker.docker("create", "--name", "idle", "busybox", "true")
    docker.docker("run", "-d", "--name", "live", "busybox", "sleep", "1000")
    docker.docker("container", "prune", "-f")
    assert text(docker.docker("ps", "-a", "--format", "{{.Names}}")) == "live"


# -- images and volumes -----------------------------------------------------------------------------------------------


def test_tag_inspect_history_and_rmi(docker: Cortend) -> None:
    docker.docker("tag", "busybox", "quay.io/some/where:v1")
    image = inspect(docker, "quay.io/some/where:v1")
    assert "quay.io/some/where:v1" in image["RepoTags"]
    assert image["Config"]["Cmd"] == ["/bin/sh"]
    assert text(docker.docker("history", "-q", "quay.io/some/where:v1"))
    assert text(docker.docker("rmi", "quay.io/some/where:v1")).splitlines()[0] == "Untagged: quay.io/some/where:v1"
    done = docker.docker("rmi", "quay.io/some/where:v1", check=False)
    assert b"No such image: quay.io/some/where:v1" in done.stderr


def test_pull_shows_progress_and_rmi_takes_it_away(docker: Cortend, registry: Registry) -> None:
    name = f"{registry.host}/team/app:v1"
    image = busybox_image(make_layer([("greeting", b"hello from a registry\n")]))
    digest = push_to_registry(image, registry.host, "team/app", "v1")
    lines = text(docker.docker("pull", name)).splitlines()
    assert lines[0].startswith("v1: Pulling from ") and lines[0].endswith("team/app")
    assert f"Digest: {digest}" in lines
    assert f"Status: Downloaded newer image for {name}" in lines
    assert f"Status: Image is up to date for {name}" in text(docker.docker("pull", name))
    assert docker.docker("run", "--rm", name, "cat", "/greeting").stdout == b"hello from a registry\n"
    assert f"Deleted: {image.id}" in text(docker.docker("rmi", name)).splitlines()
    ran = docker.docker("run", "--rm", name, "true")  # not here: pulled by run itself
    assert f"Unable to find image '{name}' locally".encode() in ran.stderr
    docker.docker("rmi", name)


def test_a_pull_of_what_is_not_there_fails_in_one_line(docker: Cortend, registry: Registry) -> None:
    done = docker.docker("pull", f"{registry.host}/team/none:v1", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error response from daemon: ") and done.stderr.count(b"\n") == 1


def test_volumes_keep_what_containers_write(docker: Cortend) -> None:
    docker.docker("volume", "create", "--label", "a=b", "kept")
    docker.docker("run", "--rm", "-v", "kept:/data", "busybox", "sh", "-c", "echo kept > /data/file")
    assert docker.docker("run", "--rm", "-v", "kept:/data:ro", "busybox", "cat", "/data/file").stdout == b"kept\n"
    docker.docker("create", "--name", "user", "-v", "kept:/data", "busybox", "true")
    assert b"volume is in use" in docker.docker("volume", "rm", "kept", check=False).stderr
    docker.docker("rm", "user")
    docker.docker("volume", "rm", "kept")


def test_anonymous_volumes_go_with_rm(docker: Cortend) -> None:
    since = str(int(time.time()))
    docker.docker("run", "--rm", "-v", "/data", "busybox", "true")
    docker.docker("run", "--name", "anon", "-v", "/data", "busybox", "true")
    docker.docker("rm", "-v", "anon")
    # Disk space is freed behind the answer; the events say when.
    gone = first_events(docker, "--since", since, "--filter", "type=volume", "--filter", "event=destroy", count=2)
    assert len(gone) == 2
    assert docker.docker("volume", "ls", "-q").stdout == b""


def test_swarm_and_own_networks_are_refused_in_one_line(docker: Cortend) -> None:
    assert b"This node is not a swarm manager" in docker.docker("node", "ls", check=False).stderr
    done = docker.docker("network", "create", "mine", check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"not supported yet" in done.stderr
