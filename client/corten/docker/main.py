"""`corten` as a program: docker's words, and from what went wrong to docker's exit codes."""

from __future__ import annotations

from corten.docker.commands import ALIASES, COMMANDS, COMMON, NOUNS
from corten.docker.engine import EngineError
from corten.docker.session import Session
from corten.flags import Flag, Options, UsageError
from corten.output import err, escape, out, sentence
from corten.program import Program
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from corten.command import Command, Entry
    from corten.program import Find

ENGINE_FAILED = 125

GLOBAL_FLAGS = [
    Flag("config", "string", "Location of client config files"),
    Flag("context", "string", "Name of the context to use", short="c"),
    Flag("debug", "bool", "Show a traceback for errors of the client itself", short="D"),
    Flag("host", "list", "Daemon socket to connect to", short="H"),
    Flag("log-level", "string", "Accepted for docker's sake", short="l", default="info"),
    Flag("tls", "bool", "Use TLS; implied by --tlsverify"),
    Flag("tlscacert", "string", "Trust certs signed only by this CA"),
    Flag("tlscert", "string", "Path to TLS certificate file"),
    Flag("tlskey", "string", "Path to TLS key file"),
    Flag("tlsverify", "bool", "Use TLS and verify the remote"),
    Flag("version", "bool", "Print version information and quit", short="v"),
]


class Corten(Program):
    """The docker-compatible command line."""

    name = "corten"
    about = "A container engine's command line: docker's words, over the Docker Engine API"
    flags = GLOBAL_FLAGS
    nouns = {noun: summary for noun, (summary, _) in NOUNS.items()}

    def entries(self, noun: str) -> Mapping[str, Entry]:
        """From `commands.py`."""
        return NOUNS[noun][1] if noun else COMMANDS

    def aliases(self, noun: str) -> Mapping[str, str]:
        """Only nouns' commands have some."""
        return ALIASES[noun] if noun else {}

    def load(self, entry: Entry) -> Command:
        """The module's attribute."""
        module, name, _ = entry
        found: Command = getattr(__import__(f"corten.docker.{module}", fromlist=[name]), name)
        return found

    def sections(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        """What is used most comes first, as in docker's help."""
        rest = sorted(name for name in COMMANDS if name not in COMMON)
        yield "Common Commands", {name: COMMANDS[name][2] for name in COMMON}
        yield "Management Commands", self.nouns
        yield "Commands", {name: COMMANDS[name][2] for name in rest}

    def version(self) -> str:
        """As for `corten --version` alone, which is answered without all this."""
        from corten.__main__ import version_line

        return version_line()

    def session(self, leading: Options, options: Options) -> Session:
        """Where the daemon is, the global options say."""
        return Session(leading)

    def execute(self, path: str, command: Command, leading: Options, options: Options) -> int:
        """Run `command`, called as `path`, after telling which flags are deprecated."""
        session = self.session(leading, options)
        session.path = path
        for note in options.notes:
            out(note)
        try:
            command.check_arguments(path, len(options.args))
            return command.run(session, options)
        except UsageError as exc:
            return self.mistaken(path, command.usage(path), exc, command.failure)
        except CortenError as exc:
            return _failed(path, command, exc)

    def mistaken(self, path: str, usage: str, exc: UsageError, failure: int = ENGINE_FAILED) -> int:
        """Docker's form: the problem, the usage, and where help is."""
        message = escape(exc.message)
        err(f"{message if exc.bare else f'corten: {message}'}\n\nUsage:  {usage}\n")
        err(f"Run '{path} --help' for more information")
        return exc.code or (ENGINE_FAILED if exc.bare else failure)

    def unknown(self, path: str, word: str, best: str) -> int:
        """Docker's form, with the guess on a line of its own."""
        hint = f"\n\nDid you mean this?\n        {best}" if best else ""
        form = f"Usage:  {path}\n\n" if path != self.name else ""
        err(f"corten: unknown command: {path} {escape(word)}{hint}\n\n{form}Run '{path} --help' for more information")
        return 1

    def flag_values(self, flag: Flag) -> Sequence[str] | Find | None:
        """From `completion.py`, like the next."""
        from corten.docker import completion

        return completion.flag_values(flag)

    def argument_names(self, noun: str, name: str, argument: str) -> Find | None:
        """Commands mean the same with their noun and without."""
        from corten.docker import completion

        return completion.argument_names(name, argument)


def _failed(path: str, command: Command, exc: CortenError) -> int:
    """Report an error. `run` says who speaks and where its help is, as docker's does."""
    text = sentence(exc)
    if command.failure == 1:
        err(text)
        return 1
    err(f"corten: {text}")
    if not isinstance(exc, EngineError):
        return command.failure
    err(f"\nRun '{path} --help' for more information")
    return exit_code(exc.reason)


def exit_code(reason: str) -> int:
    """127 when the engine's words mean "no such command", 126 "cannot be executed", else 125."""
    text = reason.lower()
    if "executable file not found" in text or "no such file or directory" in text:
        return 127
    if "permission denied" in text or "is a directory" in text:
        return 126
    return ENGINE_FAILED


PROGRAM = Corten()
run, main = PROGRAM.run, PROGRAM.main
