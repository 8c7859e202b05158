"""Configuration files: read with errors that name the line, print the defaults with their explanations."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from corten_shared.errors import InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from cortend.config import Config

DEFAULT_PATH = Path("/etc/corten/config.toml")
MAX_SIZE = 256 << 10
"""Bytes of a configuration file."""


def load(path: Path | None = None) -> Config:
    """The configuration in `path`, or in the default file when that is there; else the defaults.

    Raises InvalidArgument (`FILE:LINE: what`), NotFound (a `path` that was asked for), PermissionDenied.
    """
    return parse(_read(path or DEFAULT_PATH, required=path is not None), path or DEFAULT_PATH)


def _read(path: Path, *, required: bool) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise ResourceExhausted(f"{path}: longer than {MAX_SIZE} bytes", hint="this is no configuration file")
        return data.decode()
    except FileNotFoundError:
        if required:
            raise NotFound(f"{path}: no such file", hint="print one with `cortend config default`") from None
        return ""
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path}: not UTF-8 text") from None
    except PermissionError:
        raise PermissionDenied(f"{path}: permission denied", hint="cortend runs as root") from None
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None


def parse(text: str, path: Path) -> Config:
    """The configuration that `text` describes; `path` is for messages. Raises InvalidArgument."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path}: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"{path}: nested too deeply") from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_problem(item, text, values) for item in error.errors(include_url=False)]
        line, first = min(problems)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InvalidArgument(
            f"{path}:{line}: {first}{more}", hint="`cortend config default` prints every key"
        ) from None


def _problem(item: Any, text: str, values: dict[str, Any]) -> tuple[int, str]:
    """Line and wording of one of pydantic's errors."""
    # Only what the file has: pydantic's location may go on with names of its own.
    keys: list[str] = []
    for part in item["loc"]:
        if not isinstance(part, str) or part not in _table(values, keys):
            break
        keys.append(part)
    line = _line_of(text, keys)
    shown = ".".join(keys)
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(keys[-1], _fields_of(keys[:-1]), n=1)
        return line, f"unknown key '{shown}'" + (f" (did you mean '{close[0]}'?)" if close else "")
    if item["type"] in ("model_type", "dict_type"):
        return line, f"'{shown}': must be a table"
    message = item["msg"].removeprefix("Value error, ")
    return line, f"'{shown}': {message[:1].lower()}{message[1:]}"


def _table(values: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    node: Any = values
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def _fields_of(keys: list[str]) -> list[str]:
    """The names that are known in the table `keys`."""
    model: type[BaseModel] | None = Config
    for key in keys:
        if model is None:
            return []
        field = model.model_fields.get(key)
        model = _submodel(field) if field is not None else model  # a name in a dict of tables
    return list(model.model_fields) if model is not None else []


def _submodel(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a table, or of a table of tables."""
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _line_of(text: str, keys: list[str]) -> int:
    """The line on which the key's value begins.

    tomllib does not say where a key is. The file's beginnings of 1, 2, … lines are parsed until one has the key;
    only broken files pay for it.
    """
    lines = text.splitlines()
    start = 1
    for count in range(1, len(lines) + 1):
        try:
            values = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue  # inside a value of several lines
        if _has(values, keys):
            while start < count and not lines[start - 1].split("#")[0].strip():
                start += 1
            return start
        start = count + 1
    return max(len(lines), 1)


def _has(values: dict[str, Any], keys: list[str]) -> bool:
    return not keys or keys[-1] in _table(values, keys[:-1])


def default_text() -> str:
    """The defaults as a commented TOML file that parses back to them."""
    head = "# cortend's configuration. Every key is here with its default; leave out what you do not change.\n"
    return head + "\n".join(_print(Config(), "")) + "\n"


def _print(section: BaseModel, prefix: str) -> Iterator[str]:
    """A table's keys, then its tables: TOML wants this order."""
    tables: list[tuple[str, FieldInfo]] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel | dict):
            tables.append((name, field))
        else:
            yield f"\n# {field.description}" if not prefix else f"# {field.description}"
            yield f"{name} = {_toml(value)}"
    for name, field in tables:
        value = getattr(section, name)
        yield f"\n# {field.description}"
        if isinstance(value, BaseModel):
            yield f"[{prefix}{name}]"
            yield from _print(value, f"{prefix}{name}.")
        else:
            yield from _print_example(f"{prefix}{name}", field)


def _print_example(table: str, field: FieldInfo) -> Iterator[str]:
    """A table that is empty by default: one entry, of a table or a text, in comments."""
    model = _submodel(field)
    if model is None:
        yield f'# {table}."example" = ""'
        return
    yield f'# [{table}."example"]'
    for name, inner in model.model_fields.items():
        yield f"# {name} = {_toml(inner.default)}  # {inner.description}"


def _toml(value: Any) -> str:
    """A plain value as TOML writes it; JSON's strings are TOML's."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)
