"""Who a container's process runs as: docker's `USER` and `--user`, resolved against the container's own
passwd and group.

The bytes of both files come from the image: they are hostile, so only lines of the right shape count and the
caller bounds their size (and takes regular files only).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corten_shared.errors import InvalidArgument

MAX_ID = (1 << 31) - 1
"""Highest uid or gid, as runc and docker have it: what is above could wrap round to 0."""

MAX_FILE = 10 << 20
"""Bytes of a passwd or group file that are worth reading."""

_NUMBER = re.compile(r"-?[0-9]+\Z")


class User(NamedTuple):
    """Ids of a process; `gids` are the supplementary groups (the primary one among them), `home` its home
    directory."""

    uid: int = 0
    gid: int = 0
    gids: tuple[int, ...] = (0,)
    home: str = "/"


class _Passwd(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: list[str]


def resolve(user: str, passwd: bytes = b"", group: bytes = b"", *, group_add: Sequence[str] = ()) -> User:
    """The ids behind `name-or-uid[:name-or-gid]` (empty: root) with further groups `group_add`.

    A number is a number, whatever a passwd file calls its users, and needs no entry. Raises InvalidArgument
    in docker's words.
    """
    who, _, which = user.partition(":")
    entry = _find_user(who, passwd)
    groups = list(_parse_group(group))
    gid = _find_group(which, groups) if which else entry.gid
    gids = [] if which or not entry.name else [g.gid for g in groups if entry.name in g.members]
    gids += [_find_group(name, groups) for name in group_add]
    return User(entry.uid, gid, tuple(dict.fromkeys([gid, *gids])), _home(entry.home))


def _find_user(who: str, passwd: bytes) -> _Passwd:
    number = _number(who, "user") if who else 0
    for entry in _parse_passwd(passwd):
        if entry.uid == number if number is not None else entry.name == who:
            return entry
    if number is None:
        raise InvalidArgument(
            f"unable to find user {_shown(who)}: no matching entries in passwd file",
            hint="use a number, or a name of the image's /etc/passwd",
        )
    return _Passwd("", number, 0, "/")


def _find_group(which: str, groups: Sequence[_Group]) -> int:
    number = _number(which, "group")
    if number is not None:
        return number
    for group in groups:
        if group.name == which:
            return group.gid
    raise InvalidArgument(
        f"unable to find group {_shown(which)}: no matching entries in group file",
        hint="use a number, or a name of the image's /etc/group",
    )


def _number(text: str, what: str) -> int | None:
    """The id that `text` is, None for a name; numbers out of range are an error, never a name."""
    if not _NUMBER.match(text):
        return None
    if len(text) > 10 or not 0 <= int(text) <= MAX_ID:
        raise InvalidArgument(
            f"{what} {_shown(text)} is out of range: uids and gids must be in range 0-{MAX_ID}"
        )
    return int(text)


def _shown(text: str) -> str:
    return text[:64] if text.isprintable() else repr(text[:64])


def _home(path: str) -> str:
    """A home directory that can go into an environment; one with control characters could forge lines
    elsewhere."""
    return path if path.startswith("/") and path.isprintable() and len(path) < 4096 else "/"


def _lines(data: bytes, fields: int) -> Iterator[list[str]]:
    for line in data[:MAX_FILE].split(b"\n"):
        text = line.strip().decode("utf-8", "replace")
        if text and not text.startswith("#"):
            parts = text.split(":")
            yield parts + [""] * (fields - len(parts))


def _parse_passwd(data: bytes) -> Iterator[_Passwd]:
    for name, _, uid, gid, _, home, *_rest in _lines(data, 7):
        if _valid(uid) and _valid(gid):
            yield _Passwd(name, int(uid), int(gid), home)


def _parse_group(data: bytes) -> Iterator[_Group]:
    for name, _, gid, members, *_rest in _lines(data, 4):
        if _valid(gid):
            yield _Group(name, int(gid), [m for m in members.split(",") if m])


def _valid(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID
