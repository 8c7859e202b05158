"""OCI configurations: docker's defaults, and what the daemon cannot give away."""

from __future__ import annotations

from typing import Any

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import (
    ContainerSpec,
    DeviceSpec,
    MountSpec,
    NamespaceSpec,
    NetworkSpec,
    Resources,
    Rlimit,
    SecuritySpec,
)
from cortend.core import capabilities
from cortend.core.hostfacts import Device, HostFacts
from cortend.core.spec import MASKED_PATHS, SpecContext, exec_process, generate
from cortend.core.users import User

WEAK = frozenset(capabilities.NAMES) - {"CAP_SYS_RESOURCE"}


def spec(**fields: Any) -> ContainerSpec:
    return ContainerSpec(args=["true"], **fields)


def context(**fields: Any) -> SpecContext:
    return SpecContext(id="0123456789abcdef", rootfs="/bundle/rootfs", **fields)


def made(*, ctx: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return generate(spec(**fields), context(**(ctx or {})))


def kinds(config: dict[str, Any]) -> dict[str, str | None]:
    return {entry["type"]: entry.get("path") for entry in config["linux"]["namespaces"]}


def mount_at(config: dict[str, Any], target: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [m for m in config["mounts"] if m["destination"] == target]
    assert len(found) == 1
    return found[0]


def test_defaults_are_docker_s() -> None:
    config = made()
    process, linux = config["process"], config["linux"]
    assert config["ociVersion"] == "1.0.2"
    assert config["root"] == {"path": "/bundle/rootfs", "readonly": False}
    assert config["hostname"] == "0123456789ab"
    assert process["args"] == ["true"] and process["cwd"] == "/" and not process["terminal"]
    assert set(process["capabilities"]["effective"]) == set(capabilities.DEFAULT)
    assert process["capabilities"]["inheritable"] == process["capabilities"]["ambient"] == []
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert linux["maskedPaths"] == list(MASKED_PATHS)
    assert "/proc/sys" in linux["readonlyPaths"]
    assert set(kinds(config)) == {"mount", "network", "uts", "pid", "ipc", "cgroup"}
    assert not any(kinds(config).values())
    assert "annotations" not in config
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


def test_environment_is_ordered_and_overridden_as_docker_does() -> None:
    env = made(env=["PATH=/own", "A=1", "B=", "*", "NOPE", "=x", "A=2"], tty=True)["process"]["env"]
    assert env == ["PATH=/own", "HOSTNAME=0123456789ab", "TERM=xterm", "A=2", "B=", "HOME=/"]


def test_home_comes_from_the_user_and_takes_no_control_characters() -> None:
    assert "HOME=/home/app" in made(ctx={"user": User(5, 5, (5,), "/home/app")})["process"]["env"]
    with pytest.raises(InvalidArgument, match="HOME"):
        made(env=["HOME=/x\nevil::0:0"])


def test_other_users_keep_only_the_bounding_set() -> None:
    sets = made(ctx={"user": User(1000, 1000, (1000,), "/")})["process"]["capabilities"]
    assert sets["effective"] == sets["permitted"] == [] and len(sets["bounding"]) == 14


def test_what_the_daemon_does_not_hold_is_left_out_with_a_warning() -> None:
    said: list[str] = []
    facts = HostFacts(held=WEAK, hard_limits={"nofile": 20_000})
    config = generate(
        spec(
            security=SecuritySpec(privileged=True),
            oom_score_adj=-500,
            rlimits=[Rlimit(name="nofile", soft=100_000, hard=-1), Rlimit(name="RLIMIT_CORE", soft=0, hard=0)],
        ),
        context(facts=facts),
        said.append,
    )
    process = config["process"]
    assert "CAP_SYS_RESOURCE" not in process["capabilities"]["bounding"]
    assert process["oomScoreAdj"] == 0
    assert process["rlimits"][0] == {"type": "RLIMIT_NOFILE", "soft": 20_000, "hard": 20_000}
    assert process["rlimits"][1] == {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    assert len(said) == 3


def test_a_daemon_that_holds_everything_gives_what_was_asked() -> None:
    process = made(oom_score_adj=-500, rlimits=[Rlimit(name="nofile", soft=1, hard=-1)])["process"]
    assert process["oomScoreAdj"] == -500
    assert process["rlimits"][0]["hard"] == (1 << 64) - 1


def test_privileged_lifts_masks_filter_and_device_rules() -> None:
    config = made(
        security=SecuritySpec(privileged=True),
        ctx={"facts": HostFacts(host_devices=(Device("/dev/kvm", "c", 10, 232),))},
    )
    linux = config["linux"]
    assert "seccomp" not in linux and "maskedPaths" not in linux and "readonlyPaths" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert [device["path"] for device in linux["devices"]] == ["/dev/kvm"]
    assert "rw" in mount_at(config, "/sys")["options"] and "rw" in mount_at(config, "/sys/fs/cgroup")["options"]


def test_security_options() -> None:
    config = made(security=SecuritySpec(seccomp="unconfined", no_new_privileges=True, masked_paths=[], apparmor="mine"))
    assert "seccomp" not in config["linux"] and config["linux"]["maskedPaths"] == []
    assert config["process"]["noNewPrivileges"] and config["process"]["apparmorProfile"] == "mine"
    custom = made(security=SecuritySpec(seccomp='{"defaultAction": "SCMP_ACT_ALLOW"}'))
    assert custom["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ALLOW"


def test_thermal_throttle_of_this_machine_is_masked() -> None:
    path = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    assert path in made(ctx={"facts": HostFacts(thermal=(path,))})["linux"]["maskedPaths"]


def test_shared_namespaces_are_left_out_or_joined() -> None:
    config = made(
        network=NetworkSpec(mode="host"),
        namespaces=NamespaceSpec(pid="host", ipc="container:x", uts="host", cgroup="host"),
        ctx={"joined": {"ipc": "/proc/9/ns/ipc"}, "shm": "/proc/9/root/dev/shm"},
    )
    assert kinds(config) == {"mount": None, "ipc": "/proc/9/ns/ipc"}
    assert mount_at(config, "/dev/shm")["source"] == "/proc/9/root/dev/shm"
    assert "hostname" not in config
    assert "sysctl" not in config["linux"]


def test_a_joined_namespace_must_be_there() -> None:
    with pytest.raises(InvalidArgument, match="cannot join the pid namespace"):
        made(namespaces=NamespaceSpec(pid="container:x"))


def test_the_network_namespace_is_entered_by_path() -> None:
    assert kinds(made(ctx={"netns": "/run/netns/x"}))["network"] == "/run/netns/x"


def test_mounts_are_cleaned_ordered_and_replace_defaults() -> None:
    config = made(
        mounts=[
            MountSpec(type="bind", source="/h/b", target="/a/b/../c//"),
            MountSpec(type="bind", source="/h/a", target="/a", read_only=True, propagation="rslave"),
            MountSpec(type="tmpfs", target="/dev/shm", options=["size=1m", "exec"]),
            MountSpec(type="volume", source="data", target="/data"),
        ],
        volumes=["/data", "/anon"],
        ctx={"volumes": {"/data": "/v/data", "/anon": "/v/anon"}, "files": {"/etc/hosts": "/c/hosts"}},
    )
    targets = [m["destination"] for m in config["mounts"]]
    assert targets.index("/a") < targets.index("/a/c")
    assert mount_at(config, "/a")["options"] == ["rbind", "ro", "rslave"]
    assert mount_at(config, "/dev/shm")["type"] == "tmpfs"
    assert "noexec" not in mount_at(config, "/dev/shm")["options"]
    assert mount_at(config, "/data")["source"] == "/v/data"
    assert mount_at(config, "/anon")["source"] == "/v/anon"
    assert mount_at(config, "/etc/hosts")["source"] == "/c/hosts"
    assert config["linux"]["rootfsPropagation"] == "slave"


@pytest.mark.parametrize(
    "target", ["/", "/..", "//", "/a/../..", "/proc", "/proc/sys", "/x/../proc/1", "relative", "", "/a\0b"]
)
def test_targets_that_cannot_be_are_refused(target: str) -> None:
    with pytest.raises(InvalidArgument):
        made(mounts=[MountSpec(type="bind", source="/h", target=target)])
    with pytest.raises(InvalidArgument):
        made(mounts=[MountSpec(type="tmpfs", target=target)])


@pytest.mark.parametrize(
    "mount",
    [
        MountSpec(type="bind", source="/h", target="/a", options=["size=1"]),
        MountSpec(type="bind", source="/h", target="/a", propagation="loud"),
        MountSpec(type="tmpfs", target="/a", options=["lowerdir=/"]),
        MountSpec(type="tmpfs", target="/a", options=["size=1,mode=777"]),
    ],
)
def test_unknown_mount_options_are_refused(mount: MountSpec) -> None:
    with pytest.raises(InvalidArgument, match="invalid"):
        made(mounts=[mount])


@pytest.mark.parametrize(
    "cwd", ["relative", "/proc/self/fd/8", "/proc/self/./fd", "/a/../proc/1/fd/3", "/proc/self/task/1/fd/7"]
)
def test_working_directories_that_reach_the_runtime_are_refused(cwd: str) -> None:
    with pytest.raises(InvalidArgument):
        made(cwd=cwd)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel.core_pattern", "x"), ("kernel.shmmax", "1\n2"), ("kernel.shm+x", "1"), ("net.core.x", "a+b"),
        ("vm.swappiness", "1"), ("net/../kernel/core_pattern", "1"), ("net..x", "1"), ("", "1"),
    ],
)  # fmt: skip
def test_sysctls_outside_the_container_s_namespaces_are_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidArgument, match="sysctl"):
        made(sysctls={key: value})


def test_sysctls_of_own_namespaces_are_set_and_of_shared_ones_refused() -> None:
    sysctls = {"net.core.somaxconn": "1024", "kernel.msgmax": "65536"}
    found = made(sysctls=sysctls, domainname="example")["linux"]["sysctl"]
    assert found["net.core.somaxconn"] == "1024" and found["kernel.domainname"] == "example"
    assert found["net.ipv4.ip_unprivileged_port_start"] == "0"
    with pytest.raises(InvalidArgument):
        made(sysctls=sysctls, network=NetworkSpec(mode="host"))
    with pytest.raises(InvalidArgument):
        made(sysctls={"kernel.msgmax": "1"}, namespaces=NamespaceSpec(ipc="host"))


def test_limits() -> None:
    found = made(
        resources=Resources(memory=64 << 20, nano_cpus=1_500_000_000, pids=100, cpu_shares=1, cpuset_cpus="0-1"),
        ctx={"facts": HostFacts(cpus=2)},
    )["linux"]["resources"]
    assert found["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert found["cpu"] == {"period": 100_000, "quota": 150_000, "shares": 2, "cpus": "0-1"}
    assert found["pids"] == {"limit": 100}
    assert set(made()["linux"]["resources"]) == {"devices"}


def test_limits_that_this_kernel_does_not_have_are_dropped_with_a_warning() -> None:
    said: list[str] = []
    facts = HostFacts(swap_accounting=False, blkio_weight=False, layout="v2")
    wanted = Resources(
        memory=64 << 20, memory_swap=65 << 20, blkio_weight=100, memory_swappiness=5, oom_kill_disable=True
    )
    found = generate(spec(resources=wanted), context(facts=facts), said.append)["linux"]["resources"]
    assert found["memory"] == {"limit": 64 << 20} and "blockIO" not in found
    assert len(said) == 4


@pytest.mark.parametrize(
    "fields",
    [
        {"memory": 1024}, {"memory": -5}, {"memory": 64 << 20, "memory_swap": 1 << 20}, {"memory_swap": 1 << 20},
        {"nano_cpus": 3_000_000_000}, {"nano_cpus": 1}, {"nano_cpus": 10**9, "cpu_quota": 5}, {"cpuset_cpus": "0-x"},
        {"cpuset_cpus": "0-2147483647"}, {"blkio_weight": 5}, {"memory_swappiness": 101},
    ],
)  # fmt: skip
def test_limits_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        made(resources=Resources(**fields), ctx={"facts": HostFacts(cpus=2)})


def test_devices_and_their_rules() -> None:
    config = made(
        devices=[DeviceSpec(host_path="/dev/fuse", container_path="/dev/f", permissions="rw")],
        device_cgroup_rules=["c 10:* r"],
        ctx={"devices": [[Device("/dev/f", "c", 10, 229)]]},
    )
    rules = config["linux"]["resources"]["devices"]
    assert {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"} in rules
    assert rules[-1] == {"allow": True, "type": "c", "access": "r", "major": 10}
    assert config["linux"]["devices"][0]["path"] == "/dev/f"
    with pytest.raises(InvalidArgument):
        made(device_cgroup_rules=["x 1:1 r"])


def test_init_comes_first_and_needs_a_program() -> None:
    config = made(init=True, ctx={"init_path": "/usr/bin/catatonit"})
    assert config["process"]["args"] == ["/sbin/docker-init", "--", "true"]
    assert mount_at(config, "/sbin/docker-init")["source"] == "/usr/bin/catatonit"
    with pytest.raises(InvalidArgument, match="init"):
        made(init=True)


def test_a_command_is_needed() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        generate(ContainerSpec(), context())


def test_an_exec_inherits_environment_and_directory_but_not_init() -> None:
    process = exec_process(
        spec(env=["A=1", "B=1"], cwd="/w", init=True, tty=True), context(), args=["ls"], env=["B=2"], privileged=True
    )
    assert process["args"] == ["ls"] and process["cwd"] == "/w" and not process["terminal"]
    assert {"A=1", "B=2"} <= set(process["env"]) and "B=1" not in process["env"]
    assert process["capabilities"]["effective"] == list(capabilities.NAMES)


def test_annotations_come_from_the_request_only() -> None:
    assert made(annotations={"a": "b"})["annotations"] == {"a": "b"}
