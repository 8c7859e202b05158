"""Whoever knows ctr needs no manual: every command and flag of the ctr that is installed is found in cortenctl.

The table is ctr's own help, walked when the test runs; what is not here stands in one list, with the reason.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from typing import NamedTuple

import pytest

from corten.command import Command
from corten.ctl.main import PROGRAM

pytestmark = pytest.mark.skipif(shutil.which("ctr") is None, reason="ctr is not installed (Debian's containerd)")

NOT_HERE = {
    "containers checkpoint": "checkpoints are not supported (no CRIU); features.md has them for later",
    "containers restore": "as above",
    "tasks checkpoint": "as above",
    "images convert": "converting images (estargz and others) belongs to a builder",
    "install": "installs binaries from images into the host's /opt: containerd's own upkeep",
    "pprof": "profiles of a Go program",
    "shim": "there is no shim: conmon has no interface of its own",
}
"""Commands and whole nouns of ctr that cortenctl has not, and why."""

_REGISTRY = "skip-verify plain-http user refresh hosts-dir tlscacert tlscert tlskey http-dump http-trace".split()
FLAGS_NOT_HERE = {
    ("content active", "timeout"): "the global --timeout does it for every command",
    **{("images mount", flag): "it mounts what is here and asks no registry" for flag in [*_REGISTRY, "label"]},
    **{
        ("images unmount", flag): "it needs the target alone"
        for flag in [*_REGISTRY, "label", "snapshotter"]
    },
    ("images import", "skip-digest-for-named"): "names of images are those in the archive; none is made of digests",
    ("images import", "snapshotter"): "an archive is unpacked when a container or mount wants it, by its snapshotter",
    ("namespaces remove", "cgroup"): "cgroups go with their containers, and a namespace that has any is not removed",
    ("snapshots diff", "ref"): "the layer goes to standard output, or into the content store under its digest",
}
"""Flags of commands that are here, and why they are not."""


class CtrCommand(NamedTuple):
    """A command of ctr as its help shows it."""

    path: tuple[str, ...]
    aliases: tuple[str, ...]
    flags: tuple[tuple[str, ...], ...]


@cache
def _help(*path: str) -> str:
    return subprocess.run(["ctr", *path, "--help"], capture_output=True, text=True, check=True).stdout


def _section(text: str, title: str) -> list[str]:
    found = re.search(rf"^{title}:\n((?:   .*\n|\n)*)", text + "\n", re.MULTILINE)
    return [line for line in found[1].splitlines() if line.strip()] if found else []


def _children(text: str) -> list[tuple[str, ...]]:
    """Names and aliases of the commands that a help lists."""
    found = []
    for line in _section(text, "COMMANDS"):
        words = re.match(r"   (\S+(?:, \S+)*)(?:  |$)", line)
        assert words, line
        if not words[1].startswith("help"):
            found.append(tuple(words[1].split(", ")))
    return found


def _flags(text: str, title: str) -> tuple[tuple[str, ...], ...]:
    """Every spelling of each flag, without dashes."""
    found = []
    for line in _section(text, title):
        spelt = re.findall(r"(?:^|, )(--?[A-Za-z][\w-]*)", line.strip().split("  ")[0])
        if spelt and "--help" not in spelt:
            found.append(tuple(word.lstrip("-") for word in spelt))
    return tuple(found)


def _walk(path: tuple[str, ...] = (), aliases: tuple[str, ...] = ()) -> list[CtrCommand]:
    text = _help(*path)
    children = _children(text)
    if not children:
        return [CtrCommand(path, aliases, _flags(text, "OPTIONS"))]
    own = [CtrCommand(path, aliases, _flags(text, "OPTIONS"))] if path else []
    below = [found for names in children for found in _walk((*path, names[0]), names[1:])]
    return [*own, *below]


@cache
def _ctr() -> list[CtrCommand]:
    return [found for found in _walk() if not _excused(found.path)]


def _excused(path: tuple[str, ...]) -> bool:
    return any(" ".join(path[:length]) in NOT_HERE for length in range(1, len(path) + 1))


def _find(words: tuple[str, ...]) -> Command | None:
    """The command of cortenctl that these words call."""
    found = PROGRAM._find(list(words))
    return found[1] if found is not None and found[2] in ([], ["references"]) else None


def _is_noun(path: tuple[str, ...]) -> bool:
    return len(path) == 1 and PROGRAM.named("", path[0]) in PROGRAM.nouns


def test_the_table_is_ctrs() -> None:
    """The help could be read: the commands that everybody knows are among what was found."""
    paths = {" ".join(found.path) for found in _ctr()}
    known = {"content ingest", "snapshots prepare", "images pull", "tasks kill", "run", "content prune references"}
    assert known <= paths
    (run,) = [found for found in _ctr() if found.path == ("run",)]
    assert ("detach", "d") in run.flags
    assert len(run.flags) > 30


def test_every_command_is_here_under_every_name() -> None:
    missing = []
    for found in _ctr():
        *noun, name = found.path
        for spelling in (name, *found.aliases):
            words = (*noun, spelling)
            if not _is_noun(words) and words != ("content", "prune") and _find(words) is None:
                missing.append(" ".join(words))
    assert "\n".join(missing) == ""


def test_every_flag_is_here() -> None:
    """By its long name and its letter; on a noun (`snapshots --snapshotter`) too. Where ctr's letter is ours for
    something else, that is a difference that this test would show."""
    missing = []
    for found in _ctr():
        command = None if _is_noun(found.path) else _find(found.path)
        for spellings in found.flags:
            name = max(spellings, key=len)
            if (" ".join(found.path), name) in FLAGS_NOT_HERE:
                continue
            if command is None:
                if found.path != ("content", "prune") and not _noun_flag(found.path, name):
                    missing.append(f"{' '.join(found.path)} --{name}")
                continue
            known = {flag.name: flag for flag in command.flags}
            letters = [spelling for spelling in spellings if len(spelling) == 1]
            if name in {flag.short for flag in command.flags} and len(name) == 1:
                continue
            if name not in known or any(known[name].short != letter for letter in letters):
                missing.append(f"{' '.join(found.path)} --{'/-'.join(spellings)}")
    assert "\n".join(missing) == ""


def _noun_flag(path: tuple[str, ...], name: str) -> bool:
    from corten.ctl.main import NOUN_FLAGS

    flag = NOUN_FLAGS.get(PROGRAM.named("", path[0]))
    return flag is not None and flag.name == name


def test_every_global_flag_is_here() -> None:
    known = {flag.name: flag.short for flag in PROGRAM.flags}
    for spellings in _flags(_help(), "GLOBAL OPTIONS"):
        name = max(spellings, key=len)
        letters = [spelling for spelling in spellings if len(spelling) == 1]
        assert name in known, name
        assert all(known[name] == letter for letter in letters), spellings


def test_every_exception_is_one() -> None:
    """Nothing is excused that is here, and nothing that ctr has not."""
    paths = {" ".join(found.path[:length]) for found in _walk() for length in range(1, len(found.path) + 1)}
    assert set(NOT_HERE) <= paths
    for excused in NOT_HERE:
        assert _find(tuple(excused.split())) is None, excused
    theirs = {
        (" ".join(found.path), max(spellings, key=len)) for found in _ctr() for spellings in found.flags
    }
    assert set(FLAGS_NOT_HERE) <= theirs
    for command, flag in FLAGS_NOT_HERE:
        found = _find(tuple(command.split()))
        assert found is not None
        assert flag not in {known.name for known in found.flags}, (command, flag)


def test_flags_of_a_noun_stand_before_its_command() -> None:
    from corten.ctl.main import _noun_flags_last

    assert _noun_flags_last(["-n", "x", "snapshots", "--snapshotter", "native", "ls", "-q"]) == [
        "-n", "x", "snapshots", "ls", "--snapshotter", "native", "-q",
    ]  # fmt: skip
    assert _noun_flags_last(["snapshots", "--snapshotter"]) == ["snapshots", "--snapshotter"]
    assert _noun_flags_last(["snapshots", "ls"]) == ["snapshots", "ls"]
