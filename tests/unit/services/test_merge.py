"""A request is completed from its image as docker does it."""

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.container import ContainerSpec, MountSpec
from corten_shared.models.oci import RunConfig
from cortend.services.merge import anonymous_volumes, labels_of, merge, merge_env


def image(**members: object) -> RunConfig:
    return RunConfig.model_validate(members)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "config", "args"),
    [
        (None, None, {"Cmd": ["sh"]}, ["sh"]),
        (None, None, {"Entrypoint": ["init"], "Cmd": ["sh"]}, ["init", "sh"]),
        (None, ["ls"], {"Entrypoint": ["init"], "Cmd": ["sh"]}, ["init", "ls"]),
        (["true"], None, {"Entrypoint": ["init"], "Cmd": ["sh"]}, ["true"]),
        (["true"], ["-x"], {"Entrypoint": ["init"], "Cmd": ["sh"]}, ["true", "-x"]),
        ([""], ["ls"], {"Entrypoint": ["init"]}, ["ls"]),
        (None, [], {"Cmd": ["sh"]}, ["sh"]),
    ],
)
def test_command_line(
    entrypoint: list[str] | None, cmd: list[str] | None, config: dict[str, object], args: list[str]
) -> None:
    assert merge(ContainerSpec(entrypoint=entrypoint, cmd=cmd), image(**config)).args == args


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        merge(ContainerSpec(), image())


def test_image_fills_what_the_request_leaves_open() -> None:
    config = image(Cmd=["x"], WorkingDir="/srv", User="app", StopSignal="SIGINT", ExposedPorts={"80/tcp": {}})
    merged = merge(ContainerSpec(), config)
    assert (merged.cwd, merged.user, merged.stop_signal) == ("/srv", "app", "SIGINT")
    assert merged.network.exposed == ["80/tcp"]
    asked = merge(ContainerSpec(cwd="/a", user="0", stop_signal="9"), config)
    assert (asked.cwd, asked.user, asked.stop_signal) == ("/a", "0", "9")


def test_environment_of_the_request_wins_and_host_variables_stay_out() -> None:
    merged = merge_env(["A=1", "GONE"], ["A=2", "B=3", "GONE=x", "SECRET", "=odd", "PATH=/bin"])
    assert merged == ["A=1", "B=3", "PATH=/bin"]


def test_declared_volumes_that_no_mount_covers_become_anonymous() -> None:
    spec = ContainerSpec(volumes=["/data", "/logs/"], mounts=[MountSpec(type="bind", source="/x", target="/data/")])
    assert [mount.target for mount in anonymous_volumes(spec)] == ["/logs"]


def test_labels_of_the_request_win() -> None:
    assert labels_of({"a": "1"}, image(Labels={"a": "0", "b": "2"})) == {"a": "1", "b": "2"}
