"""Telling systemd how the daemon is: sd_notify(3), without libsystemd."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger(__name__)


class Notifier:
    """Sends state to `$NOTIFY_SOCKET`; does nothing where there is none.

    The variables are taken out of the environment, so that no child speaks in the daemon's name.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", "")
        watched = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = environ.pop("WATCHDOG_USEC", "")
        # A leading @ is an abstract socket, written with a NUL byte in the kernel's interface (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = int(period) / 1_000_000 if watched and period.isdecimal() and self._address else 0.0
        """How long systemd waits for a sign of life; 0 when it does not."""

    def send(self, *assignments: str) -> None:
        """Send `KEY=value` lines in one datagram. Never raises: the daemon works without a listener."""
        if not self._address:
            return
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as sock:
            try:
                sock.settimeout(1.0)
                sock.sendto("\n".join(assignments).encode(), self._address)
            except OSError as error:
                log.warning("cannot notify systemd: %s", error)

    def ready(self, status: str) -> None:
        """The daemon serves."""
        self.send("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """What it is doing, for `systemctl status`."""
        self.send(f"STATUS={text}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The daemon stops."""
        self.send("STOPPING=1", "STATUS=stopping")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self.send("WATCHDOG=1")
