"""docker's USER, against hostile account files."""

from __future__ import annotations

import pytest

from corten_shared.errors import InvalidArgument
from cortend.core.users import User, resolve

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
app:x:1000:1001:App:/home/app:/bin/sh
# comment
1000:x:0:0:number as a name:/root:/bin/sh
broken
minus:x:-1:0::/:
huge:x:4294967296:0::/:
"""
GROUP = b"""root:x:0:
app:x:1001:
audio:x:29:app,other
video:x:44:root
"""


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", User(0, 0, (0, 44), "/root")),
        ("root", User(0, 0, (0, 44), "/root")),
        ("app", User(1000, 1001, (1001, 29), "/home/app")),
        ("1000", User(1000, 1001, (1001, 29), "/home/app")),
        ("app:audio", User(1000, 29, (29,), "/home/app")),
        ("app:7", User(1000, 7, (7,), "/home/app")),
        ("4242", User(4242, 0, (0,), "/")),
        ("4242:4343", User(4242, 4343, (4343,), "/")),
        (":audio", User(0, 29, (29,), "/root")),
    ],
)
def test_names_and_numbers(user: str, expected: User) -> None:
    assert resolve(user, PASSWD, GROUP) == expected


def test_a_number_is_a_number_even_if_a_user_is_called_so() -> None:
    assert resolve("1000", b"1000:x:0:0::/root:\n").uid == 1000


@pytest.mark.parametrize("user", ["2147483648", "4294967296", "-1", "99999999999999999999", "0:4294967296", "1:-5"])
def test_numbers_out_of_range_are_an_error_and_never_root(user: str) -> None:
    with pytest.raises(InvalidArgument, match="range 0-2147483647"):
        resolve(user, PASSWD, GROUP)


def test_unknown_names_are_said_in_docker_s_words() -> None:
    with pytest.raises(InvalidArgument, match="unable to find user ghost: no matching entries in passwd file"):
        resolve("ghost", PASSWD, GROUP)
    with pytest.raises(InvalidArgument, match="unable to find group ghosts: no matching entries in group file"):
        resolve("app:ghosts", PASSWD, GROUP)
    with pytest.raises(InvalidArgument, match="unable to find user broken"):
        resolve("broken", PASSWD, GROUP)


def test_group_add_takes_names_and_numbers_and_keeps_the_primary_group() -> None:
    assert resolve("app", PASSWD, GROUP, group_add=["video", "5000", "app"]).gids == (1001, 29, 44, 5000)


@pytest.mark.parametrize("home", [b"/x\ry", b"relative", b"", b"/a\x1b]0;t\x07"])
def test_a_home_that_is_no_plain_path_is_the_root(home: bytes) -> None:
    assert resolve("u", b"u:x:5:5::" + home + b":/bin/sh\n").home == "/"


def test_bytes_that_are_no_text_do_not_matter() -> None:
    assert resolve("app", b"\xff\xfe:x:1:1::/:\n" + PASSWD, b"\xff\n" + GROUP).uid == 1000
