"""What the package reads and writes as text."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cortend.linux import mount as m
from cortend.linux.mountinfo import parse_line, read_mounts
from cortend.linux.process import boot_id, is_alive, open_same, pidfd_send_signal, start_time


def test_options_become_flags_propagation_and_data() -> None:
    options = ["ro", "nosuid", "rbind", "rslave", "lowerdir=/a:/b", "x-corten.remark", "", "index=off"]
    flags = m.MS_RDONLY | m.MS_NOSUID | m.MS_BIND | m.MS_REC
    assert m.parse_options(options) == (flags, m.MS_SLAVE | m.MS_REC, ["lowerdir=/a:/b", "index=off"])


def test_a_later_option_wins() -> None:
    assert m.parse_options(["ro", "rw"])[0] == 0
    assert m.parse_options(["rw", "ro"])[0] == m.MS_RDONLY


def test_mountinfo_lines() -> None:
    entry = parse_line(r"36 35 98:0 /a\040b /mnt\134x rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=x")
    assert (entry.mount_id, entry.parent_id, entry.root, entry.target) == (36, 35, "/a b", "/mnt\\x")
    assert (entry.options, entry.optional) == (["rw", "noatime"], ["master:1", "shared:2"])
    assert (entry.fstype, entry.source, entry.super_options) == ("ext4", "/dev/root", ["rw", "errors=x"])
    with pytest.raises(ValueError, match="not a line of mountinfo"):
        parse_line("36 35 98:0 /")


def test_the_root_is_mounted() -> None:
    assert "/" in {entry.target for entry in read_mounts()}


def test_a_process_is_known_by_its_id_and_start() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = start_time(child.pid)
        assert started is not None
        assert is_alive(child.pid) and is_alive(child.pid, started)
        assert not is_alive(child.pid, started + 1)
        assert open_same(child.pid, started + 1) is None
        fd = open_same(child.pid, started)
        assert fd is not None
        pidfd_send_signal(fd, 9)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert start_time(child.pid) == started, "a zombie is still there"
        assert not is_alive(child.pid, started), "but it does not run"
        assert open_same(child.pid, started) is None
    os.close(fd)
    assert start_time(child.pid) is None


def test_no_process_has_these_ids() -> None:
    assert not is_alive(0) and not is_alive(-1)
    assert open_same(0, 1) is None


def test_a_boot_has_an_id() -> None:
    assert len(boot_id()) == 36 and boot_id() == boot_id()


def test_names_with_a_zero_byte_never_reach_the_kernel() -> None:
    with pytest.raises(ValueError, match="null byte"):
        m.umount("/tmp/a\0b")
