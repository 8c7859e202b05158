"""What the shell completes for `cortenctl`, and the command that prints the script for it."""

from __future__ import annotations

from corten.ctl.command import Command
from corten.ctl.session import Session, segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from corten.flags import Flag, Options
    from corten.program import Find

_NAMES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "CONTAINER": ("/containers", lambda found: found["container"]["name"]),
    "DIGEST": ("/content", lambda found: found["digest"]),
    "IMAGE": ("/images", lambda found: found["name"]),
    "INGEST": ("/content/ingests", lambda found: found["ref"]),
    "LEASE": ("/leases", lambda found: found["id"]),
    "NAMESPACE": ("/namespaces", lambda found: found["name"]),
    "TASK": ("/tasks", lambda found: found["name"]),
}
"""Lists of the API by what they list, and where an entry of one has its name."""


_SAMPLES = {
    "CONTAINER": "web",
    "DIGEST": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "ID": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "IMAGE": "docker.io/library/busybox:latest",
    "INGEST": "upload-1",
    "KEY": "web-root",
    "LABEL": "team=web",
    "LEASE": "keep",
    "NAME": "web",
    "NAMESPACE": "team-a",
    "PARENT": "sha256:4b2e0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
    "REF": "docker.io/library/busybox:latest",
    "TARGET": "/mnt",
    "TYPE": "content",
}


def sample(word: str) -> str:
    """A word of a usage line as somebody might type it; nothing for what may be left out."""
    if word.startswith("["):
        return ""
    if "|" in word:
        return word.partition("|")[0]
    bare = word.rstrip(".").partition("[")[0].partition("=")[0]
    return _SAMPLES.get(bare, bare.lower())


def flag_values(flag: Flag) -> list[str] | Find | None:
    """Values of flags that take one of a few words, or names of what is there."""
    from corten.completion import SIGNALS

    if flag.name == "namespace":
        return _finder("NAMESPACE")
    if flag.name == "lease":
        return _finder("LEASE")
    if flag.name == "snapshotter":
        return lambda session: map(str, session.items("/snapshots"))
    return {
        "network": ["bridge", "host", "none"],
        "format": ["json", "table"],
        "output": ["json", "table"],
        "rootfs-propagation": ["private", "rprivate", "rshared", "rslave", "shared", "slave"],
        "runtime": ["crun", "runc"],
        "signal": SIGNALS,
    }.get(flag.name)


def argument_names(noun: str, name: str, argument: str) -> Find | None:
    """Names for `argument` of a noun's command; none for what it makes."""
    if argument == "KEY":
        return _snapshots
    meant = {
        ("images", "REF"): "" if name == "pull" else "IMAGE",
        ("content", "REF"): "" if name == "ingest" else "IMAGE",
        ("namespaces", "NAME"): "" if name == "create" else "NAMESPACE",
        ("tasks", "CONTAINER"): "CONTAINER" if name == "start" else "TASK",
    }.get((noun, argument), argument)
    return _finder(meant) if meant in _NAMES else None


def _finder(kind: str) -> Find:
    path, name = _NAMES[kind]
    return lambda session: (name(found) for found in session.items(path))


def _snapshots(session: Session) -> Iterator[str]:
    for found in session.items(f"/snapshots/{segment(session.options['snapshotter'])}"):
        yield found["name"]


def _run(session: Session, options: Options) -> int:
    from corten.completion import script
    from corten.ctl.main import PROGRAM

    return script(PROGRAM, options.args[0])


COMMANDS = {
    "completion": Command(
        "Print the script that makes a shell complete cortenctl's commands, flags and names",
        _run, arguments="bash|zsh|fish", least=1, most=1,
    ),
}  # fmt: skip
