"""crun and runc: their verbs, and their errors as ours.

`create` and `exec` go through conmon (it must be the parent of what they start); the others run here. Each
daemon has its own `--root`, so several run side by side.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from corten_shared.errors import Conflict, CortenError, Internal, InvalidArgument, NotFound
from cortend.runtime import process

TIMEOUT = 60.0
"""Seconds that any verb may take."""

_USER_MISTAKES = (
    "executable file not found", "no such file or directory", "permission denied", "is a directory",
    "not a directory", "exec format error",
)  # fmt: skip
_CRUN_MISSING = re.compile(
    r"executable file [`'\"](.+?)['`\"] not found(?: in \$PATH)?(?:: No such file or directory)?"
)
_WRONG_STATE = (
    "container not running", "is not running", "in a stopped container", "in a paused container",
    "cannot start a container that has stopped",
)  # fmt: skip
_CRUN_OPEN = re.compile(r"open executable: ")
_PLAIN = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"')


class OciRuntime:
    """One runtime program and where it keeps its state."""

    def __init__(self, name: str, path: str, root: Path) -> None:
        self.name = name
        self.path = path
        self.root = root

    def global_args(self, log: Path | None = None) -> list[str]:
        """Options before the verb; errors go to `log`, or to stderr."""
        args = ["--root", str(self.root), "--log-format", "json"]
        return [*args, "--log", str(log)] if log else args

    async def start(self, id: str) -> None:
        """Let a created container's process run."""
        await self._verb("start", id)

    async def pause(self, id: str) -> None:
        """Freeze it."""
        await self._verb("pause", id)

    async def resume(self, id: str) -> None:
        """Thaw it."""
        await self._verb("resume", id)

    async def delete(self, id: str) -> None:
        """Kill what is left of it and forget it; an unknown container is fine."""
        if not (self.root / id).exists():
            return
        await self._verb("delete", "--force", id)

    async def update(self, id: str, resources: dict[str, Any], scratch: Path) -> None:
        """Change its limits; `scratch` is a directory for the file that carries them."""
        file = scratch / "resources.json"
        file.write_text(json.dumps(resources))
        try:
            await self._verb("update", "--resources", str(file), id)
        finally:
            file.unlink(missing_ok=True)

    async def version(self) -> str:
        """Its version, empty when it says none."""
        result = await process.run([self.path, "--version"], timeout=10)
        match = re.search(rb"version\s+(\S+)", result.stdout)
        return match[1].decode("ascii", "replace") if match else ""

    async def _verb(self, verb: str, *args: str) -> None:
        result = await process.run([self.path, *self.global_args(), verb, *args], timeout=TIMEOUT)
        if result.code != 0:
            raise failure(verb, self.name, last_error(result.stderr.decode("utf-8", "replace")))


def last_error(text: str) -> str:
    """The sentence in a runtime's log or stderr: the last error of its JSON or text lines, else the last
    line."""
    found = plain = ""
    for line in text[-65536:].splitlines():
        line = line.strip()
        if not line:
            continue
        if line.startswith("{"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", None) and entry.get("msg"):
                found = str(entry["msg"])
        elif match := _PLAIN.search(line):
            found = match[1].replace('\\"', '"')
        else:
            plain = line
    return (found or plain).strip()[:4096]


def _missing(match: re.Match[str]) -> str:
    """crun's words for a missing program as runc's: a name was looked up, a path was not."""
    name = match[1]
    reason = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
    return f'exec: "{name}": {reason}'


def failure(verb: str, runtime: str, sentence: str) -> CortenError:
    """A runtime's sentence as an error with docker's words around it: its clients tell 126 and 127 by
    them."""
    text = _CRUN_MISSING.sub(_missing, sentence)
    text = _CRUN_OPEN.sub("exec: ", text)
    if text.endswith("exec: Operation not permitted"):  # crun of a directory; runc says permission denied
        text = text.removesuffix("Operation not permitted") + "permission denied"
    lower = text.lower()
    # `context canceled` and friends stay what they are; only case differs between the two runtimes.
    for phrase in ("No such file or directory", "Permission denied", "Is a directory", "Not a directory"):
        text = text.replace(phrase, phrase.lower())
    message = f"OCI runtime {verb} failed: {text or f'{runtime} gave no reason'}"
    if "does not exist" in lower and "container" in lower:
        return NotFound(message)
    if any(phrase in lower for phrase in _WRONG_STATE):
        return Conflict(message)
    if verb in ("create", "exec", "start") and any(phrase in lower for phrase in _USER_MISTAKES):
        return InvalidArgument(message)
    return Internal(message)
