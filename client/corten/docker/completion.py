"""What the shell completes for `corten`, and the command that prints the script for it."""

from __future__ import annotations

from corten.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from corten.docker.session import Session
    from corten.flags import Flag, Options
    from corten.program import Find

_STATES = {
    "attach": "running", "exec": "running", "kill": "running paused", "pause": "running", "port": "running",
    "start": "created exited", "stop": "running paused restarting", "top": "running", "unpause": "paused",
}  # fmt: skip
"""States of the containers that a command can do something with, where not all."""


def flag_values(flag: Flag) -> list[str] | Find | None:
    """Values of flags that take one of a few words, or names of what is there."""
    from corten.completion import SIGNALS

    if flag.name in ("volumes-from", "link"):
        return _containers
    if flag.name in ("network", "net"):
        return lambda session: ["bridge", "host", "none", *_networks(session)]
    return {
        "attach": ["stdin", "stdout", "stderr"],
        "cgroupns": ["host", "private"],
        "format": ["json", "table"],
        "log-driver": ["json-file", "local", "journald", "syslog", "none"],
        "log-level": ["debug", "info", "warn", "error", "fatal"],
        "pull": ["always", "missing", "never"],
        "restart": ["always", "no", "on-failure", "unless-stopped"],
        "signal": SIGNALS,
        "stop-signal": SIGNALS,
    }.get(flag.name)


def argument_names(name: str, argument: str) -> Find | None:
    """Names for `argument` of the command called `name`, whatever noun it stands below."""
    states = _STATES.get(name, "").split()
    if argument == "CONTAINER":
        return lambda session: _containers(session, states)
    if argument == "NAME|ID":
        return lambda session: [*_containers(session), *_images(session)]
    return _images if argument in ("IMAGE", "SOURCE_IMAGE", "REPOSITORY", "NAME") else None


def _containers(session: Session, states: Iterable[str] = ()) -> Iterator[str]:
    for entry in session.engine.call("GET", "/containers/json", {"all": True}):
        if not states or entry["State"] in states:
            yield from (str(name).removeprefix("/") for name in entry["Names"])


def _images(session: Session) -> Iterator[str]:
    for entry in session.engine.call("GET", "/images/json"):
        yield from entry.get("RepoTags") or ()


def _networks(session: Session) -> Iterator[str]:
    for entry in session.engine.call("GET", "/networks"):
        yield entry["Name"]


def _run(session: Session, options: Options) -> int:
    from corten.completion import script
    from corten.docker.main import PROGRAM

    return script(PROGRAM, options.args[0])


COMPLETION = Command(
    "Print the script that makes a shell complete corten's commands, flags and names",
    _run, arguments="bash|zsh|fish", least=1, most=1,
)  # fmt: skip
