"""Linux capabilities: their names and numbers, docker's default set, and how `--cap-add` and `--cap-drop`
change it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corten_shared.errors import InvalidArgument

NAMES: tuple[str, ...] = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK",
        "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN",
        "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE",
        "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
        "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
    )
)  # fmt: skip
"""Every capability; its index is its number (capability.h)."""

DEFAULT: tuple[str, ...] = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
        "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    )
)  # fmt: skip
"""What docker gives a container that asks for nothing."""


def from_mask(mask: int) -> frozenset[str]:
    """The names in a bit mask, as `CapEff` of /proc/PID/status has it (in hexadecimal there)."""
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def normalise(names: Iterable[str], *, option: str) -> list[str]:
    """`names` as `CAP_…` in upper case, or `ALL`; raises InvalidArgument in docker's words."""
    found = []
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full not in NAMES and full != "ALL":
            raise InvalidArgument(
                f'invalid {option}: unknown capability: "{full[:60]}"',
                hint="capabilities(7) lists their names",
            )
        found.append(full)
    return found


def resolve(add: Sequence[str], drop: Sequence[str], *, privileged: bool) -> list[str]:
    """The capabilities asked for, in the order of their numbers.

    As docker: `ALL` added is every one but those dropped; `ALL` dropped is only those added; an added one
    wins over the same one dropped.
    """
    adds, drops = set(normalise(add, option="CapAdd")), set(normalise(drop, option="CapDrop"))
    if privileged:
        return list(NAMES)
    if "ALL" in adds:
        wanted = set(NAMES) - drops
    elif "ALL" in drops:
        wanted = adds
    else:
        wanted = (set(DEFAULT) - drops) | adds
    return [name for name in NAMES if name in wanted]
