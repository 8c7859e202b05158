"""Platforms: `os/architecture[/variant]` in Go's words, and which of an index's manifests runs here (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from corten_shared.errors import InvalidArgument
from corten_shared.models.oci import INDEXES, MANIFESTS, Descriptor, Platform

_MACHINES = {
    "x86_64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "i386": ("386", None),
    "i686": ("386", None),
    "ppc64le": ("ppc64le", None),
    "riscv64": ("riscv64", None),
    "s390x": ("s390x", None),
    "loongarch64": ("loong64", None),
    "mips64": ("mips64le", None),
}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386"}
_ALIAS_VARIANTS = {"armhf": "v7", "armel": "v6"}
_PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def of_machine(machine: str) -> Platform:
    """The platform of a Linux machine by uname's word for it (`x86_64` is linux/amd64)."""
    architecture, variant = _MACHINES.get(machine, (machine, None))
    return Platform(os="linux", architecture=architecture, variant=variant)


def parse(text: str, host: Platform) -> Platform:
    """The platform a user asks for; empty is the host's, a single word an operating system or an architecture.

    Raises InvalidArgument.
    """
    if not text:
        return host
    parts = text.split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidArgument(f"invalid platform {text[:80]!r}", hint="write it as os/arch[/variant]: linux/arm64")
    words = [part.lower() for part in parts]
    if len(words) == 1:
        if words[0] == host.os:
            return host
        words.insert(0, host.os)
    architecture = _ALIASES.get(words[1], words[1])
    variant = words[2] if len(words) == 3 else _ALIAS_VARIANTS.get(words[1])
    return Platform(os=words[0], architecture=architecture, variant=_normal_variant(architecture, variant))


def compatible(wanted: Platform) -> list[tuple[str, str, str | None]]:
    """What runs where `wanted` is asked for, best first, as (os, architecture, normal variant)."""
    os, architecture = wanted.os, wanted.architecture
    variant = _normal_variant(architecture, wanted.variant)
    if architecture == "arm":
        newest = int(variant[1:]) if variant and re.fullmatch(r"v[5-9]", variant) else 7
        return [(os, "arm", _normal_variant("arm", f"v{number}")) for number in range(newest, 4, -1)]
    if architecture == "amd64":
        newest = int(variant[1:]) if variant and re.fullmatch(r"v[1-9]", variant) else 1
        levels = [_normal_variant("amd64", f"v{number}") for number in range(newest, 0, -1)]
        return [(os, "amd64", level) for level in levels]
    return [(os, architecture, variant)]


def choose(manifests: Iterable[Descriptor], wanted: Platform) -> Descriptor | None:
    """The descriptor that fits `wanted` best (the first of equals); one without a platform fits last of all."""
    return next(iter(ranked(manifests, wanted)), None)


def ranked(manifests: Iterable[Descriptor], wanted: Platform) -> list[Descriptor]:
    """The descriptors that fit `wanted`, best first; those without a platform, which may be anything, come last."""
    ranks = {platform: rank for rank, platform in enumerate(compatible(wanted))}
    found = [(rank, descriptor) for descriptor in manifests if (rank := _rank(descriptor, ranks)) is not None]
    return [descriptor for _, descriptor in sorted(found, key=lambda pair: pair[0])]


def fits(actual: Platform, wanted: Platform) -> bool:
    """Whether an image made for `actual` may be used where `wanted` is asked for."""
    variant = _normal_variant(actual.architecture, actual.variant)
    return (actual.os, actual.architecture, variant) in compatible(wanted)


def _rank(descriptor: Descriptor, ranks: dict[tuple[str, str, str | None], int]) -> int | None:
    if descriptor.media_type not in MANIFESTS | INDEXES:
        return None
    platform = descriptor.platform
    if platform is None:
        return len(ranks)
    variant = _normal_variant(platform.architecture, platform.variant)
    return ranks.get((platform.os, platform.architecture, variant))


def _normal_variant(architecture: str, variant: str | None) -> str | None:
    """The variant in its one spelling: the usual one of an architecture is left out."""
    if not variant:
        return None
    variant = variant if variant.startswith("v") else f"v{variant}"
    usual = {"arm64": "v8", "amd64": "v1", "arm": "v7"}.get(architecture)
    return None if variant == usual else variant
