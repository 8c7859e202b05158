"""Dockerfile instructions of import and commit."""

from __future__ import annotations

import pytest

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import RunConfig
from cortend.core.instructions import apply


def test_instructions_set_the_configuration() -> None:
    config = apply(
        [
            'CMD ["/bin/sh", "-c"]',
            "entrypoint /run me",
            "ENV A=1 B='two words'",
            "ENV A 3",
            "EXPOSE 80 53/udp",
            'LABEL k="v w"',
            "VOLUME /data",
            "USER 1000",
            "WORKDIR /srv",
            "STOPSIGNAL SIGINT",
        ]
    )
    assert config.cmd == ["/bin/sh", "-c"]
    assert config.entrypoint == ["/bin/sh", "-c", "/run me"]
    assert config.env == ["B=two words", "A=3"]
    assert set(config.exposed_ports or {}) == {"80/tcp", "53/udp"}
    assert config.labels == {"k": "v w"}
    assert set(config.volumes or {}) == {"/data"}
    assert (config.user, config.working_dir, config.stop_signal) == ("1000", "/srv", "SIGINT")


@pytest.mark.parametrize("change", ["RUN x", "CMD", "EXPOSE x", "ENV A=1 B", "LABEL 'open"])
def test_others_are_refused_by_name(change: str) -> None:
    with pytest.raises(InvalidArgument):
        apply([change])


BASE = RunConfig(
    Env=["PATH=/bin", "V=1 2"], Cmd=["old"], Entrypoint=["e"], WorkingDir="/srv", Labels={"a": "b"},
    ExposedPorts={"1/tcp": {}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ('ENTRYPOINT ["x"]', "cmd", None),
        ('ENTRYPOINT ["x"]\nCMD y', "cmd", ["/bin/sh", "-c", "y"]),
        ("CMD y", "entrypoint", ["e"]),
        ("CMD []", "cmd", []),
        ("ENV PATH=$PATH:/x", "env", ["V=1 2", "PATH=/bin:/x"]),
        ("ENV A='$V' B=\"$V\" C=${V} D=\\$V E=${N:-n} F=${V:+y}", "env",
         ["PATH=/bin", "V=1 2", "A=$V", "B=1 2", "C=1 2", "D=$V", "E=n", "F=y"]),
        ("ENV A  two words", "env", ["PATH=/bin", "V=1 2", "A=two words"]),
        ("ENV A=x\\ y", "env", ["PATH=/bin", "V=1 2", "A=x y"]),
        ("LABEL a=c \\\n  d=\"e f\"", "labels", {"a": "c", "d": "e f"}),
        ("# a comment\nLABEL x=1", "labels", {"a": "b", "x": "1"}),
        ("EXPOSE 8000-8001/UDP", "exposed_ports", {"1/tcp": {}, "8000/udp": {}, "8001/udp": {}}),
        ("WORKDIR sub/../dir", "working_dir", "/srv/dir"),
        ("WORKDIR /", "working_dir", "/"),
        ('VOLUME ["/a b", "/c"]', "volumes", {"/a b": {}, "/c": {}}),
        ("VOLUME /a /c", "volumes", {"/a": {}, "/c": {}}),
        ("ONBUILD RUN make", "on_build", ["RUN make"]),
        ("HEALTHCHECK NONE", "healthcheck", {"Test": ["NONE"]}),
        ("HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f /", "healthcheck",
         {"Interval": 90 * 10**9, "Timeout": 5 * 10**8, "Retries": 3, "Test": ["CMD-SHELL", "curl -f /"]}),
        ('HEALTHCHECK --start-period=2s CMD ["a", "b"]', "healthcheck",
         {"StartPeriod": 2 * 10**9, "Test": ["CMD", "a", "b"]}),
    ],
)  # fmt: skip
def test_instructions_work_as_in_a_dockerfile(change: str, field: str, value: object) -> None:
    config = apply([change], BASE)
    assert getattr(config, field) == value
    untouched = {"cmd", "env", "labels", "working_dir", "exposed_ports"} - {field}
    if not change.startswith(("ENTRYPOINT", "CMD")):
        assert all(getattr(config, name) == getattr(BASE, name) for name in untouched)


@pytest.mark.parametrize(
    "change",
    ["SHELL x", "FROM x", "ONBUILD FROM x", "HEALTHCHECK CMD", "HEALTHCHECK --retries=x CMD y", "EXPOSE 0", "VOLUME []",
     "HEALTHCHECK --nope=1 CMD x", "STOPSIGNAL a b", "ENV A", "EXPOSE 9-8", "EXPOSE 70000"],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(change: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid change") as caught:
        apply([change])
    assert "\n" not in caught.value.message and "CMD" in str(caught.value.hint)
