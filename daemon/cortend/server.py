"""The running daemon: listeners, the HTTP server, signals, reload, and what systemd is told.

    lock roots -> listen -> open the application (recovery runs here) -> serve -> READY=1
    SIGTERM, SIGINT   stop serving; containers run on. Streams are cut, requests get `api.stop_timeout` seconds
    SIGHUP            read the configuration again; what can change live does, what cannot is named in the log

Clients that connect while the daemon starts wait in the socket's queue. The application is whatever
`open_application` yields: this module knows no service.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config as UvicornConfig
from uvicorn.server import Server as UvicornServer

from corten_shared.errors import CortenError
from cortend import journal, listeners
from cortend.api.hijack import HijackProtocol
from cortend.config import Config, changed_keys, is_live, with_live_keys
from cortend.notify import Notifier

log = logging.getLogger(__name__)

KEEP_ALIVE = 120
"""Seconds that an idle connection is kept for the client's next request."""
MAX_CONNECTIONS = 4096
"""Connections, attached streams included; more are answered 503."""


class Application(Protocol):
    """What the composition root hands over."""

    @property
    def asgi(self) -> ASGIApp:
        """Everything under /."""
        ...

    def reload(self, old: Config, new: Config) -> None:
        """Take over what differs: only keys that `config.LIVE` names do. Called on the event loop."""
        ...


OpenApplication = Callable[[Config, Callable[[str], None]], AbstractAsyncContextManager[Application]]
"""Opens the application for a configuration. The second argument tells systemd (and the log) what start-up is
doing. When the context is entered everything is recovered and ready; leaving it lets go of everything but
containers."""


class ApiServer(UvicornServer):
    """uvicorn without its signals and its ticking: started and stopped from outside."""

    def __init__(self, asgi: ASGIApp) -> None:
        config = UvicornConfig(
            log_requests(asgi),
            http=HijackProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=listeners.BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            limit_concurrency=MAX_CONNECTIONS,
        )
        config.load()
        super().__init__(config)
        self.lifespan = config.lifespan_class(config)

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept connections."""
        await self.startup(sockets=sockets)

    async def stop(self, patience: float) -> None:
        """Accept no more, cut streams, give requests `patience` seconds, then drop what is left."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            _cutable(connection).cut()
        tasks = set(self.server_state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                log.warning("%d requests were dropped because they did not end in %g seconds", len(late), patience)
                await asyncio.wait(late, timeout=1.0)
        for connection in list(self.server_state.connections):
            _cutable(connection).abort()


class _Cutable(Protocol):
    def cut(self) -> None: ...
    def abort(self) -> None: ...


def _cutable(connection: Any) -> _Cutable:
    """A connection of ours; uvicorn's set is typed with its own protocols."""
    return connection  # type: ignore[no-any-return]


def log_requests(asgi: ASGIApp) -> ASGIApp:
    """`asgi`, with a debug line for each request. Queries and headers stay out: they may hold secrets."""

    async def logged(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.DEBUG):
            await asgi(scope, receive, send)
            return
        start, status = time.monotonic(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await asgi(scope, receive, watch)
        finally:
            took = round((time.monotonic() - start) * 1000, 1)
            fields = {"status": status, "ms": took}
            log.debug("%s %s", scope["method"], scope["path"], extra={"fields": fields})

    return logged


class Daemon:
    """One run of the daemon, from the locks to the last connection."""

    def __init__(self, load: Callable[[], Config], open_application: OpenApplication) -> None:
        self._load = load
        self._open_application = open_application
        self._notifier = Notifier()
        self._config = load()
        self._application: Application | None = None
        self._stop = asyncio.Event()
        self._patience = self._config.api.stop_timeout
        self._main: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        """Serve until told to stop. Raises CortenError when the daemon cannot start."""
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._told_to_stop, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, self._told_to_stop, "SIGINT")
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        config = self._config
        os.umask(0o022)
        with contextlib.ExitStack() as stack:
            stack.enter_context(listeners.locked_roots(config.root, config.state, config.api.group))
            sockets = listeners.from_systemd() or [stack.enter_context(listeners.unix_socket(config.api))]
            async with contextlib.AsyncExitStack() as running:
                self._application = await running.enter_async_context(
                    self._open_application(config, self._starting)
                )
                await self._serve(self._application, sockets)

    def _starting(self, text: str) -> None:
        log.debug("starting: %s", text)
        self._notifier.status(text)

    async def _serve(self, application: Application, sockets: list[socket.socket]) -> None:
        server = ApiServer(application.asgi)
        names = ", ".join(str(sock.getsockname()) for sock in sockets)
        await server.start(sockets)
        self._main = None  # from here on a signal asks, it does not cancel
        self._notifier.ready(f"serving on {names}")
        log.info("cortend is ready", extra={"fields": {"socket": names, "pid": os.getpid()}})
        watchdog = asyncio.create_task(self._feed_watchdog(), name="watchdog")
        try:
            await self._stop.wait()
        finally:
            watchdog.cancel()
            self._notifier.stopping()
            await server.stop(self._patience)
            log.info("cortend stopped; containers run on")

    async def _feed_watchdog(self) -> None:
        """Tell systemd that the event loop turns; a daemon that hangs is restarted."""
        while self._notifier.watchdog_seconds:
            self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog_seconds / 3)

    def _told_to_stop(self, name: str) -> None:
        log.info("%s: stopping", name)
        if self._stop.is_set():
            self._patience = 0.0
        self._stop.set()
        if self._main is not None:
            self._main.cancel()

    def _told_to_reload(self) -> None:
        if self._application is None:
            return  # it has only just read its configuration
        self._notifier.reloading()
        try:
            self._reload(self._application)
        except CortenError as error:
            log.error("reload refused, the configuration stays as it was: %s", error)
        except Exception:
            log.exception("reload failed")
        self._notifier.ready("serving")

    def _reload(self, application: Application) -> None:
        wanted = self._load()
        changes = changed_keys(self._config, wanted)
        applied = [key for key in changes if is_live(key)]
        refused = [key for key in changes if not is_live(key)]
        new = with_live_keys(self._config, wanted)
        application.reload(self._config, new)
        journal.set_level(new.log.level)
        self._config = new
        log.info("configuration read again", extra={"fields": {"changed": ", ".join(applied) or "nothing"}})
        if refused:
            log.warning("restart the daemon to change %s", ", ".join(refused))
