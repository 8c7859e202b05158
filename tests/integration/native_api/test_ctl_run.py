"""`cortenctl run`, `containers` and `tasks` with ctr's flags, on the real runtime."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from daemon import BIN, Cortend

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("client")]


def test_environment_limits_and_devices_reach_the_process(cortend: Cortend, tmp_path: Path) -> None:
    """One run with most of ctr's flags, seen from inside."""
    (tmp_path / "env").write_text("# a comment\n\nFROM_FILE=yes\nBOTH=file\n")
    script = (
        "echo $FROM_FILE $BOTH; pwd; hostname; id -u; ulimit -n; grep NoNewPrivs /proc/self/status; ls /dev/fuse0;"
        "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    )
    done = cortend.cortenctl(
        "run", "--rm", "--env-file", str(tmp_path / "env"), "--env", "BOTH=flag", "--cwd", "/tmp",
        "--hostname", "named", "--user", "1000", "--rlimit-nofile", "64:128", "--memory-limit", "67108864",
        "--device", "/dev/null:/dev/fuse0", "--runtime", "io.containerd.runc.v2" if _has_runc(cortend) else "",
        "--seccomp", "--cni", "busybox", "flags",
        "sh", "-c", script,
    )  # fmt: skip
    lines = done.stdout.decode().split("\n")
    assert lines[:5] == ["yes flag", "/tmp", "named", "1000", "64"]
    assert lines[5].split() == ["NoNewPrivs:", "1"]
    assert lines[6:8] == ["/dev/fuse0", "67108864"]


def _has_runc(cortend: Cortend) -> bool:
    found = json.loads(cortend.cortenctl("plugins", "ls", "-o", "json", "type==runtime,id==runc,status==ok").stdout)
    return bool(found)


def test_new_privileges_are_given_when_asked(cortend: Cortend) -> None:
    done = cortend.cortenctl(
        "run", "--rm", "--allow-new-privs", "busybox", "privs", "grep", "NoNewPrivs", "/proc/self/status"
    )
    assert done.stdout.split() == [b"NoNewPrivs:", b"0"]


def test_namespaces_that_are_there_are_joined(cortend: Cortend) -> None:
    ours = tuple(str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("uts", "net"))
    done = cortend.cortenctl(
        "run", "--rm", "--with-ns", f"uts:/proc/{os.getpid()}/ns/uts", "--with-ns",
        f"network:/proc/{os.getpid()}/ns/net", "busybox", "joined",
        "sh", "-c", "readlink /proc/self/ns/uts; readlink /proc/self/ns/net",
    )  # fmt: skip
    assert tuple(done.stdout.decode().split()) == ours
    missing = cortend.cortenctl("run", "--with-ns", "pid:/run/nowhere", "busybox", "nowhere", "true", check=False)
    assert missing.returncode == 125
    assert b"no such namespace: /run/nowhere" in missing.stderr


def test_directory_of_the_host_is_a_root(cortend: Cortend, tmp_path: Path, busybox_tar: bytes) -> None:
    """What the container writes is in the directory, and stays when the container goes."""
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "-x", "-C", root], input=busybox_tar, check=True)
    done = cortend.cortenctl("run", "--rm", "--rootfs", str(root), "onroot", "sh", "-c", "echo hi > /made; ls /made")
    assert done.stdout == b"/made\n"
    assert (root / "made").read_text() == "hi\n"
    missing = cortend.cortenctl("run", "--rootfs", str(tmp_path / "none"), "bad", "true", check=False)
    assert b"is no directory here" in missing.stderr


def test_pid_file_and_no_streams(cortend: Cortend, tmp_path: Path) -> None:
    ctl = cortend.cortenctl
    pid_file = tmp_path / "pid"
    silent = ctl("run", "--null-io", "busybox", "silent", "sh", "-c", "echo unheard; exit 3", check=False)
    assert (silent.returncode, silent.stdout) == (3, b"")
    assert ctl("tasks", "logs", "silent", check=False).returncode == 1
    ctl("run", "-d", "--pid-file", str(pid_file), "busybox", "numbered", "sleep", "60")
    assert b"sleep" in Path(f"/proc/{pid_file.read_text()}/cmdline").read_bytes()


@pytest.mark.parametrize(
    ("flag", "word"), [("--uidmap=0:1000:1", "user namespaces"), ("--no-pivot", "pivot_root"), ("--gpus=0", "--device")]
)
def test_flags_that_mean_nothing_here_say_why(cortend: Cortend, flag: str, word: str) -> None:
    done = cortend.cortenctl("run", flag, "busybox", "told", "true", check=False)
    assert done.returncode == 2
    assert word in done.stderr.decode()


def test_create_start_attached_and_labels(cortend: Cortend) -> None:
    """As with ctr: create, then start with the streams here; the exit code comes through."""
    ctl = cortend.cortenctl
    ctl("containers", "create", "--label", "team=a", "--snapshotter-label", "kept=yes", "busybox", "two-step",
        "sh", "-c", "echo started; exit 5")  # fmt: skip
    record = json.loads(ctl("containers", "info", "two-step").stdout)["container"]
    snapshot = json.loads(ctl("snapshots", "-s", record["snapshotter"], "info", record["snapshot_key"]).stdout)
    assert snapshot["labels"]["kept"] == "yes"
    started = ctl("tasks", "start", "two-step", check=False)
    assert (started.returncode, started.stdout) == (5, b"started\n")
    assert ctl("containers", "ls", "-q", "labels.team==a").stdout == b"two-step\n"
    labels = json.loads(ctl("containers", "label", "two-step", "team=", "x=y").stdout)["labels"]
    assert labels == {"x": "y"}
    assert ctl("containers", "ls", "-q", "labels.team").stdout == b""
    assert json.loads(ctl("containers", "info", "--spec", "two-step").stdout)["args"][0] == "sh"


def test_removed_container_leaves_its_snapshot_when_asked(cortend: Cortend) -> None:
    ctl = cortend.cortenctl
    ctl("run", "busybox", "leaves", "sh", "-c", "echo x > /x")
    record = json.loads(ctl("containers", "info", "leaves").stdout)["container"]
    ctl("containers", "rm", "--keep-snapshot", "leaves")
    ctl("gc")
    key, snapshotter = record["snapshot_key"], record["snapshotter"]
    kept = json.loads(ctl("snapshots", "--snapshotter", snapshotter, "info", key).stdout)
    assert "containerd.io/gc.root" in kept["labels"]
    ctl("snapshots", "rm", "-s", snapshotter, key)


def test_exec_in_every_way(cortend: Cortend) -> None:
    ctl = cortend.cortenctl
    ctl("run", "-d", "--env", "OF=container", "busybox", "host", "sleep", "100")
    done = ctl("tasks", "exec", "--user", "7", "--cwd", "/tmp", "-e", "MORE=1", "host", "sh", "-c",
               "id -u; pwd; echo $OF $MORE; cat; echo err >&2; exit 4", input=b"typed\n", check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (4, b"7\n/tmp\ncontainer 1\ntyped\n", b"err\n")
    assert ctl("tasks", "exec", "-d", "--exec-id", "probe", "host", "sleep", "99").stdout == b"probe\n"
    taken = ctl("tasks", "exec", "--exec-id", "probe", "host", "true", check=False)
    assert (taken.returncode, b"already exists" in taken.stderr) == (125, True)
    assert b"sleep 99" in ctl("tasks", "ps", "host").stdout
    assert ctl("tasks", "rm", "--exec-id", "probe", "host", check=False).returncode == 1
    ctl("tasks", "kill", "-s", "KILL", "--exec-id", "probe", "host")
    ctl("tasks", "rm", "-f", "--exec-id", "probe", "host")
    assert b"probe" not in ctl("tasks", "execs", "host").stdout
    absent = ctl("tasks", "exec", "host", "nope", check=False)
    assert absent.returncode == 127
    ctl("tasks", "kill", "--all", "-s", "KILL", "host")
    assert ctl("tasks", "wait", "host").stdout == b"137\n"


def test_images_are_labelled_checked_and_measured(cortend: Cortend) -> None:
    ctl = cortend.cortenctl
    ctl("images", "tag", "busybox", "local/a:1", "local/b:1")
    ctl("images", "label", "local/a:1", "x=1", "y=2")
    assert json.loads(ctl("images", "label", "--replace-all", "local/a:1", "z=3").stdout)["labels"] == {"z": "3"}
    assert ctl("images", "ls", "-q", "labels.z==3").stdout == b"docker.io/local/a:1\n"
    assert b"docker.io/local/b:1" in ctl("images", "check", "-q", "name~=local/b").stdout
    usage = json.loads(ctl("images", "usage", "local/a:1", "-o", "json").stdout)
    assert usage["snapshots"] == sum(layer["size"] for layer in usage["layers"]) > 0
    assert b"total" in ctl("images", "usage", "local/a:1").stdout
    ctl("images", "rm", "local/a:1", "local/b:1")
    assert ctl("images", "prune").stdout == b"Total: 0B\n"


def test_engine_describes_its_parts(cortend: Cortend) -> None:
    ctl = cortend.cortenctl
    parts = json.loads(ctl("plugins", "ls", "-o", "json").stdout)
    assert {part["type"] for part in parts} >= {"content", "snapshotter", "runtime"}
    assert all(part["reason"] for part in parts if part["status"] != "ok")
    spec = json.loads(ctl("oci", "spec").stdout)
    assert spec["ociVersion"].startswith("1.")
    assert spec["process"]["args"] == ["sh"]


def test_time_limits_and_forms(cortend: Cortend) -> None:
    """--timeout ends any command; -o and -q have a meaning everywhere."""
    ctl = cortend.cortenctl
    late = subprocess.run(
        [BIN / "cortenctl", "-a", str(cortend.socket), "--timeout", "200ms", "events"], capture_output=True, timeout=60
    )
    assert (late.returncode, b"not done within 0.2s" in late.stderr) == (1, True)
    assert ctl("namespaces", "info", "-q", "default").stdout == b"default\n"
    assert ctl("namespaces", "info", "-o", "table", "default").stdout.startswith(b"FIELD")
    assert json.loads(ctl("namespaces", "create", "-o", "json", "formed").stdout) == "formed"
    assert json.loads(ctl("namespaces", "rm", "-o", "json", "formed").stdout) == ["formed"]
