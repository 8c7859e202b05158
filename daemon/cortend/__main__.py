"""Entry of the `cortend` command: serve in the foreground, or print and check configurations."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from corten_shared.errors import CortenError, InvalidArgument, PermissionDenied
from cortend import __version__, config_file
from cortend.config import Config, LogFormat, LogLevel

log = logging.getLogger(__name__)

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=False
)
config_app = typer.Typer(rich_markup_mode=None, help="Print the defaults, or check a configuration file.")
app.add_typer(config_app, name="config")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help=f"Configuration (default: {config_file.DEFAULT_PATH}).")
]


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    config: ConfigOption = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="Data root.")] = None,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="State root.")] = None,
    socket: Annotated[Path | None, typer.Option(metavar="PATH", help="Where the API listens.")] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="How much is logged.")] = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="How it is written.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Run corten's daemon in the foreground. Flags win over the configuration file."""
    if version:
        sys.stdout.write(f"cortend version {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return

    def load() -> Config:
        flags = {"root": _absolute(root), "state": _absolute(state), "socket": _absolute(socket)}
        return config_file.load(config).with_flags(**flags, level=log_level, format=log_format)

    _or_one_line(lambda: _run(load))


def _absolute(path: Path | None) -> Path | None:
    return Path.cwd() / path if path is not None else None


def _run(load: Callable[[], Config]) -> None:
    config = load()
    if os.geteuid() != 0:
        raise PermissionDenied("cortend must run as root", hint="start it with sudo, or as a system service")
    # Imported late: `cortend config` and its errors need none of it.
    from cortend import journal
    from cortend.app import open_application
    from cortend.core import trace
    from cortend.server import Daemon

    journal.configure(config.log.level, config.log.format)
    if armed := trace.arm(os.environ.get(trace.VARIABLE, "")):
        log.warning("%s is set: this daemon will fail at %s", trace.VARIABLE, ", ".join(armed))

    async def main() -> None:
        await Daemon(load, open_application).run()

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        return  # told to stop while it was starting


def _or_one_line(action: Callable[[], None]) -> None:
    """Run `action`; what can be expected to fail ends in one line and exit code 1."""
    try:
        action()
    except CortenError as error:
        from cortend.journal import escape

        line = error.message + (f" ({error.hint})" if error.hint else "")
        sys.stderr.write(f"cortend: {escape(line)}\n")
        raise typer.Exit(1) from None
    except OSError as error:
        sys.stderr.write(f"cortend: {error}\n")
        raise typer.Exit(1) from None


@config_app.command("default")
def config_default() -> None:
    """Print every key with its default, as a file to start from."""
    sys.stdout.write(config_file.default_text())


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Check a configuration file; says nothing but `ok`, or the file, line and reason."""

    def check() -> None:
        if config is None and not config_file.DEFAULT_PATH.exists():
            raise InvalidArgument(f"{config_file.DEFAULT_PATH} does not exist", hint="name a file with --config")
        config_file.load(config)
        sys.stdout.write(f"{config or config_file.DEFAULT_PATH}: ok\n")

    _or_one_line(check)


def main() -> None:
    """Run the command line."""
    app(prog_name="cortend")


if __name__ == "__main__":
    main()
