"""`run` and `create`.

`run`, attached, does what docker does, in docker's order: create, attach (so that no output is
missed), wait (so that no exit is missed), start, size the terminal, carry the streams, and end
with the container's exit code.
"""

from __future__ import annotations

import os
import sys

from corten.command import Command
from corten.docker import create_body
from corten.docker.attached import (
    Attachment,
    NoProxy,
    Resizer,
    SignalProxy,
    check_terminal,
    wait_status,
)
from corten.docker.create_flags import CREATE_FLAGS, RUN_FLAGS
from corten.docker.engine import EngineError, container_path
from corten.flags import UsageError
from corten.output import err, escape, out
from corten_shared.errors import CortenError, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options
    from corten.transport import Response

SETTLE_SECONDS = 10.0
"""How long a container that failed to start is given to be removed (`--rm`)."""


def _create(session: Session, options: Options) -> str:
    """Create the container, pulling its image where needed; its id."""
    if options["pull"] not in ("always", "missing", "never", ""):
        problem = f"invalid pull option: '{options['pull']}'"
        raise UsageError(f'{problem}: must be one of "always", "missing" or "never"', bare=False)
    image, *command = options.args
    body = create_body.build(options, image, command)
    if options["replace"]:
        _remove_named(session, options["name"])
    if options["use-api-socket"]:
        _mount_socket(session, body)
    with _IdFile(options["cidfile"]) as id_file:
        created = _create_or_pull(session, options, image, body)
        for warning in created.get("Warnings") or ():
            err(f"WARNING: {escape(warning)}")
        identifier = str(created["Id"])
        id_file.write(identifier)
    return identifier


def _remove_named(session: Session, name: str) -> None:
    """`--replace`: the container that has the name makes way."""
    if not name:
        raise UsageError("cannot replace container without --name being set", bare=False)
    try:
        session.engine.call("DELETE", container_path(name), {"force": 1, "v": 1})
    except EngineError as exc:
        if exc.status != 404:
            raise


def _create_or_pull(session: Session, options: Options, image: str, body: dict[str, Any]) -> dict[str, Any]:
    query = {"name": options["name"] or None, "platform": _platform(options) or None}
    policy = options["pull"]
    if policy == "always":
        _pull(session, options, image)
    try:
        return _as_created(session.engine.call("POST", "/containers/create", query, body))
    except EngineError as exc:
        if exc.status != 404 or "image" not in exc.reason.lower() or policy in ("never", "always"):
            raise
    if not options["quiet"]:
        from corten_shared.reference import parse_normalized

        err(f"Unable to find image '{parse_normalized(image).familiar}' locally")
    _pull(session, options, image)
    return _as_created(session.engine.call("POST", "/containers/create", query, body))


def _as_created(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict) or not answer.get("Id"):
        raise CortenError("the engine's answer to create names no container")
    return answer


def _platform(options: Options) -> str:
    return str(options["platform"] or os.environ.get("DOCKER_DEFAULT_PLATFORM", ""))


def _pull(session: Session, options: Options, image: str) -> None:
    from corten.docker.pull import pull
    from corten_shared.reference import parse_normalized

    reference = parse_normalized(image)
    stream = None if options["quiet"] else sys.stderr
    pull(session, reference.name, reference.object, _platform(options), stream)


def _mount_socket(session: Session, body: dict[str, Any]) -> None:
    """`--use-api-socket`: the engine's socket, where docker clients look for it."""
    path = session.engine.transport.address.path
    if not path:
        raise InvalidArgument("flag --use-api-socket can't be used with a daemon that is not on a unix socket")
    mount = {"Type": "bind", "Source": path, "Target": "/var/run/docker.sock", "BindOptions": {}}
    body["HostConfig"].setdefault("Mounts", []).append(mount)


class _IdFile:
    """`--cidfile`: must not exist yet, and is gone again when no container came of it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._written = False

    def __enter__(self) -> _IdFile:
        if self._path:
            try:
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            except FileExistsError:
                raise InvalidArgument(
                    "container ID file found, make sure the other container isn't running "
                    f"or delete {self._path}"
                ) from None
            except OSError as exc:
                reason = (exc.strerror or str(exc)).lower()
                raise InvalidArgument(
                    f"failed to create the container ID file: open {self._path}: {reason}"
                ) from None
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._path and not self._written:
            os.unlink(self._path)

    def write(self, identifier: str) -> None:
        """The container's id, without a newline."""
        if self._path:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(identifier)
            self._written = True


def _run_create(session: Session, options: Options) -> int:
    out(_create(session, options))
    return 0


def _run_run(session: Session, options: Options) -> int:
    streams = create_body.attached_streams(options)
    keys = options["detach-keys"]
    try:
        if options["detach"] and options["attach"]:
            raise CortenError("conflicting options: cannot specify both --attach and --detach")
        check_terminal(stdin="stdin" in streams, terminal=options["tty"])
    except CortenError as exc:
        err(exc.message)
        return 1
    identifier = _create(session, options)
    if not streams:
        session.engine.call("POST", container_path(identifier, "/start"))
        _write_pid(session, options["pidfile"], identifier)
        out(identifier)
        return 0
    return _run_attached(session, options, identifier, streams, session.detach_keys(keys))


def _run_attached(session: Session, options: Options, identifier: str, streams: set[str], keys: str) -> int:
    engine, terminal = session.engine, bool(options["tty"])
    query: dict[str, object] = {"stream": 1, **dict.fromkeys(sorted(streams), 1)}
    if options["detach-keys"]:
        query["detachKeys"] = keys
    reply = engine.hijack(container_path(identifier, "/attach"), query)
    condition = "removed" if options["rm"] else "next-exit"
    waiting = engine.open("POST", container_path(identifier, "/wait"), {"condition": condition})
    proxied = options["sig-proxy"] and not (terminal and "stdin" in streams)
    proxy = SignalProxy(engine, identifier) if proxied else NoProxy()
    resizer = Resizer(engine, container_path(identifier, "/resize"))
    watch = resizer if terminal else NoProxy()
    with Attachment(reply, terminal=terminal, stdin="stdin" in streams, keys=keys) as attachment, proxy, watch:
        try:
            engine.call("POST", container_path(identifier, "/start"))
        except CortenError:
            _settle(waiting, removed=options["rm"])
            raise
        _write_pid(session, options["pidfile"], identifier)
        proxy.started()
        if terminal:
            resizer.now()
        if attachment.pump():
            return 0
        return wait_status(waiting)


def _write_pid(session: Session, path: str, identifier: str) -> None:
    """`--pidfile`: the first process's id as the host has it."""
    if path:
        state = session.engine.call("GET", container_path(identifier, "/json"))["State"]
        with open(path, "w", encoding="ascii") as file:
            file.write(str(state["Pid"]))


def _settle(waiting: Response, *, removed: bool) -> None:
    """With `--rm`, a container that failed to start is removed: have that done when we return."""
    if removed:
        waiting.connection.sock.settimeout(SETTLE_SECONDS)
        try:  # noqa: SIM105 - contextlib is not worth its import here
            waiting.read()
        except CortenError:
            pass
    waiting.close()


RUN = Command(
    "Create and run a new container from an image",
    _run_run,
    arguments="IMAGE [COMMAND] [ARG...]",
    flags=RUN_FLAGS,
    least=1,
    most=None,
    stops=True,
    failure=125,
)

CREATE = Command(
    "Create a new container",
    _run_create,
    arguments="IMAGE [COMMAND] [ARG...]",
    flags=CREATE_FLAGS,
    least=1,
    most=None,
    stops=True,
)
