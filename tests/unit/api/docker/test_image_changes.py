"""Dockerfile instructions of import."""

from __future__ import annotations

import pytest

from corten_shared.errors import InvalidArgument
from cortend.api.docker.image_changes import apply_changes


def test_instructions_set_the_configuration() -> None:
    config = apply_changes(
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
        apply_changes([change])
