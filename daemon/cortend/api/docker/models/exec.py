"""The bodies of exec create and exec start."""

from __future__ import annotations

from cortend.api.docker.models.base import Wire, Words


class ExecCreateBody(Wire):
    """A further process in a container."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    tty: bool = False
    env: list[str] = []
    cmd: Words = []
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    console_size: list[int] = []


class ExecStartBody(Wire):
    """How to start it; `console_size` is [height, width]."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] = []
