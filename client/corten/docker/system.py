"""What is known of client and engine: version and info."""

from __future__ import annotations

import os
import sys

from corten import __version__
from corten.command import Command
from corten.docker.listing import print_formatted
from corten.flags import Flag
from corten.output import binary_size, err, escape, out, sentence
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options

API_VERSION = "1.51"
"""The newest API whose replies this client knows."""

_FORMAT = Flag("format", "string", "'json', or a Go template", short="f")


def _client_facts() -> dict[str, Any]:
    machine = os.uname()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine, machine.machine)
    python = ".".join(map(str, sys.version_info[:3]))
    return {
        "Platform": {"Name": "corten"},
        "Version": __version__,
        "ApiVersion": os.environ.get("DOCKER_API_VERSION") or API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": "release",
        "GoVersion": f"python{python}",
        "Os": machine.sysname.lower(),
        "Arch": arch,
        "BuildTime": "",
        "Context": "default",
    }


def _run_version(session: Session, options: Options) -> int:
    client, problem = _client_facts(), None
    server: dict[str, Any] | None = None
    try:
        server = session.engine.call("GET", "/version")
    except CortenError as exc:
        problem = exc
    if options["format"]:
        if problem is not None and "Server" in options["format"]:
            raise problem
        facts = {"Client": _with_go_names(client), "Server": _with_go_names(server) if server else None}
        print_formatted(facts, options["format"])
    else:
        out("\n".join(_version_lines(client, server)))
    if problem is not None:
        err(sentence(problem))
    return int(problem is not None)


def _with_go_names(facts: dict[str, Any]) -> dict[str, Any]:
    """Also under the names that docker's own templates use."""
    return {**facts, "APIVersion": facts.get("ApiVersion", ""), "MinAPIVersion": facts.get("MinAPIVersion", "")}


def _version_lines(client: dict[str, Any], server: dict[str, Any] | None) -> Iterator[str]:
    yield "Client:"
    yield from _pairs(
        ("Version", client["Version"]),
        ("API version", client["ApiVersion"]),
        ("Python version", client["GoVersion"].removeprefix("python")),
        ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
    )
    if server is None:
        return
    platform = (server.get("Platform") or {}).get("Name", "")
    yield ""
    yield f"Server: {escape(platform)}".rstrip()
    for component in server.get("Components") or [{"Name": "Engine", "Version": server.get("Version")}]:
        yield f" {escape(component.get('Name', ''))}:"
        details = component.get("Details") or {}
        api = f"{details.get('ApiVersion', '')} (minimum version {details.get('MinAPIVersion', '')})"
        yield from _pairs(
            ("Version", component.get("Version")),
            ("API version", api if details.get("ApiVersion") else ""),
            ("Git commit", details.get("GitCommit")),
            ("Built", details.get("BuildTime")),
            ("Go version", details.get("GoVersion")),
            ("OS/Arch", f"{details['Os']}/{details['Arch']}" if details.get("Os") and details.get("Arch") else ""),
            indent=2,
        )


def _pairs(*pairs: tuple[str, Any], indent: int = 1) -> Iterator[str]:
    for name, value in pairs:
        if value not in (None, ""):
            yield " " * indent + f"{name}:".ljust(20 - indent) + escape(value)


def _run_info(session: Session, options: Options) -> int:
    client = {key: value for key, value in _client_facts().items() if key in ("Version", "Context")}
    client["Debug"] = False
    try:
        info = session.engine.call("GET", "/info")
        problem = None
    except CortenError as exc:
        info, problem = None, exc
    if options["format"]:
        if problem is not None:
            raise problem
        print_formatted({**info, "ClientInfo": client}, options["format"])
        return 0
    out("\n".join(["Client:", *_pairs(("Version", client["Version"]), ("Context", client["Context"])), "", "Server:"]))
    if problem is not None:
        err(f"ERROR: {sentence(problem)}\nerrors pretty printing info")
        return 1
    out("\n".join(_info_lines(info)))
    for warning in info.get("Warnings") or ():
        err(escape(warning))
    return 0


def _info_lines(info: dict[str, Any]) -> Iterator[str]:
    for name, key in (("Containers", "Containers"), (" Running", "ContainersRunning"),
                      (" Paused", "ContainersPaused"), (" Stopped", "ContainersStopped"),
                      ("Images", "Images"), ("Server Version", "ServerVersion"),
                      ("Storage Driver", "Driver")):  # fmt: skip
        yield f" {name}: {escape(info.get(key, ''))}"
    for name, value in info.get("DriverStatus") or ():
        yield f"  {escape(name)}: {escape(value)}"
    for name, key in (("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"),
                      ("Cgroup Version", "CgroupVersion")):  # fmt: skip
        yield f" {name}: {escape(info.get(key, ''))}"
    yield " Plugins:"
    for name, values in (info.get("Plugins") or {}).items():
        if values:
            yield f"  {escape(name)}: {escape(' '.join(map(str, values)))}"
    yield f" Runtimes: {escape(' '.join(sorted(info.get('Runtimes') or {})))}"
    yield f" Default Runtime: {escape(info.get('DefaultRuntime', ''))}"
    yield from _host_lines(info)


def _host_lines(info: dict[str, Any]) -> Iterator[str]:
    if options := info.get("SecurityOptions"):
        yield " Security Options:"
        for option in options:
            fields = dict(part.partition("=")[::2] for part in str(option).split(","))
            yield f"  {escape(fields.pop('name', option))}"
            yield from (f"   {escape(key.capitalize())}: {escape(value)}" for key, value in fields.items())
    for name, key in (("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem"),
                      ("OSType", "OSType"), ("Architecture", "Architecture"), ("CPUs", "NCPU")):  # fmt: skip
        yield f" {name}: {escape(info.get(key, ''))}"
    yield f" Total Memory: {binary_size(info.get('MemTotal') or 0)}"
    for name, key in (("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir"),
                      ("Debug Mode", "Debug"), ("Experimental", "ExperimentalBuild"),
                      ("Live Restore Enabled", "LiveRestoreEnabled")):  # fmt: skip
        value = info.get(key, "")
        yield f" {name}: {escape(str(value).lower() if isinstance(value, bool) else value)}"


VERSION = Command("Show the versions of client and engine", _run_version, flags=[_FORMAT])
INFO = Command("Show what the engine has and is set to", _run_info, flags=[_FORMAT])
