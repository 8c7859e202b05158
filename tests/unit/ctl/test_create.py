"""The request that flags of `cortenctl run` make."""

from __future__ import annotations

from typing import Any

import pytest

from corten.ctl.create import CREATE_FLAGS, creation, parse_mount
from corten.ctl.run import start_failure
from corten.flags import parse
from corten_shared.errors import InvalidArgument
from corten_shared.models.api import ContainerCreate
from corten_shared.models.container import MountSpec


def _created(*words: str) -> ContainerCreate:
    options = parse(CREATE_FLAGS, words, interspersed=False)
    body: dict[str, Any] = creation(options, tty=bool(options["tty"]))
    return ContainerCreate.model_validate(body)


def test_arguments_are_image_name_and_command() -> None:
    made = _created("busybox", "web", "sh", "-c", "echo --rm")
    assert (made.image, made.name, made.spec.cmd) == ("busybox", "web", ["sh", "-c", "echo --rm"])
    assert made.spec.entrypoint is None
    assert _created("busybox", "web").spec.cmd is None


def test_flags_become_the_spec() -> None:
    made = _created(
        "-t", "-e", "A=b", "--env", "C=d=e", "-m", "64m", "--cpus", "1.5", "-p", "127.0.0.1:8080:80/udp", "--label",
        "k=v", "--network", "none", "--entrypoint", "/e", "-u", "1:2", "--read-only", "--cap-drop", "ALL", "i", "n",
    )  # fmt: skip
    spec = made.spec
    assert spec.tty
    assert spec.open_stdin
    assert spec.env == ["A=b", "C=d=e"]
    assert (spec.resources.memory, spec.resources.nano_cpus) == (64 << 20, 1_500_000_000)
    (port,) = spec.network.ports
    assert (port.host_ip, port.host_port, port.container_port, port.protocol) == ("127.0.0.1", 8080, 80, "udp")
    assert (spec.network.mode, spec.entrypoint, spec.user, spec.read_only) == ("none", ["/e"], "1:2", True)
    assert spec.security.cap_drop == ["ALL"]
    assert made.labels == {"k": "v"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,src=/a,dst=/b,options=rbind:ro", {"source": "/a", "target": "/b", "read_only": True}),
        ("source=/a,destination=/b", {"type": "bind", "source": "/a", "target": "/b"}),
        ("type=bind,src=/a,dst=/b,options=rslave:noexec", {"propagation": "rslave", "options": ["noexec"]}),
        ("type=tmpfs,dst=/t,options=size=64m", {"type": "tmpfs", "target": "/t", "options": ["size=64m"]}),
        ("type=volume,src=data,dst=/d", {"type": "volume", "source": "data"}),
    ],
)  # fmt: skip
def test_mounts_are_read_as_ctr_writes_them(text: str, expected: dict[str, Any]) -> None:
    mount = MountSpec.model_validate(parse_mount(text)).model_dump()
    assert expected.items() <= mount.items()


@pytest.mark.parametrize(
    "words",
    [["--mount", "type=bind,src=/a"], ["--mount", "dst=rel"], ["--mount", "dst=/a,x=y"], ["-e", "A"], ["-e", "=b"],
     ["--label", "x"], ["-p", "x"]],
)  # fmt: skip
def test_bad_flags_are_named(words: list[str]) -> None:
    with pytest.raises(InvalidArgument, match=r"--(mount|env|label|publish)"):
        _created(*words, "image", "name")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ("exec: /x: no such file or directory", 127),
        ('exec: "/etc": permission denied', 126),
        ("driver failed", 125),
    ],
)
def test_task_that_did_not_start_ends_as_in_a_shell(message: str, code: int) -> None:
    assert start_failure(message) == code
