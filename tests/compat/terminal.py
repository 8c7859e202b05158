"""A program on a terminal of its own, driven as a person drives it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence


class Terminal:
    """A running program whose terminal we hold. `expect` waits for text and returns everything up to it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, rows: int = 24, columns: int = 80) -> None:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **env}, start_new_session=True
        )
        os.close(theirs)
        self._seen = b""

    def send(self, data: bytes) -> None:
        """Type."""
        os.write(self._fd, data)

    def expect(self, text: bytes, within: float = 20.0) -> bytes:
        """Everything up to `text`; fails when it does not come."""
        deadline = time.monotonic() + within
        while text not in self._seen:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come; this did: {self._seen!r}"
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            assert data, f"the program ended before {text!r}; it said: {self._seen!r}"
            self._seen += data
        found, self._seen = self._seen.split(text, 1)
        return found

    def wait(self, within: float = 20.0) -> int:
        """The exit code."""
        return self._process.wait(within)

    def close(self) -> None:
        """End it if it still runs, and let go of the terminal."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        os.close(self._fd)
