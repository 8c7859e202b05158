"""`postmortem`: what is remembered of a container that was removed."""

from __future__ import annotations

from corten.command import Command
from corten.docker.native import call
from corten.flags import Flag
from corten.output import escape, out
from corten.transport import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.docker.session import Session
    from corten.flags import Options


def _run(session: Session, options: Options) -> int:
    found = call(session, "GET", f"/postmortems/{quote(options.args[0])}")
    if options["output"] == "json":
        import json

        out(json.dumps(found, indent=2))
        return 0
    for line in _report(found):
        out(line)
    return 0


def _report(found: dict[str, Any]) -> list[str]:
    container, task, spec = found["container"], found["task"] or {}, found["container"]["spec"]
    rows = [
        ("Name", f"{container['name']} ({container['id'][:12]})"),
        ("Image", container["image"]),
        ("Command", " ".join(spec["args"])),
        ("Created", container["created_at"]),
        *_run_rows(task),
        ("Removed", f"{found['removed_at']} {_who(found['removed_by'])}"),
        *_setting_rows(spec),
    ]
    lines = [f"{name + ':':<12} {escape(text)}" for name, text in rows]
    if found["log"]:
        lines.append("Last lines:")
        lines += [f"  {line['time']} {line['stream']:<6} {escape(line['text'])}" for line in found["log"]]
    return lines


def _run_rows(task: dict[str, Any]) -> list[tuple[str, str]]:
    if not task:
        return [("Ended", "it never ran")]
    ended = f"exit code {task['exit_code']}" + (", killed for want of memory" if task["oom_killed"] else "")
    rows = [("Started", task["started_at"]), ("Ended", f"{task['finished_at']}, {ended}")]
    if task["error"]:
        rows.append(("Error", task["error"]))
    if task["restart_count"]:
        rows.append(("Restarts", str(task["restart_count"])))
    return rows


def _setting_rows(spec: dict[str, Any]) -> list[tuple[str, str]]:
    """What is not as it is by default, of what people look for."""
    limits = {name: value for name, value in spec["resources"].items() if value}
    mounts = [f"{mount['source'] or mount['type']} at {mount['target']}" for mount in spec["mounts"]]
    rows = [
        ("User", spec["user"]),
        ("Directory", spec["cwd"]),
        ("Network", spec["network"]["mode"]),
        ("Restart", spec["restart"]["name"].removeprefix("no")),
        ("Limits", ", ".join(f"{name} {value}" for name, value in limits.items())),
        ("Mounts", ", ".join(mounts)),
        ("Variables", " ".join(entry.removesuffix("=") for entry in spec["env"])),
        ("Privileged", "yes" if spec["security"]["privileged"] else ""),
    ]
    return [(name, text) for name, text in rows if text]


def _who(actor: dict[str, Any] | None) -> str:
    if actor is None:
        return "by the engine"
    command = f": {actor['command']}" if actor["command"] else ""
    return f"by uid {actor['uid']}, process {actor['pid']}{command}"


def _form(text: str) -> str:
    if text not in ("", "text", "json"):
        raise ValueError("it is text or json")
    return text


POSTMORTEM = Command(
    "Tell of a container that was removed: its settings, how it ended, its last lines",
    _run,
    arguments="NAME",
    flags=[Flag("output", "string", "`text` or `json`", short="o", convert=_form)],
    least=1,
    most=1,
)
