"""The default security, seen from inside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from corten_shared.models.container import MountSpec, SecuritySpec
from cortend.core import capabilities
from cortend.core.users import User

from .conftest import Lab


def _status(out: bytes) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in out.decode().splitlines() if ":\t" in line)


def _names(mask: str) -> set[str]:
    return set(capabilities.from_mask(int(mask, 16)))


def test_docker_s_capabilities_and_a_seccomp_filter(lab: Lab) -> None:
    _, out, _ = lab.run(lambda: lab.output("cat", "/proc/self/status"))
    status = _status(out)
    for field in ("CapPrm", "CapEff", "CapBnd"):
        assert _names(status[field]) == set(capabilities.DEFAULT)
    assert _names(status["CapInh"]) == _names(status["CapAmb"]) == set()
    assert status["Seccomp"] == "2"


def test_other_users_have_no_capabilities_and_their_groups(lab: Lab) -> None:
    context = {"user": User(1000, 1001, (1001, 7), "/home")}
    _, out, _ = lab.run(lambda: lab.output("cat", "/proc/self/status", context=context))
    status = _status(out)
    assert _names(status["CapEff"]) == set()
    assert status["Uid"].split()[0] == "1000"
    assert set(status["Groups"].split()) == {"1001", "7"}


def test_privileged_has_all_that_the_daemon_holds_and_no_filter(lab: Lab) -> None:
    _, out, _ = lab.run(lambda: lab.output("cat", "/proc/self/status", security=SecuritySpec(privileged=True)))
    status, own = _status(out), _status(Path("/proc/self/status").read_bytes())
    assert _names(status["CapEff"]) == _names(own["CapPrm"])
    assert status["Seccomp"] == "0"


def test_every_namespace_is_private(lab: Lab) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    _, out, _ = lab.run(lambda: lab.output("ls", "-l", "/proc/self/ns"))
    inside = out.decode()
    for kind in kinds:
        assert f"{kind}:[" in inside
        assert str(Path(f"/proc/self/ns/{kind}").readlink()) not in inside


def test_masked_and_read_only_paths(lab: Lab) -> None:
    script = """
        for f in kcore keys timer_list interrupts; do
            test -e /proc/$f && test -s /proc/$f && test -c /proc/$f || test ! -e /proc/$f || cat /proc/$f | wc -c
        done
        echo 1 2>/dev/null > /proc/sys/kernel/domainname && echo WRITTEN
        echo b 2>/dev/null > /proc/sysrq-trigger && echo WRITTEN
        touch /sys/x 2>/dev/null && echo WRITTEN
        ls /sys/firmware | wc -l
    """
    _, out, _ = lab.run(lambda: lab.output("sh", "-c", script))
    assert set(out.decode().split()) <= {"0"}


def test_a_read_only_root_and_a_tmpfs_and_a_bind(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    mounts = [
        MountSpec(type="tmpfs", target="/tmp", options=["size=64k"]),
        MountSpec(type="bind", source=str(tmp_path / "shared"), target="/data/"),
        MountSpec(type="bind", source=str(tmp_path / "shared"), target="/frozen", read_only=True),
    ]
    script = """
        touch /root.txt 2>/dev/null && echo root-written
        touch /tmp/x && echo tmp; touch /data/x && echo data; touch /frozen/y 2>/dev/null && echo frozen-written
        dd if=/dev/zero of=/tmp/big bs=1k count=100 2>/dev/null || echo full
    """
    (lab.image / "data").mkdir()
    (lab.image / "frozen").mkdir()
    _, out, _ = lab.run(lambda: lab.output("sh", "-c", script, read_only=True, mounts=mounts))
    assert out.decode().split() == ["tmp", "data", "full"]
    assert (tmp_path / "shared/x").exists()


def test_hosts_files_are_bound(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 me\n")
    context = {"files": {"/etc/hosts": str(tmp_path / "hosts")}}
    _, out, _ = lab.run(lambda: lab.output("cat", "/etc/hosts", context=context))
    assert out == b"127.0.0.1 me\n"


@pytest.mark.skipif(not Path("/usr/bin/catatonit").exists(), reason="needs catatonit")
def test_init_is_process_one_and_passes_the_exit_code_on(lab: Lab) -> None:
    context = {"init_path": "/usr/bin/catatonit"}
    ended, out, _ = lab.run(lambda: lab.output("sh", "-c", "cat /proc/1/comm; exit 4", init=True, context=context))
    assert (ended.code, out) == (4, b"docker-init\n")


def test_the_daemon_s_descriptors_do_not_leak_in(lab: Lab) -> None:
    read, write = os.pipe()
    try:
        _, out, _ = lab.run(lambda: lab.output("sh", "-c", "ls /proc/self/fd | wc -l"))
    finally:
        os.close(read)
        os.close(write)
    assert int(out) <= 4  # stdin, stdout, stderr and the directory that ls reads


@pytest.mark.parametrize(("call", "refused"), [("AF_ALG", True), ("AF_VSOCK", True), ("AF_INET", False)])
def test_socket_families_that_reach_deep_into_the_kernel_are_refused(lab: Lab, call: str, refused: bool) -> None:
    """The machine's own Python, with its libraries bound in, tries the call under the default filter."""
    mounts = [
        MountSpec(type="bind", source=path, target=path, read_only=True)
        for path in ("/usr", "/lib", "/lib64", sys.base_prefix)
        if Path(path).exists()
    ]
    kind = "SOCK_SEQPACKET" if call == "AF_ALG" else "SOCK_STREAM"
    script = f"import socket; socket.socket(socket.{call}, socket.{kind})"
    ended, _, err = lab.run(lambda: lab.output(os.path.realpath(sys.executable), "-c", script, mounts=mounts))
    assert (ended.code != 0) is refused, err
    assert (b"PermissionError" in err) is refused, err
