"""`cortenctl tasks`."""

from __future__ import annotations

import base64

from corten.ctl.command import ALL, FORCE, Command, filters, listing
from corten.ctl.create_flags import NO_STREAMS, PID_FILE
from corten.ctl.session import Session, segment
from corten.flags import Flag
from corten.output import binary_size, err, sentence, short_id
from corten.streams import write_all
from corten_shared.errors import CortenError

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
    return session.show(session.items("/tasks", filter=filters(options)), columns)


def _info(session: Session, options: Options) -> int:
    return session.dump(session.call("GET", _path(options.args[0])))


def _start(session: Session, options: Options) -> int:
    """As ctr: with its streams on this terminal, or (`-d`) left to itself."""
    from corten.ctl import run

    if options["detach"] or len(options.args) > 1:
        return session.each(options.args, lambda name: run.start(session, name, options["pid-file"]))
    name = options.args[0]
    spec = session.call("GET", f"/containers/{segment(name)}")["container"]["spec"]
    if options["null-io"]:
        run.start(session, name, options["pid-file"])
        return int(session.call("GET", _path(name, "/wait"))["exit_code"])
    return run.attached_start(session, name, spec, options["pid-file"])


def _exec(session: Session, options: Options) -> int:
    from corten.ctl.attached import Attached

    name, *words = options.args
    terminal = bool(options["tty"])
    stdin = not options["detach"]
    body = {
        "args": words, "id": options["exec-id"], "cwd": options["cwd"], "user": options["user"], "tty": terminal,
        "env": options["env"], "stdin": stdin, "privileged": bool(options["privileged"]),
    }  # fmt: skip
    exec_id = session.call("POST", _path(name, "/execs"), body)["id"]
    path = f"/execs/{segment(exec_id)}"
    if options["detach"]:
        session.open("POST", f"{path}/start", query={"detach": "true"}).read()
        session.tell(exec_id)
        return 0
    try:
        attached = Attached(session, name, terminal=terminal, stdin=stdin, exec_id=exec_id)
    except CortenError as error:
        from corten.ctl.run import start_failure

        err(f"cortenctl: {sentence(error)}")
        return start_failure(error.message)
    if attached.pump():
        return 0
    return int(session.call("GET", f"{path}/wait")["exit_code"])


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
    if exec_id := options["exec-id"]:
        return session.each([exec_id], lambda name: session.call("POST", f"/execs/{segment(name)}/kill", body))
    everything = {**body, "all": bool(options["all"])}
    return session.each(options.args, lambda name: session.call("POST", _path(name, "/kill"), everything))


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
    if options["format"]:
        session.json = options["format"] == "json"
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
    if exec_id := options["exec-id"]:
        return session.each([exec_id], lambda name: _end_exec(session, name, force=bool(options["force"])))
    return session.each(options.args, lambda name: session.call("DELETE", _path(name), force=force))


def _end_exec(session: Session, exec_id: str, *, force: bool) -> None:
    path = f"/execs/{segment(exec_id)}"
    if force and session.call("GET", path)["running"]:
        session.call("POST", f"{path}/kill", {"signal": "SIGKILL"})
        session.call("GET", f"{path}/wait")
    session.call("DELETE", path)


def _execs(session: Session, options: Options) -> int:
    columns = {
        "ID": lambda e: e["id"],
        "PID": lambda e: (e["pid"] or {}).get("pid", "-") if e["running"] else "-",
        "STATUS": lambda e: "running" if e["running"] else "created" if e["exit_code"] is None else "exited",
        "EXIT": lambda e: "-" if e["exit_code"] is None else e["exit_code"],
        "COMMAND": lambda e: " ".join(e["args"]),
    }
    return session.show(session.items(_path(options.args[0], "/execs")), columns)


SIGNAL = Flag("signal", "string", "Signal", short="s", default="SIGTERM")
FOLLOW = Flag("follow", "bool", "Go on until the task ends", short="f")
TAIL = Flag("tail", "int", "Only so many lines from the end")
TIMEOUT = Flag("timeout", "int", "Seconds until it is killed (default: the container's own)")


def _many(summary: str, run: Callable[[Session, Options], int], *flags: Flag) -> Command:
    return Command(summary, run, arguments="CONTAINER...", flags=flags, least=1, most=None)


def _one(summary: str, run: Callable[[Session, Options], int], *flags: Flag) -> Command:
    return Command(summary, run, arguments="CONTAINER", flags=flags, least=1, most=1)


EXEC_ID = Flag("exec-id", "string", "Of this exec, not of the task")
EXEC_FLAGS = [
    Flag("cwd", "string", "Working directory"),
    Flag("detach", "bool", "Leave it running and print its id", short="d"),
    Flag("env", "list", "Environment variable KEY=VALUE", short="e"),
    Flag("exec-id", "string", "A name for it"),
    Flag("privileged", "bool", "Give it every privilege"),
    Flag("tty", "bool", "Give it a terminal", short="t"),
    Flag("user", "string", "User, or USER:GROUP", short="u"),
    *NO_STREAMS,
]
START_FLAGS = [
    Flag("detach", "bool", "Leave it running and print its name", short="d"),
    Flag("null-io", "bool", "Do not connect to its streams; wait for its end"),
    PID_FILE,
    *NO_STREAMS,
]

COMMANDS = {
    "ls": listing("List tasks", _ls, ALL, examples=["cortenctl tasks ls status==running"]),
    "info": _one("Show one", _info),
    "start": Command(
        "Start containers' tasks: one with its streams here, several by themselves", _start,
        arguments="CONTAINER...", flags=START_FLAGS, least=1, most=None,
        examples=["cortenctl tasks start web", "cortenctl tasks start -d --pid-file web.pid web"],
    ),
    "exec": Command(
        "Run a further process in a container", _exec, arguments="CONTAINER COMMAND [ARG...]",
        flags=EXEC_FLAGS, least=2, most=None, stops=True, failure=125,
        examples=["cortenctl tasks exec -t web sh", "cortenctl tasks exec --user 1000 --exec-id probe web id"],
    ),
    "execs": _one("List a container's further processes", _execs),
    "attach": _one("Connect to a task's streams", _attach),
    "kill": Command(
        "Send a signal", _kill, arguments="CONTAINER...", least=1, most=None,
        flags=[SIGNAL, EXEC_ID, Flag("all", "bool", "To every process of it", short="a")],
        examples=["cortenctl tasks kill -s SIGKILL web", "cortenctl tasks kill --exec-id probe web"],
    ),
    "stop": _many("Ask tasks to end, and kill them after a time", _stop, TIMEOUT),
    "pause": _many("Freeze tasks", _pause),
    "resume": _many("Thaw tasks", _resume),
    "wait": _one("Wait for a task to end and print its exit code", _wait),
    "logs": _one("Show a task's output", _logs, FOLLOW, TAIL),
    "ps": _one("List a task's processes", _ps),
    "metrics": _one("Show what a task uses", _metrics, Flag("format", "string", "`table` or `json`")),
    "rm": _many("Forget ended tasks, keeping their containers", _rm, FORCE, EXEC_ID),
}  # fmt: skip
