"""The database file: opening it, transactions, and who may write when.

`meta.db` (mode 0600, WAL, so `meta.db-wal` and `meta.db-shm` lie beside it; schema in `migrations/`):

    namespaces      name                     labels created_at
    images          ns name                  digest target labels …         target: an OCI descriptor
    containers      ns id, name unique       image_digest snapshotter snapshot_key created_at record
     └─ tasks       ns container_id          record                         the last run
    endpoints       ns container_id          network address record         (network, address) unique;
                                                        stays until the network is taken down
    last_addresses  network                  address                        handed out last
    leases          ns id                    labels created_at
     └─ lease_resources  ns lease type id
    content         ns digest                size labels …                  bytes: see cortend.content
    snapshots       snapshotter sid          ns name parent kind labels tally …   directories: see cortend.snapshots
    events          seq                      time ns topic object_id attributes

What is searched for is a typed column, the rest of a record is JSON. Rows below another go with it
(ON DELETE CASCADE).

Writers: one connection under one lock, `BEGIN IMMEDIATE`; a commit is on disk when it returns
(`synchronous=FULL`). Readers: a pool of read-only connections; in WAL a reader sees the last commit
before it began and waits for nobody. Events are published under the writer's lock, so that subscribers
see them in the order of the commits.

Disk space for more transactions than fit in the log before a checkpoint is reserved at the start: on a
full disk exits are still recorded, and what fills it can be removed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Self

from corten_shared import times
from corten_shared.errors import Internal
from cortend.core.events import EventExchange
from cortend.linux.files import reserve, sync_directory
from cortend.metadata.failures import damaged, explain
from cortend.metadata.journal import JournalLimits
from cortend.metadata.migrate import migrate
from cortend.metadata.namespaces import DEFAULT
from cortend.metadata.session import Clock, Session
from cortend.metadata.transaction import StoreTransaction

log = logging.getLogger(__name__)

_BUSY_TIMEOUT = 5.0
_IDLE_READERS = 8
_ROOM_IN_LOG = 6 << 20
"""Bytes; SQLite checkpoints a log of 4 MiB."""
_ROOM_IN_FILE = 2 << 20
"""Bytes beyond the file's present size, for the checkpoint."""


class Database:
    """core.metadata.Metadata over one file. A context manager that closes itself.

    Opening creates the file, or checks it (`check`: SQLite's quick_check, a full read) and migrates it. Raises
    DataLoss for a damaged file, Conflict for one of a newer corten, Unavailable when another process keeps it locked.
    """

    def __init__(
        self,
        path: Path,
        exchange: EventExchange,
        *,
        clock: Clock = times.now,
        journal: JournalLimits | None = None,
        check: bool = True,
    ) -> None:
        self.path = path
        self.generation = 0
        self.watcher: Callable[[], None] = lambda: None
        self._exchange = exchange
        self.clock = clock
        self._journal = journal or JournalLimits()
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._writer = self._open(check)

    def view(self) -> AbstractContextManager[StoreTransaction]:
        """A consistent read-only transaction."""
        return self._view()

    def update(self) -> AbstractContextManager[StoreTransaction]:
        """A durable read-write transaction; an update within an update of the same thread raises Internal."""
        return self._update()

    def close(self) -> None:
        """Wait for the transaction that is being written and close. Idempotent."""
        with self._lock:
            self._closed = True
            self._drain()
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def _update(self) -> Iterator[StoreTransaction]:
        with self._writing():
            transaction = self._begin(self._writer, "BEGIN IMMEDIATE")
            try:
                yield transaction
                self._writer.execute("COMMIT")
            except BaseException as error:
                self._roll_back(self._writer)
                if isinstance(error, sqlite3.Error):
                    raise explain(error, str(self.path)) from error
                raise
            finally:
                transaction.session.end()
            self.generation += 1
            for event in transaction.emitted:
                self._exchange.publish(event)
            self.watcher()

    @contextmanager
    def _view(self) -> Iterator[StoreTransaction]:
        with self._reading() as connection:
            transaction = self._begin(connection, "BEGIN")
            try:
                yield transaction
            except sqlite3.Error as error:
                raise explain(error, str(self.path)) from error
            finally:
                transaction.session.end()
                self._roll_back(connection)

    def _begin(self, connection: sqlite3.Connection, statement: str) -> StoreTransaction:
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            raise explain(error, str(self.path)) from error
        return StoreTransaction(Session(connection, self.clock), self._journal)

    @staticmethod
    def _roll_back(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:  # some errors (disk full) have rolled back already
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._owner == threading.get_ident():
            raise Internal("metadata update within an update: it would wait for itself")
        with self._lock:
            self._refuse_closed()
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._refuse_closed()
        try:  # pop and append of a list are atomic: readers never wait for the writer's lock
            connection = self._readers.pop()
        except IndexError:
            connection = self._connect("ro")
        try:
            yield connection
        finally:
            if len(self._readers) >= _IDLE_READERS:
                connection.close()
            else:
                self._readers.append(connection)
            if self._closed:  # asked after the append: close() may just have emptied the pool
                self._drain()

    def _drain(self) -> None:
        with suppress(IndexError):
            while True:
                self._readers.pop().close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Internal(f"metadata {self.path} is closed")

    def _open(self, check: bool) -> sqlite3.Connection:
        # Made with this mode: SQLite gives -wal and -shm the same. And only here, before there is a connection: closing
        # any descriptor of the file drops this process's locks on it, and then whoever else opens and closes the
        # database takes himself for its last user and deletes the log under us.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        _reserve(self.path, self.path.stat().st_size + _ROOM_IN_FILE)
        try:
            connection = self._connect("rw")
        except sqlite3.Error as error:
            raise explain(error, str(self.path)) from error
        try:
            self._prepare(connection, check)
        except sqlite3.Error as error:
            connection.close()
            raise explain(error, str(self.path)) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, check: bool) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        if check and (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise damaged(str(self.path), str(found))
        migrate(connection, str(self.path))
        connection.execute(
            "INSERT INTO namespaces (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING", (DEFAULT, self.clock())
        )
        _reserve(Path(f"{self.path}-wal"), _ROOM_IN_LOG)
        sync_directory(self.path.parent)

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,  # the lock and the pool see to it that one thread has it at a time
            cached_statements=256,
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA temp_store = MEMORY")  # the collector's notes, also on a full disk
        except BaseException:  # a file that is no database is found out here
            connection.close()
            raise
        return connection


def _reserve(path: Path, size: int) -> None:
    """Have room for `size` bytes in the file, if there is any and the file system can."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        reserve(descriptor, size)
    except OSError as error:
        log.warning("no space could be reserved for %s: %s", path, error.strerror)
    finally:
        os.close(descriptor)
