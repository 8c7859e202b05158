"""Entry of the `cortenctl` command; `--version` is answered before anything is imported."""

from __future__ import annotations

import os
import sys


def version_line() -> str:
    """`cortenctl version 0.1.0`."""
    from corten import __version__

    return f"cortenctl version {__version__}"


def main() -> None:
    """Run the command line and leave with its exit code; does not return."""
    try:
        code = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `cortenctl content ls | head -1`
        code = 141
    try:
        sys.stderr.flush()
    finally:
        os._exit(code)  # nothing is left to tear down; doing it anyway takes milliseconds


def _run() -> int:
    if sys.argv[1:] in (["--version"], ["-v"]):
        sys.stdout.write(version_line() + "\n")
        return 0
    from corten.ctl.main import main as run

    return run()


if __name__ == "__main__":
    main()
