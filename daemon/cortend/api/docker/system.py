"""The engine itself: ping, version, info."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from corten_shared.models.system import SystemInfo, VersionInfo
from corten_shared.times import format_rfc3339
from cortend.api.docker import versions
from cortend.api.docker.call import Call
from cortend.api.docker.responses import json_response
from cortend.api.docker.routing import Route

if TYPE_CHECKING:
    from cortend.services.all import Services

_PING_HEADERS = {
    "Builder-Version": "1",
    "Swarm": "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
}
_HUB = "https://index.docker.io/v1/"


def routes(services: Services) -> Iterable[Route]:
    """The routes of this noun."""
    api = System(services)
    return (
        Route("GET", "/_ping", api.ping),
        Route("HEAD", "/_ping", api.ping_head),
        Route("GET", "/version", api.version),
        Route("GET", "/info", api.info),
    )


class System:
    """Handlers; each calls its service and translates."""

    def __init__(self, services: Services) -> None:
        self._system = services.system

    async def ping(self, call: Call) -> Response:
        """GET /_ping."""
        return Response(b"OK", headers=_PING_HEADERS, media_type="text/plain; charset=utf-8")

    async def ping_head(self, call: Call) -> Response:
        """HEAD /_ping: the headers only."""
        headers = {**_PING_HEADERS, "Content-Length": "0"}
        return Response(headers=headers, media_type="text/plain; charset=utf-8")

    async def version(self, call: Call) -> Response:
        """GET /version."""
        return json_response(version_document(self._system.version()))

    async def info(self, call: Call) -> Response:
        """GET /info."""
        return json_response(versions.adapt("info", call.version, info_document(await self._system.info())))


def version_document(version: VersionInfo) -> dict[str, Any]:
    """Versions in docker's shape. There is no Go here: its version is Python's, so that nobody is misled."""
    details = {
        "ApiVersion": versions.text(versions.ADVERTISED),
        "Arch": version.arch,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": f"python{version.python}",
        "KernelVersion": version.kernel,
        "MinAPIVersion": versions.text(versions.OLDEST),
        "Os": version.os,
    }
    return {
        "Platform": {"Name": "corten"},
        "Version": version.version,
        "ApiVersion": versions.text(versions.ADVERTISED),
        "MinAPIVersion": versions.text(versions.OLDEST),
        "Os": version.os,
        "Arch": version.arch,
        "KernelVersion": version.kernel,
        "GitCommit": "",
        "GoVersion": f"python{version.python}",
        "BuildTime": "",
        "Experimental": False,
        "Components": [{"Name": "Engine", "Version": version.version, "Details": details}],
    }


def info_document(info: SystemInfo) -> dict[str, Any]:
    """The engine at a glance in docker's shape."""
    return {
        "ID": info.id,
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
        "Driver": info.snapshotter,
        "DriverStatus": [["driver-type", "corten.snapshotter"]],
        "SystemStatus": None,
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        "MemoryLimit": True,
        "SwapLimit": True,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "IPv4Forwarding": True,
        "Debug": False,
        "NFd": 0,
        "OomKillDisable": info.cgroup_version == "1",
        "NGoroutines": 0,
        "SystemTime": format_rfc3339(info.time),
        "LoggingDriver": "json-file",
        "CgroupDriver": info.cgroup_driver,
        "CgroupVersion": info.cgroup_version,
        "NEventsListener": 0,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSVersion": "",
        "OSType": info.os,
        "Architecture": platform.machine(),
        "IndexServerAddress": _HUB,
        "RegistryConfig": _registries(info),
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "GenericResources": None,
        "DockerRootDir": info.root,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": info.name,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": info.version,
        "Runtimes": {runtime.name: {"path": runtime.path} for runtime in info.runtimes if runtime.usable},
        "DefaultRuntime": info.default_runtime,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "docker-init",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": _runtime_version(info)},
        "InitCommit": {"ID": ""},
        "SecurityOptions": info.security_options,
        "CDISpecDirs": [],
        "Warnings": info.warnings or None,
    }


def _runtime_version(info: SystemInfo) -> str:
    return next((r.version for r in info.runtimes if r.name == info.default_runtime), "")


def _registries(info: SystemInfo) -> dict[str, Any]:
    hub = {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True}
    plain = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in info.insecure_registries
    }
    return {
        "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"],
        "IndexConfigs": {"docker.io": hub, **plain},
        "Mirrors": None,
    }
