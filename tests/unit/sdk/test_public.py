"""The SDK's public face is frozen: a change here is a change for everybody who imports corten."""

from __future__ import annotations

import inspect

import corten
from corten import sdk
from corten.sdk import calls, content, nouns, snapshots

NAMES = [
    "AlreadyExists", "AsyncClient", "Cancelled", "Client", "Conflict", "ContainerSpec", "CortenError", "DataLoss",
    "DeadlineExceeded", "Internal", "InvalidArgument", "Login", "MountSpec", "NetworkSpec", "NotFound", "NotModified",
    "PermissionDenied", "PortMapping", "ResourceExhausted", "Resources", "RunResult", "Unauthenticated", "Unavailable",
    "Unimplemented",
]  # fmt: skip

METHODS = {
    "Client": ["collect_garbage", "events", "info", "plugins", "run", "version"],
    "namespaces": ["create", "get", "label", "list", "remove"],
    "content": [
        "abort", "begin", "chunks", "commit", "fetch", "get", "ingests", "label", "list", "prune_references", "read",
        "remove", "resume", "status",
    ],
    "snapshots": [
        "cleanup", "commit", "diff", "get", "label", "list", "mounts", "prepare", "remove", "unpack", "usage", "view",
    ],
    "images": [
        "check", "get", "label", "list", "mount", "prune", "pull", "push", "remove", "tag", "unmount", "usage",
    ],
    "containers": ["create", "get", "label", "list", "remove"],
    "tasks": [
        "exec_create", "exec_kill", "exec_remove", "exec_start", "exec_wait", "execs", "get", "kill", "list", "logs",
        "metrics", "pause", "processes", "remove", "resume", "start", "stop", "wait",
    ],
    "leases": ["add", "create", "get", "list", "remove", "resources"],
}  # fmt: skip


def _calls(owner: type) -> list[str]:
    kinds = (calls.call, calls.stream, calls.script)
    return sorted(name for name in dir(owner) if isinstance(inspect.getattr_static(owner, name), kinds))


def test_exported_names() -> None:
    assert sorted(sdk.__all__) == NAMES
    for name in NAMES:
        assert getattr(corten, name) is getattr(sdk, name)


def test_both_clients_have_the_same_nouns_and_methods() -> None:
    """One description serves both, so they cannot drift apart."""
    with corten.Client("unix:///nonexistent") as client:
        asynchronous = corten.AsyncClient("unix:///nonexistent")
        for one in (client, asynchronous):
            assert _calls(type(one)) == METHODS["Client"]
            for noun, methods in METHODS.items():
                if noun != "Client":
                    assert _calls(type(getattr(one, noun))) == methods, noun


def test_every_method_is_documented() -> None:
    for owner in [*vars(nouns).values(), *vars(content).values(), *vars(snapshots).values()]:
        if inspect.isclass(owner) and issubclass(owner, calls.Noun):
            for name in _calls(owner):
                assert inspect.getdoc(inspect.getattr_static(owner, name).__wrapped__), f"{owner.__name__}.{name}"


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(corten, "Klient")
