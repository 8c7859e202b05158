"""Every command's help has an example, and every example is a line that cortenctl reads."""

from __future__ import annotations

import shlex
from importlib import import_module

import pytest

from corten.ctl.main import NOUNS, PROGRAM, VERBS, _noun_flags_last
from corten.flags import parse


def _commands() -> list[tuple[str, ...]]:
    nouns = [(noun, verb) for noun in NOUNS for verb in import_module(f"corten.ctl.{noun}").COMMANDS]
    return [*nouns, *((verb,) for verb in VERBS)]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_has_an_example_that_can_be_read(words: tuple[str, ...]) -> None:
    found = PROGRAM._find(list(words))
    assert found is not None
    path, command, _ = found
    lines = command.examples or PROGRAM.samples(path, command)
    assert lines
    for line in lines:
        piece = next(part for part in line.replace("|", ">").split(">") if "cortenctl" in part)
        typed = shlex.split(piece)
        _read(typed[typed.index("cortenctl") + 1 :])


def _read(argv: list[str]) -> None:
    leading = parse(PROGRAM.flags, _noun_flags_last(argv), interspersed=False)
    found = PROGRAM._find(leading.args)
    assert found is not None, argv
    path, command, words = found
    options = parse(command.flags, words, interspersed=not command.stops)
    command.check_arguments(path, len(options.args))
