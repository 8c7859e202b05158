"""Files of variables and labels: `--env-file`, `--label-file`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ENV_LINE = 64 * 1024
"""Characters of one line."""


def environment(files: Iterable[str], entries: Iterable[str]) -> list[str]:
    """The variables of `--env-file` files, then those of `-e`, of which the last of a name counts."""
    result = []
    for path in files:
        for line in read_lines(path):
            name, equals, _ = line.partition("=")
            if not name.strip():
                raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
            if name != name.strip() or any(char in name for char in " \t"):
                raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
            if equals:
                result.append(line)
            elif (value := os.environ.get(name)) is not None:
                result.append(f"{name}={value}")
    return [*result, *{entry.partition("=")[0]: entry for entry in entries}.values()]


def read_lines(path: str) -> list[str]:
    """The lines of an env or label file, without comments and blank ones."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\r\n").lstrip() for line in file]
    except UnicodeDecodeError:
        raise ValueError(f"invalid env file ({path}): not UTF-8 text") from None
    except OSError as exc:
        raise ValueError(f"open {path}: {(exc.strerror or str(exc)).lower()}") from None
    if any(len(line) > MAX_ENV_LINE for line in lines):
        raise ValueError(f"invalid env file ({path}): a line is longer than {MAX_ENV_LINE} characters")
    return [line for line in lines if line and not line.startswith("#")]
