"""The user's config.json, which is docker's own file: read leniently, written whole or not at all.

A file that cannot be read or parsed is told once on standard error, with file and line, and treated as empty, as docker
does. It holds logins: it is written with mode 0600, next to itself and renamed, and what else is in it stays.
"""

from __future__ import annotations

import os

from corten import jsontext
from corten.output import err, escape
from corten_shared.errors import CortenError, Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_SIZE = 4 * 1024 * 1024


class UserFile:
    """config.json in `folder`, or where DOCKER_CONFIG says, or in ~/.docker."""

    def __init__(self, folder: str = "") -> None:
        folder = folder or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self.path = os.path.join(folder, "config.json")
        self.text = ""
        self.data: dict[str, Any] = {}
        self.broken = ""
        try:
            self._read()
        except OSError as error:
            self.broken = f"WARNING: Error loading config file: {self.path}: {(error.strerror or str(error)).lower()}"
        except ValueError as error:
            self.broken = f"WARNING: Error parsing config file ({self.path}): {error}"
        if self.broken:
            err(escape(self.broken))

    def _read(self) -> None:
        try:
            with open(self.path, "rb") as file:
                data = file.read(MAX_SIZE + 1)
        except FileNotFoundError:
            return
        if len(data) > MAX_SIZE:
            raise ValueError(f"longer than {MAX_SIZE} bytes")
        self.text = data.decode()
        if not self.text.strip():
            return
        try:
            found = jsontext.loads(self.text)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        except ValueError:
            raise ValueError(_explain(self.text)) from None
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        self.data = found

    def table(self, key: str) -> dict[str, Any]:
        """A member that is an object; empty when it is none."""
        value = self.data.get(key)
        return value if isinstance(value, dict) else {}

    def string(self, key: str) -> str:
        """A member that is a string; empty when it is none."""
        value = self.data.get(key)
        return value if isinstance(value, str) else ""

    def line_of(self, key: str) -> int:
        """The line on which a member's name stands first."""
        return self.text[: max(self.text.find(jsontext.dumps(key)), 0)].count("\n") + 1

    def change(self, edit: Callable[[dict[str, Any]], bool]) -> bool:
        """Let `edit` change the members; when it says that it did, they are written. False when nothing was written.

        What others wrote meanwhile is read first, and nobody else of us writes at the same time. A file that is broken
        is kept beside the new one. Raises CortenError.
        """
        path = os.path.realpath(self.path)
        folder = os.path.dirname(path)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unwritten(path, error) from error
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.broken:
                self._read()
            if not edit(self.data):
                return False
            if self.broken and os.path.exists(path):
                os.rename(path, f"{path}.broken")
                err(f"WARNING: the broken config file is kept as {escape(path)}.broken")
            _replace(path, self.data)
            os.fsync(lock)
        except ValueError as error:
            raise CortenError(f"{path}: {error}") from error
        except OSError as error:
            raise _unwritten(path, error) from error
        finally:
            os.close(lock)
        return True


def _replace(path: str, data: dict[str, Any]) -> None:
    import json

    temporary = f"{path}.{os.getpid()}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "w", encoding="utf-8") as writer:
            json.dump(data, writer, indent="\t")
            writer.flush()
            _keep_owner(path, file)
            os.fsync(file)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _keep_owner(path: str, file: int) -> None:
    """What root writes for another user stays that user's."""
    try:
        before, now = os.stat(path), os.fstat(file)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(file, before.st_uid, before.st_gid)
    except OSError:
        return


def _explain(text: str) -> str:
    """What is wrong with a text that is no JSON, with its line."""
    import json

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}: {error.msg}"
    except RecursionError:
        return "nested too deeply"
    return "not JSON"


def _unwritten(path: str, error: OSError) -> Internal:
    return Internal(f"{path}: {(error.strerror or str(error)).lower()}", hint="Is its directory there and writable?")
