"""The order of system calls that durability rests on, as strace sees it.

Every rename of a file into the store has the file's fsync before it and the directory's after it; a snapshot's
directory is renamed while it is empty and synced with everything in it (syncfs) before the database says committed;
the database's log is synced last.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from daemon import Cortend
from images import busybox_entries, busybox_image, make_layer, make_tar
from support_registry import LyingRegistry

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")]

_CALLS = "rename,renameat,renameat2,fsync,fdatasync,syncfs"
_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*?)(?: <unfinished \.\.\.>|\) += (\S+).*)")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"\d+<(.*?)>")


class Call(NamedTuple):
    """One call that worked: when it began and ended (lines of the trace), and the paths it was about."""

    name: str
    began: int
    ended: int
    paths: tuple[str, ...]


@contextmanager
def traced(daemon: Cortend, out: Path) -> Iterator[None]:
    """Record what the daemon and its children do meanwhile."""
    argv = ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={_CALLS}", "-o", str(out), "-p", str(daemon.pid)]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "attached" in first, first
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def calls(trace: str) -> list[Call]:
    """Every successful call, in the order of their ends."""
    found: list[Call] = []
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(trace.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        process, name, arguments, result = match.groups()
        began = number
        if "<... " in line:
            began, before = begun.pop(process)
            arguments = before + arguments
        if result is None:
            begun[process] = (began, arguments)
        elif result == "0":
            paths = _STRING.findall(arguments) if name.startswith("rename") else _DESCRIPTOR.findall(arguments)[:1]
            found.append(Call(name, began, number, tuple(paths)))
    return found


def check_order(daemon: Cortend, found: list[Call]) -> list[str]:
    """The files that were renamed into the store, each in the right order; fails on any other."""
    root = str(daemon.root.resolve())
    syncs = [call for call in found if call.name in ("fsync", "fdatasync")]
    renamed: list[str] = []
    last = 0
    for call in found:
        if not call.name.startswith("rename") or not call.paths[1].startswith(f"{root}/"):
            continue
        source, target = call.paths
        directory, name = target.rsplit("/", 1)
        if "/snapshots/" in target:
            if name.startswith("rm-"):
                continue  # one that comes back is removed again
            after = [sync for sync in found if sync.name == "syncfs" and sync.began > call.ended]
            assert any(sync.paths[0].startswith(f"{root}/snapshots") for sync in after), f"no syncfs after {call}"
        else:
            before = [sync for sync in syncs if sync.paths == (source,) and sync.ended < call.began]
            after = [sync for sync in syncs if sync.paths == (directory,) and sync.began > call.ended]
            assert before, f"not synced before: {call}"
            assert after, f"directory not synced after: {call}"
            renamed.append(target)
        last = max(last, min(sync.ended for sync in after))
    assert renamed
    log = [sync for sync in syncs if sync.paths[0] == f"{root}/meta.db-wal"]
    assert log and log[-1].began > last, "the database was not last"
    return renamed


def test_pull_and_import_sync_before_and_after_every_rename(
    make_cortend: Callable[..., Cortend], tmp_path: Path
) -> None:
    daemon = make_cortend(image=False)
    layers = [make_layer([(f"layer-{number}", b"x" * 5000)]) for number in range(3)]
    with LyingRegistry() as registry:
        image = busybox_image(*layers)
        registry.serve_image(image, "app")
        with traced(daemon, tmp_path / "pull"):
            daemon.corten("pull", f"{registry.host}/app")
        renamed = check_order(daemon, calls((tmp_path / "pull").read_text()))
    assert {Path(path).name for path in renamed} == {digest[7:] for digest in (*image.blobs, image.digest)}
    with traced(daemon, tmp_path / "import"):
        daemon.corten("import", "-", "imported", input=make_tar([*busybox_entries(), ("new", b"to the store")]))
    assert len(check_order(daemon, calls((tmp_path / "import").read_text()))) == 3


def test_a_volume_and_its_end_are_synced(make_cortend: Callable[..., Cortend], tmp_path: Path) -> None:
    daemon = make_cortend(image=False)
    with traced(daemon, tmp_path / "trace"), daemon.api() as api:
        api.request("POST", "/volumes/create", body={"Name": "data"}).read()
        api.request("DELETE", "/volumes/data").read()
    found = calls((tmp_path / "trace").read_text())
    folder = f"{daemon.root}/volumes/default"
    names = [call.paths for call in found]
    draft, record = f"{folder}/data/volume.json.new", f"{folder}/data/volume.json"
    made = names.index((draft, record))
    assert names.index((draft,)) < made < names.index((f"{folder}/data",))
    assert (folder,) in names[:made], "the volume's own name is synced"
    removed = next(number for number, paths in enumerate(names) if paths[0] == f"{folder}/data" and len(paths) == 2)
    assert (folder,) in names[removed:], "what was removed does not come back"


def test_the_oracle_sees_what_is_missing() -> None:
    daemon = Cortend.__new__(Cortend)
    daemon.root = Path("/r")
    good = [
        '1 fsync(3</r/content/ingest/a/data>) = 0',
        '1 rename("/r/content/ingest/a/data", "/r/content/blobs/sha256/b") = 0',
        '1 fsync(4</r/content/blobs/sha256> <unfinished ...>',
        '2 fsync(9</r/other>) = 0',
        '1 <... fsync resumed>)              = 0',
        '1 fdatasync(5</r/meta.db-wal>)      = 0',
    ]
    assert check_order(daemon, calls("\n".join(good))) == ["/r/content/blobs/sha256/b"]
    for missing in ({0}, {2, 4}, {5}):
        with pytest.raises(AssertionError):
            check_order(daemon, calls("\n".join(line for n, line in enumerate(good) if n not in missing)))
