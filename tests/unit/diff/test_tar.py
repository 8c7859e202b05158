"""The tar reader against archives of its own making, of Python's tarfile, and of nobody's."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archives import END, archive, directory, file, gnu_long, hard_link, header, link, member, pax, record, seal
from cortend.diff.limits import Limits
from cortend.diff.refusal import Refusal, quote
from cortend.diff.stream import Reader
from cortend.diff.tar import DIRECTORY, REGULAR, Archive, Member


def read(data: bytes, limits: Limits | None = None, step: int = 700) -> list[tuple[Member, bytes]]:
    """Every member with its archived content; the stream comes in odd chunks."""
    chunks = (data[at : at + step] for at in range(0, len(data), step))
    tar = Archive(Reader(chunks), limits or Limits())
    found = []
    while (entry := tar.next()) is not None:
        found.append((entry, b"".join(tar.content(entry.size))))
    return found


def refused(data: bytes, code: str, words: str, limits: Limits | None = None) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        read(data, limits)
    assert caught.value.code == code


def test_fields_of_a_plain_header() -> None:
    data = archive(file("a/b", b"text", mode=0o4755, uid=7, gid=8, mtime=9))
    [(entry, content)] = read(data)
    assert (entry.name, entry.kind, content) == (b"a/b", REGULAR, b"text")
    assert (entry.mode, entry.uid, entry.gid, entry.mtime) == (0o4755, 7, 8, 9_000_000_000)


def test_a_ustar_prefix_is_part_of_the_name_and_a_gnu_header_has_none() -> None:
    assert read(archive(header("b", prefix=b"long/a")))[0][0].name == b"long/a/b"
    assert read(archive(header("b", prefix=b"12345", magic=b"ustar  \0")))[0][0].name == b"b"


def test_pax_wins_over_gnu_names_and_those_over_the_header() -> None:
    [(entry, _)] = read(archive(gnu_long("gnu"), pax({"path": "pax"}), file("header")))
    assert entry.name == b"pax"
    [(entry, _)] = read(archive(gnu_long("g" * 300), gnu_long("t" * 200, b"K"), link("header", "x")))
    assert (entry.name, entry.link) == (b"g" * 300, b"t" * 200)


def test_extended_headers_concern_the_next_member_only() -> None:
    entries = read(archive(pax({"path": "long", "uid": "5"}), file("a"), file("b")))
    assert [(entry.name, entry.uid) for entry, _ in entries] == [(b"long", 5), (b"b", 0)]


def test_pax_sizes_times_and_attributes() -> None:
    records = {"size": "4", "mtime": "1.25", "SCHILY.xattr.user.a": b"\0\n=x", "LIBARCHIVE.xattr.user.b%3d": "eHk"}
    data = pax(records) + header("f", size=0) + b"text" + bytes(508) + END
    [(entry, content)] = read(data)
    assert (content, entry.mtime) == (b"text", 1_250_000_000)
    assert entry.xattrs == {b"user.a": b"\0\n=x", b"user.b=": b"xy"}


def test_times_that_no_clock_can_say_become_the_epoch() -> None:
    for mtime in (-5, 1 << 80):
        assert read(archive(file("f", mtime=mtime)))[0][0].mtime == 0
    assert read(archive(pax({"mtime": "-3.5"}), file("f")))[0][0].mtime == 0


def test_large_numbers_are_base_256() -> None:
    assert read(archive(file("f", uid=3_000_000)))[0][0].uid == 3_000_000


def test_names_are_bytes_as_archived() -> None:
    name = b"\xff\n\x1b[2J caf\xc3\xa9"
    assert read(archive(file(name)))[0][0].name == name


def test_v7_directories_are_regular_files_with_a_slash() -> None:
    assert read(archive(member("d/", b"\0", magic=bytes(8))))[0][0].kind == DIRECTORY


def test_members_without_content_by_type_have_none_whatever_they_say() -> None:
    data = header("d", b"5", size=512) + file("next", b"x") + END
    assert [entry.name for entry, _ in read(data)] == [b"d", b"next"]


def test_a_global_header_is_not_applied() -> None:
    assert read(archive(pax({"path": "evil"}, b"g"), file("f")))[0][0].name == b"f"


@pytest.mark.parametrize("end", [b"", bytes(512), END, END + b"\0" * 9000])
def test_the_end_may_be_missing_or_long(end: bytes) -> None:
    assert len(read(file("a", b"x") + end)) == 1


def test_padding_of_the_last_member_may_be_missing() -> None:
    assert read(header("a", size=3) + b"abc")[0][1] == b"abc"


@pytest.mark.parametrize("cut", [1, 300, 511, 513, 600, 1023])
def test_a_cut_archive_is_data_loss(cut: int) -> None:
    refused((file("a", b"x" * 600) + file("b"))[:cut], "data_loss", "ends|checksum")


BROKEN = {
    "checksum": (header("a")[:10] + b"X" + header("a")[11:], "data_loss", "checksum"),
    "lone zero block": (bytes(512) + file("a"), "data_loss", "lone zero block"),
    "type": (member("a", b"M"), "invalid_argument", "unknown type"),
    "negative size": (header("a", size=-1) + END, "invalid_argument", "size of -1"),
    "huge size": (header("a", size=1 << 70) + END, "invalid_argument", "a size of"),
    "size over the limit": (header("a", size=1 << 62) + END, "resource_exhausted", "a file of"),
    "negative uid": (header("a", uid=-1), "invalid_argument", "uid of -1"),
    "uid over 32 bits": (pax({"uid": "4294967296"}) + file("a"), "invalid_argument", "uid of"),
    "digits of a bomb": (pax({"uid": "9" * 5000}) + file("a"), "invalid_argument", "unreadable uid"),
    "signed number": (pax({"size": "-1"}) + file("a"), "invalid_argument", "unreadable size"),
    "record without end": (pax(b"12 path=abc") + file("a"), "data_loss", "malformed PAX"),
    "record length 0": (pax(b"0 path=a\n") + file("a"), "data_loss", "malformed PAX"),
    "record too long": (pax(b"99 path=a\n") + file("a"), "data_loss", "malformed PAX"),
    "zero byte in a path": (pax({"path": b"a\0b"}) + file("a"), "invalid_argument", "zero byte"),
    "zero byte in an attribute": (pax({"LIBARCHIVE.xattr.user.a%00": "eHk="}) + file("a"), "invalid_argument", "zero"),
    "name over PATH_MAX": (pax({"path": "a/" * 2100}) + file("a"), "invalid_argument", "a name of 4200"),
    "link over PATH_MAX": (pax({"linkpath": "a" * 5000}) + link("a", "b"), "invalid_argument", "a name of 5000"),
    "extended header over the limit": (member("p", b"x", b"a" * 2_000_000), "resource_exhausted", "limit 1048576"),
    "extended header of 2^60": (header("p", b"x", size=1 << 60), "resource_exhausted", "extended header"),
    "negative extended header": (header("p", b"L", size=-512), "resource_exhausted", "extended header"),
    "many extended headers": (gnu_long("a" * 1000) * 1000 + file("a"), "resource_exhausted", "extended header"),
    "nothing after an extended header": (pax({"path": "a"}), "data_loss", "after an extended header"),
    "underscored number": (
        seal(header("a")[:100] + b"0_00644\0" + header("a")[108:]), "invalid_argument", "unreadable mode",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_archives_are_refused_in_one_line(case: str) -> None:
    data, code, words = BROKEN[case]
    with pytest.raises(Refusal, match=words) as caught:
        read(data)
    assert caught.value.code == code
    assert "\n" not in caught.value.message and len(caught.value.message) < 500


def sparse_headers() -> dict[str, bytes]:
    """One file of 10,000 bytes with `left` at 0 and `right` at 9000, in every format."""
    listed = b"".join(record("GNU.sparse." + key, value) for key, value in (
        ("size", "10000"), ("offset", "0"), ("numbytes", "4"), ("offset", "9000"), ("numbytes", "5"),
    ))  # fmt: skip
    old = bytearray(header("f", b"S", size=9, magic=b"ustar  \0"))
    pairs = b"".join(b"%011o\0%011o\0" % pair for pair in ((0, 4), (9000, 5)))
    old[386 : 386 + len(pairs)] = pairs
    old[483:495] = b"%011o\0" % 10000
    total = sum(old[:148]) + sum(old[156:]) + 256
    old[148:156] = b"%06o\0 " % total
    content = b"leftright"
    v1 = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": "10000"}
    mapped = b"2\n0\n4\n9000\n5\n".ljust(512, b"\0") + content
    return {
        "old": bytes(old) + content.ljust(512, b"\0"),
        "0.0": pax(listed) + file("f", content),
        "0.1": pax({"GNU.sparse.map": "0,4,9000,5", "GNU.sparse.size": "10000"}) + file("f", content),
        "1.0": pax(v1) + file("GNUSparseFile.1/f", mapped),
    }


@pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
def test_sparse_files_of_every_format(version: str) -> None:
    [(entry, content), (after, _)] = read(sparse_headers()[version] + file("after") + END)
    assert (entry.name, entry.length, entry.holes, content) == (b"f", 10000, [(0, 4), (9000, 5)], b"leftright")
    assert after.name == b"after"


@pytest.mark.parametrize(
    "text", ["0,4,2,5", "0,4,9998,5", "0,4", "0,4,9000", "0,4,9000,x", "9000,5,0,4", "0,9" * 2, "0,-4,9,13"]
)
def test_sparse_maps_that_make_no_sense_are_refused(text: str) -> None:
    data = pax({"GNU.sparse.map": text, "GNU.sparse.size": "10000"}) + file("f", b"leftright")
    refused(data, "invalid_argument", "sparse map")


def test_a_sparse_map_longer_than_its_file_is_refused() -> None:
    v1 = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"}
    refused(pax(v1) + file("f", b"99999999999\n".ljust(512, b"\0")), "resource_exhausted", "sparse map")


def test_many_repeated_sparse_records_take_linear_time() -> None:
    """A megabyte of records; joined one by one this was gigabytes of copying."""
    data = record("GNU.sparse.offset", "0") + record("GNU.sparse.numbytes", "0")
    listed = record("GNU.sparse.size", "5") + data * 19_000
    [(entry, _)] = read(archive(pax(listed), file("f")))
    assert entry.holes is not None and len(entry.holes) == 19_000


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_tarfile_writes(format_: int) -> None:
    buffer = io.BytesIO()
    names = ["short", "d" * 60 + "/" + "f" * 90, "ünï"]
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        for index, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.mtime = index * 1000, index, 1000 + index
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    found = read(buffer.getvalue())
    assert [entry.name.decode() for entry, _ in found] == names
    assert [(len(content), entry.uid, entry.mtime // 10**9) for entry, content in found] == [
        (0, 0, 1000), (1000, 1, 1001), (2000, 2, 1002),
    ]  # fmt: skip


@given(st.data())
def test_mutated_headers_are_read_or_refused_never_worse(data: st.DataObject) -> None:
    """Whatever bytes change: members come out, or a Refusal; and no more bytes than went in."""
    image = bytearray(
        archive(
            pax({"path": "p/q", "uid": "1", "SCHILY.xattr.user.a": "b"}), file("f", b"x" * 700), gnu_long("n" * 200),
            directory("d"), link("l", "f"), hard_link("h", "f"), *sparse_headers().values(),
        )
    )  # fmt: skip
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(image) - 1))
        image[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # most changes die at the checksum: make some pass it
        for at in range(0, len(image) - 512, 512):
            if image[at + 257 : at + 262] == b"ustar":
                total = sum(image[at : at + 148]) + sum(image[at + 156 : at + 512]) + 256
                image[at + 148 : at + 156] = b"%06o\0 " % total
    try:
        found = read(bytes(image))
    except Refusal:
        return
    assert sum(len(content) for _, content in found) <= len(image)


def test_quoted_names_are_printable_and_short() -> None:
    shown = quote(b"\x1b]0;\xff\n" + b"a" * 1000)
    assert shown.isprintable() and len(shown) < 260


def test_reader_reads_across_chunks_and_counts() -> None:
    reader = Reader(iter([b"ab", b"", b"cde"]))
    assert (reader.take(3), reader.position, reader.take_or_end(5)) == (b"abc", 3, b"de")
