"""Profiles in docker's format, resolved for one container."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corten_shared.errors import InvalidArgument
from cortend.core import capabilities, seccomp

DEFAULT_CAPS = frozenset(capabilities.DEFAULT)


def resolved(caps: frozenset[str] = DEFAULT_CAPS, machine: str = "x86_64", **fields: Any) -> dict[str, Any]:
    return seccomp.resolve(seccomp.default_profile(), capabilities=caps, machine=machine, kernel=(6, 1), **fields)


def allowed(result: dict[str, Any]) -> set[str]:
    return {
        name for entry in result["syscalls"] if entry["action"] == "SCMP_ACT_ALLOW" and not entry.get("args")
        for name in entry["names"]
    }  # fmt: skip


def test_what_is_not_listed_fails_with_eperm() -> None:
    assert (resolved()["defaultAction"], resolved()["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)


@pytest.mark.parametrize(
    "name",
    "io_uring_setup io_uring_enter io_uring_register bpf mount umount2 unshare setns keyctl add_key request_key "
    "userfaultfd perf_event_open kexec_load init_module reboot socket clone clone3 open_by_handle_at "
    "pivot_root swapon quotactl acct settimeofday syslog fsopen open_tree move_mount pidfd_getfd".split(),
)
def test_dangerous_calls_are_not_allowed_by_default(name: str) -> None:
    assert name not in allowed(resolved())


@pytest.mark.parametrize("name", "read write execve futex openat2 statx chroot fchmodat2 cachestat".split())
def test_ordinary_calls_are_allowed(name: str) -> None:
    assert name in allowed(resolved())


def test_clone3_is_enosys_without_sys_admin() -> None:
    entry = next(e for e in resolved()["syscalls"] if e["names"] == ["clone3"])
    assert (entry["action"], entry["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert "clone3" in allowed(resolved(DEFAULT_CAPS | {"CAP_SYS_ADMIN"}))


@pytest.mark.parametrize(
    ("family", "ok"), [(1, True), (2, True), (10, True), (16, True), (17, True), (38, False), (40, False)]
)
def test_socket_families(family: int, ok: bool) -> None:
    rules = [e["args"] for e in resolved()["syscalls"] if e["names"] == ["socket"]]
    assert all(len(args) == 1 and args[0]["index"] == 0 for args in rules)
    passes = {"SCMP_CMP_LT": lambda a, b: a < b, "SCMP_CMP_EQ": lambda a, b: a == b}
    assert any(passes[arg["op"]](family, arg["value"]) for (arg,) in rules) is ok


def test_a_capability_opens_its_calls() -> None:
    assert {"mount", "setns"} <= allowed(resolved(DEFAULT_CAPS | {"CAP_SYS_ADMIN"}))
    assert "syslog" in allowed(resolved(DEFAULT_CAPS | {"CAP_SYSLOG"}))
    assert "chroot" not in allowed(resolved(frozenset()))


def test_architectures_and_their_calls() -> None:
    assert resolved()["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert "arch_prctl" in allowed(resolved()) and "arch_prctl" not in allowed(resolved(machine="aarch64"))
    assert resolved(machine="aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


def test_old_kernels_lose_ptrace() -> None:
    old = seccomp.resolve(seccomp.default_profile(), capabilities=DEFAULT_CAPS, machine="x86_64", kernel=(4, 4))
    assert "ptrace" not in allowed(old) and "ptrace" in allowed(resolved())


def test_a_custom_profile_keeps_its_own_actions() -> None:
    profile = seccomp.parse_profile(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"name": "chmod", "action": "SCMP_ACT_ERRNO"},
                    {"names": [], "action": "SCMP_ACT_KILL"},
                    {
                        "names": ["x"],
                        "action": "SCMP_ACT_TRACE",
                        "errnoRet": 5,
                        "args": [{"index": 1, "value": 2, "op": "SCMP_CMP_NE"}],
                    },
                ],
            }
        )
    )
    result = seccomp.resolve(profile, capabilities=(), machine="x86_64", kernel=(6, 1))
    assert result["syscalls"][0] == {"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}
    assert [entry["names"] for entry in result["syscalls"]] == [["chmod"], ["x"]]
    assert result["syscalls"][1]["args"] == [{"index": 1, "value": 2, "valueTwo": 0, "op": "SCMP_CMP_NE"}]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "[" * 100_000, '{"defaultAction": 1}', "x" * (2 << 20),
     '{"defaultAction": "A", "architectures": ["x"], "archMap": [{}]}'],
)  # fmt: skip
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        seccomp.parse_profile(text)


@pytest.mark.parametrize(
    "entry",
    [1, "x", {"names": [1], "action": "A"}, {"names": ["x"]}, {"names": ["x"], "action": "A", "args": [1]},
     {"names": ["x"], "action": "A", "includes": 1}],
)  # fmt: skip
def test_malformed_entries_are_refused(entry: Any) -> None:
    with pytest.raises(InvalidArgument, match="malformed seccomp profile"):
        seccomp.resolve({"defaultAction": "A", "syscalls": [entry]}, capabilities=(), machine="x86_64", kernel=(6, 1))
