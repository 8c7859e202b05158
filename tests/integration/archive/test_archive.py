"""Files of containers: the docker CLI's cp, export and diff, and the archive endpoints with what no CLI sends."""

from __future__ import annotations

import base64
import bz2
import io
import json
import lzma
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import archives
from daemon import Cortend

pytestmark = pytest.mark.root

KINDS = ("running", "stopped")


@pytest.fixture(params=KINDS)
def box(engine: Cortend, request: pytest.FixtureRequest) -> str:
    """A container, running or never started, with a volume at /data."""
    run = ("run", "-d") if request.param == "running" else ("create",)
    engine.corten(*run, "--name", "box", "-v", "files:/data", "busybox", "sleep", "1000")
    return "box"


def put(engine: Cortend, path: str, body: bytes, **query: object) -> tuple[int, str]:
    """PUT an archive; status and message."""
    with engine.api() as api:
        reply = api.request("PUT", "/containers/box/archive", query={"path": path, **query}, body=iter([body]))
        return reply.status, reply.read().decode()


def ask(engine: Cortend, method: str, where: str, **query: str) -> tuple[int, bytes]:
    """Any request: status and body."""
    with engine.api() as api:
        reply = api.request(method, where, query=query)
        return reply.status, reply.read()


def get(engine: Cortend, path: str) -> tarfile.TarFile:
    """GET an archive, whole."""
    with engine.api() as api:
        reply = api.request("GET", "/containers/box/archive", query={"path": path})
        body = reply.read()
        assert reply.status == 200, body
        return tarfile.open(fileobj=io.BytesIO(body))


def head(engine: Cortend, path: str) -> dict[str, object]:
    with engine.api() as api:
        reply = api.request("HEAD", "/containers/box/archive", query={"path": path})
        assert reply.status == 200
        found: dict[str, object] = json.loads(base64.b64decode(reply.headers["x-docker-container-path-stat"]))
        return found


def mounts_in(engine: Cortend) -> list[str]:
    lines = Path(f"/proc/{engine.pid}/mountinfo").read_text().splitlines()
    return sorted(line.split()[4] for line in lines if str(engine.base) in line)


def test_a_tree_goes_in_and_comes_out_the_same(engine: Cortend, box: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_bytes(b"content")
    os.chown(source / "sub" / "file", 1234, 70000)
    (source / "sub" / "file").chmod(0o4751)
    (source / "link").symlink_to("/etc/passwd")
    (source / os.fsdecode(b"n\xffme" + b"x" * 150)).touch()
    os.link(source / "sub" / "file", source / "twin")
    before = mounts_in(engine)
    for target in ("/tmp", "/data"):
        engine.docker("cp", str(source), f"{box}:{target}/in")
        engine.docker("cp", "-a", f"{box}:{target}/in/.", str(tmp_path / "out"))
        assert (tmp_path / "out" / "sub" / "file").read_bytes() == b"content"
        assert (tmp_path / "out" / "link").readlink() == Path("/etc/passwd")
        assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == sorted(os.listdir(os.fsencode(source)))
        members = get(engine, f"{target}/in").getmembers()
        file = next(member for member in members if member.name == "in/sub/file")
        assert (file.mode, file.uid, file.gid) == (0o4751, 1234, 70000)
        assert [member.linkname for member in members if member.islnk()] == ["in/sub/file"]
        subprocess.run(["rm", "-r", tmp_path / "out"], check=True)
    assert mounts_in(engine) == before


def test_a_file_replaces_a_file_and_never_a_directory(engine: Cortend, box: str, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("new")
    engine.docker("cp", str(tmp_path / "passwd"), f"{box}:/etc/passwd")
    engine.docker("cp", f"{box}:/etc/passwd", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "new"
    refused = put(engine, "/", archives.archive(archives.file("etc", b"x")), noOverwriteDirNonDir=1)
    assert refused[0] == 400 and "cannot overwrite directory" in refused[1]


def test_the_stat_header_is_gos(engine: Cortend, box: str) -> None:
    put(engine, "/tmp", archives.archive(archives.link("up", "../../etc"), archives.file("f", b"12", mode=0o4755)))
    assert head(engine, "/etc")["mode"] == 1 << 31 | 0o755
    link = head(engine, "/tmp/up")
    assert (link["name"], link["linkTarget"]) == ("up", "/etc") and int(str(link["mode"])) >> 27 == 1
    file = head(engine, "/tmp/f")
    assert (file["size"], file["mode"]) == (2, 1 << 23 | 0o755)


def test_what_is_missing_or_no_directory_is_said(engine: Cortend, box: str, tmp_path: Path) -> None:
    done = engine.docker("cp", f"{box}:/none", str(tmp_path), check=False)
    assert b"Could not find the file /none in container box" in done.stderr
    assert put(engine, "/none", archives.archive())[0] == 404
    status, message = put(engine, "/etc/passwd", archives.archive())
    assert status == 400 and "not a directory" in message
    assert ask(engine, "GET", "/containers/box/archive")[0] == 400
    assert ask(engine, "GET", "/containers/nobody/export")[0] == 404


@pytest.mark.parametrize("compress", [bytes, bz2.compress, lzma.compress], ids=["plain", "bzip2", "xz"])
def test_every_compression_goes_in(engine: Cortend, compress: type[bytes]) -> None:
    engine.corten("create", "--name", "box", "busybox")
    assert put(engine, "/tmp", compress(archives.archive(archives.file("f", b"x" * 1000))))[0] == 200
    assert get(engine, "/tmp/f").getmembers()[0].size == 1000


def test_a_damaged_archive_is_refused(engine: Cortend) -> None:
    engine.corten("create", "--name", "box", "busybox")
    whole = lzma.compress(archives.archive(archives.file("f", os.urandom(5000))))
    assert put(engine, "/tmp", whole[:3000])[0] >= 400


def test_a_read_only_root_is_not_written_but_its_volume_is(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "box", "--read-only", "-v", "files:/data", "busybox", "sleep", "1000")
    status, message = put(engine, "/tmp", archives.archive(archives.file("f")))
    assert (status, json.loads(message)["message"]) == (403, "container rootfs is marked read-only")
    assert put(engine, "/data", archives.archive(archives.file("f")))[0] == 200


def test_the_users_ids_are_given_with_archive(engine: Cortend, tmp_path: Path) -> None:
    engine.corten("create", "--name", "box", "--user", "1000:1001", "busybox")
    (tmp_path / "f").touch()
    engine.docker("cp", "-a", str(tmp_path / "f"), "box:/tmp/f")
    member = get(engine, "/tmp/f").getmembers()[0]
    assert (member.uid, member.gid) == (1000, 1001)


# -- hostile ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bait() -> Iterator[Path]:
    """A directory of the host that no container may reach."""
    path = Path("/tmp/corten-bait")
    path.mkdir()
    (path / "secret").write_text("of the host")
    yield path
    assert os.listdir(path) == ["secret"] and (path / "secret").read_text() == "of the host"
    subprocess.run(["rm", "-r", path], check=True)


def test_links_of_the_container_lead_inside_it(engine: Cortend, box: str, bait: Path) -> None:
    link = archives.archive(archives.link("x", str(bait)), archives.link("y", f"../../../../{bait}"))
    assert put(engine, "/", link)[0] == 200
    for name in ("/x", "/y"):
        assert put(engine, name, archives.archive(archives.file("f", b"x")))[0] == 404
        assert ask(engine, "GET", "/containers/box/archive", path=f"{name}/secret")[0] == 404
    assert get(engine, "/x").getmembers()[0].issym()


def test_a_hostile_archive_writes_nothing_outside(engine: Cortend, box: str, bait: Path) -> None:
    assert put(engine, "/tmp", archives.archive(archives.file(f"../../{bait}/f", b"x")))[0] == 400
    chain = archives.archive(archives.link("d", str(bait)), archives.file("d/f", b"x"))
    put(engine, "/tmp", chain)
    hard = archives.archive(archives.hard_link("h", f"{bait}/secret"))
    assert put(engine, "/tmp", hard)[0] == 400


def test_a_raced_swap_of_links_never_leads_out(engine: Cortend, bait: Path) -> None:
    swap = f"while :; do rm -rf /w/d; mkdir /w/d; rm -rf /w/d; ln -s {bait} /w/d; done"
    engine.corten("run", "-d", "--name", "box", "busybox", "sh", "-c", f"mkdir /w; {swap}")
    body = archives.archive(archives.file("f", b"x"))
    answers = set()
    for _ in range(30):
        answers.add(put(engine, "/w/d", body)[0])
        status, found = ask(engine, "GET", "/containers/box/archive", path="/w/d/secret")
        # Which refusal depends on the moment; nothing of the host in it, and never success, does not.
        assert status != 200 and b"of the host" not in found, (status, found)
    assert answers <= {200, 400, 404, 409, 500}


def test_no_program_of_the_container_decompresses(engine: Cortend) -> None:
    trojan = b"#!/bin/sh\necho ran > /ran\n"
    engine.corten("create", "--name", "box", "busybox")
    names = ("xz", "unxz", "bzip2", "gzip", "zstd")
    members = [archives.file(f"bin/{name}", trojan, mode=0o755) for name in names]
    assert put(engine, "/", archives.archive(*members))[0] == 200
    assert put(engine, "/tmp", lzma.compress(archives.archive(archives.file("f"))))[0] == 200
    assert ask(engine, "HEAD", "/containers/box/archive", path="/ran")[0] == 404


# -- whole ------------------------------------------------------------------------------------------------------------


def test_a_large_file_does_not_pass_through_the_daemons_memory(engine: Cortend) -> None:
    engine.corten("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    size = 50 << 20
    block = archives.header("big", size=size)
    before = resident(engine)
    with engine.api() as api:
        body = iter([block, *[bytes(1 << 20)] * 50, archives.END])
        reply = api.request("PUT", "/containers/box/archive", query={"path": "/tmp"}, body=body)
        assert (reply.status, reply.read()) == (200, b"")
        reply = api.request("GET", "/containers/box/archive", query={"path": "/tmp/big"})
        assert sum(map(len, reply.chunks())) == size + 512 + 1024
    assert resident(engine) - before < 20 << 20


def resident(engine: Cortend) -> int:
    """Bytes of the daemon's memory."""
    return int(Path(f"/proc/{engine.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_export_is_the_root_without_volumes(engine: Cortend, box: str, tmp_path: Path) -> None:
    put(engine, "/data", archives.archive(archives.file("in-volume")))
    put(engine, "/tmp", archives.archive(archives.file("in-root")))
    engine.docker("export", "-o", str(tmp_path / "docker.tar"), box)
    engine.corten("export", "-o", str(tmp_path / "corten.tar"), box)
    for file in ("docker.tar", "corten.tar"):
        with tarfile.open(tmp_path / file) as tar:
            names = tar.getnames()
        assert "tmp/in-root" in names and "bin/sh" in names and "data/in-volume" not in names


def test_diff_says_what_was_added_changed_and_deleted(engine: Cortend) -> None:
    script = "echo x >> /etc/passwd; rm /bin/ar; mkdir /new; echo y > /new/file; rm -rf /home; mkdir /home"
    engine.corten("run", "--name", "box", "busybox", "sh", "-c", script)
    found = engine.docker("diff", "box").stdout.decode().splitlines()
    wanted = ["C /bin", "D /bin/ar", "C /etc", "C /etc/passwd", "A /new", "A /new/file"]
    assert [line for line in found if "/home" not in line] == wanted
    assert engine.corten("diff", "box").stdout.decode().splitlines() == found
    engine.corten("create", "--name", "untouched", "busybox")
    assert ask(engine, "GET", "/containers/untouched/changes") == (200, b"null\n")
