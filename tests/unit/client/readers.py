"""Both readers of a command line side by side: the lean one, and the Typer application."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
import typer
import typer.main

from corten import application, usage
from corten.command import Command
from corten.flags import Flag, HelpRequested, Options, UsageError, parse
from corten.program import Program

GOOD = {
    "bool": "true", "int": "7", "uint16": "300", "bytes": "64m", "decimal": "1.5", "duration": "1m30s",
    "map": "key=value", "filter": "name=web", "network": "name=net,alias=a", "mount": "type=volume,src=v,dst=/v",
    "gpu-request": "all", "ulimit": "nofile=10:20",
}  # fmt: skip
GOOD_BY_NAME = {
    "attach": "STDOUT", "add-host": "host:1.2.3.4", "dns": "1.1.1.1", "link-local-ip": "169.254.0.1", "link": "web:a",
    "device-read-bps": "/dev/sda:1mb", "device-write-bps": "/dev/sda:1mb", "device-read-iops": "/dev/sda:100",
    "device-write-iops": "/dev/sda:100", "blkio-weight-device": "/dev/sda:200", "sysctl": "net.a=1",
    "env": "A=b", "label": "a=b", "platform": "linux/amd64",
}  # fmt: skip
Outcome = tuple[Any, ...]


def seen(options: Options) -> Outcome:
    return plain(options.values), options.changed, options.args, list(options.notes)


def plain(value: Any) -> Any:
    """Values of classes that have no equality of their own, as what they hold."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    slots = getattr(type(value), "__slots__", ())
    return {slot: plain(getattr(value, slot)) for slot in slots} if slots else value


def by_the_lean_reader(command: Command, words: list[str]) -> Outcome:
    """What the fast path reads, or its refusal."""
    try:
        return seen(parse(command.flags, words, interspersed=not command.stops))
    except HelpRequested:
        return ("help",)
    except UsageError as exc:
        return "refused", exc.message


Reader = Callable[..., Outcome]


def typer_reader(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Reader:
    """Reads words through the whole application and returns what would be executed, or the refusal."""
    executed: list[Outcome] = []

    def execute(path: str, command: Command, leading: Options, options: Options) -> int:
        executed.append((path, command, seen(leading), seen(options)))
        return 0

    def refuse(path: str, form: str, exc: UsageError, failure: int = 125) -> int:
        executed.append((path, form, None, ("refused", exc.message)))
        return failure

    monkeypatch.setattr(application, "_command", cache(application._command))  # made once, not for each line
    monkeypatch.setattr(program, "execute", execute)
    monkeypatch.setattr(program, "mistaken", refuse)

    def read(*words: str) -> Outcome:
        executed.clear()
        application.run(program, words)
        if executed:
            return executed.pop()
        printed = capsys.readouterr().out
        assert printed.startswith(f"Usage:  {program.name}")
        return printed, None, None, ("help",)

    return read


def spellings(flag: Flag) -> Iterator[list[str]]:
    """Every way to give a flag its value, right, wrong and twice."""
    value = GOOD_BY_NAME.get(flag.name) or GOOD.get(flag.kind, "text")
    yield [f"--{flag.name}={value}"]
    yield [f"--{flag.name}={value}", f"--{flag.name}={value}"]
    yield [f"--{flag.name}=\x00 bad"]
    yield [f"--{flag.name}="]
    yield [f"--{flag.name}"]
    if flag.kind == "bool":
        yield [f"--{flag.name}=false"]
    else:
        yield [f"--{flag.name}", value]
    if flag.short:
        yield [f"-{flag.short}"]
        yield [f"-{flag.short}={value}"]
        yield [f"-{flag.short}{value}"] if flag.kind != "bool" else [f"-{flag.short}{flag.short}"]


def read_every_flag_alike(program: Program, words: Sequence[str], by_typer: Reader) -> None:
    """Each flag of a command, in every spelling: equal Options, or refused in the same words."""
    *nouns, name = words
    command = program.load(program.entries("".join(nouns))[name])
    taken = 0
    for flag in command.flags:
        for given in spellings(flag):
            lean = by_the_lean_reader(command, [*given, "one", "two"])
            *_, typer = by_typer(*words, *given, "one", "two")
            assert typer == lean, given
            taken += lean[0] != "refused"
    assert taken >= len(command.flags)


def one_option_for_each_flag(program: Program) -> None:
    """Names, shorts, kinds and help are the flags' own, of every command that there is."""
    app = application.application(program)
    assert isinstance(app, typer.Typer)
    assert [group.name for group in app.registered_groups] == list(program.nouns)
    root: Any = typer.main.get_command(app)
    for noun in ("", *program.nouns):
        group = root.get_command(typer.Context(root), noun) if noun else root
        for name, entry in program.entries(noun).items():
            made, command = group.get_command(typer.Context(root), name), program.load(entry)
            options = {param.opts[0]: param for param in made.params if param.param_type_name == "option"}
            assert list(options) == [f"--{flag.name}" for flag in command.flags]
            for flag in command.flags:
                option = options[f"--{flag.name}"]
                assert option.opts[1:] == ([f"-{flag.short}"] if flag.short else [])
                assert (option.is_flag, option.multiple) == (flag.kind == "bool", flag.many)
                assert (option.help or "", option.hidden) == (flag.help, flag.hidden)


def every_help_comes_from_typer(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it is asked for: of commands, of nouns and of the program; and it is `usage.py`'s text."""
    calls: list[str] = []
    get_help = application.Single.get_help
    monkeypatch.setattr(
        application.Single, "get_help", lambda self, ctx: calls.append(ctx.command_path) or get_help(self, ctx)
    )

    def helped(line: Sequence[str], text: str) -> None:
        assert program.run(line) == 0
        assert capsys.readouterr().out == text + "\n"

    for noun in ("", *program.nouns):
        for name, entry in program.entries(noun).items():
            path, command = program.path(noun, name), program.load(entry)
            text, words = usage.command_help(program, path, command), path.split()[1:]
            for line in ([*words, "--help"], ["help", *words], *([] if command.stops else [[*words, "x", "-h"]])):
                helped(line, text)
                assert calls.pop() == path
        group, text = [noun] if noun else [], usage.noun_help(program, noun) if noun else usage.top_help(program)
        for line in (group, [*group, "--help"], [*group, "help"], ["help", *group], [*group, "-h"]):
            helped(line, text)
    helped(["help", "--help"], usage.top_help(program))
