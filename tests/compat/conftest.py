"""The real docker CLI against a real cortend."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

import daemon as daemons
from compat.terminal import Terminal
from support_registry import registry_fixture as registry_fixture


@pytest.fixture
def docker(cortend: daemons.Cortend) -> Iterator[daemons.Cortend]:
    """The file's daemon; containers, volumes and images that a test left are removed after it."""
    if shutil.which("docker") is None:
        pytest.skip("the docker CLI is not installed")
    yield cortend
    left = cortend.docker("ps", "-aq").stdout.decode().split()
    if left:
        cortend.docker("rm", "-fv", *left)
    volumes = cortend.docker("volume", "ls", "-q").stdout.decode().split()
    if volumes:
        cortend.docker("volume", "rm", *volumes)


@pytest.fixture
def terminal(docker: daemons.Cortend) -> Iterator[Callable[..., Terminal]]:
    """Runs docker commands on a terminal."""
    path = shutil.which("docker")
    assert path is not None
    with ExitStack() as stack:

        def run(*args: str) -> Terminal:
            env = {"DOCKER_CONFIG": str(docker.base / "docker-config"), "TERM": "dumb"}
            return stack.enter_context(closing(Terminal([path, "-H", docker.host, *args], env)))

        yield run
