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


def flag_values(flag: Flag) -> list[str] | Find | None:
    """Values of flags that take one of a few words, or names of what is there."""
    from corten.completion import SIGNALS

    if flag.name == "namespace":
        return _finder("NAMESPACE")
    return {
        "network": ["bridge", "host", "none"],
        "output": ["json", "table"],
        "signal": SIGNALS,
    }.get(flag.name)


def argument_names(noun: str, name: str, argument: str) -> Find | None:
    """Names for `argument` of a noun's command; none for what it makes."""
    if argument == "KEY":
        return _snapshots
    meant = {
        ("images", "REF"): "" if name == "pull" else "IMAGE",
        ("content", "REF"): "INGEST",
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
