"""From docker's create body to the engine's request."""

from __future__ import annotations

from typing import Any

import pytest

from corten_shared.errors import CortenError, InvalidArgument, Unimplemented
from corten_shared.models.container import MountSpec, PortMapping, Rlimit
from cortend.api.docker.models.create import CreateBody
from cortend.api.docker.translate_create import create_request
from cortend.services.requests import CreateRequest


def translate(body: dict[str, Any]) -> CreateRequest:
    return create_request(CreateBody.model_validate({"Image": "busybox", **body}), name="web", platform="")


def host(**members: Any) -> CreateRequest:
    return translate({"HostConfig": members})


def test_what_the_docker_cli_sends_becomes_the_spec(create_body: dict[str, Any]) -> None:
    request = translate(create_body)
    spec = request.spec
    assert (request.image, request.name, request.labels) == ("busybox", "web", {"k": "v"})
    assert (spec.entrypoint, spec.cmd, spec.env) == (["/e"], ["sh", "-c", "x"], ["A=1", "B=2"])
    assert (spec.cwd, spec.user, spec.hostname) == ("/w", "1:2", "hh")
    assert (spec.tty, spec.open_stdin, spec.stdin_once, spec.init) == (True, True, True, True)
    assert (spec.stop_signal, spec.stop_timeout, spec.shm_size) == ("USR1", 5, 1 << 20)
    assert spec.volumes == ["/anon"]
    assert spec.mounts == [
        MountSpec(
            type="bind", source="/src", target="/dst", read_only=True, propagation="rshared", create_source=True
        ),
        MountSpec(type="volume", source="data", target="/data"),
        MountSpec(type="bind", source="/m", target="/mm", read_only=True),
        MountSpec(type="tmpfs", target="/t", options=["size=67108864", "mode=1770"]),
        MountSpec(type="tmpfs", target="/run", options=["size=1m"]),
    ]
    assert spec.network.mode == "none"
    assert len(spec.network.ports) == 3
    assert PortMapping(container_port=53, protocol="udp", host_ip="127.0.0.1", host_port=53) in spec.network.ports
    assert PortMapping(container_port=80, host_port=8080) in spec.network.ports
    assert PortMapping(container_port=9000) in spec.network.ports
    assert set(spec.network.exposed) == {"53/udp", "80/tcp", "7000/tcp", "7001/tcp", "9000/tcp"}
    assert (spec.network.dns, spec.network.extra_hosts) == (["1.1.1.1"], ["h:1.2.3.4"])
    assert (spec.resources.memory, spec.resources.nano_cpus, spec.resources.pids) == (64 << 20, 1_500_000_000, 50)
    assert spec.resources.memory_swappiness is None
    assert (spec.security.cap_add, spec.security.cap_drop) == (["CAP_NET_ADMIN"], ["ALL"])
    assert spec.security.no_new_privileges
    assert spec.security.masked_paths is None
    assert (spec.restart.name, spec.restart.max_retries) == ("on-failure", 3)
    assert spec.rlimits == [Rlimit(name="nofile", soft=1, hard=2)]
    assert spec.devices[0].host_path == "/dev/fuse"
    assert spec.sysctls == {"net.x": "1"}
    assert spec.log.options == {"max-size": "1m"}
    assert spec.healthcheck == {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000}


def test_what_differs_from_the_defaults_is_kept_for_inspect(create_body: dict[str, Any]) -> None:
    kept = translate(create_body).extensions["docker"]
    assert kept["Config"] == {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    assert kept["HostConfig"]["Binds"] == ["/src:/dst:ro,rshared", "data:/data"]
    assert "Privileged" not in kept["HostConfig"]


def test_a_body_with_an_image_alone_asks_for_the_images_defaults() -> None:
    spec = translate({}).spec
    assert (spec.entrypoint, spec.cmd, spec.healthcheck) == (None, None, None)
    assert spec.network.mode == "bridge"
    assert spec.shm_size == 64 << 20


def test_null_is_as_if_absent_and_unknown_members_are_ignored() -> None:
    nothing = dict.fromkeys(["Cmd", "Env", "Volumes", "Labels", "ExposedPorts", "HostConfig", "NetworkingConfig"])
    assert translate({**nothing, "Bogus": [1], "HostConfig": {"Binds": None, "Nope": 1}}).spec == translate({}).spec


def test_a_command_may_be_one_string() -> None:
    assert translate({"Cmd": "date"}).spec.cmd == ["date"]


def test_a_container_on_a_named_network_only_in_its_endpoints_is_put_there() -> None:
    request = translate({"NetworkingConfig": {"EndpointsConfig": {"mynet": None}}})
    assert request.spec.network.mode == "mynet"


def test_privileged_containers_mask_nothing() -> None:
    security = host(Privileged=True).spec.security
    assert (security.masked_paths, security.readonly_paths, security.seccomp) == ([], [], "unconfined")


def test_security_options_in_both_notations() -> None:
    security = host(SecurityOpt=["seccomp:unconfined", "apparmor=mine", "no-new-privileges=false", "label=disable"])
    assert security.spec.security.seccomp == "unconfined"
    assert security.spec.security.apparmor == "mine"
    assert not security.spec.security.no_new_privileges


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Binds": ["/a"]}, None),
        ({"Binds": ["/a:b"]}, "mount path must be absolute"),
        ({"Binds": ["/a:/b:bad"]}, "invalid mode: bad"),
        ({"Binds": ["/a:/b:ro,rw"]}, "invalid mode: ro,rw"),
        ({"Binds": ["/a:/b:ro:x"]}, "invalid volume specification: '/a:/b:ro:x'"),
        ({"Binds": [":/b"]}, "invalid volume specification: ':/b'"),
        ({"Binds": ["/a:/"]}, "destination can't be '/'"),
        ({"Binds": ["../x:/b"]}, "includes invalid characters for a local volume name"),
        ({"Mounts": [{"Type": "bind", "Target": "/x"}]}, "field Source must not be empty"),
        ({"Mounts": [{"Type": "volume"}]}, "field Target must not be empty"),
        ({"Mounts": [{"Type": "odd", "Target": "/x"}]}, "mount type unknown"),
        ({"PortBindings": {"99999/tcp": []}}, 'invalid port specification: "99999/tcp"'),
        ({"PortBindings": {"80/icmp": []}}, "invalid port specification"),
        ({"PortBindings": {"80": [{"HostPort": "x"}]}}, 'invalid port specification: "x"'),
        ({"PortBindings": {"80": [{"HostIp": "nope"}]}}, "invalid IP address: nope"),
        ({"RestartPolicy": {"Name": "sometimes"}}, "unknown policy 'sometimes'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}, "can only be used with 'on-failure'"),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}, "cannot be negative"),
        ({"SecurityOpt": ["bogus"]}, 'invalid --security-opt 1: "bogus"'),
        ({"SecurityOpt": ["bogus=1"]}, 'invalid --security-opt 2: "bogus=1"'),
        ({"OomScoreAdj": 2000}, "range for oom score adj is"),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        ({"MemorySwappiness": 101}, "valid memory swappiness range is 0-100"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"CpuQuota": 5}, "CPU cfs quota can not be less than 1ms"),
        ({"DeviceRequests": [{"Capabilities": [["gpu"]]}]}, r"could not select device driver"),
        ({"CgroupnsMode": "odd"}, "invalid CGROUP mode: odd"),
    ],
)
def test_what_cannot_be_is_refused_in_dockers_words(members: dict[str, Any], message: str | None) -> None:
    if message is None:
        host(**members)
        return
    with pytest.raises(InvalidArgument) as caught:
        host(**members)
    assert message in caught.value.message


@pytest.mark.parametrize("env", ["", "=x"])
def test_a_variable_needs_a_name(env: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid environment variable"):
        translate({"Env": [env]})


def test_a_second_network_is_refused_clearly() -> None:
    with pytest.raises(Unimplemented, match="also other"):
        translate({"HostConfig": {"NetworkMode": "bridge"}, "NetworkingConfig": {"EndpointsConfig": {"other": {}}}})


def test_an_image_must_be_named() -> None:
    with pytest.raises(CortenError):
        create_request(CreateBody(), name="", platform="")
