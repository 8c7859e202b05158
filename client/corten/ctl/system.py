"""`cortenctl system`, and `cortenctl content check`, which is a part of its check."""

from __future__ import annotations

import json
import sys

from corten.ctl.command import Command
from corten.ctl.session import Session
from corten.flags import Flag
from corten.output import err, escape, human_size, out
from corten_shared.errors import DataLoss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.flags import Options

REPAIR = Flag("repair", "bool", "Mend what is found: fetch again, unpack again, or remove; containers' data stays")
DEEP = Flag("deep", "bool", "Compare every snapshot with its layer, byte by byte (takes long)")


def _system(session: Session, options: Options) -> int:
    return _check(session, "/system/check", {"repair": bool(options["repair"]), "deep": bool(options["deep"])})


def _content(session: Session, options: Options) -> int:
    return _check(session, "/content/check", {"repair": bool(options["repair"])})


def _check(session: Session, path: str, body: dict[str, bool]) -> int:
    """Findings as they come; 0 when nothing is left, 1 otherwise."""
    summary = None
    watched = sys.stderr.isatty() and not session.json
    for line in session.lines("POST", path, body):
        if session.json:
            out(json.dumps(line))
            sys.stdout.flush()
        summary = line.get("summary") or summary
        if watched and (progress := line.get("progress")):
            sys.stderr.write(f"\r\033[K{escape(progress['part'])}: {progress['done']}/{progress['total']}")
            sys.stderr.flush()
        if (finding := line.get("finding")) and not session.json:
            if watched:
                sys.stderr.write("\r\033[K")
            out(_finding(finding))
            sys.stdout.flush()
    if watched:
        sys.stderr.write("\r\033[K")
    if summary is None:
        raise DataLoss("the check ended before it was done", hint="See cortend's log, and try again")
    if not session.json:
        out(_summary(summary))
        if summary["left"] and not body["repair"]:
            err("Run it again with --repair to mend what can be mended")
    return 1 if summary["left"] else 0


def _finding(finding: dict[str, Any]) -> str:
    mark = ""
    if finding.get("repaired") is not None:
        mark = "repaired" if finding["repaired"] else "NOT REPAIRED"
    told = ": ".join(part for part in (mark, finding["outcome"]) if part)
    place = f" [{finding['namespace']}]" if finding["namespace"] else ""
    return escape(f"{finding['problem']}{place} {finding['detail']}" + (f" -- {told}" if told else ""))


def _summary(summary: dict[str, Any]) -> str:
    looked = f"{summary['blobs']} blobs ({human_size(summary['bytes'])}), {summary['images']} images"
    if summary["rows"]:
        looked += f", {summary['snapshots']} snapshots and {summary['rows']} rows"
    return f"checked {looked}: {summary['found']} found, {summary['repaired']} repaired, {summary['left']} left"


CONTENT_CHECK = Command("Read and hash every blob, in all namespaces", _content, flags=[REPAIR])
COMMANDS = {"check": Command("Check the whole store, in all namespaces", _system, flags=[DEEP, REPAIR])}
