"""Entry of the `corten` command.

`corten --version` is answered before anything is imported: tools call it to see what they have.
"""

from __future__ import annotations

import os
import sys


def version_line() -> str:
    """`corten version 0.1.0, build ...`, in the form that tools parse docker's in."""
    from corten import __version__

    return f"corten version {__version__}, build release"


def main() -> None:
    """Run the command line and leave with its exit code; does not return."""
    try:
        code = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `corten ps | head -1`
        code = 141
    try:
        sys.stderr.flush()
    finally:
        os._exit(code)  # nothing is left to tear down; doing it anyway takes milliseconds


def _run() -> int:
    if sys.argv[1:] in (["--version"], ["-v"]):
        sys.stdout.write(version_line() + "\n")
        return 0
    from corten.docker.main import main as run

    return run()


if __name__ == "__main__":
    main()
