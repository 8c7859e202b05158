"""`cortenctl tasks`."""

from __future__ import annotations

import base64

from corten.ctl.command import ALL, FORCE, QUIET, Command
from corten.ctl.session import Session, segment
from corten.flags import Flag
from corten.output import binary_size, short_id
from corten.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.flags import Options


def _path(name: str, action: str = "") -> str:
    return f"/tasks/{segment(name)}{action}"


def _ls(session: Session, options: Options) -> int:
    columns: dict[str, Callable[[dict[str, Any]], object]] = {
        "NAME": lambda t: t["name"],
        "ID": lambda t: short_id(t["task"]["container_id"]),
        "PID": lambda t: (t["task"]["pid"] or {}).get("pid", "-") if t["task"]["exit_code"] is None else "-",
        "STATUS": lambda t: t["status"],
        "EXIT": lambda t: "-" if t["task"]["exit_code"] is None else t["task"]["exit_code"],
    }
    return session.show(session.items("/tasks"), columns)


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", _path(options.args[0])))


def _start(session: Session, options: Options) -> int:
    return session.each(options.args, lambda name: session.call("POST", "/tasks", {"container": name}))


def _attach(session: Session, options: Options) -> int:
    from corten.ctl.attached import Attached

    name = options.args[0]
    spec = session.call("GET", f"/containers/{segment(name)}")["container"]["spec"]
    session.call("GET", _path(name))  # says so when there is no task
    attached = Attached(session, name, terminal=spec["tty"], stdin=spec["open_stdin"])
    if attached.pump():
        return 0
    return int(session.call("GET", _path(name, "/wait"))["exit_code"])


def _kill(session: Session, options: Options) -> int:
    body = {"signal": options["signal"]}
    return session.each(options.args, lambda name: session.call("POST", _path(name, "/kill"), body))


def _stop(session: Session, options: Options) -> int:
    body = {"timeout": options["timeout"]} if "timeout" in options.changed else {}
    return session.each(options.args, lambda name: session.call("POST", _path(name, "/stop"), body))


def _pause(session: Session, options: Options) -> int:
    return session.each(options.args, lambda name: session.call("POST", _path(name, "/pause")))


def _resume(session: Session, options: Options) -> int:
    return session.each(options.args, lambda name: session.call("POST", _path(name, "/resume")))


def _wait(session: Session, options: Options) -> int:
    result = session.call("GET", _path(options.args[0], "/wait"))
    session.tell(result["exit_code"])
    return 0


def _logs(session: Session, options: Options) -> int:
    query: dict[str, object] = {"follow": "true" if options["follow"] else "false"}
    if "tail" in options.changed:
        query["tail"] = options["tail"]
    for entry in session.lines("GET", _path(options.args[0], "/logs"), **query):
        data = base64.b64decode(entry["data"]) if "data" in entry else entry["text"].encode()
        write_all(2 if entry["stream"] == "stderr" else 1, data)
    return 0


def _ps(session: Session, options: Options) -> int:
    columns = {"PID": lambda p: p["pid"], "COMMAND": lambda p: p["command"]}
    return session.show(session.items(_path(options.args[0], "/processes")), columns)


def _metrics(session: Session, options: Options) -> int:
    found = session.call("GET", _path(options.args[0], "/metrics"))
    columns: dict[str, Callable[[dict[str, Any]], object]] = {
        "CPU": lambda m: f"{m['cpu_total_ns'] / 1e9:.3f}s",
        "MEMORY": lambda m: binary_size(m["memory_usage"]),
        "LIMIT": lambda m: binary_size(m["memory_limit"]) if m["memory_limit"] else "-",
        "PIDS": lambda m: m["pids"],
        "OOM KILLS": lambda m: m["oom_kills"],
    }
    return session.dump(found) if session.json else session.show([found], columns)


def _rm(session: Session, options: Options) -> int:
    force = "true" if options["force"] else "false"
    return session.each(options.args, lambda name: session.call("DELETE", _path(name), force=force))


SIGNAL = Flag("signal", "string", "Signal", short="s", default="SIGTERM")
FOLLOW = Flag("follow", "bool", "Go on until the task ends", short="f")
TAIL = Flag("tail", "int", "Only so many lines from the end")
TIMEOUT = Flag("timeout", "int", "Seconds until it is killed (default: the container's own)")


def _many(summary: str, run: Callable[[Session, Options], int], *flags: Flag) -> Command:
    return Command(summary, run, arguments="CONTAINER...", flags=flags, least=1, most=None)


def _one(summary: str, run: Callable[[Session, Options], int], *flags: Flag) -> Command:
    return Command(summary, run, arguments="CONTAINER", flags=flags, least=1, most=1)


COMMANDS = {
    "ls": Command("List tasks", _ls, flags=[ALL, QUIET]),
    "info": _one("Show one", _info),
    "start": _many("Start containers' tasks", _start),
    "attach": _one("Connect to a task's streams", _attach),
    "kill": _many("Send a signal", _kill, SIGNAL),
    "stop": _many("Ask tasks to end, and kill them after a time", _stop, TIMEOUT),
    "pause": _many("Freeze tasks", _pause),
    "resume": _many("Thaw tasks", _resume),
    "wait": _one("Wait for a task to end and print its exit code", _wait),
    "logs": _one("Show a task's output", _logs, FOLLOW, TAIL),
    "ps": _one("List a task's processes", _ps, QUIET),
    "metrics": _one("Show what a task uses", _metrics),
    "rm": _many("Forget ended tasks, keeping their containers", _rm, FORCE),
}
