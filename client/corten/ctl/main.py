"""`cortenctl` as a program: the engine's own nouns, and from what went wrong to an exit code."""

from __future__ import annotations

from corten.ctl.command import COMMON, LEADING
from corten.flags import Flag, HelpRequested, UsageError, scan
from corten.output import err, escape, sentence
from corten.program import Program
from corten_shared.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from corten.command import Command, Entry
    from corten.ctl.session import Session
    from corten.flags import Options
    from corten.program import Find

NOUNS = {
    "namespaces": "Separate sets of names over shared content",
    "content": "Blobs by digest, and what is being written",
    "snapshots": "Layers of file systems",
    "images": "Names for content",
    "containers": "Objects from which tasks are started",
    "tasks": "Containers' processes",
    "leases": "What keeps fresh objects alive",
    "plugins": "Parts of the engine",
    "oci": "The OCI runtime configuration",
    "system": "The store as a whole",
}
"""Modules of this package, each with COMMANDS."""

VERBS: dict[str, Entry] = {
    "run": ("run", "run", "Run a container from an image that is here"),
    "events": ("engine", "events", "Show events as they happen"),
    "gc": ("engine", "gc", "Free what nothing refers to"),
    "info": ("engine", "info", "Show the engine and its host"),
    "why": ("engine", "why", "Show what keeps an object, or when it goes"),
    "version": ("engine", "version", "Show the versions of client and daemon"),
    "completion": ("completion", "completion", "Print a shell's completion script (bash, zsh or fish)"),
}
"""Commands without a noun: their module, their name in its COMMANDS, their summary."""

ALIASES = {
    "namespace": "namespaces", "ns": "namespaces", "snapshot": "snapshots", "image": "images", "i": "images",
    "container": "containers", "c": "containers", "task": "tasks", "t": "tasks", "lease": "leases", "event": "events",
    "plugin": "plugins",
}  # fmt: skip
VERB_ALIASES = {"list": "ls", "remove": "rm", "delete": "rm", "del": "rm", "inspect": "info", "get-info": "info"}
NOUN_ALIASES = {
    "namespaces": {"c": "create"},
    "snapshots": {"m": "mounts", "mount": "mounts"},
    "tasks": {"metric": "metrics"},
}
"""Further ones of ctr's, of single nouns."""
NOUN_FLAGS = {"snapshots": Flag("snapshotter", "string", "The snapshotter", short="s")}
"""Flags that stand between a noun and its command in ctr; they are the command's."""
USAGE = 2
"""The exit code for a command line that is wrong."""

EXAMPLES = """
cortenctl images pull docker.io/library/busybox:latest
cortenctl run --rm -t docker.io/library/busybox:latest box sh
cortenctl tasks kill -s SIGKILL box
cortenctl -n default containers ls -q
cortenctl snapshots mounts /mnt KEY | sh
"""
"""Where the words are in another order than ctr's, or a flag says more."""


class Cortenctl(Program):
    """The command line of the native API."""

    name = "cortenctl"
    about = "The engine's own objects, over its native API"
    flags = (*COMMON, *LEADING, Flag("version", "bool", "Print version information and quit", short="v"))
    nouns = NOUNS
    examples = EXAMPLES.strip().splitlines()

    def entries(self, noun: str) -> Mapping[str, Entry]:
        """From the COMMANDS of the noun's module."""
        if not noun:
            return VERBS
        return {name: (noun, name, command.summary) for name, command in _commands(noun).items()}

    def aliases(self, noun: str) -> Mapping[str, str]:
        """Every noun's commands have the same ones, and few have more."""
        return {**VERB_ALIASES, **NOUN_ALIASES.get(noun, {})} if noun else ALIASES

    def samples(self, path: str, command: Command) -> Sequence[str]:
        """The command with names of what there could be for its arguments."""
        from corten.ctl.completion import sample

        return [" ".join(filter(None, (path, *map(sample, command.arguments.split()))))]

    def run(self, argv: Sequence[str]) -> int:
        """As any program; a noun's flags may stand before its command, as in ctr."""
        return super().run(_noun_flags_last(argv))

    def load(self, entry: Entry) -> Command:
        """The module's command of that name."""
        module, name, _ = entry
        return _commands(module)[name]

    def sections(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        """Nouns first: most commands have one."""
        yield "Nouns", NOUNS
        yield "Commands", {name: summary for name, (_, _, summary) in VERBS.items()}

    def version(self) -> str:
        """As for `cortenctl --version` alone, which is answered without all this."""
        from corten.ctl.__main__ import version_line

        return version_line()

    def session(self, leading: Options, options: Options) -> Session:
        """With the flags that stand before the command where they do not stand after it."""
        from corten.ctl.session import Session

        for flag in COMMON:
            if flag.name not in options.changed:
                options.values[flag.name] = leading[flag.name]
        return Session(options, leading)

    def execute(self, path: str, command: Command, leading: Options, options: Options) -> int:
        """Run `command`, called as `path`; 1, or what the command says, when the daemon refuses."""
        try:
            command.check_arguments(path, len(options.args))
            with self.session(leading, options) as session:
                return command.run(session, options)
        except UsageError as exc:
            return self.mistaken(path, command.usage(path), exc)
        except CortenError as exc:
            err(f"cortenctl: {sentence(exc)}")
            return command.failure

    def mistaken(self, path: str, usage: str, exc: UsageError, failure: int = USAGE) -> int:
        """The problem, the usage, and where help is."""
        err(f"cortenctl: {escape(exc.message)}\nUsage:  {usage}\nSee '{path} --help'")
        return USAGE

    def unknown(self, path: str, word: str, best: str) -> int:
        """With the guess in the same line."""
        guess = f" (did you mean {best}?)" if best else ""
        err(f"cortenctl: unknown command: {path} {escape(word)}{guess}\nSee '{path} --help'")
        return USAGE

    def flag_values(self, flag: Flag) -> Sequence[str] | Find | None:
        """From `completion.py`, like the next."""
        from corten.ctl import completion

        return completion.flag_values(flag)

    def argument_names(self, noun: str, name: str, argument: str) -> Find | None:
        """Which names a word of the usage line stands for depends on the noun."""
        from corten.ctl import completion

        return completion.argument_names(noun, name, argument)


def _noun_flags_last(argv: Sequence[str]) -> Sequence[str]:
    """`snapshots --snapshotter x ls` as `snapshots ls --snapshotter x`."""
    for at, word in enumerate(argv[:-1]):
        flag = NOUN_FLAGS.get(ALIASES.get(word, word))
        if flag is None or not argv[at + 1].startswith("-"):
            continue
        rest = argv[at + 1 :]
        try:
            words = scan([flag], rest, lambda flag, text: None, interspersed=False)
        except (UsageError, HelpRequested):
            return argv
        given = rest[: len(rest) - len(words)]
        return [*argv[: at + 1], *words[:1], *given, *words[1:]]
    return argv


def _commands(module: str) -> dict[str, Command]:
    found: dict[str, Command] = __import__(f"corten.ctl.{module}", fromlist=["COMMANDS"]).COMMANDS
    return found


PROGRAM = Cortenctl()
run, main = PROGRAM.run, PROGRAM.main
