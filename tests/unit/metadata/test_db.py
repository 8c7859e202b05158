"""The database file: opening, refusing, closing."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from corten_shared.errors import Conflict, DataLoss, Internal, ResourceExhausted, Unavailable
from cortend.events.exchange import Exchange
from cortend.metadata import db, migrate
from cortend.metadata.db import Database
from cortend.metadata.journal import JournalLimits
from suites.metadata import NS, new_image


def open_database(path: Path) -> Database:
    return Database(path, Exchange())


def test_the_file_and_its_companions_are_private(tmp_path: Path) -> None:
    with open_database(tmp_path / "meta.db") as metadata, metadata.update() as tx:
        tx.images.create(NS, new_image("x"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"meta.db": 0o600, "meta.db-wal": 0o600, "meta.db-shm": 0o600}


def test_a_commit_is_synced_and_keys_are_checked(tmp_path: Path) -> None:
    """The settings that durability and consistency hang on, as SQLite itself reports them."""
    with open_database(tmp_path / "meta.db") as metadata, metadata.update() as tx:
        found = {
            name: tx.session.one(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_view_cannot_write(tmp_path: Path) -> None:
    with (
        open_database(tmp_path / "meta.db") as metadata,
        pytest.raises(Internal, match="readonly"),
        metadata.view() as tx,
    ):
        tx.images.create(NS, new_image("x"))


def test_records_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "with space%20and ?#.db"
    with open_database(path) as metadata, metadata.update() as tx:
        tx.images.create(NS, new_image("x"))
        tx.emit(NS, "/images/create", "x")
    with open_database(path) as metadata, metadata.view() as tx:
        assert tx.images.get(NS, "x") == new_image("x")
        assert [event.topic for event in tx.events.list()] == ["/images/create"]


@pytest.mark.parametrize("content", [b"this is not a database at all, " * 200, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_refused_with_a_way_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "meta.db"
    path.write_bytes(content)
    with pytest.raises(DataLoss, match=r"meta\.db is damaged") as caught:
        open_database(path)
    assert "backup" in str(caught.value.hint)
    assert path.read_bytes() == content


def test_damage_inside_the_file_is_found_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    with open_database(path) as metadata, metadata.update() as tx:
        for number in range(500):
            tx.images.create(NS, new_image(f"image-{number}"))
    data = bytearray(path.read_bytes())
    for page in range(4096 * 3, len(data), 4096):
        data[page : page + 100] = b"\xa5" * 100
    path.write_bytes(data)
    with pytest.raises(DataLoss):
        open_database(path)


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    open_database(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(Conflict, match=r"written by a newer corten.*schema 999"):
        open_database(path)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(Conflict, match="another program"):
        open_database(path)


def test_a_migration_happens_once_and_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "meta.db"
    open_database(path).close()
    known = migrate.steps()
    broken = "CREATE TABLE added (x INTEGER) STRICT; INSERT INTO missing VALUES (1);"
    monkeypatch.setattr(migrate, "steps", lambda: [*known, broken])
    with pytest.raises(Internal, match="missing"):
        open_database(path)
    monkeypatch.setattr(migrate, "steps", lambda: [*known, "CREATE TABLE added (x INTEGER) STRICT;"])
    for _ in range(2):
        with open_database(path) as metadata, metadata.view() as tx:
            assert tx.session.all("SELECT * FROM added") == []
            assert tx.session.one("PRAGMA user_version") == (len(known) + 1,)


def test_a_file_another_process_writes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "_BUSY_TIMEOUT", 0.01)
    path = tmp_path / "meta.db"
    with open_database(path) as metadata:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"meta\.db is locked"), metadata.update():
            pass
        other.close()
        with metadata.update() as tx:
            tx.images.create(NS, new_image("x"))


def test_a_full_disk_is_named_and_the_database_goes_on(tmp_path: Path) -> None:
    """A page limit makes SQLite say what a full disk makes it say."""
    with open_database(tmp_path / "meta.db") as metadata:
        with metadata.update() as tx:
            tx.images.create(NS, new_image("before"))
            pages = tx.session.one("PRAGMA page_count")[0]
        metadata._writer.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(ResourceExhausted, match="no space left on device"), metadata.update() as tx:
            for number in range(1000):
                tx.images.create(NS, new_image(f"image-{number}"))
        metadata._writer.execute("PRAGMA max_page_count = 1000000")
        with metadata.update() as tx:
            tx.images.create(NS, new_image("after"))
        with metadata.view() as tx:
            assert [image.name for image in tx.images.list(NS)] == ["after", "before"]


def test_a_closed_database_says_so_and_readers_at_work_finish(tmp_path: Path) -> None:
    metadata = open_database(tmp_path / "meta.db")
    with metadata.view() as tx:
        metadata.close()
        metadata.close()
        assert tx.images.list(NS) == []
    for use in (metadata.view, metadata.update):
        with pytest.raises(Internal, match="closed"), use():
            pass


def test_many_readers_at_once_leave_few_connections(tmp_path: Path) -> None:
    with open_database(tmp_path / "meta.db") as metadata:
        together = threading.Barrier(20)

        def read() -> None:
            with metadata.view() as tx:
                tx.namespaces.list()
                together.wait(30)

        threads = [threading.Thread(target=read) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0 < len(metadata._readers) <= 8


def test_the_journal_is_bounded_in_number(tmp_path: Path) -> None:
    with Database(tmp_path / "meta.db", Exchange(), journal=JournalLimits(events=100)) as metadata:
        with metadata.update() as tx:
            for number in range(1024):
                tx.emit(NS, "/x", str(number))
        with metadata.view() as tx:
            kept = tx.events.list()
    assert [event.object_id for event in kept] == [str(number) for number in range(924, 1024)]


def test_the_journal_is_bounded_in_age_and_numbers_only_grow(tmp_path: Path) -> None:
    time = [1_000]
    limits = JournalLimits(age=500)
    with Database(tmp_path / "meta.db", Exchange(), clock=lambda: time[0], journal=limits) as metadata:
        with metadata.update() as tx:
            for number in range(255):
                tx.emit(NS, "/old", str(number))
        time[0] = 2_000
        with metadata.update() as tx:
            tx.emit(NS, "/new", "256th")
        with metadata.view() as tx:
            assert [(event.seq, event.topic) for event in tx.events.list()] == [(256, "/new")]


def test_another_process_that_looks_does_not_take_the_log_away(tmp_path: Path) -> None:
    """The last user of a database deletes its log at the end: whoever looks in with sqlite3 must not be that."""
    look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM namespaces').fetchall()"
    (tmp_path / "now").mkdir()
    with open_database(tmp_path / "now/meta.db") as metadata:
        log = (tmp_path / "now/meta.db-wal").stat().st_ino
        subprocess.run([sys.executable, "-c", look, tmp_path / "now/meta.db"], check=True)
        assert (tmp_path / "now/meta.db-wal").stat().st_ino == log
        with metadata.update() as tx:
            tx.namespaces.ensure("acknowledged")
        shutil.copytree(tmp_path / "now", tmp_path / "after-a-crash")
    with open_database(tmp_path / "after-a-crash/meta.db") as metadata, metadata.view() as tx:
        assert tx.namespaces.get("acknowledged").name == "acknowledged"
